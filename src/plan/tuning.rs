//! What an operator may ask of the pace, and what of it a later word leaves in force.

use std::ops::RangeInclusive;

use super::{throttle::Tuning, types::Millis};

/// Sessions that write at once: the largest servers have so many cores to spare, and each worker takes a connection.
pub const WORKERS: RangeInclusive<u32> = 1..=64;
/// How long a batch should take: below, the transactions themselves are what it costs; above, a writer that meets a batch
/// waits as long.
pub const TARGET_BATCH: RangeInclusive<Millis> = Millis(1)..=Millis(10_000);
/// Characters of a reason for standing still: a line of `status`.
pub const HOLD_CHARS_MAX: usize = 200;

impl Tuning {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What it says of the pace alone.
    pub fn without_hold(&self) -> Self {
        Self { hold: None, ..self.clone() }
    }

    /// What is wrong with it, a fragment. Limits of zero are refused, since no server keeps them and nothing would move.
    pub fn check(&self) -> Result<(), String> {
        let Self {
            target_batch,
            workers,
            max_replica_lag,
            max_replica_lag_bytes,
            max_wal_rate,
            max_active_sessions,
            hold,
        } = self;
        if self.is_empty() {
            return Err("it asks for nothing".to_owned());
        }
        if target_batch.is_some_and(|target| !TARGET_BATCH.contains(&target)) {
            return Err("a batch takes 1ms to 10s".to_owned());
        }
        if workers.is_some_and(|workers| !WORKERS.contains(&workers)) {
            return Err(format!("there are {} to {} workers", WORKERS.start(), WORKERS.end()));
        }
        let zero = [
            ("replica lag", max_replica_lag.is_some_and(|lag| lag.0 == 0)),
            ("replica lag in bytes", max_replica_lag_bytes.is_some_and(|lag| lag.0 == 0)),
            ("WAL rate", max_wal_rate.is_some_and(|rate| rate.0 == 0)),
            ("active sessions", max_active_sessions == &Some(0)),
        ];
        if let Some((limit, _)) = zero.iter().find(|(_, zero)| *zero) {
            return Err(format!("a limit of zero for {limit} would let nothing move; to stand still, hold"));
        }
        match hold {
            Some(Some(why)) if why.trim().is_empty() || why.chars().count() > HOLD_CHARS_MAX => {
                Err(format!("the reason has 1 to {HOLD_CHARS_MAX} characters"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// What of it a later one leaves in force.
    pub fn left_by(&self, later: &Self) -> Self {
        fn left<T: Clone>(mine: &Option<T>, later: &Option<T>) -> Option<T> {
            mine.clone().filter(|_| later.is_none())
        }
        let Self {
            target_batch,
            workers,
            max_replica_lag,
            max_replica_lag_bytes,
            max_wal_rate,
            max_active_sessions,
            hold,
        } = self;
        Self {
            target_batch: left(target_batch, &later.target_batch),
            workers: left(workers, &later.workers),
            max_replica_lag: left(max_replica_lag, &later.max_replica_lag),
            max_replica_lag_bytes: left(max_replica_lag_bytes, &later.max_replica_lag_bytes),
            max_wal_rate: left(max_wal_rate, &later.max_wal_rate),
            max_active_sessions: left(max_active_sessions, &later.max_active_sessions),
            hold: left(hold, &later.hold),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Bytes;

    fn tuning(change: impl Fn(&mut Tuning)) -> Tuning {
        let mut tuning = Tuning::default();
        change(&mut tuning);
        tuning
    }

    #[test]
    fn only_what_can_be_kept_may_be_asked() {
        let check = |change: &dyn Fn(&mut Tuning), fits: bool| {
            let tuning = tuning(change);
            assert_eq!(tuning.check().is_ok(), fits, "{tuning:?}: {:?}", tuning.check());
        };
        check(&|_| {}, false);
        for (ms, fits) in [(0, false), (1, true), (10_000, true), (10_001, false)] {
            check(&|t| t.target_batch = Some(Millis(ms)), fits);
        }
        for (workers, fits) in [(0, false), (1, true), (64, true), (65, false)] {
            check(&|t| t.workers = Some(workers), fits);
        }
        check(&|t| t.max_replica_lag = Some(Millis(0)), false);
        check(&|t| t.max_replica_lag_bytes = Some(Bytes(0)), false);
        check(&|t| t.max_wal_rate = Some(Bytes(1)), true);
        check(&|t| t.max_active_sessions = Some(0), false);
        check(&|t| t.hold = Some(None), true);
        for (why, fits) in [(" ".to_owned(), false), ("x".repeat(200), true), ("é".repeat(201), false)] {
            check(&|t| t.hold = Some(Some(why.clone())), fits);
        }
    }

    #[test]
    fn a_later_word_leaves_what_it_does_not_name() {
        let first = tuning(|t| (t.workers, t.target_batch) = (Some(3), Some(Millis(20))));
        let held = tuning(|t| (t.hold, t.workers) = (Some(Some("lunch".to_owned())), Some(1)));
        assert_eq!(first.left_by(&held), tuning(|t| t.target_batch = Some(Millis(20))));
        assert_eq!(held.left_by(&tuning(|t| t.hold = Some(None))), tuning(|t| t.workers = Some(1)));
    }
}
