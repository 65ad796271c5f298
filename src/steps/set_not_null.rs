//! Makes a column NOT NULL.
//!
//! Lock: ACCESS EXCLUSIVE for moments; the rows are read under SHARE UPDATE EXCLUSIVE, which lets readers and writers go on.
//! A bare SET NOT NULL reads the whole table under ACCESS EXCLUSIVE. Before PostgreSQL 18 a CHECK constraint is added NOT VALID
//! and validated first: since 12, SET NOT NULL believes a valid CHECK and reads nothing; then the CHECK is dropped. From 18 on
//! the NOT NULL itself is added NOT VALID and validated, under the name that a bare SET NOT NULL would give it.
//! Undo: makes the column nullable again, unless it was NOT NULL before. Children and partitions that were NOT NULL by
//! themselves are so again, for which each of them is read under that lock.

use serde::Deserialize;

use super::{Object, StepKind};
use crate::{
    plan::{Lowering, Site},
    sql,
    sql::{Ident, Literal, QName, Stmt},
    unit::{Down, Growth, Hold, Lock, LockLevel, Op, Probe, Unit},
};

/// The first version that knows NOT NULL constraints by name, and NOT VALID ones.
const NATIVE_VERSION: u32 = 180_000;

/// A step of the kind `set_not_null`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetNotNull {
    table: QName,
    column: Ident,
}

pub const EXAMPLE: &str = r#"
[[phase.step]]
kind   = "set_not_null"
table  = "app.trades"
column = "tenant_id"
"#;

impl StepKind for SetNotNull {
    fn default_id(&self) -> String {
        format!("{}-{}-not-null", self.table.name.as_str(), self.column.as_str())
    }

    fn check(&mut self, _site: &mut Site<'_>) {}

    fn lower(&self, cx: &Lowering<'_>) -> Vec<Unit> {
        if cx.server.version_num >= NATIVE_VERSION { self.native(cx) } else { self.by_check(cx) }
    }

    fn needs(&self) -> Vec<(&'static str, Object)> {
        vec![("column", Object::Column(self.table.clone(), self.column.clone()))]
    }
}

impl SetNotNull {
    /// Before 18. The CHECK is a scaffold under a name of our own, so a CHECK that the user keeps beside it is never touched.
    fn by_check(&self, cx: &Lowering<'_>) -> Vec<Unit> {
        let (table, column) = (&self.table, &self.column);
        let name = Ident::derived(&[table.name.as_str(), column.as_str(), "tenantmig_not_null"]);
        let add = sql!("ALTER TABLE {} ADD CONSTRAINT {} CHECK ({} IS NOT NULL) NOT VALID", table, name, column);
        let drop = sql!("ALTER TABLE {} DROP CONSTRAINT IF EXISTS {}", table, name);
        // SET takes the scaffold away, so a column that is NOT NULL has had all three done to it.
        let by = sql!("c.conname = {}", Literal::new(name.as_str()));
        let probe = |done: Stmt, other: Stmt| self.probe(&name, &by, &done, &other, &sql!("NULL::text[]"));
        let not_ours = sql!(
            "c.oid IS NOT NULL AND (c.contype <> 'c' OR pg_get_expr(c.conbin, c.conrelid) <> format('(%I IS NOT NULL)', a.attname))"
        );
        vec![
            Unit {
                id: cx.unit("check"),
                title: format!("add CHECK ({column} IS NOT NULL) to {table}, not validated"),
                up: Op::Tx(vec![add.clone()]),
                down: Down::tx([drop.clone()]),
                probe: probe(sql!("a.attnotnull OR c.oid IS NOT NULL"), sql!("{} OR h.keyed IS NOT NULL", not_ours)),
                lock: Lock::on(LockLevel::AccessExclusive, table, Hold::Moment),
                loses: None,
                guards_rows: false,
                grows: Growth::Little,
            },
            Unit {
                id: cx.unit("validate"),
                title: format!("validate CHECK ({column} IS NOT NULL) of {table}"),
                up: Op::Tx(vec![sql!("ALTER TABLE {} VALIDATE CONSTRAINT {}", table, name)]),
                down: Down::tx([drop.clone(), add]),
                probe: probe(sql!("a.attnotnull OR c.convalidated"), not_ours),
                lock: Lock::on(LockLevel::ShareUpdateExclusive, table, Hold::Scan),
                loses: None,
                guards_rows: false,
                grows: Growth::Little,
            },
            Unit {
                id: cx.unit("set"),
                title: format!("set {table}.{column} NOT NULL"),
                up: Op::Tx(vec![sql!("ALTER TABLE {} ALTER COLUMN {} SET NOT NULL", table, column), drop]),
                down: Down::tx([sql!("ALTER TABLE {} ALTER COLUMN {} DROP NOT NULL", table, column)]),
                probe: self.probe(&name, &by, &sql!("a.attnotnull"), &sql!("false"), &self.children()),
                lock: Lock::on(LockLevel::AccessExclusive, table, Hold::Moment),
                loses: None,
                guards_rows: false,
                grows: Growth::Little,
            },
        ]
    }

