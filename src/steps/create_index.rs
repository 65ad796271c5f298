//! Builds an index while the table is in use (CREATE INDEX CONCURRENTLY).
//!
//! Lock: SHARE UPDATE EXCLUSIVE while the table is read twice; readers and writers go on, other DDL on the table waits. The
//! build also waits for every transaction that is older than its steps. A build that fails leaves an invalid index behind,
//! which slows writes down and, if unique, may refuse them: it is dropped before the next attempt and on the way back.
//! An index of that name counts as done only when it is valid and defined as the plan says.
//! A partitioned table: its index is made ON ONLY it (SHARE, for a moment), then one CONCURRENTLY on each partition, of its own
//! even where an equal one stands, and attached (ACCESS EXCLUSIVE on that index, for a moment); valid after the last.
//! Undo: drops the index CONCURRENTLY, unless it was there before; of a partitioned table in one statement that takes ACCESS
//! EXCLUSIVE on it and every partition, for a moment.

mod shape;
pub(super) mod tree;

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::{Object, StepKind};
use crate::{
    checks::{CheckKind, Gate, invalid_indexes::InvalidIndexes},
    plan::{Deals, Lowering, Site},
    sql,
    sql::{Expr, Ident, List, QName, Scalar, Stmt},
    unit::{Down, Growth, Hold, Lock, LockLevel, Op, Unit},
};
use tree::Tree;

/// A step of the kind `create_index`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateIndex {
    table: QName,
    /// Names, or tables such as `{ expr = "lower(email)", order = "desc", opclass = "text_pattern_ops", collation = "C" }`.
    columns: Vec<Part>,
    /// Without one, the name that PostgreSQL would choose: `table_column_idx`.
    name: Option<Ident>,
    #[serde(default)]
    unique: bool,
    r#where: Option<Expr>,
    #[serde(default)]
    include: Vec<Ident>,
    /// `btree` where it is not given.
    method: Option<Ident>,
    /// Storage parameters: `{ fillfactor = 90 }`.
    #[serde(default)]
    with: BTreeMap<Ident, Scalar>,
    /// Where it lies; without one, where `default_tablespace` or the database says.
    tablespace: Option<Ident>,
    /// From PostgreSQL 15 on.
    #[serde(default)]
    nulls_not_distinct: bool,
}

/// One key of the index.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Part {
    key: Key,
    options: PartOptions,
}

#[derive(Debug, Clone, PartialEq)]
enum Key {
    Column(Ident),
    Expr(Expr),
}

/// A key as an inline table writes it.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PartOptions {
    column: Option<Ident>,
    expr: Option<Expr>,
    order: Option<Order>,
    /// As SQL writes it; it may be schema-qualified and have parameters.
    opclass: Option<Expr>,
    /// As the catalogue stores it: `C`, `de-x-icu`.
    #[serde(default, deserialize_with = "stored_name")]
    collation: Option<Ident>,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
enum Order {
    #[serde(rename = "asc", alias = "asc nulls last")]
    Asc,
    #[serde(rename = "asc nulls first")]
    AscNullsFirst,
    #[serde(rename = "desc", alias = "desc nulls first")]
    Desc,
    #[serde(rename = "desc nulls last")]
    DescNullsLast,
}

fn stored_name<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Ident>, D::Error> {
    Ident::new(String::deserialize(from)?).map(Some).map_err(D::Error::custom)
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct NameOrTable;
        impl<'de> Visitor<'de> for NameOrTable {
            type Value = Part;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a column's name or a table with `column` or `expr`")
            }
            fn visit_str<E: Error>(self, name: &str) -> Result<Part, E> {
                let hint = "; an expression is written { expr = \"…\" }, an order { column = \"…\", order = \"desc\" }";
                let column = Ident::parse(name).map_err(|why| E::custom(format!("{why}{hint}")))?;
                Ok(Part { key: Key::Column(column), options: PartOptions::default() })
            }
            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Part, M::Error> {
                let mut options = PartOptions::deserialize(MapAccessDeserializer::new(map))?;
                let key = match (options.column.take(), options.expr.take()) {
                    (Some(column), None) => Key::Column(column),
                    (None, Some(expr)) => Key::Expr(expr),
                    (Some(_), Some(_)) | (None, None) => {
                        return Err(M::Error::custom("a key of an index has either `column` or `expr`"));
                    }
                };
                Ok(Part { key, options })
            }
        }
        from.deserialize_any(NameOrTable)
    }
}

impl Part {
    pub(super) fn sql(&self) -> Stmt {
        let key = match &self.key {
            Key::Column(column) => sql!("{}", column),
            Key::Expr(expr) => sql!("({})", expr),
        };
        let collation = self.options.collation.as_ref().map_or(Stmt::raw(""), |name| sql!(" COLLATE {}", name));
        let opclass = self.options.opclass.as_ref().map_or(Stmt::raw(""), |name| sql!(" {}", name));
        let order = match self.options.order {
            None | Some(Order::Asc) => "",
            Some(Order::AscNullsFirst) => " NULLS FIRST",
            Some(Order::Desc) => " DESC",
            Some(Order::DescNullsLast) => " DESC NULLS LAST",
        };
        sql!("{}{}{}{}", key, collation, opclass, Stmt::raw(order))
    }

