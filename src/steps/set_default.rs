//! Sets a column's default, such as the session's tenant (`{tenant}`), for an application that names the tenant by its setting
//! and not in each INSERT.
//!
//! Lock: ACCESS EXCLUSIVE for a moment; the catalogue changes, and no row: a default counts for rows that are inserted from
//! then on. That is why the context belongs here and not into ADD COLUMN, where PostgreSQL evaluates a stable default
//! once and gives the migration's own tenant to every row that is there. Partitions and children get it too, since a row may be
//! inserted into one by its name. An identity or generated column has none, and is refused.
//! Undo: takes the default away, and brings the old ones back, of each partition and child its own.

use serde::Deserialize;

use super::{Object, StepKind, create_policy::with_tenant};
use crate::{
    plan::{Lowering, Site},
    sql,
    sql::{Expr, Ident, Literal, QName, Stmt, mask, where_column},
    unit::{Down, Growth, Hold, Lock, LockLevel, Op, Probe, Twin, Unit},
};

/// A step of the kind `set_default`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetDefault {
    table: QName,
    column: Ident,
    /// An expression, as DEFAULT takes it; `{tenant}` stands for the session's tenant.
    default: Expr,
}

pub const EXAMPLE: &str = r#"
[[phase.step]]
kind    = "set_default"
table   = "app.orders"
column  = "tenant_id"
default = "{tenant}"
"#;

impl StepKind for SetDefault {
    fn default_id(&self) -> String {
        format!("{}-{}-default", self.table.name.as_str(), self.column.as_str())
    }

    fn check(&mut self, site: &mut Site<'_>) {
        if !mask(self.default.as_str()).contains("{tenant}") {
            return;
        }
        // A default takes no subquery, and is evaluated once for each row all the same.
        match site.tenancy().map(|t| Expr::parse(&with_tenant(self.default.as_str(), &t.context_once()))) {
            Some(Ok(full)) => self.default = full,
            Some(Err(why)) => {
                site.error("default", "TM0330", why);
            }
            None if site.lacks_tenancy() => site
                .error("default", "TM0330", "`{tenant}` has no meaning: the plan has no [tenancy]")
                .help("write [tenancy] with registry, column and setting, or the whole expression"),
            None => {}
        }
    }

    fn lower(&self, cx: &Lowering<'_>) -> Vec<Unit> {
        let (table, column) = (&self.table, &self.column);
        vec![Unit {
            id: cx.unit("default"),
            title: format!("set the default of {table}.{column} to {}", self.default.as_str().trim()),
            up: Op::Tx(vec![sql!("ALTER TABLE {} ALTER COLUMN {} SET DEFAULT {}", table, column, self.default)]),
            down: Down::tx([sql!("ALTER TABLE {} ALTER COLUMN {} DROP DEFAULT", table, column)]),
            probe: self.probe(),
            lock: Lock::on(LockLevel::AccessExclusive, table, Hold::Moment),
            loses: None,
            guards_rows: false,
            grows: Growth::Little,
        }]
    }

    fn needs(&self) -> Vec<(&'static str, Object)> {
        vec![("column", Object::Column(self.table.clone(), self.column.clone()))]
    }
}

impl SetDefault {
    /// The server's deparse of a default depends on its form and on the search path, so it is compared with a twin's.
    fn probe(&self) -> Probe {
        let twin = sql!("pg_temp.{}", self.table.name);
        let wanted = sql!(
            "(SELECT pg_get_expr(w.adbin, w.adrelid)
                FROM pg_attrdef AS w JOIN pg_attribute AS v ON v.attrelid = w.adrelid AND v.attnum = w.adnum
               WHERE w.adrelid = to_regclass({}) AND v.attname = {})",
            Literal::new(twin.to_string()),
            Literal::new(self.column.as_str())
        );
        let same = sql!("CASE WHEN bool_and(e.text IS NOT DISTINCT FROM {}) THEN 'present' ELSE 'partial' END", wanted);
        Probe::Catalog {
            query: self.state(&Stmt::raw("'compare'")),
            twin: Some(Twin {
                setup: vec![
                    sql!("CREATE TEMPORARY TABLE {} (LIKE {}) ON COMMIT DROP", self.table.name, self.table),
                    sql!("ALTER TABLE {} ALTER COLUMN {} SET DEFAULT {}", twin, self.column, self.default),
                ],
                query: self.state(&same),
            }),
        }
    }

    /// `some` is the presence where the table or one of its children has a default. What gives way is recorded.
    fn state(&self, some: &Stmt) -> Stmt {
        sql!(
            "WITH RECURSIVE heir (oid) AS (
               SELECT to_regclass({0})::oid UNION SELECT i.inhrelid FROM heir AS h JOIN pg_inherits AS i ON i.inhparent = h.oid),
             each AS (
               SELECT h.oid, h.oid = to_regclass({0}) AS is_root, format('%I.%I', n.nspname, k.relname) AS rel, a.attname, a.attidentity, a.attgenerated,
                      CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END AS text
                 FROM heir AS h JOIN pg_class AS k ON k.oid = h.oid JOIN pg_namespace AS n ON n.oid = k.relnamespace
                 JOIN pg_attribute AS a ON a.attrelid = h.oid AND a.attname = {1} AND NOT a.attisdropped
                 LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum),
             answer AS (
               SELECT CASE WHEN bool_or(e.attidentity <> '' OR e.attgenerated <> '') THEN 'conflict'
                           WHEN coalesce(bool_and(e.text IS NULL), true) THEN 'absent' ELSE {2} END AS presence,
                      CASE WHEN bool_or(e.attidentity <> '') THEN 'an identity column, which numbers its rows itself'
                           WHEN bool_or(e.attgenerated <> '') THEN 'a generated column, which has no default'
                           ELSE 'the default ' || string_agg(DISTINCT e.text, ', ') END AS found,
                      array_agg(CASE WHEN e.is_root THEN s.said ELSE {3} END ORDER BY e.oid) FILTER (WHERE e.text IS NOT NULL) AS restore
                 FROM each AS e CROSS JOIN LATERAL (
                      SELECT format('ALTER TABLE ONLY %s ALTER COLUMN %I SET DEFAULT %s', e.rel, e.attname, e.text) AS said) AS s)
             SELECT n.presence, n.found, CASE WHEN n.presence = 'partial' THEN array_prepend(
                        'SELECT pg_catalog.set_config(''search_path'', ' || quote_literal(current_setting('search_path')) || ', true)',
                        n.restore) END
               FROM answer AS n",
            Literal::new(self.table.to_string()),
            Literal::new(self.column.as_str()),
            some,
            where_column(&Stmt::raw("e.rel"), &Stmt::raw("e.attname"), &Stmt::raw("s.said"))
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial::finds;

    #[test]
    fn the_tenant_needs_a_tenancy() {
        finds(super::EXAMPLE, &["TM0330"]);
        let step = "kind = 'set_default'\ntable = 'a.t'\ncolumn = 'c'\n";
        finds(&format!("{step}default = \"'x'\""), &[]);
        finds(&format!("{step}default = \"'{{tenant}}'\""), &[]);
        finds(&format!("{step}default = \"1; DROP TABLE t\""), &["TM0103"]);
    }
}
