//! The unit: a deed with its inverse and a way to recognise it. A plan's steps are lowered to units; the engine runs nothing else.

mod aside;
mod copy;
mod watch;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use aside::DROPPED_COLUMN;
pub use copy::{CopySpec, alias};
pub use watch::{Limits, WatchSpec};

use crate::sql::{Expr, Ident, Literal, QName, Stmt, TypeName};

/// `phase/step/unit`, unique in a program.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnitId(pub String);

impl fmt::Display for UnitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The smallest thing that is done, undone and recorded as one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    pub id: UnitId,
    /// What it does, as a DBA would say it: "add column tenant_id to app.users".
    pub title: String,
    pub up: Op,
    pub down: Down,
    pub probe: Probe,
    pub lock: Lock,
    /// What an undo destroys beyond what `up` made, in words; `None` when nothing.
    pub loses: Option<String>,
    /// Undoing it shows rows to sessions that row-level security hides them from.
    pub guards_rows: bool,
    /// What it adds to the disk.
    #[serde(default)]
    pub grows: Growth,
}

impl Unit {
    /// What its undo does, as behind "undo:". Most undos are told by their deed.
    pub fn undo_title(&self) -> String {
        match &self.down {
            Down::Op(Op::Keep(spec)) => format!("keep the values of {}.{} for the next apply", spec.table, spec.column),
            Down::Op(_) | Down::CoveredBy(_) | Down::With { .. } | Down::Nothing { .. } | Down::Irreversible { .. } => {
                self.title.clone()
            }
        }
    }
}

/// What a deed adds to the disk, as far as the plan knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Growth {
    /// Nothing to speak of beyond what a backfill and a rewrite show by themselves.
    #[default]
    Little,
    Index(Box<IndexShape>),
    /// SQL of the plan's own.
    Unknown,
}

/// What an index's size depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexShape {
    pub table: QName,
    pub name: Ident,
    pub method: Ident,
    pub unique: bool,
    pub columns: Vec<Ident>,
    pub exprs: Vec<Expr>,
    /// How many of `columns` are only included: they come last.
    pub included: usize,
    pub condition: Option<Expr>,
    pub fillfactor: Option<u32>,
    /// `None`: where the session's settings say.
    pub tablespace: Option<Ident>,
}

/// How a deed is carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Statements of one transaction; the outcome is recorded in the same transaction.
    Tx(Vec<Stmt>),
    /// A statement that PostgreSQL refuses inside a transaction. `repair` clears what a failed attempt leaves behind
    /// (each a statement of its own, outside a transaction), and runs before a retry and before an undo. Where `due` is
    /// given, its answer is carried out instead of both. A program of an earlier version has none.
    Autocommit {
        stmt: Stmt,
        repair: Vec<Stmt>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        due: Option<Due>,
    },
    /// Batches over a table.
    Backfill(BackfillSpec),
    /// A query of one boolean: false or NULL fails the unit. Changes nothing.
    Assert(Stmt),
    /// Looks how busy tables are, for a time, and fails the unit when that is not what it was before. Changes nothing.
    Watch(Box<WatchSpec>),
    /// Keeps the values of a column that is about to go, but for those that come again by themselves.
    Keep(Box<KeepSpec>),
    /// Writes the values back that were kept.
    Restore(Box<KeepSpec>),
}

/// Which values are kept in the ledger and restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeepSpec {
    pub table: QName,
    pub column: Ident,
    /// Its type.
    pub ty: TypeName,
    /// What each row has when the column is there again.
    pub fresh: Option<Expr>,
    /// What a later backfill gives, and to which rows.
    pub again: Option<Fill>,
    /// The unit that makes the column. Where it was there before, nothing is kept: it stays.
    pub of: UnitId,
}

/// What a backfill gives, and to which rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fill {
    pub value: BackfillValue,
    pub only: Option<Expr>,
}

/// What is still to be run, asked of the catalogue before each statement, so that it does not matter who ended where.
/// A query with a row for each statement, first things first: `sql text`, `kind text` (clear, build: outside a transaction;
/// share, exclusive and others: in one, with that lock), `tables text[]` (whom it locks), `place bigint` (its order). No row:
/// done. `$1` (`text[]`) is what the probe's `restore` said before the deed.
/// rows, share, exclusive: in one, with that lock), `tables text[]` (whom it locks), `place bigint` (its order). No row: done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Due {
    /// The table that the deed is about.
    pub table: QName,
    pub query: Stmt,
    /// Of an undo: it brings back what `restore` says, statement by statement. What stands beside the query is then only how
    /// that usually reads.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restores: bool,
}

/// How a deed is taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Down {
    /// Carried out as it stands; may run twice.
    Op(Op),
    /// The undo of an earlier unit of the same program takes this along: dropping a column drops what was filled in.
    CoveredBy(UnitId),
    /// As `CoveredBy` where that unit made what this one is in; where that was there before, and stays, this one is taken back alone.
    With { unit: UnitId, alone: Box<Down> },
    /// There is nothing to take back.
    Nothing { why: String },
    /// The point of no return: a rollback past this unit is refused.
    Irreversible { why: String },
}

/// How a deed is recognised in the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// Only the ledger knows (free SQL, a backfill): the outcome commits with the deed, so it knows exactly.
    Ledger,
    /// A query of one row: `presence text` (absent, partial, present, conflict, compare), `found text` (what is there),
    /// `restore text[]` (statements that bring back what the deed is about to replace).
    Catalog { query: Stmt, twin: Option<Twin> },
}

