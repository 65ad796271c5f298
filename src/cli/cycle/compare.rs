//! The ends of a cycle and what differs between them.

use std::collections::BTreeSet;

use crate::pg::fingerprint::{CatalogPrint, DataPrint, Fingerprint, TableName, diff};

/// The database after a leg; `start` before the first.
#[derive(Debug)]
pub struct End {
    pub name: &'static str,
    pub print: Fingerprint,
}

/// Two ends side by side.
#[derive(Debug)]
pub struct Comparison {
    pub of: [&'static str; 2],
    /// A unified diff of the catalogue's facts; `None`: the same.
    pub catalog: Option<String>,
    /// Of the rows: counts and checksums.
    pub data: Option<String>,
    /// How many tables' rows were compared.
    pub tables: usize,
}

impl Comparison {
    /// Compares two ends; of the rows only what both could read, and of `tables` where it is given.
    pub fn of(before: &End, after: &End, tables: Option<&BTreeSet<TableName>>) -> Self {
        let hidden: BTreeSet<&TableName> =
            before.print.data.unreadable().chain(after.print.data.unreadable()).map(|(name, _)| name).collect();
        let rows = |data: &DataPrint| {
            let compared =
                |name: &TableName| !hidden.contains(name) && tables.is_none_or(|tables| tables.contains(name));
            DataPrint { tables: data.tables.iter().filter(|(name, _)| compared(name)).cloned().collect() }
        };
        let (old, new) = (rows(&before.print.data), rows(&after.print.data));
        let facts = |print: &CatalogPrint| print.lines.clone();
        Self {
            of: [before.name, after.name],
            catalog: diff(&facts(&before.print.catalog), &facts(&after.print.catalog)),
            data: diff(&old.lines(), &new.lines()),
            tables: old.tables.len().max(new.tables.len()),
        }
    }

    /// Whether the two ends are the same.
    pub fn same(&self) -> bool {
        self.catalog.is_none() && self.data.is_none()
    }
}

/// The tables of which an end has rows or the reason why not.
pub fn tables(end: &End) -> BTreeSet<TableName> {
    end.print.data.tables.iter().map(|(name, _)| name.clone()).collect()
}
