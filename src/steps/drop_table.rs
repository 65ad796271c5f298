//! Takes a table away and keeps it: it is put aside, into a schema of its own that nobody else may use.
//!
//! Aside it goes with its rows, indexes, constraints, policies, flags, triggers, owned sequences, statistics and grants, and with its
//! partitions. Where something else rests on it (a view, another table's foreign key, policy or default, a function that is bound to it)
//! or where it is a partition itself, that is named before anything is touched, and nothing is ever dropped by CASCADE. What a
//! function's text or the application names the server does not know: look for it.
//! Lock: ACCESS EXCLUSIVE for a moment, on the table and, while its own foreign keys to other tables are dropped, on those; no row is
//! read or written.
//! Undo: the table comes back as it was, in moments; then each foreign key that was valid is validated again, which reads the rows. It
//! needs CREATE on the table's schema, as the deed needs it on the database.
//! Its room is not free until somebody frees it, which ends the way back: `status` shows what is kept, how large it is, and the statement
//! (DROP SCHEMA tenantmig_aside_dropped_… CASCADE), which a later phase may run as an `sql` step that says `irreversible`.

pub mod aside;

use serde::Deserialize;

use self::aside::{Aside, PENDING, obstacles, with_keys};
use super::{Object, StepKind};
use crate::{
    checks::{Gate, Guard, Measure},
    plan::{Lowering, Site},
    sql,
    sql::{Literal, QName, Stmt, block},
    unit::{Down, Due, Growth, Hold, Lock, LockLevel, Op, Probe, Unit},
};

/// A step of the kind `drop_table`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DropTable {
    table: QName,
}

pub const EXAMPLE: &str = r#"
[[phase.step]]
kind  = "drop_table"
table = "app.users"
"#;

impl StepKind for DropTable {
    fn default_id(&self) -> String {
        format!("drop-{}", self.table.name.as_str())
    }

    fn check(&mut self, _site: &mut Site<'_>) {}

    fn lower(&self, cx: &Lowering<'_>) -> Vec<Unit> {
        vec![self.keys_unit(cx), self.table_unit(cx)]
    }

    fn guards(&self, cx: &Lowering<'_>) -> Vec<Guard> {
        let (table, aside) = (&self.table, Aside::dropped(&self.table));
        let query = sql!(
            "SELECT {}, 1::bigint, NULL::text WHERE {} IS NULL AND to_regclass({}) IS NULL",
            Literal::new(format!(
                "{table} is not in the schema {} any more: nothing can bring it back",
                aside.schema()
            )),
            aside.kept(),
            Literal::new(table.to_string())
        );
        let gate = Gate {
            id: format!("aside:{table}"),
            kind: "aside".to_owned(),
            title: format!("{table} is still kept, and can come back"),
            query,
            baseline: None,
            tables: Vec::new(),
            wait: None,
            measure: Measure::Query,
        };
        vec![Guard { gate, of: Some(cx.unit("table")), consent: None }]
    }

    fn needs(&self) -> Vec<(&'static str, Object)> {
        vec![("table", Object::Table(self.table.clone()))]
    }

    fn hindrance(&self) -> Option<(&'static str, Stmt)> {
        Some(("table", obstacles(&self.table)))
    }
}

impl DropTable {
    /// A unit of its own, since bringing a key back locks the other table, which must not wait while the rows are read.
    fn keys_unit(&self, cx: &Lowering<'_>) -> Unit {
        let table = &self.table;
        Unit {
            id: cx.unit("keys"),
            title: format!("see to it that nothing rests on {table}, and that its foreign keys can come back valid"),
            up: Op::Assert(sql!("SELECT {} IS NULL", obstacles(table))),
            down: Down::Op(Op::Autocommit {
                stmt: validate_all(table),
                repair: Vec::new(),
                due: Some(Due { table: table.clone(), query: validations(table), restores: true }),
            }),
            probe: keys_probe(table),
            lock: Lock::on(LockLevel::ShareUpdateExclusive, table, Hold::Scan),
            loses: None,
            guards_rows: false,
            grows: Growth::Little,
        }
    }