/// The server's own deparse of what the deed makes: run when the query says `compare`, in a transaction that is always
/// rolled back. `setup` makes a temporary twin; `query` returns the same three columns as the probe's query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Twin {
    pub setup: Vec<Stmt>,
    pub query: Stmt,
}

/// What a probe says of a deed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// Not there.
    Absent,
    /// Half there: the wreck of an index, a policy with another text that the deed replaces.
    Partial,
    /// There, as the deed would make it.
    Present,
    /// Something else stands in its place, which the deed must not touch.
    Conflict,
}

/// What stood in the database before the deed, recorded with the intent. An undo restores it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Before {
    pub presence: Presence,
    /// What was found, as the server deparses it.
    pub found: Option<String>,
    /// Statements that bring it back, run after the undo in the same transaction.
    pub restore: Vec<Stmt>,
}

impl Before {
    /// Nothing was there.
    pub fn absent() -> Self {
        Self { presence: Presence::Absent, found: None, restore: Vec::new() }
    }

    /// The deed was there before us, or something else stands in its place: neither doing nor undoing touches it.
    pub fn is_untouched(&self) -> bool {
        self.hands_off().is_some()
    }

    /// Why neither doing nor undoing touches what stands there, in words; `None` where both may.
    pub fn hands_off(&self) -> Option<&'static str> {
        match self.presence {
            Presence::Present => Some("it was there before and stays"),
            Presence::Conflict => Some("something else stood in its place, which was not touched"),
            Presence::Absent | Presence::Partial => None,
        }
    }
}

/// PostgreSQL's table locks, weakest first (documentation, "Explicit Locking").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockLevel {
    None,
    AccessShare,
    RowShare,
    RowExclusive,
    ShareUpdateExclusive,
    Share,
    ShareRowExclusive,
    Exclusive,
    AccessExclusive,
}

impl fmt::Display for LockLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::AccessShare => "ACCESS SHARE",
            Self::RowShare => "ROW SHARE",
            Self::RowExclusive => "ROW EXCLUSIVE",
            Self::ShareUpdateExclusive => "SHARE UPDATE EXCLUSIVE",
            Self::Share => "SHARE",
            Self::ShareRowExclusive => "SHARE ROW EXCLUSIVE",
            Self::Exclusive => "EXCLUSIVE",
            Self::AccessExclusive => "ACCESS EXCLUSIVE",
        })
    }
}

/// The strongest lock a unit takes, where, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    pub level: LockLevel,
    pub on: Vec<QName>,
    pub hold: Hold,
}

/// How long a lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// For a change of the catalogue: milliseconds.
    Moment,
    /// For one batch.
    Batch,
    /// While every row is read.
    Scan,
    /// While every row is written again.
    Rewrite,
}

impl Lock {
    /// No lock that anybody could wait for.
    pub fn none() -> Self {
        Self { level: LockLevel::None, on: Vec::new(), hold: Hold::Moment }
    }

    /// A lock on one table.
    pub fn on(level: LockLevel, table: &QName, hold: Hold) -> Self {
        Self { level, on: vec![table.clone()], hold }
    }

    /// The same lock on one more table.
    pub fn and(mut self, table: &QName) -> Self {
        self.on.push(table.clone());
        self
    }
}

/// A batch is one transaction: beyond this many rows it holds its row locks for seconds, and replicas fall behind in jumps.
pub const BATCH_ROWS_MAX: u32 = 100_000;

/// What a backfill writes, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackfillSpec {
    pub table: QName,
    pub column: Ident,
    pub value: BackfillValue,
    /// Rows to leave alone: only those for which this is true are filled. Sees the table as `row`.
    pub only: Option<Expr>,
    pub on_orphan: OnOrphan,
    /// The most rows of the table that one batch walks over, however fast it is.
    pub batch_rows: u32,
}

/// Where a backfill's value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackfillValue {
    Constant(Literal),
    /// `column` of the parent row whose columns equal the child's: pairs of (child column, parent column).
    Parent {
        table: QName,
        column: Ident,
        on: Vec<(Ident, Ident)>,
    },
    /// An expression that sees the table's row as `row`.
    Expr(Expr),
    /// No column is filled: the rows are copied into another table. The spec's `column` is then the first of the key.
    Copy(Box<CopySpec>),
}

/// What happens to rows for which no value is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnOrphan {
    /// The backfill fails at its closing proof and names them.
    #[default]
    Stop,
    /// They stay NULL; the gates tell.
    Skip,
    /// They move to a table beside, by a unit of its own after the backfill, to which they are `Skip`.
    Quarantine,
}

impl Down {
    /// What is to be carried out. `was_there`: whether what that unit makes was there before it.
    pub fn in_effect(&self, was_there: impl Fn(&UnitId) -> bool) -> &Self {
        match self {
            Self::With { unit, alone } if was_there(unit) => alone,
            Self::With { .. } | Self::Op(_) | Self::CoveredBy(_) | Self::Nothing { .. } | Self::Irreversible { .. } => {
                self
            }
        }
    }

    /// An undo of one transaction.
    pub fn tx(stmts: impl Into<Vec<Stmt>>) -> Self {
        Self::Op(Op::Tx(stmts.into()))
    }

    /// One that has nothing to do, and why.
    pub fn nothing(why: &str) -> Self {
        Self::Nothing { why: why.to_owned() }
    }
}

impl Probe {
    /// A probe of the catalogue.
    pub fn catalog(query: Stmt) -> Self {
        Self::Catalog { query, twin: None }
    }
}
