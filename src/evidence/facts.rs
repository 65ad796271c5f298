//! What is known of a run, as the ledger keeps it and the server says it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::model::{Approval, Asked, Audit, Checked, Latency, Matrix, Section};
use crate::{
    engine::{
        Event, Program, Run,
        ranges::{Heap, Range},
    },
    unit::UnitId,
};

/// The facts of tables and functions: `app.users` → `policy app.users.mine` → its definition.
pub type Facing = BTreeMap<String, BTreeMap<String, String>>;

/// All of it, read in one snapshot.
#[derive(Debug, Clone)]
pub struct Facts {
    /// When the report is made, by the server's clock.
    pub made_at: DateTime<Utc>,
    /// The role that made it.
    pub made_by: String,
    /// The version of this program.
    pub tool_version: String,
    pub run: RunFacts,
    pub program: Program,
    /// The fold of the events.
    pub state: Run,
    pub log: Vec<Logged>,
    /// What is wrong with the chain over the log.
    pub damage: Option<String>,
    /// None where an earlier version wrote the log and no event came since.
    pub head: Option<Head>,
    pub server: Server,
    pub progress: Vec<Progress>,
    pub ranges: Vec<RangeRow>,
    /// In the order in which they were taken.
    pub prints: Vec<Print>,
    /// The touched objects as they are now.
    pub now: Section<Facing>,
    pub requests: Vec<Asked>,
    pub approvals: Vec<Approval>,
    pub verified: Section<Vec<Checked>>,
    pub isolation: Section<Matrix>,
    pub audit: Section<Audit>,
    pub latency: Section<Vec<Latency>>,
}

/// The run's own row.
#[derive(Debug, Clone)]
pub struct RunFacts {
    pub id: String,
    pub plan_path: Option<String>,
    pub plan_text: String,
    pub fingerprint: String,
    /// Measured before the first unit, by gate.
    pub baselines: BTreeMap<String, i64>,
    pub created_at: DateTime<Utc>,
    pub created_by: String,
    pub host: String,
    pub tool_version: String,
}

/// An event with its circumstances.
#[derive(Debug, Clone)]
pub struct Logged {
    pub number: i64,
    pub at: DateTime<Utc>,
    pub epoch: i64,
    pub actor: String,
    pub host: String,
    pub event: Event,
}

/// The end of the chain.
#[derive(Debug, Clone)]
pub struct Head {
    pub number: i64,
    pub digest: String,
    /// Up to this event the log was taken as it stood.
    pub base: i64,
}

/// The server, and the database on it.
#[derive(Debug, Clone)]
pub struct Server {
    pub database: String,
    pub at: String,
    pub version: String,
    pub system_identifier: Option<i64>,
    pub timeline: Option<i64>,
    /// On which server the lease was taken last.
    pub ledger_system_identifier: Option<i64>,
    pub ledger_schema: String,
    pub ledger_version: Option<i32>,
}

/// A row of `migration_progress`.
#[derive(Debug, Clone)]
pub struct Progress {
    pub unit: UnitId,
    /// The walk that was begun last: its number, and the heaps with their ends.
    pub walk: Option<(u32, Vec<Heap>)>,
}

/// A range with what was written in it, and when.
#[derive(Debug, Clone)]
pub struct RangeRow {
    pub unit: UnitId,
    pub range: Range,
    pub rows: u64,
    pub rows_hot: u64,
    pub claimed_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// What the touched objects were like when the run rested.
#[derive(Debug, Clone)]
pub struct Print {
    /// The phase that was over; `start` before the first.
    pub phase: String,
    pub format: i32,
    pub server: i32,
    pub taken_at: DateTime<Utc>,
    pub facts: Facing,
}
