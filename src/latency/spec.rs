//! One query of the application, and what it may cost.

use serde::{Deserialize, Serialize};

use crate::sql::{Ident, QName, Stmt};

/// How many pairs are measured where the probe says nothing else, and how many it may ask for. Below ten a 95th percentile is
/// the worst of them; a thousand of a slow query would not end.
pub const REPEAT: u32 = 40;

/// A `[[probe]]`, ready to be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    pub name: String,
    /// The query, `{tenant}` written out.
    pub sql: Stmt,
    /// The values of `$1`, `$2` …, of the types that the query gives them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<String>,
    /// As whom it is asked.
    pub role: Ident,
    /// As which tenant; some of the registry's where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// What its first row begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<String>,
    /// Whether its time counts.
    pub timed: bool,
    pub repeat: u32,
    /// In place of the gate's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ms: Option<u32>,
    /// The setting by which the application names the tenant.
    pub setting: String,
    pub column: Ident,
    pub registry: (QName, Ident),
    /// Roles that policies do not bind, where the migrating role is not one itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bypass: Vec<Ident>,
}

impl Spec {
    /// What it may cost, where the gate says this.
    pub fn budget(&self, gate: Budget) -> Budget {
        Budget { percent: self.percent.unwrap_or(gate.percent), ms: self.ms.unwrap_or(gate.ms), ..gate }
    }
}

/// How much slower a query may be. It is over only when both are exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    pub percent: u32,
    pub ms: u32,
    /// The percentile that is compared.
    pub p: u32,
    /// From so many rows of a table on, a query that reads ten times as many as without policies is over by its plan, if it is slower
    /// by the percentage as well: milliseconds grow with the table.
    pub rows: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { percent: 25, ms: 10, p: 95, rows: 10_000 }
    }
}

/// What a gate measures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gauge {
    pub probes: Vec<Spec>,
    pub budget: Budget,
}
