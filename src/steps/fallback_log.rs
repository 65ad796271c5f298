//! Creates the table in which a context function notes who goes on as the tenant of `[tenancy] fallback` (`create_function` with the
//! template `noting_context`): application, session user, address, the statement, and when.
//!
//! Lock: ACCESS EXCLUSIVE on the new table alone, which nobody else can see yet. A note never fails a statement and never waits
//! for another session: each writes at most one in ten seconds, 5 are kept of that time for one application and user, and an error goes to the
//! server's log. It waits 100 ms at most for the table, which somebody may have locked whole. It is an INSERT of the session's own, so a
//! statement that only read commits as one that writes, and a transaction that is rolled back takes its note along. A
//! read-only transaction cannot write: its session takes a shared advisory lock in place of the note, which the gate
//! `no_fallback` sees until the session ends; so does one on a standby, where only the standby shows it. Of the statement the first
//! 500 characters are kept, each literal as `?`. Nobody needs a right on the table or the function.
//! In a parallel worker a note would be an error, which nothing can catch there. The queries of tables with such a policy get no parallel plan; a
//! function of your own that is PARALLEL SAFE or RESTRICTED and reads one of `readers` stops the run before anything is touched.
//! Undo: drops the function and the table, unless they were there before; the notes go with it.

use serde::Deserialize;

use super::{Object, StepKind, capture_log::has_columns, shadow_log};
use crate::{
    checks::no_fallback::{READERS, SLOT_S, lock, note},
    plan::{Lowering, Site},
    sql,
    sql::{Ident, List, Literal, QName, Stmt},
    unit::{Down, Growth, Hold, Lock, LockLevel, Op, Probe, Unit},
};

/// A step of the kind `fallback_log`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FallbackLog {
    table: QName,
    /// Tables whose policies ask who the session is.
    #[serde(default)]
    readers: Vec<QName>,
}

pub const EXAMPLE: &str = r#"
[[phase.step]]
kind  = "fallback_log"
table = "app.tenantmig_fallback"
"#;

/// Its columns and their types, as the server writes them.
const COLUMNS: &[(&str, &str, &str)] = &[
    ("id", "uuid", "PRIMARY KEY DEFAULT gen_random_uuid()"),
    ("slot", "timestamp with time zone", "NOT NULL DEFAULT clock_timestamp()"),
    ("at", "timestamp with time zone", "NOT NULL DEFAULT clock_timestamp()"),
    ("pid", "integer", "NOT NULL DEFAULT pg_backend_pid()"),
    ("application", "text", "NOT NULL DEFAULT ''"),
    ("username", "name", "NOT NULL DEFAULT session_user"),
    ("address", "inet", "DEFAULT inet_client_addr()"),
    ("statement", "text", "NOT NULL DEFAULT ''"),
];

/// So many notes of one application and user are kept of a slot of time: a pool has hundreds of sessions.
const NOTES_A_SLOT: u32 = 5;
const NOTE_FORM: &str =
    "RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms'";
const NOTE_ARGS: &str = "(text)";

/// The setting in which a session remembers what it noted last.
fn mark(log: &QName) -> Literal {
    Literal::new(format!("tenantmig.fell_back_{:x}", lock(log)))
}

/// The block of a context function that notes the session once a slot of time. Whoever shares the session behind a pooler is noted as well.
pub(super) fn noted(log: &QName) -> Stmt {
    sql!(
        "this := concat_ws(' ', floor(extract(epoch FROM clock_timestamp()) / {}), session_user, current_setting('application_name', true));
        IF current_setting({}, true) IS DISTINCT FROM this THEN
            PERFORM {}(this);
        END IF;",
        SLOT_S,
        mark(log),
        note(log)
    )
}

/// What the swap of the context function does besides. Its owner, as whom it runs, need not be who made the log; and only from
/// here on anything is noted.
pub(super) fn begun(log: &QName, function: &QName) -> Vec<Stmt> {
    let grant = sql!("GRANT EXECUTE ON FUNCTION {}{} TO ", note(log), Stmt::raw(NOTE_ARGS));
    let call = sql!("{}()", function);
    vec![
        Stmt::block(&sql!(
            "BEGIN
    EXECUTE {} || (SELECT quote_ident(pg_get_userbyid(p.proowner)) FROM pg_proc p WHERE p.oid = {}::regprocedure);
END",
            Literal::new(grant.as_str()),
            Literal::new(call.as_str())
        )),
        sql!("INSERT INTO {} (pid, application) VALUES (0, 'tenantmig: noted from here on')", log),
    ]
}

impl StepKind for FallbackLog {
    fn default_id(&self) -> String {
        self.table.name.as_str().to_owned()
    }

