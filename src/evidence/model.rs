//! The evidence: everything that the page shows, and the JSON form is.

use chrono::{DateTime, Utc};
use serde::Serialize;

pub use super::measured::{Audit, Cell, Checked, Finding, Latency, Matrix, MatrixRow, Probed, Unmeasured};

/// What was looked at, or why it was not.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Section<T> {
    Given(T),
    Missing(String),
}

impl<T> Section<T> {
    /// What was looked at.
    pub fn given(&self) -> Option<&T> {
        match self {
            Self::Given(what) => Some(what),
            Self::Missing(_) => None,
        }
    }
}

/// How something is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tone {
    Plain,
    Good,
    Caution,
    Bad,
}

/// One claim of the summary, with what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    pub claim: String,
    pub tone: Tone,
    /// One word or two: `holds`, `not measured`.
    pub result: String,
    pub because: String,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evidence {
    pub v: u32,
    pub made_at: DateTime<Utc>,
    pub made_by: String,
    pub made_with: String,
    pub state: State,
    pub verdicts: Vec<Verdict>,
    pub run: RunRow,
    pub plan: Plan,
    pub server: Server,
    pub chain: Chain,
    pub actors: Vec<Actor>,
    pub terms: Vec<Term>,
    pub requests: Vec<Asked>,
    pub approvals: Vec<Approval>,
    pub events: Vec<Happened>,
    pub phases: Vec<Phase>,
    pub waits: Vec<Wait>,
    pub backfills: Vec<Backfill>,
    pub catalogue: Catalogue,
    pub verified: Section<Vec<Checked>>,
    pub isolation: Section<Matrix>,
    pub audit: Section<Audit>,
    pub latency: Section<Vec<Latency>>,
}

/// Where the run stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct State {
    pub tone: Tone,
    pub word: String,
    pub sentence: String,
    pub units: usize,
    pub units_done: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunRow {
    pub id: String,
    pub begun_at: DateTime<Utc>,
    pub begun_by: String,
    pub host: String,
    pub begun_with: String,
    pub last_event_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    pub name: String,
    pub path: Option<String>,
    /// Over the values that the plan means; comments and spacing do not count.
    pub fingerprint: String,
    /// Over the text as the ledger keeps it.
    pub text_sha256: String,
    pub text: String,
    pub tenancy: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Server {
    pub database: String,
    pub at: String,
    pub version: String,
    pub system_identifier: Option<i64>,
    pub timeline: Option<i64>,
    /// Whether the ledger was last written on this server; unknown where either is.
    pub same_as_ledger: Option<bool>,
    pub ledger_schema: String,
    pub ledger_version: Option<i32>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Chain {
    /// None where the log has none.
    pub verifies: Option<bool>,
    pub damage: Option<String>,
    pub events: usize,
    pub head: Option<String>,
    pub head_event: Option<i64>,
    /// Up to this event the log was taken as it stood.
    pub base: Option<i64>,
}

/// Somebody who wrote events.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Actor {
    pub role: String,
    pub host: String,
    pub events: usize,
    pub first: DateTime<Utc>,
    pub last: DateTime<Utc>,
}

/// The events of one holder of the lease.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Term {
    pub epoch: i64,
    pub role: String,
    pub host: String,
    pub first_event: i64,
    pub last_event: i64,
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    /// What was under way when it took over, where something was.
    pub took_over: Option<String>,
}

/// What an operator asked of the run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Asked {
    pub number: i64,
    pub at: DateTime<Utc>,
    pub actor: String,
    pub host: String,
    pub what: String,
    pub event: Option<i64>,
    pub refused: Option<String>,
}

/// Who let a phase begin, or what it did stay.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Approval {
    pub number: i64,
    pub phase: String,
    pub at: DateTime<Utc>,
    pub by: String,
    pub host: String,
    pub reason: Option<String>,
    /// The gate that it let pass; none where it came before it could count, after its time, or is not needed yet.
    pub event: Option<i64>,
}

