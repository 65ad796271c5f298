//! What a backfill may cost the server before it waits, and how an operator changes that while it runs.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{bytes::Bytes, types::Millis};
use crate::sql::Expr;

/// The limits of the signals that a backfill waits for. `None`: the signal is not looked at. Beyond a critical limit it does
/// not wait but ends as `on_critical` says.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Throttle {
    /// How far behind a replica's replay may be, in time.
    pub max_replica_lag: Option<Millis>,
    /// The same in bytes of WAL: a stopped walreceiver shows an old time, but the bytes grow.
    pub max_replica_lag_bytes: Option<Bytes>,
    pub critical_replica_lag: Option<Millis>,
    /// How many replicas must be connected; left out, as many as are when the backfill begins; 0: replicas are
    /// not looked at.
    pub replicas: Option<u32>,
    /// WAL that the whole server may write in a second.
    pub max_wal_rate: Option<Bytes>,
    /// WAL files that wait for the archiver.
    pub max_archive_backlog: Option<u32>,
    /// WAL that any replication slot may hold back.
    pub max_slot_retained: Option<Bytes>,
    /// What must be left until a slot is lost (`safe_wal_size`, where max_slot_wal_keep_size is set); below is critical.
    pub critical_safe_wal: Option<Bytes>,
    /// Client connections in percent of max_connections.
    pub max_connections_percent: Option<u32>,
    pub critical_connections_percent: Option<u32>,
    /// Sessions that are running a statement now, ours left out.
    pub max_active_sessions: Option<u32>,
    /// Sessions that wait for a lock of ours.
    pub max_lock_waiters: Option<u32>,
    /// Dead rows in percent of the table's rows, while an autovacuum is at work on it.
    pub max_dead_percent: Option<u32>,
    /// How old the oldest transaction of anybody else may be.
    pub max_transaction_age: Option<Millis>,
    /// Checkpoints within ten minutes that were forced by the amount of WAL.
    pub max_forced_checkpoints: Option<u32>,
    /// A query of the user's.
    pub query: Option<UserSignal>,
    pub on_critical: OnCritical,
    /// The longest that a backfill waits without a break before the run is paused.
    pub max_wait: Millis,
}

/// A number that the user's own SQL gives, and its limits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserSignal {
    /// A query of one number, as an expression: `(SELECT count(*) FROM app.queue)`.
    pub sql: Expr,
    /// Above it the backfill waits.
    pub max: i64,
    pub critical: Option<i64>,
}

/// What happens beyond a critical limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnCritical {
    /// The run is paused; what is done stays.
    #[default]
    Pause,
    /// The step fails, and the phase's on_failure says what becomes of it.
    Fail,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            max_replica_lag: Some(Millis(10_000)),
            max_replica_lag_bytes: Some(Bytes(64 << 20)),
            critical_replica_lag: None,
            replicas: None,
            max_wal_rate: None,
            max_archive_backlog: Some(64),
            max_slot_retained: None,
            critical_safe_wal: Some(Bytes(256 << 20)),
            max_connections_percent: Some(80),
            critical_connections_percent: Some(90),
            max_active_sessions: None,
            max_lock_waiters: Some(5),
            max_dead_percent: None,
            max_transaction_age: None,
            max_forced_checkpoints: None,
            query: None,
            on_critical: OnCritical::Pause,
            max_wait: Millis(60 * 60_000),
        }
    }
}

/// How fast a run's backfills go: the plan's word, with the operator's laid over it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Pacing {
    /// How long a batch should take: a writer that meets it waits no longer than that.
    pub target_batch: Millis,
    /// Sessions that write; `None`: chosen from the server's cores and load.
    pub workers: Option<u32>,
    pub throttle: Throttle,
    pub synchronous_commit: Option<SynchronousCommit>,
    /// The table is vacuumed each time so much of it, in percent, was written.
    pub vacuum_percent: Option<u32>,
    /// An operator's word, and reason, that backfills stand still.
    #[serde(skip)]
    pub hold: Option<String>,
}

impl Default for Pacing {
    fn default() -> Self {
        Self {
            target_batch: Millis(50),
            workers: None,
            throttle: Throttle::default(),
            synchronous_commit: None,
            vacuum_percent: None,
            hold: None,
        }
    }
}

/// PostgreSQL's setting of this name, for the batches. Off is safe here, since progress commits with the rows: a crash of the
/// server loses both together, and the batch is done again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SynchronousCommit {
    On,
    Off,
    Local,
    RemoteWrite,
    RemoteApply,
}

