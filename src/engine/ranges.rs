//! The bookkeeping of a backfill's ranges: which part of which heap is claimed, by whom, and how far it is done. Pure.
//!
//! A walk goes over one heap after the other (a table, or its partitions and children), each from its beginning to the end
//! that was fixed when the walk began. Ranges are claimed in order and recorded before anything in them is touched, so what is
//! recorded is always a prefix of the walk without gaps or overlaps, whoever works on which range and whoever dies.

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

/// A part of a heap, as the ledger keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Range {
    /// 0 is the main walk; later ones sweep up rows that were locked or moved.
    pub sweep: u32,
    /// 1, 2, 3 … in the order of claiming.
    pub number: u32,
    pub heap: String,
    /// The first block.
    pub lo: u64,
    /// One past the last block.
    pub hi: u64,
    /// So many batches, each of every n-th row.
    pub stripes: u32,
    /// So many of them are committed.
    pub stripes_done: u32,
    /// Locked rows are passed by.
    pub skipping: bool,
}

/// A heap and where its walk ends, fixed when the walk begins.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heap {
    pub name: String,
    /// Its number of blocks, at least 1.
    pub end: u64,
}

/// What a worker is to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// A recorded range that nobody works on, and that is not done.
    Take(Range),
    /// A new one, to be recorded with this number: from `lo` on in `heap`, not beyond its end.
    Claim { number: u32, heap: Heap, lo: u64 },
    /// Everything is claimed; others may still be at work.
    Nothing,
}

/// What the ledger holds is no prefix of a walk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("range {number} of {heap} does not begin where the one before it ends")]
pub struct Gap {
    pub number: u32,
    pub heap: String,
}

/// One walk over the heaps.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Walk {
    sweep: u32,
    heaps: VecDeque<Heap>,
    /// Where the first of `heaps` is claimed up to.
    frontier: u64,
    /// Recorded, not done, and nobody's.
    waiting: VecDeque<Range>,
    /// The numbers of ranges that somebody works on.
    held: BTreeSet<u32>,
    last: u32,
}

impl Walk {
    /// A walk over `heaps` of which `recorded` (in order of their numbers, all of this sweep) is claimed already.
    pub fn new(sweep: u32, heaps: Vec<Heap>, recorded: Vec<Range>) -> Result<Self, Gap> {
        let mut walk =
            Self { sweep, heaps: heaps.into(), frontier: 0, waiting: VecDeque::new(), held: BTreeSet::new(), last: 0 };
        for range in recorded {
            walk.record(&range)?;
            if range.stripes_done < range.stripes {
                walk.waiting.push_back(range);
            }
        }
        Ok(walk)
    }

    /// Which walk this is.
    pub fn sweep(&self) -> u32 {
        self.sweep
    }

    /// Moves the frontier behind a range that is in the ledger.
    fn record(&mut self, range: &Range) -> Result<(), Gap> {
        let gap = Gap { number: range.number, heap: range.heap.clone() };
        let heap = self.heaps.front().filter(|heap| heap.name == range.heap).ok_or(gap.clone())?;
        if range.number != self.last + 1 || range.lo != self.frontier || !(range.lo < range.hi && range.hi <= heap.end)
        {
            return Err(gap);
        }
        self.last = range.number;
        if range.hi == heap.end {
            self.heaps.pop_front();
            self.frontier = 0;
        } else {
            self.frontier = range.hi;
        }
        Ok(())
    }

    /// What to do next. A waiting range is held from now on.
    pub fn next_range(&mut self) -> Next {
        if let Some(range) = self.waiting.pop_front() {
            self.held.insert(range.number);
            return Next::Take(range);
        }
        self.heaps.front().map_or(Next::Nothing, |heap| Next::Claim {
            number: self.last + 1,
            heap: heap.clone(),
            lo: self.frontier,
        })
    }

    /// The claim is in the ledger: whoever asked for it holds it.
    pub fn claimed(&mut self, range: &Range) -> Result<(), Gap> {
        self.record(range)?;
        self.held.insert(range.number);
        Ok(())
    }

    /// Whoever held it is done with it, or gives it back unfinished.
    pub fn give_back(&mut self, range: Range) {
        self.held.remove(&range.number);
        if range.stripes_done < range.stripes {
            self.waiting.push_back(range);
        }
    }

    /// Whether every range is claimed and committed.
    pub fn is_done(&self) -> bool {
        self.heaps.is_empty() && self.waiting.is_empty() && self.held.is_empty()
    }
}
