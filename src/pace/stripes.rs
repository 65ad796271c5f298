//! Into how many batches a range is divided, and whether that pays.
//!
//! Interleaved batches pay when the new versions of rows stay in their pages (HOT). With an old snapshot, a slot's xmin or an
//! index on the column they do not: the page is only read more often. Then plain ranges are faster, until it changes.

/// Stripes where a page has rows enough. More stripes write a little less WAL and read the pages more often; measured on
/// 125-byte rows: 8 → 366 B of WAL a row and size 1.24, 10 → 356 and 1.21, 16 → 350 and 1.19 but slower by a fifth.
const STRIPES: u32 = 10;
/// With several workers, whose snapshots now and then keep the room of a stripe from the next one: a smaller part of a page
/// is then written beside it. (5M rows of 150 bytes, two workers: 10 → size 1.17 to 1.26.)
const STRIPES_OF_SEVERAL: u32 = 12;
/// Below this share of HOT updates, in percent, stripes cost more than they bring. Where all is well it is 70 to 90.
const HOT_PERCENT_MIN: u64 = 40;
/// Ranges with fewer rows prove nothing.
const ROWS_MIN: u64 = 100;
/// So many striped ranges in a row must be bad before they are given up.
const BAD_RANGES: u32 = 2;
/// After so many plain ranges a striped one is tried again: what held old rows may be gone.
const PLAIN_RANGES: u32 = 24;

/// What a backfill does at present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stripes {
    stripes: u32,
    bad: u32,
    /// Plain ranges since the stripes were given up.
    plain: Option<u32>,
}

/// The change that a finished range brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    GaveUp { hot_percent: u64 },
    TookUp { hot_percent: u64 },
}

impl Stripes {
    /// As many as the rows of a page allow: a stripe without a row in most pages is of no use.
    pub fn new(rows_a_block: Option<f64>, workers: u32) -> Self {
        let most = if workers > 1 { STRIPES_OF_SEVERAL } else { STRIPES };
        let rows = rows_a_block.unwrap_or(f64::from(most));
        Self { stripes: (rows.clamp(1.0, f64::from(most))) as u32, bad: 0, plain: None }
    }

    /// Plain ranges only: for a sweep, which finds few rows.
    pub fn none() -> Self {
        Self { stripes: 1, bad: 0, plain: None }
    }

    /// Stripes of the next range; 1 is a plain one.
    pub fn next_range(&self) -> u32 {
        match self.plain {
            Some(ranges) if ranges < PLAIN_RANGES => 1,
            Some(_) | None => self.stripes,
        }
    }

    /// A range is finished: its stripes, the rows written and how many of them were HOT.
    pub fn finished(&mut self, stripes: u32, rows: u64, hot: u64) -> Option<Change> {
        if stripes == 1 {
            self.plain = self.plain.map(|ranges| ranges.saturating_add(1));
            return None;
        }
        if rows < ROWS_MIN {
            return None;
        }
        let hot_percent = hot.saturating_mul(100) / rows;
        let good = hot_percent >= HOT_PERCENT_MIN;
        self.bad = if good { 0 } else { self.bad.saturating_add(1) };
        match self.plain {
            Some(_) if good => {
                self.plain = None;
                Some(Change::TookUp { hot_percent })
            }
            Some(_) => {
                self.plain = Some(0);
                None
            }
            None if self.bad >= BAD_RANGES => {
                self.plain = Some(0);
                Some(Change::GaveUp { hot_percent })
            }
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_with_few_rows_has_few_stripes() {
        for (rows, stripes) in [(None, 10), (Some(55.0), 10), (Some(4.2), 4), (Some(0.3), 1)] {
            assert_eq!(Stripes::new(rows, 1).next_range(), stripes, "{rows:?}");
        }
        assert_eq!(Stripes::new(Some(55.0), 2).next_range(), 12);
    }

    #[test]
    fn stripes_are_given_up_when_they_do_not_pay_and_tried_again() {
        let mut stripes = Stripes::new(None, 1);
        assert_eq!(stripes.finished(10, 1_000, 800), None);
        assert_eq!(stripes.finished(10, 1_000, 20), None);
        assert_eq!(stripes.finished(10, 1_000, 900), None);
        assert_eq!(stripes.finished(10, 1_000, 20), None);
        assert_eq!(stripes.finished(10, 50, 50), None);
        assert_eq!(stripes.finished(10, 1_000, 20), Some(Change::GaveUp { hot_percent: 2 }));
        for _ in 0..PLAIN_RANGES {
            assert_eq!(stripes.next_range(), 1);
            assert_eq!(stripes.finished(1, 1_000, 0), None);
        }
        assert_eq!(stripes.next_range(), 10);
        assert_eq!(stripes.finished(10, 1_000, 20), None);
        assert_eq!(stripes.next_range(), 1);
        for _ in 0..PLAIN_RANGES {
            let _ = stripes.finished(1, 1_000, 0);
        }
        assert_eq!(stripes.finished(10, 1_000, 700), Some(Change::TookUp { hot_percent: 70 }));
        assert_eq!(stripes.next_range(), 10);
    }
}
