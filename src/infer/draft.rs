//! What was found: the plan as it will be written, every decision with its reasons.

use crate::sql::{Ident, QName};

/// A plan about to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    pub root: Root,
    /// The registry does not exist yet.
    pub made: Option<Made>,
    /// The column that carries the tenant.
    pub column: Ident,
    pub column_why: String,
    /// The setting by which the application names the tenant.
    pub setting: String,
    /// The application's roles.
    pub roles: Vec<Ident>,
    pub roles_why: Vec<String>,
    /// In an order in which each table's parents come first.
    pub entries: Vec<Entry>,
    pub shared: Vec<Shared>,
    pub gates: Vec<Gate>,
    /// What holds or shows rows and is no table.
    pub others: Vec<String>,
}

/// The table of the tenants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    pub table: QName,
    pub key: Ident,
    pub r#type: String,
    pub why: Vec<String>,
}

/// How a registry comes to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The key of its first row, to whom everything belongs that is there.
    pub first: String,
    /// The name in that row.
    pub called: String,
    /// The roles that may read it.
    pub readers: Vec<Ident>,
}

impl Made {
    /// The phase that makes it, before those of the tables.
    pub const PHASE: &str = "registry";
}

/// A table whose rows belong to tenants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub table: QName,
    pub way: Way,
    pub why: Vec<String>,
    /// `None`: as the plan has it by itself.
    pub index: Option<Vec<Vec<Ident>>>,
    pub index_why: Option<String>,
    pub unique: Vec<Vec<Ident>>,
    /// What is left as it is, and why.
    pub remarks: Vec<String>,
    /// The foreign keys that are to carry the tenant too: their columns, the table that they lead to and its columns.
    pub composite: Vec<(Vec<Ident>, QName, Vec<Ident>)>,
}

/// How a row gets to its tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// The registry itself.
    Registry,
    Parent {
        table: QName,
        columns: Vec<(Ident, Ident)>,
    },
    /// An expression over `row`, and the tables that must have their tenants before.
    Sql {
        text: String,
        needs: Vec<QName>,
    },
    /// One tenant for every row.
    Value(String),
    /// The schema does not decide it.
    Question(String),
}

/// A table that belongs to no tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    pub table: QName,
    pub reason: String,
}

/// Another way to the tenant, which must lead to the same one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    pub table: QName,
    pub parent: QName,
    pub columns: Vec<(Ident, Ident)>,
    /// The parent's tenant column, where it is not the plan's.
    pub column: Option<Ident>,
    pub optional: bool,
}

impl Draft {
    /// What a person has to decide.
    pub fn questions(&self) -> impl Iterator<Item = (&QName, &str)> {
        self.entries.iter().filter_map(|entry| match &entry.way {
            Way::Question(text) => Some((&entry.table, text.as_str())),
            Way::Registry | Way::Parent { .. } | Way::Sql { .. } | Way::Value(_) => None,
        })
    }
}
