//! Checkpoints that did not come by the clock. The server only counts them since its statistics were reset, so the number within
//! a time is the difference from what was seen then. Those that a command or a base backup asked for count as well: the
//! server does not tell them apart.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::pace::Seen;

/// The time in which they are counted.
const WINDOW: Duration = Duration::from_secs(600);
/// More changes within the window are no longer told apart; the oldest go.
const CHANGES_MAX: usize = 1_000;

/// The view changed in PostgreSQL 17.
pub(super) fn query(version_num: i32) -> &'static str {
    if version_num >= 170_000 {
        "SELECT to_json(num_requested) FROM pg_stat_checkpointer"
    } else {
        "SELECT to_json(checkpoints_req) FROM pg_stat_bgwriter"
    }
}

/// The count each time it changed.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    changes: VecDeque<(Instant, u64)>,
}

impl Checkpoints {
    /// How many came within the window, as far as it was watched.
    pub(super) fn read(&mut self, count: Seen<u64>, now: Instant) -> Seen<u64> {
        match count {
            Seen::Known(count) => Seen::Known(self.within(count, now)),
            other @ (Seen::Unseen | Seen::Unknown(_)) => other,
        }
    }

    fn within(&mut self, count: u64, now: Instant) -> u64 {
        // Fewer than before: the statistics were reset.
        if self.changes.back().is_some_and(|(_, last)| *last > count) {
            self.changes.clear();
        }
        if self.changes.back().is_none_or(|(_, last)| *last != count) {
            self.changes.push_back((now, count));
        }
        // The last change before the window is the count with which the window began.
        let old = |change: Option<&(Instant, u64)>| change.is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW);
        while old(self.changes.get(1)) || self.changes.len() > CHANGES_MAX {
            self.changes.pop_front();
        }
        self.changes.front().map_or(0, |(_, first)| count - first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_counted_within_ten_minutes() {
        let (mut checkpoints, start) = (Checkpoints::default(), Instant::now());
        let mut check = |seconds: u64, count: u64, expect: u64| {
            assert_eq!(checkpoints.within(count, start + Duration::from_secs(seconds)), expect, "{seconds}");
        };
        check(0, 70, 0);
        check(1, 70, 0);
        check(60, 72, 2);
        check(500, 73, 3);
        check(600, 73, 3);
        check(660, 73, 1);
        check(1_099, 73, 1);
        check(1_100, 73, 0);
        check(1_200, 1, 0);
        check(1_201, 2, 1);
    }
}
