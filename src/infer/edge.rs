//! One hop on the way to the tenant: from a row to the row of another table that it points at.

use crate::sql::{Ident, QName};

use super::facts::Facts;

/// How we know that the columns point there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Says {
    ForeignKey,
    /// A foreign key that was never validated.
    NotValid,
    /// No foreign key: the name and the type of the column.
    Name,
}

/// A hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edge {
    pub child: usize,
    pub parent: usize,
    /// The child's columns, each with the parent's that it equals.
    pub columns: Vec<(Ident, Ident)>,
    /// A row may have NULL there.
    pub nullable: bool,
    pub says: Says,
}

impl Edge {
    /// The columns of the child, as a person reads them.
    pub fn by(&self) -> String {
        let names: Vec<String> = self.columns.iter().map(|(child, _)| child.to_string()).collect();
        names.join(", ")
    }

    /// Whether every row has a parent, by the schema alone.
    pub fn is_total(&self) -> bool {
        !self.nullable && self.says == Says::ForeignKey
    }

    /// `table by column`.
    pub fn words(&self, facts: &Facts) -> String {
        let says = match self.says {
            Says::ForeignKey => "",
            Says::NotValid => ", a foreign key that is not validated",
            Says::Name => ", which no foreign key says",
        };
        format!("{} by {}{says}", name(facts, self.parent), self.by())
    }
}

/// The name of the table at a place.
pub(super) fn name(facts: &Facts, at: usize) -> String {
    facts.tables.get(at).map_or_else(String::new, |table| table.name.to_string())
}

/// The name of the table at a place, as SQL takes it.
pub(super) fn qname(facts: &Facts, at: usize) -> Option<&QName> {
    facts.tables.get(at).map(|table| &table.name)
}

/// Every hop that a foreign key says, but for those of a table to itself: they lead to no other table.
pub(super) fn foreign_keys(facts: &Facts) -> Vec<Edge> {
    let places = facts.places();
    let mut out = Vec::new();
    for (child, table) in facts.tables.iter().enumerate() {
        for reference in &table.references {
            let Some(&parent) = places.get(&reference.table) else { continue };
            if parent == child {
                continue;
            }
            let columns: Vec<_> = reference.columns.iter().cloned().zip(reference.to.iter().cloned()).collect();
            let nullable = !table.all_not_null(&reference.columns);
            let says = if reference.valid { Says::ForeignKey } else { Says::NotValid };
            out.push(Edge { child, parent, columns, nullable, says });
        }
    }
    out
}
