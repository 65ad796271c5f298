//! Every row belongs where it should: its parent is there, its tenant is the parent's, and its tenant is in the registry.
//!
//! One scan of the table for each of the three questions, under ACCESS SHARE, joined by hashing. Rows whose foreign key or
//! tenant is NULL are passed over: that is what `nulls` is for. In `where` the table is called `row`.

use std::collections::BTreeMap;

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::{CheckKind, Gate, Measure};
use crate::{
    plan::Site,
    sql,
    sql::{Expr, Ident, List, Literal, QName, Stmt},
};

/// A check of the kind `orphans`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Orphans {
    pub table: QName,
    /// The column that carries the tenant.
    pub column: Ident,
    pub parent: Option<Parent>,
    pub registry: Option<Registry>,
    /// Where no one parent's row says it: the tenant as an expression over `row`. Where it finds none the row may keep its own.
    pub sql: Option<Expr>,
    /// Only rows for which this is true are looked at; sees the table as `row`.
    pub r#where: Option<Expr>,
}

/// The table that a row gets its tenant from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parent {
    pub table: QName,
    /// The table's columns, each with the parent's column that it equals.
    pub r#match: BTreeMap<Ident, Ident>,
    /// The parent's tenant column; the same name where it is left out.
    pub column: Option<Ident>,
    /// A row may have no parent; only a parent of another tenant is a finding.
    #[serde(default)]
    pub optional: bool,
}

/// The table of the tenants: named, or [tenancy]'s.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registry {
    Table {
        table: QName,
        key: Ident,
    },
    /// What [tenancy] says; `check` puts it here.
    Tenancy,
    /// `registry = false`.
    No,
}

impl<'de> Deserialize<'de> for Registry {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Named {
            table: QName,
            key: Ident,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Registry;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("true, or a table and its key: { table = \"app.tenants\", key = \"id\" }")
            }
            fn visit_bool<E: Error>(self, value: bool) -> Result<Registry, E> {
                Ok(if value { Registry::Tenancy } else { Registry::No })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Registry, A::Error> {
                let Named { table, key } = Named::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Registry::Table { table, key })
            }
        }
        from.deserialize_any(Either)
    }
}

pub const EXAMPLE: &str = r#"
[[phase.gate]]
kind   = "orphans"
table  = "app.orders"
column = "tenant_id"
parent = { table = "app.accounts", match = { account_id = "id" } }
"#;

impl CheckKind for Orphans {
    fn check(&mut self, site: &mut Site<'_>) {
        if self.registry == Some(Registry::Tenancy) {
            match site.tenancy() {
                Some(tenancy) => {
                    let (table, key) = (tenancy.registry.table.clone(), tenancy.registry.key.clone());
                    self.registry = Some(Registry::Table { table, key });
                }
                None if site.lacks_tenancy() => site
                    .error("registry", "TM0292", "`registry = true` has no meaning: the plan has no [tenancy]")
                    .help("write [tenancy], or registry = { table = \"app.tenants\", key = \"id\" }"),
                None => {}
            }
        }
        if self.parent.as_ref().is_some_and(|parent| parent.r#match.is_empty()) {
            site.error("parent", "TM0291", "`match` names no column")
                .help("write which column of the row equals which of the parent: match = { user_id = \"id\" }");
        }
        if self.parent.is_none() && self.sql.is_none() && matches!(self.registry, None | Some(Registry::No)) {
            site.error("parent", "TM0291", "neither `parent` nor `registry` is there, so nothing is looked for");
        }
    }

