//! What a deed puts aside: by the names that `drop_table` and `drop_column` give it.

use super::{Op, Unit};

/// How the schemas begin into which tables are put that a step drops.
const DROPPED_TABLE: &str = "tenantmig_aside_dropped_";
/// How the names of columns begin that a step drops.
pub const DROPPED_COLUMN: &str = "tenantmig_dropped_";

impl Unit {
    /// Whether its deed puts a table aside whole, or a column of one; `None` where it puts nothing aside.
    pub fn puts_aside(&self) -> Option<bool> {
        let Op::Tx(stmts) = &self.up else { return None };
        let says = |what: &str| stmts.iter().any(|stmt| stmt.as_str().contains(what));
        if says(DROPPED_TABLE) { Some(true) } else { says(DROPPED_COLUMN).then_some(false) }
    }
}