    pub(super) fn column(&self) -> Option<&Ident> {
        match &self.key {
            Key::Column(column) => Some(column),
            Key::Expr(_) => None,
        }
    }

    pub(super) fn expr(&self) -> Option<&Expr> {
        match &self.key {
            Key::Column(_) => None,
            Key::Expr(expr) => Some(expr),
        }
    }

    /// Whether it says nothing beyond the column or the expression.
    pub(super) fn is_plain(&self) -> bool {
        self.options == PartOptions::default()
    }

    /// What PostgreSQL calls it in the index's own name: the column, the function, or `expr`.
    pub(super) fn word(&self) -> &str {
        match &self.key {
            Key::Column(column) => column.as_str(),
            Key::Expr(expr) => match expr.as_str().split_once('(') {
                Some((name, _)) if Ident::parse(name).is_ok() => name,
                Some(_) | None => "expr",
            },
        }
    }
}

pub const EXAMPLE: &str = r#"
[[phase.step]]
kind    = "create_index"
table   = "app.trades"
columns = ["tenant_id", { expr = "lower(symbol)", opclass = "text_pattern_ops" }, { column = "id", order = "desc" }]
unique  = true
where   = "amount > 0"
include = ["amount"]
with    = { fillfactor = 90 }
"#;

impl StepKind for CreateIndex {
    fn default_id(&self) -> String {
        self.name().as_str().to_owned()
    }

    fn check(&mut self, site: &mut Site<'_>) {
        if self.columns.is_empty() {
            site.error("columns", "TM0220", "an index has at least one column");
        }
        if let Some((_, twice)) = self.columns.iter().enumerate().find(|(i, p)| self.columns[..*i].contains(p)) {
            site.error("columns", "TM0221", format!("`{}` is named twice", twice.sql()));
        }
        for (i, column) in self.include.iter().enumerate() {
            if self.columns.iter().any(|p| p.column() == Some(column)) || self.include[..i].contains(column) {
                site.error("include", "TM0221", format!("`{}` is in the index already", column.as_str()));
            }
        }
        if self.nulls_not_distinct && !self.unique {
            site.error("nulls_not_distinct", "TM0226", "only a unique index asks whether NULLs are distinct")
                .help("write unique = true, or leave nulls_not_distinct out");
        }
        // Of PostgreSQL's own methods (documentation, "Index Types"); those of extensions are the server's to judge.
        let method = self.method();
        let (method, own) = (method.as_str(), ["btree", "hash", "gin", "gist", "spgist", "brin"]);
        let lacks = |able: &[&str]| own.contains(&method) && !able.contains(&method);
        if self.unique && lacks(&["btree"]) {
            site.error("unique", "TM0223", format!("a {method} index cannot be unique"))
                .help("leave `method` out: btree");
        }
        if !self.include.is_empty() && lacks(&["btree", "gist", "spgist"]) {
            site.error("include", "TM0224", format!("a {method} index cannot include further columns"))
                .help("btree, gist and spgist can");
        }
        if self.columns.len() > 1 && lacks(&["btree", "gin", "gist", "brin"]) {
            site.error("columns", "TM0225", format!("a {method} index has one column"));
        }
        if self.columns.iter().any(|p| p.options.order.is_some()) && lacks(&["btree"]) {
            site.error("columns", "TM0227", format!("a {method} index has no order"));
        }
    }

    fn lower(&self, cx: &Lowering<'_>) -> Vec<Unit> {
        let (table, name) = (&self.table, self.name());
        let drop = sql!("DROP INDEX CONCURRENTLY IF EXISTS {}", table.sibling(name.clone()));
        let unique = Stmt::raw(if self.unique { "UNIQUE " } else { "" });
        let keys: Vec<Stmt> = self.columns.iter().map(Part::sql).collect();
        let tree = Tree {
            table,
            name: &name,
            unique: unique.clone(),
            definition: self.definition(true),
            unplaced: self.definition(false),
            tablespace: self.tablespace.as_ref(),
            needs_15: self.nulls_not_distinct,
        };
        vec![Unit {
            id: cx.unit("index"),
            title: format!(
                "create {}index {name} on {table} ({}) concurrently",
                unique.as_str().to_lowercase(),
                List(&keys, ", ")
            ),
            up: Op::Autocommit {
                stmt: sql!("CREATE {}INDEX CONCURRENTLY {} ON {} {}", unique, name, table, self.definition(true)),
                repair: vec![drop.clone()],
                due: Some(tree.missing()),
            },
            down: Down::Op(Op::Autocommit { stmt: drop, repair: Vec::new(), due: Some(tree.remaining()) }),
            probe: tree.probe(),
            lock: Lock::on(LockLevel::ShareUpdateExclusive, table, Hold::Scan),
            loses: None,
            guards_rows: false,
            grows: Growth::Index(Box::new(self.shape())),
        }]
    }

    fn gates(&self, _cx: &Lowering<'_>) -> Vec<Gate> {
        vec![InvalidIndexes { tables: vec![self.table.clone()] }.lower()]
    }