    /// From 18 on, where `attnotnull` is set for a constraint that is not validated too.
    fn native(&self, cx: &Lowering<'_>) -> Vec<Unit> {
        let (table, column) = (&self.table, &self.column);
        let name = Ident::derived(&[table.name.as_str(), column.as_str(), "not_null"]);
        let add = sql!("ALTER TABLE {} ADD CONSTRAINT {} NOT NULL {} NOT VALID", table, name, column);
        let drop = sql!("ALTER TABLE {} DROP CONSTRAINT IF EXISTS {}", table, name);
        let by = sql!("c.contype = 'n' AND c.conkey = ARRAY[a.attnum]");
        // One under another name is as good once it is valid; VALIDATE would not find it before.
        let other = sql!(
            "named.oid IS NOT NULL AND NOT (named.contype = 'n' AND named.conkey = ARRAY[a.attnum])
             OR c.conname <> {} AND NOT c.convalidated",
            Literal::new(name.as_str())
        );
        vec![
            Unit {
                id: cx.unit("add"),
                title: format!("add NOT NULL to {table}.{column}, not validated"),
                up: Op::Tx(vec![add.clone()]),
                down: Down::tx([drop.clone()]),
                probe: self.probe(&name, &by, &sql!("c.oid IS NOT NULL"), &other, &sql!("NULL::text[]")),
                lock: Lock::on(LockLevel::AccessExclusive, table, Hold::Moment),
                loses: None,
                guards_rows: false,
                grows: Growth::Little,
            },
            Unit {
                id: cx.unit("validate"),
                title: format!("validate NOT NULL of {table}.{column}"),
                up: Op::Tx(vec![sql!("ALTER TABLE {} VALIDATE CONSTRAINT {}", table, name)]),
                down: Down::tx([drop, add]),
                probe: self.probe(&name, &by, &sql!("c.convalidated"), &other, &sql!("NULL::text[]")),
                lock: Lock::on(LockLevel::ShareUpdateExclusive, table, Hold::Scan),
                loses: None,
                guards_rows: false,
                grows: Growth::Little,
            },
        ]
    }

