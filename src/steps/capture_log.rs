//! Creates the table in which captures note who wrote without a tenant: application, session user, table, how many transactions,
//! first and last time.
//!
//! Lock: ACCESS EXCLUSIVE on the new table alone, which nobody else can see yet. A note never waits and never fails a write: each
//! session writes rows of its own (one a minute, table and name), passes by one that a prepared transaction still
//! holds, and an error goes to the server's log. A transaction is counted once, and noted again each second that it goes
//! on. The key is no sequence, which would jump after a failover, and a role that writes needs no right on the table: the
//! function beside it is SECURITY DEFINER. The first row says since when anything is noted at all.
//! Undo: drops the function and the table, unless they were there before; the notes go with it.

use serde::Deserialize;

use super::{Object, StepKind};
use crate::{
    plan::{Lowering, Site},
    sql,
    sql::{Ident, List, Literal, QName, Stmt},
    unit::{Down, Growth, Hold, Lock, LockLevel, Op, Probe, Unit},
};

/// A step of the kind `capture_log`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaptureLog {
    table: QName,
}

pub const EXAMPLE: &str = r#"
[[phase.step]]
kind  = "capture_log"
table = "app.tenantmig_writes"
"#;

/// Its columns and their types, as the server writes them. Half of each page is left free for the newer versions of its rows.
const COLUMNS: &[(&str, &str, &str)] = &[
    ("id", "uuid", "PRIMARY KEY DEFAULT gen_random_uuid()"),
    ("minute", "timestamp with time zone", "NOT NULL DEFAULT date_trunc('minute', clock_timestamp())"),
    ("pid", "integer", "NOT NULL DEFAULT pg_backend_pid()"),
    ("relation", "text", "NOT NULL DEFAULT ''"),
    ("application", "text", "NOT NULL DEFAULT ''"),
    ("username", "name", "NOT NULL DEFAULT session_user"),
    ("transactions", "bigint", "NOT NULL DEFAULT 0"),
    ("first_at", "timestamp with time zone", "NOT NULL DEFAULT clock_timestamp()"),
    ("last_at", "timestamp with time zone", "NOT NULL DEFAULT clock_timestamp()"),
];

/// The function that captures call: it takes the table's name, and whether the transaction is noted for the first time.
pub(super) fn note(log: &QName) -> QName {
    log.sibling(Ident::derived(&[log.name.as_str(), "note"]))
}

impl StepKind for CaptureLog {
    fn default_id(&self) -> String {
        self.table.name.as_str().to_owned()
    }

