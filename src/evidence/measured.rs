//! What is measured on the database for the page, in its own words: none of it is in the ledger.

use serde::Serialize;

use super::model::Tone;

/// What was measured while the report was made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Checked {
    pub phase: Option<String>,
    pub what: String,
    pub tone: Tone,
    /// `passed`, `failed`, `cannot be told`.
    pub result: String,
    pub details: Vec<String>,
}

/// What sessions of the application see and can write, table by table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Matrix {
    /// How and when it was asked.
    pub how: String,
    pub contexts: Vec<String>,
    pub rows: Vec<MatrixRow>,
    /// What is no field of the matrix: plans, views, prepared statements and the like.
    pub probes: Vec<Probed>,
}

/// One question to one table as one role.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Probed {
    pub table: String,
    pub role: String,
    pub code: String,
    pub title: String,
    pub expected: String,
    pub tone: Tone,
    pub result: String,
    pub why: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MatrixRow {
    pub table: String,
    pub role: String,
    pub command: String,
    /// One for each context; none where nothing is to be asked.
    pub cells: Vec<Option<Cell>>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cell {
    pub tone: Tone,
    /// A word or two.
    pub result: String,
    pub why: String,
}

/// What an audit found, and what it could not look for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Audit {
    pub findings: Vec<Finding>,
    pub unmeasured: Vec<Unmeasured>,
}

/// Classes that this role or server cannot show.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Unmeasured {
    pub codes: Vec<String>,
    pub why: String,
    pub advice: Option<String>,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    pub code: String,
    pub severity: String,
    pub object: String,
    pub what: String,
    pub fix: String,
    pub waived: Option<String>,
}

/// A query before and after.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Latency {
    pub probe: String,
    pub before_ms: f64,
    pub after_ms: f64,
    pub budget: String,
    pub tone: Tone,
}
