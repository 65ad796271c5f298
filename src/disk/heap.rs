//! About how much a backfill or a rewrite adds to a table, its indexes and the WAL.

use super::{index::bytes, room::Need};

/// What a table grows by where the new versions stay in their pages: measured 1.17 to 1.22 of its size (see the README).
const GROWTH_IN_PAGE: f64 = 0.25;
/// A WAL record's own bytes, for a row and for an index entry.
const RECORD: f64 = 60.0;
const ENTRY_RECORD: f64 = 90.0;
/// A row's header with its line pointer, a column of a key, and an entry of a B-tree in pages nine tenths full.
const ROW: f64 = 28.0;
const KEY: f64 = 16.0;
const ENTRY: f64 = 36.0;

/// A heap with its indexes.
#[derive(Debug, Clone, PartialEq)]
pub struct Heap {
    pub tablespace: String,
    pub bytes: u64,
    pub rows: f64,
    /// The tablespace and size of each index.
    pub indexes: Vec<(String, u64)>,
}

/// How a backfill writes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rewriting {
    /// Bytes of the new value.
    pub width: f64,
    /// New versions can stay in their pages: no index is on the column.
    pub in_page: bool,
    /// What is still to be written, 0 to 1.
    pub share: f64,
    /// Whole pages go into the WAL after each checkpoint.
    pub full_pages: bool,
}

/// What filling a column of these heaps adds.
pub fn backfill(heaps: &[Heap], how: Rewriting) -> Need {
    let mut need = Need::default();
    let share = how.share.clamp(0.0, 1.0);
    for heap in heaps {
        let size = heap.bytes as f64;
        let values = heap.rows * how.width.max(0.0);
        let grown = if how.in_page { size * GROWTH_IN_PAGE + values } else { size + values };
        need.add(&heap.tablespace, |place| place.heap += bytes(grown * share));
        let mut wal = size + values + heap.rows * RECORD + if how.full_pages { size } else { 0.0 };
        if !how.in_page {
            for (tablespace, size) in &heap.indexes {
                need.add(tablespace, |place| place.index += bytes(*size as f64 * share));
                wal += heap.rows * ENTRY_RECORD;
            }
        }
        need.wal += bytes(wal * share);
    }
    need
}

/// How rows are copied.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Copying {
    /// Indexes of the table that they go into.
    pub indexes: usize,
    /// Columns of its key, which the record has too.
    pub keys: usize,
    /// What is still to be copied, 0 to 1.
    pub share: f64,
}

/// What a copy of these heaps into a table in `place` adds: the rows, the entries of its indexes, and the record of the keys,
/// which lies in `own`. As if the copy had all of the source's columns.
pub fn copy(from: &[Heap], place: &str, own: &str, how: Copying) -> Need {
    let mut need = Need::default();
    let share = how.share.clamp(0.0, 1.0);
    let rows = from.iter().map(|heap| heap.rows).sum::<f64>() * share;
    let heap = from.iter().map(|heap| heap.bytes as f64).sum::<f64>() * share;
    let entries = rows * ENTRY * how.indexes as f64;
    let record = rows * (ROW + KEY * how.keys as f64);
    need.add(place, |place| {
        place.heap += bytes(heap);
        place.index += bytes(entries);
    });
    need.add(own, |place| {
        place.heap += bytes(record);
        place.index += bytes(rows * ENTRY);
    });
    need.wal += bytes(heap + record + rows * 2.0 * RECORD + rows * ENTRY_RECORD * (how.indexes as f64 + 1.0));
    need.assumed.push("the copies are as large as the rows, a key's column has 16 bytes".to_owned());
    need
}

/// What keeping `width` bytes of so many rows adds, each with a key of one column, in `place`.
pub fn keep(rows: f64, width: f64, place: &str) -> Need {
    let mut need = Need::default();
    let (heap, entries) = (rows * (ROW + KEY + width), rows * ENTRY);
    need.add(place, |place| {
        place.heap += bytes(heap);
        place.index += bytes(entries);
    });
    need.wal += bytes(heap + rows * (RECORD + ENTRY_RECORD));
    need
}

/// What writing these heaps anew adds until the old files go: the whole once more.
pub fn rewrite(heaps: &[Heap]) -> Need {
    let mut need = Need::default();
    for heap in heaps {
        need.add(&heap.tablespace, |place| place.heap += heap.bytes);
        need.wal += heap.bytes;
        for (tablespace, size) in &heap.indexes {
            need.add(tablespace, |place| place.index += size);
            need.wal += size;
        }
    }
    need
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heap() -> Heap {
        let indexes = vec![("pg_default".to_owned(), 20_000_000), ("fast".to_owned(), 10_000_000)];
        Heap { tablespace: "pg_default".to_owned(), bytes: 100_000_000, rows: 1e6, indexes }
    }

    fn places(need: &Need) -> Vec<(&str, u64, u64)> {
        need.places.iter().map(|(name, place)| (name.as_str(), place.heap, place.index)).collect()
    }

    #[test]
    fn a_backfill_grows_by_what_does_not_stay_in_its_page() {
        let how = Rewriting { width: 16.0, in_page: true, share: 1.0, full_pages: false };
        let need = backfill(&[heap()], how);
        assert_eq!(places(&need), [("pg_default", 41_000_000, 0)]);
        assert_eq!(need.wal, 176_000_000);
        let half = backfill(&[heap()], Rewriting { share: 0.5, ..how });
        assert_eq!(places(&half), [("pg_default", 20_500_000, 0)]);
        let moved = backfill(&[heap()], Rewriting { in_page: false, full_pages: true, ..how });
        assert_eq!(places(&moved), [("fast", 0, 10_000_000), ("pg_default", 116_000_000, 20_000_000)]);
        assert_eq!(moved.wal, 456_000_000);
    }

    #[test]
    fn a_copy_needs_its_rows_their_entries_and_the_record() {
        let need = copy(&[heap()], "fast", "pg_default", Copying { indexes: 2, keys: 1, share: 1.0 });
        assert_eq!(places(&need), [("fast", 100_000_000, 72_000_000), ("pg_default", 44_000_000, 36_000_000)]);
        assert_eq!(need.wal, 534_000_000);
        let half = copy(&[heap()], "fast", "fast", Copying { indexes: 0, keys: 1, share: 0.5 });
        assert_eq!(places(&half), [("fast", 72_000_000, 18_000_000)]);
    }

    #[test]
    fn values_that_are_kept_need_their_rows_and_a_key() {
        let need = keep(1e6, 16.0, "fast");
        assert_eq!((places(&need), need.wal), (vec![("fast", 60_000_000, 36_000_000)], 210_000_000));
    }

    #[test]
    fn a_rewrite_needs_everything_once_more() {
        let need = rewrite(&[heap()]);
        assert_eq!(places(&need), [("fast", 0, 10_000_000), ("pg_default", 100_000_000, 20_000_000)]);
        assert_eq!(need.wal, 130_000_000);
    }
}
