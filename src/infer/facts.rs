//! What the catalogue says of a database, as far as the way to a tenant depends on it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::sql::{Ident, QName};

/// One database. Partitions and children by INHERITS are part of their topmost table; what belongs to an extension is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    pub database: String,
    /// In the order of their names.
    pub tables: Vec<Table>,
    /// What holds or shows rows and is no table.
    pub others: Vec<Other>,
    /// Roles that own or may use a table of `tables`, or are connected now.
    pub roles: Vec<Role>,
}

/// A table with everything below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    pub name: QName,
    pub shape: Shape,
    /// Estimated, partitions added up; `None` where it was never analysed.
    pub rows: Option<i64>,
    pub bytes: i64,
    pub owner: Ident,
    pub columns: Vec<Column>,
    /// The columns of the primary key; none where there is no such key.
    pub primary: Vec<Ident>,
    pub indexes: Vec<Index>,
    pub references: Vec<Reference>,
    pub rls: bool,
    pub forced: bool,
    pub policies: Vec<String>,
}

/// What stands below a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    Plain,
    /// Partitions of every level.
    Partitioned {
        below: u32,
    },
    /// Children by INHERITS.
    Inherited {
        below: u32,
    },
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    pub name: Ident,
    /// As `format_type` has it: `character varying(5)`.
    pub r#type: String,
    pub not_null: bool,
    pub default: Option<String>,
    pub generated: bool,
    pub identity: bool,
}

/// An index, with or without a constraint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    pub name: Ident,
    pub method: Ident,
    /// `None` is an expression.
    pub keys: Vec<Option<Ident>>,
    pub unique: bool,
    pub primary: bool,
    pub partial: bool,
    /// Enforced by a constraint of the table.
    pub constraint: bool,
    pub deferrable: bool,
    /// A foreign key of some table relies on it.
    pub relied_on: bool,
}

/// A foreign key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    pub name: Ident,
    pub columns: Vec<Ident>,
    pub table: QName,
    pub to: Vec<Ident>,
    pub valid: bool,
    /// Why the tenant cannot be a part of it on this server; `None` where it can.
    pub fixed: Option<String>,
}

/// A view, a materialised view or a foreign table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Other {
    pub name: QName,
    pub kind: OtherKind,
}

/// What holds or shows rows and is no table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OtherKind {
    /// A view that runs with its owner's rights.
    View,
    /// A view that runs with the caller's rights (15 and newer).
    InvokerView,
    MaterializedView,
    ForeignTable,
}

/// A role and what it has to do with the tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    pub name: Ident,
    /// Superuser or BYPASSRLS: no policy binds it.
    pub exempt: bool,
    pub login: bool,
    /// How many of the tables it owns, may read, may write.
    pub owns: i64,
    pub reads: i64,
    pub writes: i64,
    /// Its sessions in this database at the moment.
    pub sessions: i64,
}

impl Facts {
    /// Where each table stands in `tables`.
    pub fn places(&self) -> BTreeMap<&QName, usize> {
        self.tables.iter().enumerate().map(|(at, table)| (&table.name, at)).collect()
    }
}

impl Table {
    /// The column of this name.
    pub fn column(&self, name: &Ident) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == *name)
    }

    /// The one column of its primary key.
    pub fn key(&self) -> Option<&Column> {
        match self.primary.as_slice() {
            [one] => self.column(one),
            _ => None,
        }
    }

    /// Whether no row of it has NULL in any of `columns`.
    pub fn all_not_null<'a>(&self, columns: impl IntoIterator<Item = &'a Ident>) -> bool {
        columns.into_iter().all(|name| self.column(name).is_some_and(|column| column.not_null))
    }
}
