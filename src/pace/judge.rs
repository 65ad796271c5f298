//! Every signal beside its limit.

use super::{
    amount::{bytes, count, time},
    decision::Reading,
    observation::{Named, Observation, Seen},
    replicas,
    signal::Signal,
};
use crate::plan::Throttle;

/// How a signal stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    Within,
    Unknown,
    Beyond,
    Critical,
}

/// A signal beside its limit.
#[derive(Debug, Clone)]
pub(super) struct Judged {
    pub reading: Reading,
    pub standing: Standing,
    /// What was seen, as a clause: `replica app_replica is 12.3 s behind`.
    pub what: String,
    /// The limit that it is beyond, or the one that it comes to first: `limit 10 s`.
    pub bound: String,
}

impl Judged {
    /// The whole sentence.
    pub fn why(&self) -> String {
        match self.standing {
            Standing::Within | Standing::Beyond | Standing::Critical => format!("{} ({})", self.what, self.bound),
            Standing::Unknown => self.what.clone(),
        }
    }

    fn rank(&self) -> (Standing, u32) {
        (self.standing, self.reading.percent)
    }
}

/// Where to wait and where to stop. With a critical limit alone it is measured against that.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub max: Option<u64>,
    pub critical: Option<u64>,
}

impl Limits {
    pub(super) fn max(max: Option<u64>) -> Self {
        Self { max, critical: None }
    }

    pub(super) fn is_set(self) -> bool {
        self.max.is_some() || self.critical.is_some()
    }

    /// None where there is no limit.
    pub(super) fn judge(
        self,
        signal: Signal,
        value: u64,
        what: String,
        show: impl Fn(u64) -> String,
    ) -> Option<Judged> {
        let limit = self.max.or(self.critical)?;
        let beyond = |limit: Option<u64>| limit.is_some_and(|limit| value > limit);
        let (standing, bound) = if beyond(self.critical) {
            (Standing::Critical, format!("critical limit {}", show(self.critical.unwrap_or(limit))))
        } else if beyond(self.max) {
            (Standing::Beyond, format!("limit {}", show(limit)))
        } else {
            (Standing::Within, format!("limit {}", show(limit)))
        };
        let reading = Reading { signal, measured: show(value), limit: show(limit), percent: percent(value, limit) };
        Some(Judged { reading, standing, what, bound })
    }
}

/// Above 100 exactly where `value` is above `limit`.
pub(super) fn percent(value: u64, limit: u64) -> u32 {
    let (value, limit) = (u128::from(value) * 100, u128::from(limit.max(1)));
    let percent = if value > limit * 100 { value.div_ceil(limit) } else { value / limit };
    u32::try_from(percent).unwrap_or(u32::MAX)
}

pub(super) fn unknown(signal: Signal, why: &str, limit: String) -> Judged {
    let reading = Reading { signal, measured: "unknown".to_owned(), limit: limit.clone(), percent: 100 };
    Judged { reading, standing: Standing::Unknown, what: format!("{signal} is unknown: {why}"), bound: limit }
}

/// At most one for each signal, the worst.
pub(super) fn judge(seen: &Observation, throttle: &Throttle) -> Vec<Judged> {
    let mut out: Vec<Judged> = Vec::new();
    for next in
        replicas::judge(seen, throttle).into_iter().chain(writing(seen, throttle)).chain(sessions(seen, throttle))
    {
        match out.iter_mut().find(|judged| judged.reading.signal == next.reading.signal) {
            Some(worst) if worst.rank() < next.rank() => *worst = next,
            Some(_) => {}
            None => out.push(next),
        }
    }
    out
}

/// A signal of one figure.
fn plain<T>(
    signal: Signal,
    seen: &Seen<T>,
    limits: Limits,
    show: impl Fn(u64) -> String,
    say: impl Fn(&T) -> (u64, String),
) -> Option<Judged> {
    match seen {
        Seen::Unseen => None,
        Seen::Unknown(why) => limits.max.or(limits.critical).map(|limit| unknown(signal, why, show(limit))),
        Seen::Known(value) => {
            let (value, what) = say(value);
            limits.judge(signal, value, what, show)
        }
    }
}

/// What has to do with the WAL and the disk.
fn writing(seen: &Observation, throttle: &Throttle) -> Vec<Judged> {
    let rate = |per_second: u64| format!("{}/s", bytes(per_second));
    let out = [
        plain(Signal::WalRate, &seen.wal_rate, Limits::max(throttle.max_wal_rate.map(|b| b.0)), rate, |now| {
            (*now, format!("the server writes {} of WAL a second", bytes(*now)))
        }),
        plain(
            Signal::ArchiveBacklog,
            &seen.archive_backlog,
            Limits::max(throttle.max_archive_backlog.map(u64::from)),
            |n| count(n, "file"),
            |now| (*now, format!("{} of WAL wait to be archived", count(*now, "file"))),
        ),
        plain(
            Signal::SlotRetained,
            &seen.slot_retained,
            Limits::max(throttle.max_slot_retained.map(|b| b.0)),
            bytes,
            |Named { name, value }| (*value, format!("replication slot {name} holds back {} of WAL", bytes(*value))),
        ),
        safe_wal(seen, throttle),
        plain(
            Signal::ForcedCheckpoints,
            &seen.forced_checkpoints,
            Limits::max(throttle.max_forced_checkpoints.map(u64::from)),
            |n| n.to_string(),
            |now| (*now, format!("{} forced within ten minutes", count(*now, "checkpoint"))),
        ),
    ];
    out.into_iter().flatten().collect()
}

