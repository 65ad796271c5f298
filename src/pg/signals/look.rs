//! One query for all signals that are asked for: each is one column of JSON.

use serde::de::DeserializeOwned;
use tokio_postgres::{Client, Row, types::Json};

use super::{
    active_sessions, connections, dead_rows, forced_checkpoints, lock_waiters, replication, safe_wal, slot_retained,
    transaction_age,
};
use crate::{
    pace::{Seen, Signal},
    pg::Fault,
    sql,
    sql::{List, Literal, Stmt},
};

/// What an application name of ours begins with.
const OURS: &str = "tenantmig";

/// The signals that are collected from the server; those without a column of their own have no part in the query.
pub(super) const COLLECTED: [Signal; 11] = [
    Signal::Replicas,
    Signal::ReplicaLag,
    Signal::ArchiveBacklog,
    Signal::SlotRetained,
    Signal::SafeWal,
    Signal::Connections,
    Signal::ActiveSessions,
    Signal::LockWaiters,
    Signal::DeadRows,
    Signal::TransactionAge,
    Signal::ForcedCheckpoints,
];

/// What the columns depend on.
#[derive(Debug)]
pub(super) struct Sight<'a> {
    /// The table's name, as text.
    pub table: &'a Literal,
    pub version_num: i32,
    pub role: &'a str,
}

/// What one look brought.
#[derive(Debug)]
pub(super) struct Look<'a> {
    row: Row,
    columns: Vec<Signal>,
    asked: &'a [Signal],
    role: &'a str,
    sees: bool,
    /// Positions in the WAL, in bytes: where it is written to next, and up to where it is on disk.
    pub inserted: i64,
    pub flushed: i64,
}

/// The columns before those of the signals.
const FIXED: usize = 3;

impl<'a> Look<'a> {
    pub(super) async fn take(client: &Client, sight: &Sight<'a>, asked: &'a [Signal]) -> Result<Self, Fault> {
        let mut columns = Vec::new();
        let mut parts = Vec::new();
        for signal in COLLECTED {
            let wanted = asked.contains(&signal) || signal == Signal::Replicas && asked.contains(&Signal::ReplicaLag);
            if let Some(part) = part(signal, sight).filter(|_| wanted) {
                columns.push(signal);
                parts.push(sql!(", ({})", part));
            }
        }
        // Materialised: the view is read once, however many columns ask it. Without pg_monitor the type of others' backends
        // is NULL; those with a database and a user are clients, or parallel workers.
        let query = sql!(
            "WITH s AS MATERIALIZED (
                SELECT pid, datid, datid = (SELECT oid FROM pg_database WHERE datname = current_database()) AS here,
                       coalesce(application_name, '') AS application, starts_with(application_name, {}) AS ours,
                       coalesce(backend_type = 'client backend', datid IS NOT NULL AND usesysid IS NOT NULL) AS client,
                       usename, state, xact_start, wait_event_type
                  FROM pg_stat_activity)
             SELECT pg_has_role('pg_read_all_stats', 'USAGE'), (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint,
                    (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint{}",
            Literal::new(OURS),
            List(&parts, "")
        );
        let row = client.query_typed_one(query.as_str(), &[]).await?;
        let (sees, inserted, flushed) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        Ok(Self { columns, asked, role: sight.role, sees, inserted, flushed, row })
    }

    /// Whether the signal is asked for.
    pub(super) fn asks(&self, signal: Signal) -> bool {
        self.asked.contains(&signal)
    }

    /// Whether this role sees what others' sessions do.
    pub(super) fn sees(&self) -> bool {
        self.sees
    }

    /// The value of a signal, `absent` where the column is NULL.
    pub(super) fn seen<T: DeserializeOwned>(&self, signal: Signal, absent: Option<T>) -> Result<Seen<T>, Fault> {
        if !self.asks(signal) {
            return Ok(Seen::Unseen);
        }
        if !self.sees && super::HIDDEN.contains(&signal) {
            return Ok(Seen::Unknown(hidden(signal, self.role)));
        }
        Ok(self.column(signal)?.or(absent).map_or(Seen::Unseen, Seen::Known))
    }

    /// What a column holds.
    pub(super) fn column<T: DeserializeOwned>(&self, signal: Signal) -> Result<Option<T>, Fault> {
        let Some(at) = self.columns.iter().position(|column| *column == signal) else { return Ok(None) };
        let value: Option<Json<serde_json::Value>> = self.row.try_get(FIXED + at)?;
        let Some(Json(value)) = value else { return Ok(None) };
        serde_json::from_value(value).map(Some).map_err(|error| {
            Fault::new(crate::pg::Class::Fatal, format!("what the server says of {signal} is not understood: {error}"))
        })
    }
}

fn part(signal: Signal, sight: &Sight<'_>) -> Option<Stmt> {
    match signal {
        Signal::Replicas => Some(Stmt::raw(replication::QUERY)),
        Signal::SlotRetained => Some(Stmt::raw(slot_retained::QUERY)),
        Signal::SafeWal => Some(Stmt::raw(safe_wal::QUERY)),
        Signal::Connections => Some(Stmt::raw(connections::QUERY)),
        Signal::ActiveSessions => Some(Stmt::raw(active_sessions::QUERY)),
        Signal::LockWaiters => Some(Stmt::raw(lock_waiters::QUERY)),
        Signal::DeadRows => Some(dead_rows::query(sight.table)),
        Signal::TransactionAge => Some(Stmt::raw(transaction_age::QUERY)),
        Signal::ForcedCheckpoints => Some(Stmt::raw(forced_checkpoints::query(sight.version_num))),
        // Read with the replicas, from the positions in the WAL, and apart.
        Signal::ReplicaLag | Signal::WalRate | Signal::ArchiveBacklog | Signal::Query | Signal::Hold => None,
    }
}

/// Says that a role lacks the right to see a signal.
pub(super) fn hidden(signal: Signal, role: &str) -> String {
    format!("{signal} cannot be seen by this role: GRANT pg_monitor TO {role}")
}
