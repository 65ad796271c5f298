//! The checks: one file each, and this table. A gate is a check that guards a phase; `verify` runs the same ones again.

use std::fmt::Debug;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use toml::{Spanned, de::DeTable};

use crate::{
    isolation::Spec,
    latency::Gauge,
    plan::{Millis, Site},
    sql::{QName, Stmt},
    unit::UnitId,
};

/// A check, ready to run. It passes when its query returns no row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// Unique in its phase: `nulls:app.users.tenant_id`.
    pub id: String,
    pub kind: String,
    /// What it asserts: "no NULL is left in app.users.tenant_id".
    pub title: String,
    /// Rows of three columns, one a finding: `what text` (the finding in words), `found bigint` (how many),
    /// `example text` (a row or an object to look at, or NULL). Where `baseline` is given, `$1` is its value.
    pub query: Stmt,
    /// A query of one bigint, measured when the run starts and kept with the run.
    pub baseline: Option<Stmt>,
    /// The tables it reads; under FORCE RLS a role without BYPASSRLS cannot measure them.
    pub tables: Vec<QName>,
    /// How long it is measured again while it finds something; after that the run pauses, and nothing is undone: what it
    /// waits for is others' doing. `None`: what it finds at once is a failure of the phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<Millis>,
    #[serde(default, skip_serializing_if = "Measure::is_query")]
    pub measure: Measure,
}

/// How a check is measured.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// By its query.
    #[default]
    Query,
    /// By its query over this table, in seconds; where FORCE hides the rows from their owner, in a transaction that takes FORCE
    /// off and is rolled back.
    Tenants(QName),
    /// By looking whether somebody approved its phase. The run asks its own ledger; the query is none.
    Approval(Stage),
    /// By asking a table as the application. The query is what the catalogue alone can tell of it.
    Isolation(Box<Spec>),
    /// By the time that queries of the application take, and by their answers.
    Latency(Box<Gauge>),
}

/// When a person is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Before the first unit of the phase. After its time the run pauses.
    Begin,
    /// After its last unit and its other gates. After its time it is a failure: what nobody confirmed is taken back.
    Confirm,
}

impl Gate {
    /// Whether it is due before the first unit of its phase.
    pub fn is_entry(&self) -> bool {
        self.measure == Measure::Approval(Stage::Begin)
    }

    /// Whether the run pauses when it does not pass: it waited for what others do, and nothing of the phase is wrong.
    pub fn pauses(&self) -> bool {
        self.wait.is_some() && self.measure != Measure::Approval(Stage::Confirm)
    }
}

impl Measure {
    fn is_query(&self) -> bool {
        matches!(self, Self::Query)
    }
}

/// A gate in front of an undo: what it finds refuses a rollback before anything is touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    pub gate: Gate,
    /// Measured only where this unit is undone; `None`: where anything of the phase is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<UnitId>,
    /// The word by which an operator goes on all the same; `None`: nobody can.
    pub consent: Option<Consent>,
}

/// What an operator agrees to by an option of `rollback`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consent {
    /// `--allow-data-loss`: values are lost that nothing keeps.
    DataLoss,
    /// `--accept-exposure`: rows become visible to sessions that they are hidden from.
    Exposure,
}

/// What every kind of check can do. All of it is pure.
pub trait CheckKind: Debug + Send + Sync {
    /// Finds what is wrong with the check by itself, and fills in what [tenancy] says.
    fn check(&mut self, site: &mut Site<'_>);

    /// The query that measures it.
    fn lower(&self) -> Gate;
}

/// Reads a table of the plan, `kind` taken out.
type Parse = fn(Spanned<DeTable<'_>>) -> Result<Box<dyn CheckKind>, toml::de::Error>;

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    pub name: &'static str,
    /// A `[[phase.gate]]` in TOML that passes on the database of the step examples.
    pub example: &'static str,
    /// The file's text; its top comment is the documentation.
    pub source: &'static str,
    parse: Parse,
}

impl Kind {
    /// Reads a check from its table, `kind` taken out.
    pub fn parse(&self, table: Spanned<DeTable<'_>>) -> Result<Box<dyn CheckKind>, toml::de::Error> {
        (self.parse)(table)
    }
}

fn parse<T: CheckKind + DeserializeOwned + 'static>(
    table: Spanned<DeTable<'_>>,
) -> Result<Box<dyn CheckKind>, toml::de::Error> {
    Ok(Box::new(T::deserialize(toml::de::Deserializer::from(table))?))
}

macro_rules! kinds {
    ($($name:ident => $type:ident),* $(,)?) => {
        $(pub mod $name;)*

        /// Every kind of check, in the order of the documentation.
        pub const KINDS: &[Kind] = &[$(Kind {
            name: stringify!($name),
            example: $name::EXAMPLE,
            source: include_str!(concat!(stringify!($name), ".rs")),
            parse: parse::<$name::$type>,
        }),*];
    };
}

kinds! {
    nulls => Nulls,
    orphans => Orphans,
    invalid_indexes => InvalidIndexes,
    row_count => RowCount,
    duplicates => Duplicates,
    present => Present,
    absent => Absent,
    quiet => Quiet,
    unseen => Unseen,
    no_fallback => NoFallback,
    unprotected => Unprotected,
    isolation => Isolation,
    latency => Latency,
}