    /// SET and DROP NOT NULL both reach the children and partitions, so those that were NOT NULL before their parent are made
    /// so again (the probe's `restore`): the lowest first and each ONLY by itself, for one of theirs may have been left nullable.
    fn children(&self) -> Stmt {
        sql!(
            "({} SELECT array_agg(format('ALTER TABLE IF EXISTS ONLY %I.%I ALTER COLUMN %I SET NOT NULL',
                                      n.nspname, k.relname, b.attname) ORDER BY h.depth DESC, k.oid)
                FROM heir h JOIN pg_class k ON k.oid = h.oid JOIN pg_namespace n ON n.oid = k.relnamespace
                JOIN pg_attribute b ON b.attrelid = h.oid AND b.attname = a.attname AND b.attnotnull)",
            heirs()
        )
    }

    /// `done` and `other` (what stands in the way) see the column as `a`, the constraint that `by` finds as `c`
    /// and the one of our name as `named`.
    fn probe(&self, name: &Ident, by: &Stmt, done: &Stmt, other: &Stmt, restore: &Stmt) -> Probe {
        Probe::catalog(sql!(
            "SELECT CASE WHEN {} THEN 'conflict' WHEN {} THEN 'present' ELSE 'absent' END,
                    CASE WHEN h.keyed IS NOT NULL
                         THEN format('a primary key with the column in %s, below which it could not be made nullable again', h.keyed::regclass)
                         WHEN f.oid IS NOT NULL THEN format('constraint %I %s', f.conname, pg_get_constraintdef(f.oid))
                         WHEN a.attnotnull THEN 'the column is NOT NULL' END,
                    {}
               FROM (SELECT to_regclass({}) AS rel) t
               LEFT JOIN pg_attribute a ON a.attrelid = t.rel AND a.attname = {} AND a.attnum > 0 AND NOT a.attisdropped
               LEFT JOIN pg_constraint c ON c.conrelid = t.rel AND {}
               LEFT JOIN pg_constraint named ON named.conrelid = t.rel AND named.conname = {}
               LEFT JOIN pg_constraint f ON f.oid = coalesce(c.oid, named.oid)
               LEFT JOIN LATERAL ({}
                    SELECT p.conrelid AS keyed FROM heir h JOIN pg_constraint p ON p.conrelid = h.oid AND p.contype = 'p'
                      JOIN pg_attribute b ON b.attrelid = h.oid AND b.attname = a.attname AND b.attnum = ANY (p.conkey)
                     WHERE NOT a.attnotnull LIMIT 1) h ON true",
            other,
            done,
            restore,
            Literal::new(self.table.to_string()),
            Literal::new(self.column.as_str()),
            by,
            Literal::new(name.as_str()),
            heirs()
        ))
    }
}

/// The children and partitions of `t.rel` and theirs, as `heir`.
fn heirs() -> Stmt {
    sql!(
        "WITH RECURSIVE heir (oid, depth) AS (
                SELECT i.inhrelid, 1 FROM pg_inherits i WHERE i.inhparent = t.rel
                UNION SELECT i.inhrelid, h.depth + 1 FROM heir h JOIN pg_inherits i ON i.inhparent = h.oid)"
    )
}

#[cfg(test)]
mod tests {
    use super::super::trial::{finds, lower};
    use crate::unit::Op;

    #[track_caller]
    fn check(version: u32, expect: &[&str]) {
        let step = "kind = \"set_not_null\"\ntable = 'app.\"Mixed Case\"'\ncolumn = '\"tenant_ID\"'";
        let (units, _) = lower(step, version);
        let stmts = units.iter().flat_map(|unit| match &unit.up {
            Op::Tx(stmts) => stmts.clone(),
            Op::Autocommit { .. } | Op::Backfill(_) | Op::Assert(_) | Op::Watch(_) | Op::Keep(_) | Op::Restore(_) => {
                Vec::new()
            }
        });
        let texts: Vec<String> = stmts.map(|stmt| stmt.to_string()).collect();
        assert_eq!(texts, expect);
    }

    #[test]
    fn a_check_is_the_scaffold_before_18() {
        check(
            170_004,
            &[
                r#"ALTER TABLE app."Mixed Case" ADD CONSTRAINT "Mixed Case_tenant_ID_tenantmig_not_null" CHECK ("tenant_ID" IS NOT NULL) NOT VALID"#,
                r#"ALTER TABLE app."Mixed Case" VALIDATE CONSTRAINT "Mixed Case_tenant_ID_tenantmig_not_null""#,
                r#"ALTER TABLE app."Mixed Case" ALTER COLUMN "tenant_ID" SET NOT NULL"#,
                r#"ALTER TABLE app."Mixed Case" DROP CONSTRAINT IF EXISTS "Mixed Case_tenant_ID_tenantmig_not_null""#,
            ],
        );
    }

    #[test]
    fn the_constraint_has_the_name_of_a_bare_set_not_null_from_18_on() {
        check(
            180_000,
            &[
                r#"ALTER TABLE app."Mixed Case" ADD CONSTRAINT "Mixed Case_tenant_ID_not_null" NOT NULL "tenant_ID" NOT VALID"#,
                r#"ALTER TABLE app."Mixed Case" VALIDATE CONSTRAINT "Mixed Case_tenant_ID_not_null""#,
            ],
        );
    }

    #[test]
    fn the_example_has_no_findings() {
        finds(super::EXAMPLE, &[]);
    }
}