    fn lower(&self) -> Gate {
        let (table, column) = (&self.table, &self.column);
        let mut queries = Vec::new();
        let mut tables = vec![table.clone()];
        if let Some(parent) = &self.parent {
            if !parent.optional {
                queries.push(self.lone(parent));
            }
            queries.push(self.strays(parent));
            tables.push(parent.table.clone());
        }
        if let Some(Registry::Table { table: registry, key }) = &self.registry {
            queries.push(self.unknown(registry, key));
            tables.push(registry.clone());
        }
        if let Some(sql) = &self.sql {
            queries.push(self.astray(sql));
        }
        let of = |expr: &Expr| format!(" [{}]", expr.as_str().trim());
        let scope = self.r#where.as_ref().map_or(String::new(), of);
        let parent = self.parent.as_ref().map_or(String::new(), |p| format!("<{}", p.table));
        let by = self.sql.as_ref().map_or(String::new(), |expr| format!("<({})", expr.as_str().trim()));
        Gate {
            id: format!("orphans:{table}.{column}{parent}{by}{scope}"),
            kind: "orphans".to_owned(),
            title: format!("no row of {table} is an orphan or another tenant's{scope}"),
            query: sql!("{}", List(&queries, " UNION ALL ")),
            baseline: None,
            tables,
            wait: None,
            measure: Measure::Query,
        }
    }
}

impl Orphans {
    /// Rows that point at a parent that is not there.
    fn lone(&self, parent: &Parent) -> Stmt {
        let keys: Vec<Stmt> = parent.r#match.keys().map(|child| sql!("row.{} IS NOT NULL", child)).collect();
        let condition = sql!(
            "{} AND NOT EXISTS (SELECT FROM {} AS parent WHERE {})",
            List(&keys, " AND "),
            parent.table,
            matched(parent)
        );
        self.count(&format!("{} without a row in {}", self.table, parent.table), &condition)
    }

    /// Rows of another tenant than their parent.
    fn strays(&self, parent: &Parent) -> Stmt {
        let theirs = parent.column.as_ref().unwrap_or(&self.column);
        let condition = sql!(
            "row.{0} IS NOT NULL AND EXISTS (SELECT FROM {1} AS parent WHERE {2} AND parent.{3} IS DISTINCT FROM row.{0})",
            self.column,
            parent.table,
            matched(parent),
            theirs
        );
        let mends = takes_the_parents(&self.table, &self.column, &parent.table, theirs, &matched(parent));
        let what = format!(
            "{}.{} differs from {}.{theirs} (to take the parent's: {mends})",
            self.table, self.column, parent.table
        );
        self.count(&what, &condition)
    }

    /// Rows of another tenant than the expression gives. As text, since an assignment casts what a comparison does not.
    fn astray(&self, sql: &Expr) -> Stmt {
        let condition = sql!("({})::text <> row.{}::text", sql, self.column);
        let what = format!(
            "{0}.{1} is not what its expression gives; while the capture is there, setting {1} to NULL makes it look again",
            self.table, self.column
        );
        self.count(&what, &condition)
    }

    /// Rows of a tenant that nobody knows.
    fn unknown(&self, registry: &QName, key: &Ident) -> Stmt {
        let condition = sql!(
            "row.{0} IS NOT NULL AND NOT EXISTS (SELECT FROM {1} AS tenant WHERE tenant.{2} = row.{0})",
            self.column,
            registry,
            key
        );
        self.count(&format!("{}.{} is not in {registry}.{key}", self.table, self.column), &condition)
    }

    fn count(&self, what: &str, condition: &Stmt) -> Stmt {
        let only = self.r#where.as_ref().map_or(Stmt::raw(""), |e| sql!(" AND ({})", e));
        sql!(
            "SELECT {} AS what, count(*) AS found, left(min(row::text), 200) AS example
               FROM {} AS row WHERE {}{} HAVING count(*) > 0",
            Literal::new(what),
            self.table,
            condition,
            only
        )
    }
}

fn matched(parent: &Parent) -> Stmt {
    let pairs: Vec<Stmt> = parent.r#match.iter().map(|(child, up)| sql!("parent.{} = row.{}", up, child)).collect();
    sql!("{}", List(&pairs, " AND "))
}

/// The UPDATE that gives rows their parent's tenant; `equal` compares `row` with `parent`.
pub fn takes_the_parents(table: &QName, column: &Ident, parent: &QName, theirs: &Ident, equal: &Stmt) -> Stmt {
    sql!(
        "UPDATE {} AS row SET {} = parent.{} FROM {} AS parent WHERE {} AND row.{} IS DISTINCT FROM parent.{}",
        table,
        column,
        theirs,
        parent,
        equal,
        column,
        theirs
    )
}
