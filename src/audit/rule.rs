//! One class of how isolation leaks, breaks or gets slow: its code, how bad it is, and how the catalogue shows it.

use super::policies::Seen;
use crate::{
    hazards::{self, Hazard, Needs, Query, Server, Severity},
    sql::Stmt,
};

/// One row of the table. The number of its code is that of its class.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Stable: `TM05xx`, never given to another class.
    pub code: &'static str,
    pub severity: Severity,
    /// The class in a few words, as a headline.
    pub title: &'static str,
    /// What goes wrong.
    pub why: &'static str,
    /// What helps, where a finding has no statement for it.
    pub fix: &'static str,
    pub look: Look,
}

/// What one look answers for one object: object, what is wrong with it, by what that is seen, the statements that mend it.
pub type Row = (String, String, Option<String>, Option<String>);

/// How a class is looked for.
#[derive(Debug, Clone, Copy)]
pub enum Look {
    /// A query as [`Query`] has it, of the same parameters: `$1` is every table with the tenant column or with policies, with
    /// all below it, `$5` the registry and what is shared.
    Text(&'static str),
    /// One that depends on the server or on the tenancy.
    Built(fn(&Ground) -> Stmt),
    /// The query of the hazard of this code: what bites a migration leaks afterwards as well.
    AsHazard(&'static str),
    /// The policies' expressions, taken apart.
    Policies(fn(&Seen) -> Vec<Row>),
    /// The queries of a plan, where one is given that expects answers; what shows it otherwise.
    Probes(&'static str),
    /// The catalogue does not show it; what does.
    Elsewhere(&'static str),
}

/// What the built queries depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ground {
    pub server: Server,
    /// SQL text of an SQL expression: the context in canonical form, for the column that `pg_attribute a` stands on.
    pub context: Stmt,
    /// Whether owners are meant to be bound.
    pub force: bool,
}

impl Rule {
    /// What its query can only be asked with.
    pub fn needs(&self) -> Needs {
        match self.look {
            Look::AsHazard(code) => hazards::kinds().find(|kind| kind.code == code).map_or(Needs::Catalog, |k| k.needs),
            Look::Text(_) | Look::Built(_) | Look::Policies(_) | Look::Probes(_) | Look::Elsewhere(_) => Needs::Catalog,
        }
    }

    /// Its query; `None` where it has none.
    pub fn query(&self, ground: &Ground) -> Option<Stmt> {
        match self.look {
            Look::Text(text) => Some(Stmt::raw(text)),
            Look::Built(build) => Some(build(ground)),
            Look::AsHazard(code) => {
                let kind = hazards::kinds().find(|kind| kind.code == code)?;
                Some(match kind.query {
                    Query::Text(text) => Stmt::raw(text),
                    Query::Built(build) => build(&ground.server),
                })
            }
            Look::Policies(_) | Look::Probes(_) | Look::Elsewhere(_) => None,
        }
    }

    /// What it found.
    pub fn finding(&self, (object, what, evidence, sql): Row) -> Hazard {
        let Self { code, severity, title, why, fix, .. } = *self;
        Hazard { code, severity, title, object, what, evidence, why, fix, sql }
    }
}
