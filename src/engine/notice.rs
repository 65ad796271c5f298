//! What the driver tells while it works. Reporters know this type and nothing of the driver.

use serde::Serialize;

use super::{Event, Outcome};

/// One message to the reporters. Events are kept in the ledger as well; the rest is only told.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// The run begins or goes on: how many of its units are done.
    Opened { run: String, plan: String, units_done: usize, units: usize, resumed: bool },
    /// A phase is entered.
    Phase { id: String, number: usize, of: usize },
    /// A unit is taken up.
    Unit { title: String, undo: bool },
    /// Something happened.
    Event(Event),
    /// A batch committed. `rows_estimated` is the planner's, 0 where unknown.
    Batch { unit: String, rows: u64, rows_done: u64, rows_estimated: u64, walked_percent: f64, millis: u64 },
    /// A lock was not had: why, and when it is tried again.
    LockWait { statement: String, attempt: u32, attempts: u32, blockers: Vec<Blocker>, again_in_ms: u64 },
    /// Something else is waited for, within its bound.
    Waiting { why: String, again_in_ms: u64 },
    /// A gate is measured.
    Gate { phase: String, title: String },
    /// Worth knowing.
    Note { text: String },
    /// The end, for now.
    Closed { outcome: Outcome },
}

/// A session that stands in the way of a lock; or a prepared transaction, which has none: pid 0, and its id as the query.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Blocker {
    pub pid: i32,
    pub user: String,
    pub application: String,
    pub state: String,
    /// Age of its transaction in milliseconds.
    pub transaction_age_ms: i64,
    /// Its current or last statement, cut short.
    pub query: String,
}

impl Blocker {
    /// Whether it is a prepared transaction.
    pub fn is_prepared(&self) -> bool {
        self.pid == 0
    }
}
