//! Whether the limits of [throttle] and the bounds of [safety] and [backfill] can be meant: none is 0, none stops before it waits.

use std::{
    fmt::Display,
    ops::{Range, RangeInclusive},
};

use super::{
    throttle::Throttle,
    tuning::{TARGET_BATCH, WORKERS},
    types::{BackfillDefaults, Millis, Safety},
};
use crate::{
    diag::{Diag, Diags},
    unit::BATCH_ROWS_MAX,
};

/// The place of a key's value in its table; empty where the plan does not say it.
pub(super) type Place<'a> = &'a dyn Fn(&str, &str) -> Range<usize>;

/// How long a server may be waited for. Less than a second is no wait; more than a day is a person's decision, and the command
/// would look alive all the time.
const RECONNECT_MAX: RangeInclusive<Millis> = Millis(1_000)..=Millis(24 * 3_600_000);

pub(super) fn check_safety(safety: &Safety, place: Place<'_>, diags: &mut Diags) {
    let bounds = [
        ("lock_timeout", safety.lock_timeout),
        ("index_wait", safety.index_wait),
        ("statement_deadline", safety.statement_deadline),
    ];
    for (key, _) in bounds.into_iter().filter(|(_, value)| value.0 == 0) {
        diags.push(
            Diag::error("TM0103", place("safety", key), format!("`{key}` = 0 would wait without end"))
                .help("PostgreSQL reads 0 as no limit; write a bound such as \"2s\""),
        );
    }
    if !RECONNECT_MAX.contains(&safety.reconnect_max) {
        diags.push(Diag::error("TM0103", place("safety", "reconnect_max"), "`reconnect_max` is from 1s to 24h").help(
            "so long a server that went away is tried for; then the run is left for resume; 5min is a good value",
        ));
    }
}

pub(super) fn check_backfill(backfill: &BackfillDefaults, place: Place<'_>, diags: &mut Diags) {
    let mut refuse = |key: &str, what: String, help: &str| {
        diags.push(Diag::error("TM0103", place("backfill", key), what).help(help));
    };
    if !TARGET_BATCH.contains(&backfill.target_batch) {
        let (Millis(least), Millis(most)) = (TARGET_BATCH.start(), TARGET_BATCH.end());
        let what = format!("`target_batch` is from {least}ms to {}s", most / 1_000);
        refuse("target_batch", what, "a writer that meets a batch waits for its end; 50ms is a good value");
    }
    if backfill.workers.is_some_and(|workers| !WORKERS.contains(&workers)) {
        let what = format!("`workers` is from {} to {}", WORKERS.start(), WORKERS.end());
        refuse("workers", what, "leave it out to have it chosen from the server's cores and load");
    }
    if !(1..=BATCH_ROWS_MAX).contains(&backfill.batch_rows) {
        let what = format!("`batch_rows` is from 1 to {BATCH_ROWS_MAX}");
        refuse("batch_rows", what, "the most rows of a batch; target_batch says how long one may be");
    }
    if backfill.vacuum_percent.is_some_and(|percent| !(1..=100).contains(&percent)) {
        let what = "`vacuum_percent` is from 1 to 100".to_owned();
        refuse("vacuum_percent", what, "the table is vacuumed each time so much of it was written");
    }
}

pub(super) fn check_throttle(throttle: &Throttle, place: Place<'_>, diags: &mut Diags) {
    let place = |key: &str| place("throttle", key);
    for (key, _) in amounts(throttle).into_iter().filter(|(_, value)| *value == Some(0)) {
        let (what, help) = match key {
            "critical_safe_wal" => (
                "`critical_safe_wal` = 0 would stop when the slot is lost".to_owned(),
                "write how much WAL must be left until then, such as \"256MiB\"",
            ),
            "max_wait" => (
                "`max_wait` = 0 would pause the run where it should wait".to_owned(),
                "write how long a backfill may wait without a break, such as \"1h\"",
            ),
            _ => (
                format!("`{key}` = 0 would not let a backfill run"),
                "write what the server can bear; a very high limit turns the signal off",
            ),
        };
        diags.push(Diag::error("TM0103", place(key), what).help(help));
    }
    let lag = (throttle.max_replica_lag.map(Shown), throttle.critical_replica_lag.map(Shown));
    let shares = (throttle.max_connections_percent, throttle.critical_connections_percent);
    let query = throttle.query.as_ref().map(|query| (query.max, query.critical));
    let mut order = |max: &str, critical: &str, said: Option<(String, String)>| {
        let Some((limit, stop)) = said else { return };
        // The one that the plan says; the other may be the default.
        let at = [critical, max, "query"].into_iter().map(place).find(|at| !at.is_empty()).unwrap_or_default();
        let what = format!("`{critical}` = {stop} is below `{max}` = {limit}");
        let help = "beyond max it waits, beyond critical it stops; a key that is left out has its default";
        diags.push(Diag::error("TM0103", at, what).help(help));
    };
    order("max_replica_lag", "critical_replica_lag", reversed(lag.0, lag.1));
    order("max_connections_percent", "critical_connections_percent", reversed(shares.0, shares.1));
    order("max", "critical", query.and_then(|(max, critical)| reversed(Some(max), critical)));
}

/// Both, where the second is below the first.
fn reversed<T: PartialOrd + Display>(max: Option<T>, critical: Option<T>) -> Option<(String, String)> {
    let (max, critical) = (max?, critical?);
    (critical < max).then(|| (max.to_string(), critical.to_string()))
}

/// A length of time as a plan writes it.
#[derive(PartialEq, PartialOrd)]
struct Shown(Millis);

impl Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", humantime::format_duration(self.0.duration()))
    }
}

/// Every limit that 0 makes no sense for. `replicas` = 0 does: replicas are not looked at.
fn amounts(throttle: &Throttle) -> [(&'static str, Option<u64>); 15] {
    let number = |value: Option<u32>| value.map(u64::from);
    [
        ("max_replica_lag", throttle.max_replica_lag.map(|ms| ms.0)),
        ("max_replica_lag_bytes", throttle.max_replica_lag_bytes.map(|bytes| bytes.0)),
        ("critical_replica_lag", throttle.critical_replica_lag.map(|ms| ms.0)),
        ("max_wal_rate", throttle.max_wal_rate.map(|bytes| bytes.0)),
        ("max_archive_backlog", number(throttle.max_archive_backlog)),
        ("max_slot_retained", throttle.max_slot_retained.map(|bytes| bytes.0)),
        ("critical_safe_wal", throttle.critical_safe_wal.map(|bytes| bytes.0)),
        ("max_connections_percent", number(throttle.max_connections_percent)),
        ("critical_connections_percent", number(throttle.critical_connections_percent)),
        ("max_active_sessions", number(throttle.max_active_sessions)),
        ("max_lock_waiters", number(throttle.max_lock_waiters)),
        ("max_dead_percent", number(throttle.max_dead_percent)),
        ("max_transaction_age", throttle.max_transaction_age.map(|ms| ms.0)),
        ("max_forced_checkpoints", number(throttle.max_forced_checkpoints)),
        ("max_wait", Some(throttle.max_wait.0)),
    ]
}
