//! The server of the model: a table of a few heaps, the application that moves and locks its rows, and the ledger. Whatever
//! stands here outlives a crash of the program.

use tenantmig::engine::ranges::{Heap, Range};

/// Where a row version stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    pub heap: usize,
    pub block: u64,
    pub slot: u32,
}

/// A row that was there at the start.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Row {
    pub at: Place,
    /// How often a batch wrote it.
    pub written: u8,
    /// The application moved it since the walk began, before it was written.
    pub moved: bool,
    /// It was written in a transaction of its own, apart from its batch.
    pub apart: bool,
    /// Somebody else holds its lock.
    pub locked: bool,
    /// It was locked when this walk's batch came by.
    pub passed: bool,
}

/// A statement whose connection is lost: the server may still commit it, at any time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Flight {
    Claim(Range),
    Batch(Range),
}

/// The table and the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Database {
    pub rows: Vec<Row>,
    /// How large each heap is now.
    pub blocks: Vec<u64>,
    /// Places in a block.
    pub slots: u32,
    /// The number of the walk under way, and its heaps with their ends.
    pub walk: Option<(u32, Vec<Heap>)>,
    pub ledger: Vec<Range>,
    pub flights: Vec<Flight>,
}

/// The name of a heap.
pub fn heap(number: usize) -> String {
    format!("h{number}")
}

impl Database {
    /// Heaps of so many blocks, a row at each place but `holes`.
    pub fn new(blocks: &[u64], slots: u32, holes: &[Place]) -> Self {
        let places = blocks.iter().enumerate().flat_map(|(heap, blocks)| {
            (0..*blocks).flat_map(move |block| (0..slots).map(move |slot| Place { heap, block, slot }))
        });
        let row = |at| Row { at, written: 0, moved: false, apart: false, locked: false, passed: false };
        let rows = places.filter(|at| !holes.contains(at)).map(row).collect();
        Self { rows, blocks: blocks.to_vec(), slots, walk: None, ledger: Vec::new(), flights: Vec::new() }
    }

    /// Fixes the ends of a new walk, in a transaction of its own.
    pub fn begin(&mut self, sweep: u32) {
        let heaps = self.blocks.iter().enumerate().filter(|(_, blocks)| **blocks > 0);
        let heaps = heaps.map(|(number, blocks)| Heap { name: heap(number), end: *blocks }).collect();
        self.walk = Some((sweep, heaps));
        for row in &mut self.rows {
            (row.moved, row.passed) = (false, false);
        }
    }

    /// The ranges of one walk, in the order of their numbers.
    pub fn recorded(&self, sweep: u32) -> Vec<Range> {
        let mut ranges: Vec<_> = self.ledger.iter().filter(|range| range.sweep == sweep).cloned().collect();
        ranges.sort_by_key(|range| range.number);
        ranges
    }

    /// One of them.
    pub fn range(&self, sweep: u32, number: u32) -> Option<&Range> {
        self.ledger.iter().find(|range| (range.sweep, range.number) == (sweep, number))
    }

    /// Records a claim; false where the primary key refuses it.
    pub fn insert(&mut self, range: &Range) -> bool {
        let free = self.range(range.sweep, range.number).is_none();
        if free {
            self.ledger.push(range.clone());
        }
        free
    }

    /// The rows that a range's next batch finds in its places.
    fn rows_of(&self, range: &Range) -> Vec<usize> {
        let found = |row: &Row| {
            let Place { heap: number, block, slot } = row.at;
            let within = heap(number) == range.heap && (range.lo..range.hi).contains(&block);
            within && slot % range.stripes == range.stripes_done
        };
        (0..self.rows.len()).filter(|row| found(&self.rows[*row])).collect()
    }

    /// Writes the first row of a batch alone; false where none of its rows is due and free.
    pub fn write_one(&mut self, range: &Range) -> bool {
        let is_free = |row: &usize| self.rows[*row].written == 0 && !self.rows[*row].locked;
        let Some(row) = self.rows_of(range).into_iter().find(is_free) else { return false };
        (self.rows[row].written, self.rows[row].apart) = (1, true);
        true
    }

    /// Whether the next batch would wait for somebody's row lock.
    pub fn is_contended(&self, range: &Range) -> bool {
        self.rows_of(range).into_iter().any(|row| self.rows[row].locked && self.rows[row].written == 0)
    }

    /// Commits the next batch: its rows, and the ledger's word that it is done. False, and nothing, where the ledger says
    /// that another stripe comes next.
    ///
    /// In the main walk a row that nobody moved, or wrote alone, is written whatever it holds, so that a place which two
    /// ranges share is seen.
    pub fn commit(&mut self, range: &Range) -> bool {
        let kept = self.ledger.iter().position(|kept| (kept.sweep, kept.number) == (range.sweep, range.number));
        let Some(kept) = kept.filter(|kept| self.ledger[*kept].stripes_done == range.stripes_done) else {
            return false;
        };
        for row in self.rows_of(range) {
            let row = &mut self.rows[row];
            if row.locked {
                row.passed |= row.written == 0;
            } else if row.written == 0 || (range.sweep == 0 && !row.moved && !row.apart) {
                row.written += 1;
            }
        }
        self.ledger[kept].stripes_done = range.stripes_done + 1;
        self.ledger[kept].skipping = range.skipping;
        true
    }

    /// A lost statement commits after all, if it still can.
    pub fn land(&mut self, flight: usize) {
        match self.flights.remove(flight) {
            Flight::Claim(range) => {
                self.insert(&range);
            }
            Flight::Batch(range) => {
                if range.skipping || !self.is_contended(&range) {
                    self.commit(&range);
                }
            }
        }
    }

    /// Where an update may put a row's next version: a free place, or a new block at the end.
    pub fn free(&self) -> Vec<Place> {
        let taken: Vec<Place> = self.rows.iter().map(|row| row.at).collect();
        let mut free = Vec::new();
        for (heap, blocks) in self.blocks.iter().enumerate() {
            let inside = (0..*blocks).flat_map(|block| (0..self.slots).map(move |slot| Place { heap, block, slot }));
            free.extend(inside.filter(|place| !taken.contains(place)));
            free.push(Place { heap, block: *blocks, slot: 0 });
        }
        free
    }

    /// An update of the application's, or one that changes the partition.
    pub fn update(&mut self, row: usize, to: Place) {
        self.blocks[to.heap] = self.blocks[to.heap].max(to.block + 1);
        self.rows[row].at = to;
        self.rows[row].moved = true;
    }

    /// Rows without their value.
    pub fn due(&self) -> usize {
        self.rows.iter().filter(|row| row.written == 0).count()
    }
}
