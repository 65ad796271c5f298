//! Who holds the lease, as it is told to whoever wants it.

use std::fmt;

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Who holds the lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    pub id: Uuid,
    /// What it works on, once it has chosen.
    pub run: Option<Uuid>,
    pub host: String,
    pub pid: i32,
    pub purpose: String,
    pub role: String,
    pub since: DateTime<Utc>,
    pub heartbeat_age_ms: i64,
    /// The lease has not ended.
    pub unexpired: bool,
    /// And its session still exists.
    pub alive: bool,
    pub epoch: i64,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, pid, purpose, role, since, heartbeat_age_ms, epoch, .. } = self;
        let since = since.format("%Y-%m-%d %H:%M:%S UTC");
        let age = heartbeat_age_ms / 1000;
        write!(
            f,
            "{purpose} by {role} on {host} (process {pid}) since {since}, last heartbeat {age} s ago, epoch {epoch}"
        )
    }
}
