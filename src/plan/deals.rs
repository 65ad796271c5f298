//! What a plan deals with that would else bite: the survey of hazards passes it over.

use super::Plan;
use crate::sql::{Ident, QName};

/// One thing that a step deals with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deals {
    /// A unique key over all tenants becomes one within each; found by its name, or else by its columns.
    UniqueKey { table: QName, columns: Vec<Ident>, name: Option<Ident> },
    /// A foreign key makes room for one that carries the tenant.
    ForeignKey { table: QName, columns: Vec<Ident> },
    /// A table gets row-level security, with its partitions and children.
    Family { table: QName },
    /// An index is made; its keys as the plan writes them.
    Index { table: QName, keys: Vec<String> },
    /// Columns that the application's triggers set on every UPDATE, and that a backfill leaves as they are.
    Kept { table: QName, columns: Vec<Ident> },
}

impl Plan {
    /// What its steps deal with.
    pub fn deals(&self) -> Vec<Deals> {
        self.phases.iter().flat_map(|phase| &phase.steps).filter_map(|item| item.step.deals()).collect()
    }
}