    fn check(&mut self, _site: &mut Site<'_>) {}

    fn lower(&self, cx: &Lowering<'_>) -> Vec<Unit> {
        let (table, note) = (&self.table, note(&self.table));
        let index = Ident::derived(&[table.name.as_str(), "minute"]);
        let columns: Vec<Stmt> = COLUMNS
            .iter()
            .map(|(name, of, more)| sql!("\n  {} {} {}", Stmt::raw(*name), Stmt::raw(*of), Stmt::raw(*more)))
            .collect();
        let unit = |part: &str, title: String, up: Vec<Stmt>, down: Stmt, probe: Probe| Unit {
            id: cx.unit(part),
            title,
            up: Op::Tx(up),
            down: Down::tx([down]),
            probe,
            lock: Lock::on(LockLevel::AccessExclusive, table, Hold::Moment),
            loses: (part == "table").then(|| "who wrote without a tenant".to_owned()),
            guards_rows: false,
            grows: Growth::Little,
        };
        vec![
            unit(
                "table",
                format!("create table {table} for who writes without a tenant"),
                vec![
                    sql!("CREATE TABLE {} ({}\n) WITH (fillfactor = 50)", table, List(&columns, ",")),
                    sql!("CREATE INDEX {} ON {} (minute, pid)", index, table),
                    sql!("INSERT INTO {} (pid, application) VALUES (0, 'tenantmig: noted from here on')", table),
                ],
                sql!("DROP TABLE IF EXISTS {}", table),
                has_columns(&self.table, COLUMNS),
            ),
            unit(
                "function",
                format!("create function {note}, which notes a write"),
                vec![sql!(
                    "CREATE FUNCTION {}(text, boolean) RETURNS void LANGUAGE plpgsql SECURITY DEFINER\n  SET search_path = pg_catalog, pg_temp AS {}",
                    note,
                    Literal::new(self.body().as_str())
                )],
                sql!("DROP FUNCTION IF EXISTS {}(text, boolean)", note),
                self.probe_function(&note),
            ),
        ]
    }

    fn makes(&self) -> Vec<(Object, &'static str)> {
        vec![(Object::Table(self.table.clone()), "table")]
    }
}

impl CaptureLog {
    /// Own rows only, so no session waits for another, and none fails under REPEATABLE READ for a row that changed. After
    /// PREPARE TRANSACTION the session's own row may be locked: another one is begun.
    fn body(&self) -> Stmt {
        sql!(
            "
#variable_conflict use_column
DECLARE
  moment timestamptz := clock_timestamp();
  who text := coalesce(current_setting('application_name', true), '');
  began bigint := CASE WHEN $2 THEN 1 ELSE 0 END;
BEGIN
  UPDATE {} AS l SET transactions = l.transactions + began, last_at = moment
   WHERE l.ctid = (SELECT o.ctid FROM {} AS o
                    WHERE o.minute = date_trunc('minute', moment) AND o.pid = pg_backend_pid() AND o.relation = $1
                      AND o.application = who AND o.username = session_user LIMIT 1 FOR UPDATE SKIP LOCKED);
  IF NOT FOUND THEN
    INSERT INTO {} (relation, application, transactions) VALUES ($1, who, began);
  END IF;
EXCEPTION WHEN OTHERS THEN
  RAISE LOG 'a write without a tenant to % was not noted: % (%)', $1, SQLERRM, SQLSTATE;
END
",
            self.table,
            self.table,
            self.table
        )
    }

    fn probe_function(&self, note: &QName) -> Probe {
        Probe::catalog(sql!(
            "SELECT CASE WHEN p.oid IS NULL THEN 'absent'
                         WHEN (p.prosrc, p.prosecdef, p.proconfig) IS NOT DISTINCT FROM ({}, true, ARRAY['search_path=pg_catalog, pg_temp']::text[])
                         THEN 'present' ELSE 'conflict' END,
                    format('a function %s', p.oid::regprocedure), NULL::text[]
               FROM (SELECT to_regprocedure({}) AS oid) t LEFT JOIN pg_proc p ON p.oid = t.oid",
            Literal::new(self.body().as_str()),
            Literal::new(format!("{note}(text, boolean)"))
        ))
    }
}

/// Finds the table of a log: one with the columns (name, type, the rest of the definition) is as good, whatever else it has.
pub(super) fn has_columns(table: &QName, columns: &[(&str, &str, &str)]) -> Probe {
    let columns: Vec<Stmt> =
        columns.iter().map(|(name, of, _)| sql!("({}, {})", Literal::new(*name), Literal::new(*of))).collect();
    Probe::catalog(sql!(
        "SELECT CASE WHEN k.oid IS NULL THEN 'absent' WHEN k.relkind <> 'r' OR d.lacks IS NOT NULL THEN 'conflict' ELSE 'present' END,
                CASE WHEN k.relkind <> 'r' THEN format('%s, which is no table', k.oid::regclass)
                     ELSE 'a table of that name' || coalesce(' without ' || d.lacks, '') END,
                NULL::text[]
           FROM (SELECT to_regclass({}) AS rel) t LEFT JOIN pg_class k ON k.oid = t.rel
           CROSS JOIN LATERAL (SELECT string_agg(w.name || ' ' || w.type, ', ') AS lacks FROM (VALUES {}) AS w (name, type)
                WHERE NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = k.oid AND a.attname = w.name
                                     AND format_type(a.atttypid, a.atttypmod) = w.type AND NOT a.attisdropped)) d",
        Literal::new(table.to_string()),
        List(&columns, ", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::super::trial::finds;

    #[test]
    fn the_example_has_no_findings() {
        finds(super::EXAMPLE, &[]);
    }
}
