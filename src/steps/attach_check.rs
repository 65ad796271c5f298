//! Adds a CHECK constraint, such as one that every row of a partition to be has its tenant.
//!
//! Lock: ACCESS EXCLUSIVE for a moment: the constraint is added NOT VALID, so new rows are checked and old ones are not read.
//! VALIDATE then reads the old rows under SHARE UPDATE EXCLUSIVE, which lets readers and writers go on. The two are transactions
//! of their own, or the first lock would outlast the reading. Partitions and children get it with their parent.
//! Undo: drops the constraint, unless it was there before; one that was there NOT VALID is NOT VALID again.

use serde::Deserialize;

use super::{Object, StepKind};
use crate::{
    plan::{Lowering, Site},
    sql,
    sql::{Expr, Ident, Literal, QName, Stmt},
    unit::{Down, Growth, Hold, Lock, LockLevel, Op, Probe, Twin, Unit},
};

/// A step of the kind `attach_check`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttachCheck {
    table: QName,
    name: Ident,
    /// An expression over the row's columns.
    check: Expr,
}

pub const EXAMPLE: &str = r#"
[[phase.step]]
kind  = "attach_check"
table = "app.trades"
name  = "trades_amount_positive"
check = "amount > 0"
"#;

impl StepKind for AttachCheck {
    fn default_id(&self) -> String {
        self.name.as_str().to_owned()
    }

    fn check(&mut self, site: &mut Site<'_>) {
        if self.check.as_str().trim().eq_ignore_ascii_case("true") {
            site.warning("check", "TM0211", "CHECK (true) forbids nothing");
        }
    }

    fn lower(&self, cx: &Lowering<'_>) -> Vec<Unit> {
        let (table, name) = (&self.table, &self.name);
        vec![
            Unit {
                id: cx.unit("add"),
                title: format!("add CHECK {name} to {table}, not validated"),
                up: Op::Tx(vec![sql!(
                    "ALTER TABLE {} ADD CONSTRAINT {} CHECK ({}) NOT VALID",
                    table,
                    name,
                    self.check
                )]),
                down: Down::tx([sql!("ALTER TABLE {} DROP CONSTRAINT IF EXISTS {}", table, name)]),
                probe: self.added(),
                lock: Lock::on(LockLevel::AccessExclusive, table, Hold::Moment),
                loses: None,
                guards_rows: false,
                grows: Growth::Little,
            },
            Unit {
                id: cx.unit("validate"),
                title: format!("validate CHECK {name} of {table}"),
                up: Op::Tx(vec![sql!("ALTER TABLE {} VALIDATE CONSTRAINT {}", table, name)]),
                // PostgreSQL cannot take a validation back: the probe's `restore` drops it and adds it as it was, NOT VALID.
                down: Down::tx([]),
                probe: self.validated(),
                lock: Lock::on(LockLevel::ShareUpdateExclusive, table, Hold::Scan),
                loses: None,
                guards_rows: false,
                grows: Growth::Little,
            },
        ]
    }

    fn needs(&self) -> Vec<(&'static str, Object)> {
        vec![("table", Object::Table(self.table.clone()))]
    }
}

impl AttachCheck {
    /// The plan's text and the server's differ in form, so a constraint of that name is compared with one on a twin. Its
    /// expression knows no other table, so the two differ in nothing else but NOT VALID.
    fn added(&self) -> Probe {
        let twin = sql!(
            "(SELECT pg_get_constraintdef(w.oid) FROM pg_constraint w WHERE w.conrelid = to_regclass({}) AND w.conname = c.conname)",
            Literal::new(sql!("pg_temp.{}", self.table.name).to_string())
        );
        Probe::Catalog {
            query: self.state(&Stmt::raw("NULL::text")),
            twin: Some(Twin {
                setup: vec![
                    sql!("CREATE TEMPORARY TABLE {} (LIKE {}) ON COMMIT DROP", self.table.name, self.table),
                    sql!("ALTER TABLE pg_temp.{} ADD CONSTRAINT {} CHECK ({})", self.table.name, self.name, self.check),
                ],
                query: self.state(&twin),
            }),
        }
    }

    /// `made`: how the server writes what the plan says; NULL where it was not asked yet.
    fn state(&self, made: &Stmt) -> Stmt {
        sql!(
            "SELECT CASE WHEN c.oid IS NULL THEN 'absent' WHEN c.contype <> 'c' THEN 'conflict' WHEN m.made IS NULL THEN 'compare'
                         WHEN m.made = regexp_replace(m.def, ' NOT VALID$', '') THEN 'present' ELSE 'conflict' END,
                    'constraint ' || quote_ident(c.conname) || ' ' || m.def, NULL::text[]
               FROM (SELECT to_regclass({}) AS rel) t
               LEFT JOIN pg_constraint c ON c.conrelid = t.rel AND c.conname = {}
              CROSS JOIN LATERAL (SELECT {} AS made, pg_get_constraintdef(c.oid) AS def) m",
            Literal::new(self.table.to_string()),
            Literal::new(self.name.as_str()),
            made
        )
    }

    fn validated(&self) -> Probe {
        Probe::catalog(sql!(
            "SELECT CASE WHEN c.convalidated THEN 'present' ELSE 'absent' END, 'constraint ' || quote_ident(c.conname) || ' is valid',
                    CASE WHEN NOT c.convalidated THEN array_remove(ARRAY[
                        'SELECT pg_catalog.set_config(''search_path'', ' || quote_literal(current_setting('search_path')) || ', true)',
                        format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS %I', {0}::text, c.conname),
                        format('ALTER TABLE %s ADD CONSTRAINT %I %s', {0}::text, c.conname, pg_get_constraintdef(c.oid)),
                        format('COMMENT ON CONSTRAINT %I ON %s IS ', c.conname, {0}::text) || quote_literal(obj_description(c.oid, 'pg_constraint'))], NULL) END
               FROM (SELECT to_regclass({0}) AS rel) t
               LEFT JOIN pg_constraint c ON c.conrelid = t.rel AND c.conname = {1}",
            Literal::new(self.table.to_string()),
            Literal::new(self.name.as_str())
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial::finds;

    #[test]
    fn a_check_forbids_something() {
        finds(super::EXAMPLE, &[]);
        finds(&super::EXAMPLE.replace("amount > 0", " TRUE "), &["TM0211"]);
        finds(&super::EXAMPLE.replace("amount > 0", "a; b"), &["TM0103"]);
    }
}
