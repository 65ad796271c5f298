//! Rows that are copied from one table into another, and the record of them: what a batch, a trigger, a gate and an undo
//! have to say alike.

use serde::{Deserialize, Serialize};

use super::{BackfillSpec, BackfillValue};
use crate::{
    sql,
    sql::{Expr, Ident, List, QName, Stmt},
};

/// Where the rows of a backfill's table are copied to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopySpec {
    pub into: QName,
    /// Columns of `into`, each with its value by an expression that sees the source's row as `row`.
    pub columns: Vec<(Ident, Expr)>,
    /// The columns of `into` that tell which row it is. Each is among `columns`.
    pub key: Vec<Ident>,
    /// The record: a table with the key of every row that was copied, so that the undo takes these and no others, and a row
    /// that somebody deletes from `into` is not brought a second time.
    pub record: QName,
}

impl CopySpec {
    /// The copy that a backfill is, if it is one.
    pub fn of(spec: &BackfillSpec) -> Option<&Self> {
        match &spec.value {
            BackfillValue::Copy(copy) => Some(copy),
            BackfillValue::Constant(_) | BackfillValue::Parent { .. } | BackfillValue::Expr(_) => None,
        }
    }

    /// The columns of `into`, for INSERT.
    pub fn names(&self) -> Stmt {
        let names: Vec<&Ident> = self.columns.iter().map(|(name, _)| name).collect();
        sql!("{}", List(&names, ", "))
    }

    /// Their values, in the same order.
    pub fn values(&self) -> Stmt {
        let values: Vec<Stmt> = self.columns.iter().map(|(_, value)| sql!("({})", value)).collect();
        sql!("{}", List(&values, ", "))
    }

    /// The columns of the key.
    pub fn keys(&self) -> Stmt {
        sql!("{}", List(&self.key, ", "))
    }

    /// `alias` (a row of `into` or of the record) is the copy of `row`.
    pub fn is_of_row(&self, alias: &Stmt) -> Stmt {
        let of = |key: &Ident| self.columns.iter().find(|(name, _)| name == key).map(|(_, value)| value);
        let pairs: Vec<Stmt> =
            self.key.iter().filter_map(|key| Some(sql!("{}.{} = ({})", alias, key, of(key)?))).collect();
        sql!("{}", List(&pairs, " AND "))
    }

    /// Two rows, each of `into` or of the record, have the same key.
    pub fn same(&self, one: &Stmt, other: &Stmt) -> Stmt {
        let pairs: Vec<Stmt> = self.key.iter().map(|key| sql!("{}.{} = {}.{}", one, key, other, key)).collect();
        sql!("{}", List(&pairs, " AND "))
    }

    /// `row` is neither copied nor anything of its key there.
    pub fn is_due(&self) -> Stmt {
        sql!(
            "NOT EXISTS (SELECT FROM {} AS t WHERE {}) AND NOT EXISTS (SELECT FROM {} AS c WHERE {})",
            self.into,
            self.is_of_row(&alias("t")),
            self.record,
            self.is_of_row(&alias("c"))
        )
    }

    /// The INSERT of the rows of `from` (FROM and WHERE and what locks them), and their record, as common table expressions:
    /// `tenantmig_done` has a row for each that was copied. What has the key already is left as it is.
    pub fn insert(&self, from: &Stmt) -> Stmt {
        sql!(
            "tenantmig_done AS (INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} {} ON CONFLICT ({}) DO NOTHING RETURNING {}),
             tenantmig_recorded AS (INSERT INTO {} ({}) SELECT {} FROM tenantmig_done ON CONFLICT DO NOTHING)",
            self.into,
            self.names(),
            self.values(),
            from,
            self.keys(),
            self.keys(),
            self.record,
            self.keys(),
            self.keys()
        )
    }
}

/// A short name of our own.
pub fn alias(name: &str) -> Stmt {
    Stmt::raw(name)
}
