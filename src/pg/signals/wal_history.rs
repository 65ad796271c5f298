//! Where the end of the WAL was, look by look: how fast it grows, and when a position was reached.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::pace::Seen;

/// The rate is the mean over this time: a single batch is no rate yet, and a change shows within a few looks.
const RATE_WINDOW: Duration = Duration::from_secs(5);
/// Less time than this gives no rate.
const RATE_MIN: Duration = Duration::from_millis(200);
/// Ten minutes of looks, twice a second: a replica that is further behind than that is behind for ten minutes at least.
const LOOKS_MAX: usize = 1_200;

#[derive(Debug, Clone, Copy)]
struct Position {
    at: Instant,
    inserted: i64,
    flushed: i64,
}

/// The positions of the last looks, in their order.
#[derive(Debug, Default)]
pub(super) struct WalHistory {
    looks: VecDeque<Position>,
}

impl WalHistory {
    pub(super) fn push(&mut self, at: Instant, inserted: i64, flushed: i64) {
        self.looks.push_back(Position { at, inserted, flushed });
        while self.looks.len() > LOOKS_MAX {
            self.looks.pop_front();
        }
    }

    /// Bytes a second; not seen yet where there is only one look.
    pub(super) fn rate(&self, now: Instant) -> Seen<u64> {
        let first = self.looks.iter().find(|look| now.duration_since(look.at) <= RATE_WINDOW);
        let (Some(first), Some(last)) = (first, self.looks.back()) else { return Seen::Unseen };
        let time = last.at.duration_since(first.at);
        if time < RATE_MIN {
            return Seen::Unseen;
        }
        let bytes = u128::try_from(last.inserted - first.inserted).unwrap_or(0);
        Seen::Known(u64::try_from(bytes * 1_000 / time.as_millis().max(1)).unwrap_or(u64::MAX))
    }

    /// For how long there has been WAL on disk beyond `position`, as far as is remembered.
    pub(super) fn beyond(&self, position: i64, now: Instant) -> Duration {
        let first = self.looks.partition_point(|look| look.flushed <= position);
        self.looks.get(first).map_or(Duration::ZERO, |look| now.duration_since(look.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_age_come_from_the_positions() {
        let (mut wal, start) = (WalHistory::default(), Instant::now());
        let at = |ms: u64| start + Duration::from_millis(ms);
        wal.push(at(0), 1_000, 900);
        assert_eq!(wal.rate(at(0)), Seen::Unseen);
        for step in 1..=20 {
            wal.push(at(500 * step), 1_000 + 50 * i64::try_from(step).unwrap_or(0), 900 + i64::from(step > 10) * 50);
        }
        let now = at(10_000);
        assert_eq!(wal.rate(now), Seen::Known(100));
        assert_eq!(wal.beyond(950, now), Duration::ZERO);
        assert_eq!(wal.beyond(920, now), Duration::from_millis(4_500));
        assert_eq!(wal.beyond(5, now), Duration::from_secs(10));
        for step in 21..5_000 {
            wal.push(at(500 * step), 2_000, 2_000);
        }
        assert_eq!(wal.looks.len(), LOOKS_MAX);
        assert_eq!(wal.rate(at(500 * 4_999)), Seen::Known(0));
    }
}
