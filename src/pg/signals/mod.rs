//! What a backfill's pace depends on, collected from the server. One look is one query that takes no lock but those of the
//! views it reads; the archive's folder and the user's own query are asked apart, since they may be slow or fail by themselves.
//!
//! | Signal | Seen by a role without pg_monitor |
//! |---|---|
//! | replicas | their number, backups that run included |
//! | replica lag, active sessions, transaction age, dead rows, archive backlog | no |
//! | all others | yes |

mod active_sessions;
mod archive_backlog;
mod connections;
mod dead_rows;
mod forced_checkpoints;
mod lock_waiters;
mod look;
mod query;
mod replication;
mod safe_wal;
mod slot_retained;
mod transaction_age;
mod wal_history;

use std::{collections::BTreeSet, time::Instant};

use tokio_postgres::Client;

use self::{
    archive_backlog::Archive,
    forced_checkpoints::Checkpoints,
    look::{Look, Sight},
    replication::Replication,
    wal_history::WalHistory,
};
use super::Fault;
use crate::{
    pace::{Observation, Signal},
    plan::{Pacing, Throttle},
    sql::{Literal, QName},
};

/// What needs pg_monitor, or pg_read_all_stats of which it is a member; others' rows have NULLs there without it.
const HIDDEN: [Signal; 4] = [Signal::ReplicaLag, Signal::ActiveSessions, Signal::TransactionAge, Signal::DeadRows];

/// The collectors of one backfill, and what they remember from look to look.
#[derive(Debug)]
pub struct Signals {
    table: Literal,
    version_num: i32,
    /// Looked at by nobody: this role could not see them when the backfill began, and said so.
    left_out: BTreeSet<Signal>,
    blind: Vec<String>,
    role: String,
    wal: WalHistory,
    replication: Replication,
    archive: Archive,
    checkpoints: Checkpoints,
}

impl Signals {
    /// Counts the replicas as they are now and finds out what this role may not see. `table` is the one that is filled.
    pub async fn new(client: &Client, table: &QName, throttle: &Throttle) -> Result<Self, Fault> {
        let query = "SELECT current_setting('server_version_num')::integer, quote_ident(current_user),
                pg_has_role('pg_read_all_stats', 'USAGE'),
                has_function_privilege('pg_ls_archive_statusdir()', 'EXECUTE'),
                current_setting('archive_mode') IN ('on', 'always'),
                (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint, (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint";
        let row = client.query_typed_one(query, &[]).await?;
        let (sees, lists): (bool, bool) = (row.try_get(2)?, row.try_get(3)?);
        let mut out = Self {
            table: Literal::new(table.to_string()),
            version_num: row.try_get(0)?,
            left_out: BTreeSet::new(),
            blind: Vec::new(),
            role: row.try_get(1)?,
            wal: WalHistory::default(),
            replication: Replication::count(client, sees).await?,
            archive: Archive::new(row.try_get(4)?),
            checkpoints: Checkpoints::default(),
        };
        out.wal.push(Instant::now(), row.try_get(5)?, row.try_get(6)?);
        let hidden = |signal: &Signal| if *signal == Signal::ArchiveBacklog { !lists } else { !sees };
        let left_out = hidden_without_pg_monitor().filter(hidden).filter(|signal| out.wants(*signal, throttle));
        out.left_out = left_out.collect();
        out.blind = out.left_out.iter().map(|signal| look::hidden(*signal, &out.role)).collect();
        Ok(out)
    }

    /// One look, in the open transaction. What has no limit in `pacing` is not looked at.
    pub async fn observe(&mut self, client: &Client, pacing: &Pacing) -> Result<Observation, Fault> {
        let throttle = &pacing.throttle;
        let asked: Vec<Signal> = look::COLLECTED
            .into_iter()
            .filter(|signal| self.wants(*signal, throttle) && !self.left_out.contains(signal))
            .collect();
        let sight = Sight { table: &self.table, version_num: self.version_num, role: &self.role };
        let look = Look::take(client, &sight, &asked).await?;
        let now = Instant::now();
        self.wal.push(now, look.inserted, look.flushed);
        let (replicas, replica_lag) = self.replication.read(&look, &self.wal, now, throttle.replicas)?;
        Ok(Observation {
            replicas,
            replica_lag,
            wal_rate: if throttle.max_wal_rate.is_some() { self.wal.rate(now) } else { Default::default() },
            archive_backlog: if asked.contains(&Signal::ArchiveBacklog) {
                self.archive.look(client, now).await?
            } else {
                Default::default()
            },
            slot_retained: look.seen(Signal::SlotRetained, Some(slot_retained::none()))?,
            safe_wal: look.seen(Signal::SafeWal, None)?,
            connections: look.seen(Signal::Connections, None)?,
            active_sessions: look.seen(Signal::ActiveSessions, None)?,
            lock_waiters: look.seen(Signal::LockWaiters, None)?,
            dead_rows: look.seen(Signal::DeadRows, None)?,
            transaction_age: look.seen(Signal::TransactionAge, Some(transaction_age::none()))?,
            forced_checkpoints: self.checkpoints.read(look.seen(Signal::ForcedCheckpoints, None)?, now),
            query: match &throttle.query {
                Some(signal) => query::ask(client, &signal.sql).await?,
                None => Default::default(),
            },
        })
    }

    /// What this role cannot see, and what to grant; to be told before the start.
    pub fn blind(&self) -> &[String] {
        &self.blind
    }

    /// Whether a limit asks for it and the server has it.
    fn wants(&self, signal: Signal, throttle: &Throttle) -> bool {
        let has_replicas = self.replication.expected(throttle.replicas) > 0;
        match signal {
            // Nothing of the server's.
            Signal::Hold => false,
            Signal::ReplicaLag => {
                let limits = throttle.max_replica_lag.or(throttle.critical_replica_lag).is_some();
                has_replicas && (limits || throttle.max_replica_lag_bytes.is_some())
            }
            Signal::Replicas => has_replicas,
            Signal::WalRate => throttle.max_wal_rate.is_some(),
            Signal::ArchiveBacklog => self.archive.is_on() && throttle.max_archive_backlog.is_some(),
            Signal::SlotRetained => throttle.max_slot_retained.is_some(),
            Signal::SafeWal => throttle.critical_safe_wal.is_some(),
            Signal::Connections => throttle.max_connections_percent.or(throttle.critical_connections_percent).is_some(),
            Signal::ActiveSessions => throttle.max_active_sessions.is_some(),
            Signal::LockWaiters => throttle.max_lock_waiters.is_some(),
            Signal::DeadRows => throttle.max_dead_percent.is_some(),
            Signal::TransactionAge => throttle.max_transaction_age.is_some(),
            Signal::ForcedCheckpoints => throttle.max_forced_checkpoints.is_some(),
            Signal::Query => throttle.query.is_some(),
        }
    }
}

/// What a role without pg_monitor does not see; for `doctor`, which knows no plan.
pub fn hidden_without_pg_monitor() -> impl Iterator<Item = Signal> {
    HIDDEN.into_iter().chain([Signal::ArchiveBacklog])
}