impl SynchronousCommit {
    /// The server's word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
            Self::Local => "local",
            Self::RemoteWrite => "remote_write",
            Self::RemoteApply => "remote_apply",
        }
    }
}

/// What an operator changes while a run is under way; what is `None` stays as it was.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tuning {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_batch: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_replica_lag: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_replica_lag_bytes: Option<Bytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_wal_rate: Option<Bytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_active_sessions: Option<u32>,
    /// `Some(Some(reason))`: stand still; `Some(None)`: go on.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub hold: Option<Option<String>>,
}

/// A key that is there with null is not one that is left out.
fn given<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Option<String>>, D::Error> {
    Option::<String>::deserialize(from).map(Some)
}

impl fmt::Display for Tuning {
    /// `target batch 20ms, 3 workers`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = Vec::new();
        let time = |ms: Millis| humantime::format_duration(ms.duration()).to_string();
        said.extend(self.target_batch.map(|ms| format!("target batch {}", time(ms))));
        said.extend(self.workers.map(|n| format!("{n} {}", if n == 1 { "worker" } else { "workers" })));
        said.extend(self.max_replica_lag.map(|ms| format!("replica lag up to {}", time(ms))));
        said.extend(self.max_replica_lag_bytes.map(|bytes| format!("replica lag up to {bytes}")));
        said.extend(self.max_wal_rate.map(|bytes| format!("up to {bytes} of WAL a second")));
        said.extend(self.max_active_sessions.map(|n| format!("up to {n} active sessions")));
        said.extend(self.hold.as_ref().map(|hold| match hold {
            Some(why) => format!("held: {why}"),
            None => "no longer held".to_owned(),
        }));
        f.write_str(&said.join(", "))
    }
}

impl Tuning {
    /// Lays a later one over this.
    pub fn merge(&mut self, later: &Self) {
        let Self {
            target_batch,
            workers,
            max_replica_lag,
            max_replica_lag_bytes,
            max_wal_rate,
            max_active_sessions,
            hold,
        } = later.clone();
        self.target_batch = target_batch.or(self.target_batch);
        self.workers = workers.or(self.workers);
        self.max_replica_lag = max_replica_lag.or(self.max_replica_lag);
        self.max_replica_lag_bytes = max_replica_lag_bytes.or(self.max_replica_lag_bytes);
        self.max_wal_rate = max_wal_rate.or(self.max_wal_rate);
        self.max_active_sessions = max_active_sessions.or(self.max_active_sessions);
        self.hold = hold.or_else(|| self.hold.take());
    }

    /// The plan's word with this laid over it.
    pub fn over(&self, plan: &Pacing) -> Pacing {
        let mut out = plan.clone();
        out.target_batch = self.target_batch.unwrap_or(out.target_batch);
        out.workers = self.workers.or(out.workers);
        let throttle = &mut out.throttle;
        throttle.max_replica_lag = self.max_replica_lag.or(throttle.max_replica_lag);
        throttle.max_replica_lag_bytes = self.max_replica_lag_bytes.or(throttle.max_replica_lag_bytes);
        throttle.max_wal_rate = self.max_wal_rate.or(throttle.max_wal_rate);
        throttle.max_active_sessions = self.max_active_sessions.or(throttle.max_active_sessions);
        out.hold = self.hold.clone().flatten();
        out
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn later_words_are_laid_over_earlier_ones() {
        let mut tuning = Tuning { workers: Some(3), hold: Some(Some("lunch".to_owned())), ..Tuning::default() };
        assert_eq!(tuning.over(&Pacing::default()).hold.as_deref(), Some("lunch"));
        tuning.merge(&Tuning { target_batch: Some(Millis(20)), ..Tuning::default() });
        tuning.merge(&Tuning { hold: Some(None), ..Tuning::default() });
        let pacing = tuning.over(&Pacing { workers: Some(1), ..Pacing::default() });
        assert_eq!((pacing.workers, pacing.target_batch, pacing.hold), (Some(3), Millis(20), None));
    }

    #[test]
    fn going_on_is_kept_as_such() {
        for hold in [None, Some(None), Some(Some("why".to_owned()))] {
            let tuning = Tuning { hold, ..Tuning::default() };
            let kept = serde_json::to_string(&tuning).unwrap();
            assert_eq!(serde_json::from_str::<Tuning>(&kept).unwrap(), tuning, "{kept}");
        }
    }
}
