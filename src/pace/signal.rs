//! What a backfill waits for.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One thing that is looked at before the next batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// An operator's word that backfills stand still.
    Hold,
    /// How far behind a replica is, in time and in bytes.
    ReplicaLag,
    /// How many replicas are connected.
    Replicas,
    /// WAL that the whole server writes in a second.
    WalRate,
    /// WAL files that wait for the archiver.
    ArchiveBacklog,
    /// WAL that a replication slot holds back.
    SlotRetained,
    /// WAL that may still be written until a slot is lost.
    SafeWal,
    /// Client connections in percent of those that can be had.
    Connections,
    /// Sessions that are running a statement.
    ActiveSessions,
    /// Sessions that wait for a lock of ours.
    LockWaiters,
    /// Dead rows of the table while it is being vacuumed.
    DeadRows,
    /// The age of the oldest transaction of anybody else.
    TransactionAge,
    /// Checkpoints that were forced.
    ForcedCheckpoints,
    /// The number that the user's own query gives.
    Query,
}

impl Signal {
    /// What people call it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::ReplicaLag => "replica lag",
            Self::Replicas => "replicas",
            Self::WalRate => "WAL rate",
            Self::ArchiveBacklog => "archive backlog",
            Self::SlotRetained => "retained WAL",
            Self::SafeWal => "safe WAL",
            Self::Connections => "connections",
            Self::ActiveSessions => "active sessions",
            Self::LockWaiters => "lock waiters",
            Self::DeadRows => "dead rows",
            Self::TransactionAge => "transaction age",
            Self::ForcedCheckpoints => "forced checkpoints",
            Self::Query => "query",
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
