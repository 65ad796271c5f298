//! How fast a backfill goes, measured over its last half minute: a mean since the start would hide that it was throttled.

use std::{collections::VecDeque, time::Duration};

use chrono::{DateTime, Utc};

/// The stretch that is measured, in milliseconds.
const WINDOW_MS: i64 = 30_000;

/// The least distance between two samples, in milliseconds; bounds their number to 61.
const SAMPLE_MS: i64 = 500;

/// Where a backfill stood, and when.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Sample {
    at: DateTime<Utc>,
    rows: u64,
    percent: f64,
}

/// The last samples of one backfill.
#[derive(Debug, Clone, Default)]
pub(super) struct Speed {
    samples: VecDeque<Sample>,
    last: Option<Sample>,
}

impl Speed {
    /// Takes the state after a batch.
    pub(super) fn sample(&mut self, at: DateTime<Utc>, rows: u64, percent: f64) {
        let sample = Sample { at, rows, percent };
        if self.samples.back().is_none_or(|last| (at - last.at).num_milliseconds() >= SAMPLE_MS) {
            self.samples.push_back(sample);
        }
        while self.samples.get(1).is_some_and(|second| (at - second.at).num_milliseconds() >= WINDOW_MS) {
            self.samples.pop_front();
        }
        self.last = Some(sample);
    }

    /// Rows a second; `None` until two batches are seen.
    pub(super) fn rows_per_second(&self) -> Option<f64> {
        let (first, last, seconds) = self.stretch()?;
        Some(last.rows.saturating_sub(first.rows) as f64 / seconds)
    }

    /// The time to the end of the table at this pace; `None` while unknown or while nothing moves.
    pub(super) fn remaining(&self) -> Option<Duration> {
        let (first, last, seconds) = self.stretch()?;
        let pace = (last.percent - first.percent) / seconds;
        let left = (100.0 - last.percent).max(0.0) / pace;
        (pace > 0.0).then(|| Duration::try_from_secs_f64(left).ok()).flatten()
    }

    fn stretch(&self) -> Option<(Sample, Sample, f64)> {
        let (first, last) = (*self.samples.front()?, self.last?);
        let seconds = (last.at - first.at).num_milliseconds() as f64 / 1_000.0;
        (seconds > 0.0).then_some((first, last, seconds))
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn the_pace_is_that_of_the_last_half_minute() {
        let mut speed = Speed::default();
        let start = DateTime::UNIX_EPOCH;
        speed.sample(start, 50_000, 50.0);
        assert_eq!((speed.rows_per_second(), speed.remaining()), (None, None), "one batch has no pace");
        // A minute at 1,000 rows/s, then a minute at 100 rows/s, four batches a second.
        for quarter in 1..=480u32 {
            let s = f64::from(quarter) / 4.0;
            let rows = if s <= 60.0 { s * 1_000.0 } else { 60_000.0 + (s - 60.0) * 100.0 };
            let at = start + TimeDelta::milliseconds(i64::from(quarter) * 250);
            speed.sample(at, 50_000 + rows as u64, 50.0 + rows / 10_000.0);
        }
        assert_eq!(speed.rows_per_second(), Some(100.0));
        let left = speed.remaining().map(|d| d.as_secs());
        assert_eq!(left, Some(4_340), "43.4 % are left at 0.01 % a second");
        assert!(speed.samples.len() <= 62, "{}", speed.samples.len());
    }

    #[test]
    fn a_standstill_has_no_end() {
        let mut speed = Speed::default();
        speed.sample(DateTime::UNIX_EPOCH, 10, 1.0);
        speed.sample(DateTime::UNIX_EPOCH + TimeDelta::seconds(5), 10, 1.0);
        assert_eq!((speed.rows_per_second(), speed.remaining()), (Some(0.0), None));
    }
}
