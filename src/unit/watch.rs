//! How busy tables are: what is looked at, for how long, and how much may change.

use serde::{Deserialize, Serialize};

use super::UnitId;
use crate::sql::{QName, Stmt};

/// The tables of one look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchSpec {
    pub tables: Vec<QName>,
    pub length_ms: u64,
    /// The units whose look it is compared with, one for each of `tables`; of none where it only looks. One that looks only keeps what it
    /// saw in the ledger.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub against: Vec<UnitId>,
    #[serde(default)]
    pub limits: Limits,
    /// A query of one boolean, asked at every look: what the plan's author can tell better than any counter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<Stmt>,
}

/// How much may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The writes of a table, in percent of those before: with fewer they have collapsed.
    pub writes_percent: u32,
    /// By how many points of a hundred the share of transactions that are rolled back may rise.
    pub rollback_points: u32,
    /// How many statements a minute more than before may be refused with 42501, where the server's log can be read.
    pub denied_per_minute: u32,
}

/// A fifth of the writes is a collapse on any day; five more transactions of a hundred that fail are somebody's outage. A refusal now
/// and then is a person with a wrong role, one every six seconds an application.
impl Default for Limits {
    fn default() -> Self {
        Self { writes_percent: 20, rollback_points: 5, denied_per_minute: 10 }
    }
}
