//! About how large an index becomes, from what the planner's statistics say of its columns.
//!
//! Layout: PostgreSQL documentation, "Database Page Layout"; `src/include/access/itup.h`, `nbtree.h` and `nbtsort.c` for what
//! a B-tree build packs and deduplicates. Checked against real indexes in `tests/it/disk_estimate.rs`.

/// A page without its header and the 16 bytes that an index keeps at its end.
const PAGE: f64 = 8192.0;
const PAGE_USABLE: f64 = PAGE - 24.0 - 16.0;
/// The address and length of a tuple, before its columns; and its line pointer in the page.
const TUPLE_HEADER: f64 = 8.0;
const LINE_POINTER: f64 = 4.0;
/// An address of a row in a posting list.
const ADDRESS: f64 = 6.0;
/// A build makes posting lists of so many bytes at most: a tenth of a page.
const POSTING_MAX: f64 = 812.0;
/// Below so many rows a key deduplication saves nothing to speak of.
const GROUP_MIN: f64 = 1.5;
/// What a sort keeps in memory beside each tuple, and writes to tape before it.
const SORT_SLOT: f64 = 24.0;
const TAPE_HEADER: f64 = 8.0;
/// Pages that an incremental build of gist and spgist leaves this full.
const SPLIT_FILL: f64 = 0.7;

/// One key, or included column, as its statistics have it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Column {
    /// Bytes of a value that is not NULL.
    pub width: f64,
    /// The share of NULLs.
    pub nulls: f64,
    /// 1, 2, 4 or 8.
    pub align: u32,
    /// How many values there are; `None`: unknown, taken as all different.
    pub distinct: Option<f64>,
    /// Whether equal values look equal (not so for numeric and floats), so that a B-tree may keep one of them.
    pub alike: bool,
}

/// An index of one heap.
#[derive(Debug, Clone, PartialEq)]
pub struct Index {
    pub method: String,
    pub rows: f64,
    /// Of the heap.
    pub blocks: f64,
    pub columns: Vec<Column>,
    pub fillfactor: Option<u32>,
    pub unique: bool,
    /// It has columns that are only included: then nothing is deduplicated.
    pub includes: bool,
}

/// How the build sorts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sort {
    /// `maintenance_work_mem`.
    pub memory: u64,
    /// Workers sort beside the leader: theirs goes to files, however small.
    pub parallel: bool,
}

/// Bytes of the index when it is built.
pub fn index(of: &Index) -> u64 {
    let pages = match of.method.as_str() {
        "btree" => btree(of),
        // A hash code of four bytes an entry; the buckets are counted in powers of two.
        "hash" => of.rows * (TUPLE_HEADER + 8.0 + LINE_POINTER) / (PAGE_USABLE * fill(of, 75)) * 1.3,
        "gist" | "spgist" => of.rows * entry(of) / (PAGE_USABLE * SPLIT_FILL),
        // Two values and their flags for 128 pages of the heap.
        "brin" => of.blocks / 128.0 * (2.0 * tuple(of) + 8.0) / PAGE_USABLE + 2.0,
        "gin" => of.rows * of.columns.iter().map(elements).sum::<f64>() / PAGE_USABLE,
        // Of an extension: as if each entry stood there by itself.
        _ => of.rows * entry(of) / PAGE_USABLE,
    };
    bytes((pages.ceil() + 1.0) * PAGE)
}

/// Bytes of sort files: 0 where the memory is enough.
pub fn sort_bytes(of: &Index, sort: Sort) -> u64 {
    if !["btree", "hash"].contains(&of.method.as_str()) {
        return 0;
    }
    let tape = of.rows * (tuple(of) + TAPE_HEADER);
    let memory = of.rows * (tuple(of) + SORT_SLOT);
    let fits = memory <= sort.memory as f64 && !sort.parallel;
    if fits { 0 } else { bytes(tape) }
}

/// Bytes of a value's elements in a gin index, roughly: an address for each of an array's elements (taken as 8 bytes long, behind
/// a header of 20); for text about its bytes and as much again, as trigrams have it.
fn elements(column: &Column) -> f64 {
    if column.alike { 2.0 * column.width } else { ((column.width - 20.0) / 8.0).max(1.0) * ADDRESS }
}

