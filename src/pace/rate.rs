//! Rows a second of the last while: a mean since the beginning counts the time of holds, pauses and stops as well.

use std::{collections::VecDeque, time::Duration};

/// The stretch that is measured, and the least distance between two samples; they bound the samples to 31.
const WINDOW: Duration = Duration::from_secs(30);
const SAMPLE: Duration = Duration::from_secs(1);

/// How many rows were written when; the times are since the walk began.
#[derive(Debug, Clone, Default)]
pub struct Rate {
    samples: VecDeque<(Duration, u64)>,
}

impl Rate {
    /// Takes the rows that are written by now, and gives rows a second once a second of them is known.
    pub fn take(&mut self, now: Duration, rows: u64) -> Option<f64> {
        if self.samples.back().is_none_or(|(at, _)| now.saturating_sub(*at) >= SAMPLE) {
            self.samples.push_back((now, rows));
        }
        while self.samples.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) >= WINDOW) {
            self.samples.pop_front();
        }
        let (began, before) = self.samples.front()?;
        let stretch = now.saturating_sub(*began);
        (stretch >= SAMPLE).then(|| rows.saturating_sub(*before) as f64 / stretch.as_secs_f64())
    }

    /// Nothing is written now: what comes later is measured anew.
    pub fn rest(&mut self) {
        self.samples.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_half_minute_and_of_no_wait() {
        let mut rate = Rate::default();
        let mut take = |s: u64, rows: u64| rate.take(Duration::from_secs(s), rows);
        assert_eq!(take(0, 500_000), None, "rows of an earlier run have no time");
        assert_eq!(take(10, 600_000), Some(10_000.0));
        for s in 11..=70 {
            let _ = take(s, 600_000 + (s - 10) * 1_000);
        }
        assert_eq!(take(71, 661_000), Some(1_000.0));
        rate.rest();
        assert_eq!(rate.take(Duration::from_secs(3_671), 661_000), None);
        assert_eq!(rate.take(Duration::from_secs(3_673), 663_000), Some(1_000.0));
    }
}