/// The only one where less is worse: there is no waiting for it to grow, since others write too.
fn safe_wal(seen: &Observation, throttle: &Throttle) -> Option<Judged> {
    let limit = throttle.critical_safe_wal?.0;
    match &seen.safe_wal {
        Seen::Unseen => None,
        Seen::Unknown(why) => Some(unknown(Signal::SafeWal, why, bytes(limit))),
        Seen::Known(Named { name, value }) => {
            let standing = if *value < limit { Standing::Critical } else { Standing::Within };
            let measured = bytes(*value);
            let percent = percent(limit, *value);
            let what = format!("replication slot {name} is lost after {measured} more of WAL");
            let bound = format!("critical limit {}", bytes(limit));
            let reading = Reading { signal: Signal::SafeWal, measured, limit: bytes(limit), percent };
            Some(Judged { reading, standing, what, bound })
        }
    }
}

/// What others do.
fn sessions(seen: &Observation, throttle: &Throttle) -> Vec<Judged> {
    let number = |n: Option<u32>| Limits::max(n.map(u64::from));
    let share = |percent: u64| format!("{percent} %");
    let connections = Limits {
        max: throttle.max_connections_percent.map(u64::from),
        critical: throttle.critical_connections_percent.map(u64::from),
    };
    let out = [
        plain(Signal::Connections, &seen.connections, connections, share, |now| {
            let used = share_of(now.used, now.of);
            (used, format!("{} of {} connections are taken, {used} %", now.used, now.of))
        }),
        plain(
            Signal::ActiveSessions,
            &seen.active_sessions,
            number(throttle.max_active_sessions),
            |n| n.to_string(),
            |now| (*now, format!("{} running a statement", are(*now, "other session"))),
        ),
        plain(
            Signal::LockWaiters,
            &seen.lock_waiters,
            number(throttle.max_lock_waiters),
            |n| n.to_string(),
            |now| (*now, format!("{} waiting for a lock of ours", are(*now, "session"))),
        ),
        dead_rows(seen, throttle),
        plain(
            Signal::TransactionAge,
            &seen.transaction_age,
            Limits::max(throttle.max_transaction_age.map(|ms| ms.0)),
            time,
            |Named { name, value }| (*value, format!("{name} has been open for {}", time(*value))),
        ),
        query(seen, throttle),
    ];
    out.into_iter().flatten().collect()
}

fn are(number: u64, noun: &str) -> String {
    format!("{} {}", count(number, noun), if number == 1 { "is" } else { "are" })
}

fn share_of(part: u64, whole: u64) -> u64 {
    u64::from(percent(part, whole))
}

fn dead_rows(seen: &Observation, throttle: &Throttle) -> Option<Judged> {
    let limits = Limits::max(throttle.max_dead_percent.map(u64::from));
    let show = |percent: u64| format!("{percent} %");
    plain(Signal::DeadRows, &seen.dead_rows, limits, show, |now| {
        let dead = share_of(now.dead, now.live.saturating_add(now.dead));
        // Without a vacuum waiting changes nothing: nobody would clear them away meanwhile.
        let counts = if now.vacuuming { dead } else { 0 };
        (counts, format!("{dead} % of the table's rows are dead while it is being vacuumed"))
    })
}

fn query(seen: &Observation, throttle: &Throttle) -> Option<Judged> {
    let signal = throttle.query.as_ref()?;
    match &seen.query {
        Seen::Unseen => None,
        Seen::Unknown(why) => Some(unknown(Signal::Query, why, signal.max.to_string())),
        Seen::Known(value) if value.is_nan() => {
            Some(unknown(Signal::Query, "the plan's query gives no number", signal.max.to_string()))
        }
        Seen::Known(value) => Some(weigh_query(*value, signal.max, signal.critical)),
    }
}

/// The user's number may be negative or broken, and so may the limit.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn weigh_query(value: f64, max: i64, critical: Option<i64>) -> Judged {
    let beyond = |limit: i64| value > limit as f64;
    let ratio = if max > 0 { (value / max as f64 * 100.0).clamp(0.0, 1e9) } else { 0.0 };
    // Beyond a limit of 0 or less there is no percentage.
    let percent = if beyond(max) { (ratio.ceil() as u32).max(101) } else { (ratio.floor() as u32).min(100) };
    let (standing, bound) = match critical {
        Some(critical) if beyond(critical) => (Standing::Critical, format!("critical limit {critical}")),
        Some(_) | None if beyond(max) => (Standing::Beyond, format!("limit {max}")),
        Some(_) | None => (Standing::Within, format!("limit {max}")),
    };
    let reading = Reading { signal: Signal::Query, measured: value.to_string(), limit: max.to_string(), percent };
    Judged { reading, standing, what: format!("the plan's query gives {value}"), bound }
}