fn btree(of: &Index) -> f64 {
    let tuple = tuple(of);
    let distinct = of.columns.iter().map(|column| column.distinct.unwrap_or(of.rows).max(1.0)).product::<f64>();
    let group = of.rows / distinct.clamp(1.0, of.rows.max(1.0));
    let merges = !of.unique && !of.includes && of.columns.iter().all(|column| column.alike) && group > GROUP_MIN;
    let row = if merges {
        let list = ((POSTING_MAX - tuple) / ADDRESS).clamp(1.0, group);
        (aligned(tuple + list * ADDRESS, 8.0) + LINE_POINTER) / list
    } else {
        tuple + LINE_POINTER
    };
    // The first entry of a page but the rightmost is the upper bound of its keys.
    let leaves = of.rows * row / (PAGE_USABLE * fill(of, 90) - tuple).max(tuple);
    let branches = (tuple + LINE_POINTER) / (PAGE_USABLE * 0.7);
    leaves * (1.0 + branches / (1.0 - branches.min(0.9)))
}

fn fill(of: &Index, usual: u32) -> f64 {
    f64::from(of.fillfactor.unwrap_or(usual).clamp(10, 100)) / 100.0
}

fn entry(of: &Index) -> f64 {
    tuple(of) + LINE_POINTER
}

/// Bytes of an entry: the columns one after the other, each at its alignment, and the whole at 8.
fn tuple(of: &Index) -> f64 {
    let data = of.columns.iter().fold(0.0, |at, column| {
        let end = aligned(at, f64::from(column.align)) + column.width;
        at + (end - at) * (1.0 - column.nulls.clamp(0.0, 1.0))
    });
    // A bitmap of NULLs stands in every entry that has one.
    let nulls = of.columns.iter().map(|column| column.nulls).fold(0.0, f64::max);
    aligned(TUPLE_HEADER + data, 8.0) + 8.0 * nulls
}

fn aligned(bytes: f64, to: f64) -> f64 {
    (bytes / to.max(1.0)).ceil() * to.max(1.0)
}

/// Figures that are no bytes count as none.
pub(super) fn bytes(figure: f64) -> u64 {
    if figure.is_finite() && figure > 0.0 { figure as u64 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BIGINT: Column = Column { width: 8.0, nulls: 0.0, align: 8, distinct: None, alike: true };

    fn of(method: &str, rows: f64, columns: &[Column]) -> Index {
        Index {
            method: method.to_owned(),
            rows,
            blocks: rows / 60.0,
            columns: columns.to_vec(),
            fillfactor: None,
            unique: false,
            includes: false,
        }
    }

    #[track_caller]
    fn about(estimated: u64, real: u64) {
        let ratio = estimated as f64 / real as f64;
        assert!((0.85..1.18).contains(&ratio), "{estimated} against {real}: {ratio:.2}");
    }

    /// Sizes by pg_relation_size of PostgreSQL 15 for a million rows.
    #[test]
    fn an_index_is_as_large_as_a_real_one() {
        about(index(&of("btree", 1e6, &[BIGINT])), 22_487_040);
        about(index(&Index { fillfactor: Some(50), ..of("btree", 1e6, &[BIGINT]) }), 40_722_432);
        let uuid = Column { width: 16.0, align: 1, ..BIGINT };
        about(index(&of("btree", 1e6, &[uuid, BIGINT])), 40_640_512);
        let text = Column { width: 33.0, align: 1, ..BIGINT };
        about(index(&of("btree", 1e6, &[text])), 59_064_320);
        let tenant = Column { distinct: Some(100.0), ..BIGINT };
        about(index(&of("btree", 1e6, &[tenant])), 6_979_584);
        // Nothing is deduplicated here.
        about(index(&Index { includes: true, ..of("btree", 1e6, &[tenant, uuid]) }), 40_583_168);
        about(index(&of("hash", 1e6, &[BIGINT])), 33_570_816);
    }

    #[test]
    fn a_sort_that_fits_into_memory_needs_no_file() {
        let index = of("btree", 1e6, &[BIGINT]);
        assert_eq!(sort_bytes(&index, Sort { memory: 64 << 20, parallel: false }), 0);
        assert_eq!(sort_bytes(&index, Sort { memory: 16 << 20, parallel: false }), 24_000_000);
        assert_eq!(sort_bytes(&index, Sort { memory: 64 << 20, parallel: true }), 24_000_000);
        assert_eq!(sort_bytes(&of("brin", 1e6, &[BIGINT]), Sort { memory: 1, parallel: false }), 0);
    }

    #[test]
    fn facts_that_cannot_be_are_no_panic() {
        let odd = Column { width: f64::NAN, nulls: 2.0, align: 0, distinct: Some(-3.0), alike: true };
        for method in ["btree", "hash", "gin", "gist", "spgist", "brin", "hnsw"] {
            for rows in [0.0, -1.0, f64::NAN, 1e18] {
                let of = of(method, rows, &[odd, BIGINT]);
                let (_, _) = (index(&of), sort_bytes(&of, Sort { memory: 0, parallel: false }));
            }
        }
    }
}