    fn table_unit(&self, cx: &Lowering<'_>) -> Unit {
        let (table, aside) = (&self.table, Aside::dropped(&self.table));
        Unit {
            id: cx.unit("table"),
            title: format!("put {table} aside into the schema {}", aside.schema()),
            up: Op::Tx(vec![aside.away(&Stmt::raw(""))]),
            down: Down::tx([aside.back()]),
            probe: table_probe(table, &aside),
            lock: Lock::on(LockLevel::AccessExclusive, table, Hold::Moment),
            loses: None,
            guards_rows: false,
            grows: Growth::Little,
        }
    }
}

/// What is to be validated when the table is there again is in its `restore`.
fn keys_probe(table: &QName) -> Probe {
    Probe::catalog(sql!(
        "{} SELECT CASE WHEN t.rel IS NULL THEN 'present' WHEN c.relkind NOT IN ('r', 'p') OR o.held IS NOT NULL THEN 'conflict' ELSE 'absent' END,
                CASE WHEN c.relkind NOT IN ('r', 'p') THEN format('%s, which is no table', t.rel) ELSE o.held END,
                (SELECT array_agg(k.valid ORDER BY k.name) FROM keys k WHERE k.valid IS NOT NULL)
           FROM (SELECT to_regclass({}) AS rel) t LEFT JOIN pg_class c ON c.oid = t.rel CROSS JOIN LATERAL (SELECT {} AS held) o",
        with_keys(table),
        Literal::new(table.to_string()),
        obstacles(table)
    ))
}

/// Where a view has taken the table's place it is gone as well.
fn table_probe(table: &QName, aside: &Aside) -> Probe {
    Probe::catalog(sql!(
        "SELECT CASE WHEN t.rel IS NULL OR t.kept IS NOT NULL AND c.relkind IN ('v', 'm') THEN 'present'
                     WHEN n.oid IS NOT NULL OR c.relkind NOT IN ('r', 'p') THEN 'conflict' ELSE 'absent' END,
                CASE WHEN c.relkind NOT IN ('r', 'p') THEN format('%s, which is no table', t.rel)
                     WHEN n.oid IS NOT NULL THEN format('the schema %I, which holds what an earlier step put aside', n.nspname)
                     ELSE 'the table' END,
                NULL::text[]
           FROM (SELECT to_regclass({}) AS rel, {} AS kept) t LEFT JOIN pg_class c ON c.oid = t.rel LEFT JOIN pg_namespace n ON n.nspname = {}",
        Literal::new(table.to_string()),
        aside.kept(),
        Literal::new(aside.schema().as_str())
    ))
}

/// The validations that were recorded and are not done yet, a statement each.
fn validations(table: &QName) -> Stmt {
    sql!(
        "{} SELECT v.sql, CASE WHEN starts_with(v.sql, 'DO ') THEN 'share_row_exclusive' ELSE 'share_update_exclusive' END AS kind, ARRAY[{}] AS tables, v.place
           FROM unnest($1) WITH ORDINALITY AS v (sql, place) WHERE v.sql NOT IN (SELECT k.valid FROM keys k WHERE k.valid IS NOT NULL) ORDER BY v.place",
        with_keys(table),
        Literal::new(table.to_string())
    )
}

/// As a script has it, which does not know what was valid: all of them.
fn validate_all(table: &QName) -> Stmt {
    block(&sql!(
        "
DECLARE key record;
BEGIN
    FOR key IN {0} SELECT DISTINCT substr(s.said, length({1}) + 1) AS made
        FROM keys k CROSS JOIN LATERAL (SELECT obj_description(k.oid, 'pg_constraint') AS said) s WHERE starts_with(s.said, {1}) LOOP
        EXECUTE key.made;
    END LOOP;
    FOR key IN {0} SELECT k.child, k.name FROM keys k WHERE k.valid IS NULL LOOP
        EXECUTE format('ALTER TABLE %s VALIDATE CONSTRAINT %I', key.child, key.name);
    END LOOP;
END ",
        with_keys(table),
        Literal::new(PENDING)
    ))
}
