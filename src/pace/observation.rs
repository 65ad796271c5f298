//! What was seen in one look at the server.

use serde::Deserialize;

/// What is known of one signal.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Seen<T> {
    /// Not looked at: nobody set a limit, the server has no such thing, or this role could not see it from the start.
    #[default]
    Unseen,
    /// It should be known and is not, for this reason: wait.
    Unknown(String),
    /// As measured.
    Known(T),
}

/// One look. It carries lengths of time, never a time of day, so it means the same whenever it is judged.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Observation {
    pub replicas: Seen<Connected>,
    pub replica_lag: Seen<Vec<Replica>>,
    /// Bytes a second.
    pub wal_rate: Seen<u64>,
    /// Files.
    pub archive_backlog: Seen<u64>,
    /// Bytes, of the slot that holds back most.
    pub slot_retained: Seen<Named<u64>>,
    /// Bytes, of the slot that is nearest to being lost.
    pub safe_wal: Seen<Named<u64>>,
    pub connections: Seen<Share>,
    pub active_sessions: Seen<u64>,
    pub lock_waiters: Seen<u64>,
    pub dead_rows: Seen<DeadRows>,
    /// Milliseconds, of the oldest transaction; the name says whose.
    pub transaction_age: Seen<Named<u64>>,
    pub forced_checkpoints: Seen<u64>,
    pub query: Seen<f64>,
}

/// How many replicas there are, and how many there should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connected {
    pub expected: u32,
    pub connected: u32,
}

/// How far behind one replica is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    pub name: String,
    /// The server's `replay_lag`. None: the server cannot tell, or nothing is left to replay.
    pub replay_ms: Option<u64>,
    /// For how long there has been WAL that the replica is not known to have replayed. More than its lag where it is idle: how
    /// far it replayed it says with its next answer, which then may take wal_receiver_status_interval (10 s).
    pub behind_ms: u64,
    /// For how long there has been WAL that the replica did not confirm to have received. The server's own figures freeze
    /// together with a walreceiver that hangs; this one, measured from here, does not.
    pub receipt_ms: u64,
    /// WAL that it has not replayed. None: it has not said how far it is.
    pub bytes: Option<u64>,
    /// For how long it has not answered though there was something to confirm.
    pub silent_ms: u64,
}

/// A figure and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Named<T> {
    pub name: String,
    pub value: T,
}

/// A part of something that is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Share {
    pub used: u64,
    pub of: u64,
}

/// The statistics of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct DeadRows {
    pub live: u64,
    pub dead: u64,
    /// Somebody's vacuum is at work on the table: ours would only make it later.
    pub vacuuming: bool,
}
