//! The index's name and method, and what its size depends on.

use std::collections::BTreeMap;

use super::{CreateIndex, Key, Part, PartOptions};
use crate::{
    sql::{Ident, QName},
    unit::IndexShape,
};

impl CreateIndex {
    /// A plain unique index, with the name that PostgreSQL would choose.
    pub(in crate::steps) fn unique_over(table: &QName, columns: Vec<Ident>) -> Self {
        let part = |column| Part { key: Key::Column(column), options: PartOptions::default() };
        Self {
            table: table.clone(),
            columns: columns.into_iter().map(part).collect(),
            name: None,
            unique: true,
            r#where: None,
            include: Vec::new(),
            method: None,
            with: BTreeMap::new(),
            tablespace: None,
            nulls_not_distinct: false,
        }
    }

    pub(in crate::steps) fn name(&self) -> Ident {
        let keys = self.columns.iter().map(Part::word).chain(self.include.iter().map(Ident::as_str));
        let parts: Vec<&str> = [self.table.name.as_str()].into_iter().chain(keys).chain(["idx"]).collect();
        self.name.clone().unwrap_or_else(|| Ident::derived(&parts))
    }

    pub(super) fn method(&self) -> Ident {
        self.method.clone().unwrap_or_else(|| Ident::derived(&["btree"]))
    }

    pub(super) fn shape(&self) -> IndexShape {
        let keys = self.columns.iter().filter_map(|part| part.column().cloned());
        let exprs = self.columns.iter().filter_map(|part| match &part.key {
            Key::Expr(expr) => Some(expr.clone()),
            Key::Column(_) => None,
        });
        let fillfactor = self.with.iter().find(|(name, _)| name.as_str() == "fillfactor");
        IndexShape {
            table: self.table.clone(),
            name: self.name(),
            method: self.method(),
            unique: self.unique,
            columns: keys.chain(self.include.iter().cloned()).collect::<Vec<Ident>>(),
            exprs: exprs.collect(),
            included: self.include.len(),
            condition: self.r#where.clone(),
            fillfactor: fillfactor.and_then(|(_, value)| value.0.0.parse().ok()),
            tablespace: self.tablespace.clone(),
        }
    }
}
