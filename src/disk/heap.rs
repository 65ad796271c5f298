//! About how much a backfill or a rewrite adds to a table, its indexes and the WAL.

use super::{index::bytes, room::Need};

/// What a table grows by where the new versions stay in their pages: measured 1.17 to 1.22 of its size (see the README).
const GROWTH_IN_PAGE: f64 = 0.25;
/// A WAL record's own bytes, for a row and for an index entry.
const RECORD: f64 = 60.0;
const ENTRY_RECORD: f64 = 90.0;

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
    fn a_rewrite_needs_everything_once_more() {
        let need = rewrite(&[heap()]);
        assert_eq!(places(&need), [("fast", 0, 10_000_000), ("pg_default", 100_000_000, 20_000_000)]);
        assert_eq!(need.wal, 130_000_000);
    }
}