/// One event in words.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Happened {
    pub number: i64,
    pub at: DateTime<Utc>,
    pub epoch: i64,
    pub actor: String,
    pub host: String,
    pub kind: String,
    pub unit: Option<String>,
    pub tone: Tone,
    pub text: String,
    /// A label and a text.
    pub details: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Phase {
    pub id: String,
    pub on_failure: String,
    pub units: Vec<Unit>,
    pub gates: Vec<Gate>,
    pub after_undo: Vec<Gate>,
    pub guards: Vec<Guard>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Unit {
    pub id: String,
    pub step: String,
    pub title: String,
    pub state: String,
    pub tone: Tone,
    pub lock: String,
    pub tables: Vec<String>,
    pub hold: String,
    pub attempts: usize,
    pub rows: Option<u64>,
    /// Of the deed that stands, tries included.
    pub took_ms: Option<i64>,
    pub found: Option<String>,
    pub restores: Vec<String>,
    pub loses: Option<String>,
    pub sql: Vec<String>,
    pub undo: Vec<String>,
    pub spans: Vec<Span>,
}

/// A time in which something was done to a unit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Span {
    pub undo: bool,
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    pub end: SpanEnd,
    pub first_event: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SpanEnd {
    Done,
    Failed,
    /// The process ended, or was paused, in the middle; it was begun again later.
    Stopped,
    /// Still under way when the report was made.
    Open,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gate {
    pub id: String,
    pub title: String,
    pub query: String,
    pub passes: bool,
    pub baseline: Option<i64>,
    pub looks: Vec<Look>,
}

/// One measurement of a gate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Look {
    pub event: i64,
    pub at: DateTime<Utc>,
    pub passed: bool,
    /// Who let it pass, where it waits for a person and the log says so.
    pub approved: Option<String>,
    pub found: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Guard {
    pub title: String,
    pub of: Option<String>,
    /// The option that lets a rollback pass it.
    pub consent: Option<String>,
}

/// A time in which backfills stood still.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Wait {
    pub unit: String,
    pub signal: String,
    pub why: String,
    pub from: DateTime<Utc>,
    pub to: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Backfill {
    pub unit: String,
    pub title: String,
    pub phase: String,
    pub table: String,
    pub state: String,
    pub rows: u64,
    pub rows_hot: u64,
    pub tone: Tone,
    pub verdict: String,
    pub walks: Vec<Walk>,
    pub proof: Option<Proof>,
    pub ranges: Vec<RangeDone>,
}

/// A walk over the heaps of a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Walk {
    pub sweep: u32,
    pub heaps: Vec<HeapWalked>,
    /// The ranges are numbered without a gap.
    pub numbered: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HeapWalked {
    pub heap: String,
    /// One past the last block, as the walk fixed it when it began; kept of the last walk only.
    pub end: Option<u64>,
    /// One past the last block that was claimed.
    pub reached: u64,
    pub ranges: usize,
    pub batches: u64,
    pub rows: u64,
    /// Blocks from, up to and without.
    pub gaps: Vec<(u64, u64)>,
    pub overlaps: Vec<(u64, u64)>,
    pub unfinished: usize,
}

/// The count over the whole table that the end of a backfill rests on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Proof {
    pub event: i64,
    pub at: DateTime<Utc>,
    pub rows: Option<u64>,
    /// Whether the ranges add up to the rows that the event says.
    pub adds_up: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RangeDone {
    pub sweep: u32,
    pub number: u32,
    pub heap: String,
    pub lo: u64,
    pub hi: u64,
    pub batches: u32,
    pub batches_done: u32,
    pub rows: u64,
    pub rows_hot: u64,
    pub claimed_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Catalogue {
    pub prints: Vec<PrintTaken>,
    /// Of the touched objects as they are now.
    pub now: Section<String>,
    /// From before the first phase to the newest print, or to now where the run was taken back.
    pub migration: Compared,
    /// From the newest print to now: what others changed.
    pub since: Compared,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PrintTaken {
    pub phase: String,
    pub taken_at: DateTime<Utc>,
    pub facts: usize,
    /// SHA-256 over the facts.
    pub digest: String,
}

/// Two states of the catalogue, compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compared {
    pub from: String,
    pub to: String,
    pub changes: Section<Vec<ObjectChanged>>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ObjectChanged {
    pub object: String,
    pub changes: Vec<Change>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    pub what: String,
    pub was: Option<String>,
    pub is: Option<String>,
}
