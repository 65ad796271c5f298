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

impl<T> Seen<T> {
    fn lost(&self, why: &str) -> Self {
        match self {
            Self::Unseen => Self::Unseen,
            Self::Unknown(_) | Self::Known(_) => Self::Unknown(why.to_owned()),
        }
    }
}

impl Observation {
    /// What is known when a look has failed after this one: nothing of what this one saw. That is not the same as not looking
    /// at it: a signal that is waited for must not be forgotten because one look at it failed.
    pub fn lost(&self, why: &str) -> Self {
        Self {
            replicas: self.replicas.lost(why),
            replica_lag: self.replica_lag.lost(why),
            wal_rate: self.wal_rate.lost(why),
            archive_backlog: self.archive_backlog.lost(why),
            slot_retained: self.slot_retained.lost(why),
            safe_wal: self.safe_wal.lost(why),
            connections: self.connections.lost(why),
            active_sessions: self.active_sessions.lost(why),
            lock_waiters: self.lock_waiters.lost(why),
            dead_rows: self.dead_rows.lost(why),
            transaction_age: self.transaction_age.lost(why),
            forced_checkpoints: self.forced_checkpoints.lost(why),
            query: self.query.lost(why),
        }
    }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        pace::{Governor, Pace},
        plan::Pacing,
    };

    #[test]
    fn a_look_that_fails_neither_ends_a_wait_nor_begins_one() {
        let (mut governor, pacing) = (Governor::new(), Pacing::default());
        let mut pace =
            |ms: u64, seen: &Observation| governor.decide(Duration::from_millis(ms), seen, &pacing).pace == Pace::Go;
        let with = |connected| Observation {
            replicas: Seen::Known(Connected { expected: 1, connected }),
            connections: Seen::Known(Share { used: 1, of: 100 }),
            ..Observation::default()
        };
        assert!(pace(0, &with(1)));
        assert!(pace(500, &with(1).lost("gone")));
        assert!(!pace(1_000, &with(1).lost("gone").lost("gone")));
        assert!(pace(1_500, &with(1)) | pace(2_500, &with(1)));
        assert!(!pace(3_000, &with(0)));
        assert!(!pace(3_500, &with(0).lost("gone")));
        assert!(!pace(4_000, &with(0)));
        // What nobody looks at is not unknown.
        assert_eq!(with(1).lost("gone").replica_lag, Seen::Unseen);
    }
}