    fn deals(&self) -> Option<Deals> {
        let key = |part: &Part| match &part.key {
            Key::Column(column) => column.as_str().to_owned(),
            Key::Expr(expr) => expr.as_str().to_owned(),
        };
        Some(Deals::Index { table: self.table.clone(), keys: self.columns.iter().map(key).collect() })
    }

    fn needs(&self) -> Vec<(&'static str, Object)> {
        let keys = self.columns.iter().filter_map(|p| p.column().map(|c| ("columns", c)));
        let all = keys.chain(self.include.iter().map(|c| ("include", c)));
        let columns = all.map(|(key, column)| (key, Object::Column(self.table.clone(), column.clone())));
        let tablespace = self.tablespace.iter().map(|name| ("tablespace", Object::Tablespace(name.clone())));
        [("table", Object::Table(self.table.clone()))].into_iter().chain(columns).chain(tablespace).collect()
    }
}

impl CreateIndex {
    /// Everything behind the table's name. A twin is made without the tablespace, which may be full, or not be there.
    fn definition(&self, placed: bool) -> Stmt {
        let keys: Vec<Stmt> = self.columns.iter().map(Part::sql).collect();
        let mut text = sql!("USING {} ({})", self.method(), List(&keys, ", "));
        if !self.include.is_empty() {
            text = sql!("{} INCLUDE ({})", text, List(&self.include, ", "));
        }
        if self.nulls_not_distinct {
            text = sql!("{} NULLS NOT DISTINCT", text);
        }
        if !self.with.is_empty() {
            let with: Vec<Stmt> = self.with.iter().map(|(name, value)| sql!("{} = {}", name, value.0)).collect();
            text = sql!("{} WITH ({})", text, List(&with, ", "));
        }
        if let Some(tablespace) = self.tablespace.as_ref().filter(|_| placed) {
            text = sql!("{} TABLESPACE {}", text, tablespace);
        }
        self.r#where.as_ref().map_or(text.clone(), |condition| sql!("{} WHERE {}", text, condition))
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial::{finds, lower};
    use crate::unit::Op;

    #[track_caller]
    fn check(step: &str, expect: &str) {
        let (units, diags) = lower(&format!("kind = \"create_index\"\n{step}"), 150_000);
        match units.first().map(|unit| &unit.up) {
            Some(Op::Autocommit { stmt, .. }) => assert_eq!(stmt.as_str(), expect),
            other => panic!("{other:?} {diags:?}"),
        }
    }

    #[test]
    fn every_form_is_written() {
        check(
            "table = \"app.t\"\ncolumns = [\"a\", { column = \"b\", order = \"desc nulls last\", collation = \"C\" }]",
            r#"CREATE INDEX CONCURRENTLY t_a_b_idx ON app.t USING btree (a, b COLLATE "C" DESC NULLS LAST)"#,
        );
        check(
            "table = 'app.\"Mixed Case\"'\ncolumns = [{ expr = 'lower(\"größe\")' }]\nunique = true\nnulls_not_distinct = true",
            r#"CREATE UNIQUE INDEX CONCURRENTLY "Mixed Case_lower_idx" ON app."Mixed Case" USING btree ((lower("größe"))) NULLS NOT DISTINCT"#,
        );
        check(
            "table = \"t\"\nname = \"i\"\ncolumns = [{ expr = \"a || b\" }]\nmethod = \"gin\"\nwith = { fastupdate = false, x = 1 }\nwhere = \"c\"",
            "CREATE INDEX CONCURRENTLY i ON public.t USING gin ((a || b)) WITH (fastupdate = 'false', x = '1') WHERE c",
        );
        check(
            "table = \"t\"\ncolumns = [\"a\"]\ntablespace = '\"Fast\"'\nwhere = \"b\"",
            r#"CREATE INDEX CONCURRENTLY t_a_idx ON public.t USING btree (a) TABLESPACE "Fast" WHERE b"#,
        );
    }

    #[test]
    fn what_postgresql_would_refuse_is_found() {
        let index = |rest: &str| format!("kind = \"create_index\"\ntable = \"app.t\"\n{rest}");
        finds(super::EXAMPLE, &[]);
        finds(&index("columns = []"), &["TM0220"]);
        finds(&index("columns = [\"a\", \"a\"]\ninclude = [\"a\"]"), &["TM0221", "TM0221"]);
        finds(
            &index("columns = [\"a\", { expr = \"lower(a)\" }]\nmethod = \"hash\"\nunique = true"),
            &["TM0223", "TM0225"],
        );
        finds(
            &index("columns = [\"a\"]\nmethod = \"brin\"\ninclude = [\"b\"]\nnulls_not_distinct = true"),
            &["TM0226", "TM0224"],
        );
        finds(&index("columns = [{ column = \"a\", order = \"desc\" }]\nmethod = \"gist\""), &["TM0227"]);
        finds(&index("columns = [{ order = \"desc\" }]"), &["TM0103"]);
        finds(&index("columns = [\"lower(a)\"]"), &["TM0103"]);
    }
}