    fn check(&mut self, _site: &mut Site<'_>) {}

    fn lower(&self, cx: &Lowering<'_>) -> Vec<Unit> {
        let (table, call) = (&self.table, sql!("{}{}", note(&self.table), Stmt::raw(NOTE_ARGS)));
        let unit = |part: &str, title: String, up: Vec<Stmt>, down: Stmt, probe: Probe| Unit {
            id: cx.unit(part),
            title,
            up: Op::Tx(up),
            down: Down::tx([down]),
            probe,
            lock: Lock::on(LockLevel::AccessExclusive, table, Hold::Moment),
            loses: (part == "table").then(|| "who went on as the tenant of the fallback".to_owned()),
            guards_rows: false,
            grows: Growth::Little,
        };
        let columns: Vec<Stmt> = COLUMNS
            .iter()
            .map(|(name, of, more)| sql!("\n  {} {} {}", Stmt::raw(*name), Stmt::raw(*of), Stmt::raw(*more)))
            .collect();
        let index = Ident::derived(&[table.name.as_str(), "slot"]);
        let body = self.body();
        vec![
            unit(
                "table",
                format!("create table {table} for who goes on as the tenant of the fallback"),
                vec![
                    sql!("CREATE TABLE {} ({}\n)", table, List(&columns, ",")),
                    sql!("CREATE INDEX {} ON {} (slot, application)", index, table),
                ],
                sql!("DROP TABLE IF EXISTS {}", table),
                has_columns(&self.table, COLUMNS),
            ),
            unit(
                "note",
                format!("create function {call}, which notes a session"),
                vec![
                    sql!("CREATE FUNCTION {} {} AS {}", call, Stmt::raw(NOTE_FORM), Literal::new(body.as_str())),
                    sql!("REVOKE ALL ON FUNCTION {} FROM PUBLIC", call),
                ],
                sql!("DROP FUNCTION IF EXISTS {}", call),
                probe_function(&call, &body),
            ),
        ]
    }

    fn makes(&self) -> Vec<(Object, &'static str)> {
        vec![(Object::Table(self.table.clone()), "table")]
    }

    /// By their source, as `audit` does: a body is text.
    fn hindrance(&self) -> Option<(&'static str, Stmt)> {
        let names: Vec<Literal> = self.readers.iter().map(|table| Literal::new(table.name.as_str())).collect();
        (!names.is_empty()).then(|| {
            let found = sql!(
                "(SELECT string_agg(format('%1$s is PARALLEL %2$s and names %3$s: in a parallel query it would fail for a session that falls back: '
                                           || 'ALTER FUNCTION %1$s PARALLEL UNSAFE', p.oid::regprocedure,
                                           CASE p.proparallel WHEN 's' THEN 'SAFE' ELSE 'RESTRICTED' END, n.name), '; ' ORDER BY p.oid)
                    FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
                   CROSS JOIN LATERAL (SELECT string_agg(w.name, ', ') AS name FROM unnest(ARRAY[{}]) AS w (name)
                                        WHERE p.prosrc ~* ('\\m' || regexp_replace(w.name, '\\W', '.', 'g') || '\\M')) n
                   WHERE p.oid >= 16384 AND p.proparallel <> 'u' AND l.lanname IN ('sql', 'plpgsql') AND n.name IS NOT NULL
                     AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'))",
                List(&names, ", ")
            );
            ("readers", found)
        })
    }
}

impl FallbackLog {
    /// The mark is set outside the block that may fail, so a note that cannot be made is tried no more often. What others noted is not looked
    /// for under SERIALIZABLE: the look could make the application's transaction fail. A lock that the session has already is counted by
    /// itself, and takes no more room in the server's table.
    fn body(&self) -> Stmt {
        sql!(
            "
#variable_conflict use_column
DECLARE
  this timestamptz := to_timestamp(floor(extract(epoch FROM clock_timestamp()) / {0}) * {0});
  who text := coalesce(current_setting('application_name', true), '');
  sample text := '';
  alike bigint;
BEGIN
  PERFORM set_config({1}, $1, false);
  BEGIN
    IF current_setting('transaction_read_only') = 'on' THEN
      PERFORM pg_try_advisory_lock_shared({2}, {3});
      RETURN;
    END IF;
    {4}
    IF current_setting('transaction_isolation') <> 'serializable' THEN
      SELECT count(*) INTO alike FROM (
        SELECT FROM {5} AS l WHERE l.slot = this AND l.application = who AND l.username = session_user LIMIT {6}) AS s;
    END IF;
    IF coalesce(alike, 0) < {6} THEN
      INSERT INTO {5} (slot, application, statement) VALUES (this, who, sample);
    END IF;
  EXCEPTION WHEN OTHERS THEN
    RAISE LOG 'a session that goes on as the tenant of the fallback was not noted: % (%)', SQLERRM, SQLSTATE;
  END;
END
",
            SLOT_S,
            mark(&self.table),
            lock(&self.table),
            READERS,
            shadow_log::sample(),
            self.table,
            NOTES_A_SLOT
        )
    }
}

fn probe_function(call: &Stmt, body: &Stmt) -> Probe {
    Probe::catalog(sql!(
        "SELECT CASE WHEN p.oid IS NULL THEN 'absent'
                     WHEN p.prosrc = {} AND p.prosecdef AND 'search_path=pg_catalog, pg_temp' = ANY (p.proconfig) THEN 'present'
                     ELSE 'conflict' END,
                format('a function %s', p.oid::regprocedure), NULL::text[]
           FROM (SELECT to_regprocedure({}) AS oid) t LEFT JOIN pg_proc p ON p.oid = t.oid",
        Literal::new(body.as_str()),
        Literal::new(call.as_str())
    ))
}

#[cfg(test)]
mod tests {
    use super::super::trial::finds;

    #[test]
    fn the_example_has_no_findings() {
        finds(super::EXAMPLE, &[]);
        finds(&format!("{}readers = ['app.trades']", super::EXAMPLE), &[]);
    }
}
