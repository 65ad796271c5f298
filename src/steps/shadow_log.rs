//! Creates the table in which `shadow_rls` notes the statements that row-level security would change: table, read or write,
//! whether the tenant was missing, application, session user, the statement, and when.
//!
//! Lock: ACCESS EXCLUSIVE on the new table alone, which nobody else can see yet. A note never fails a statement: an error goes to
//! the server's log, and so does a note in a read-only transaction or on a standby. It never waits for the table longer than
//! 100 ms, and each session writes at most one in ten seconds for a table, command and case; of one application and user
//! 20 different statements are kept of that time. It is an INSERT of the session's own, so a statement that only read commits as one that
//! writes, and a transaction that is rolled back takes its note along. Of the statement the first 500 characters are
//! kept, each literal as `?`: a literal may be somebody's password, and the text of pg_stat_statements is read whole or not at all.
//! Undo: drops the functions and the table, unless they were there before; the notes go with it.

use serde::Deserialize;

use super::{Object, StepKind, capture_log::has_columns};
use crate::{
    checks::unseen::SLOT_S,
    plan::{Lowering, Site},
    sql,
    sql::{Ident, List, Literal, QName, Stmt},
    unit::{Down, Growth, Hold, Lock, LockLevel, Op, Probe, Unit},
};

/// A step of the kind `shadow_log`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShadowLog {
    table: QName,
}

pub const EXAMPLE: &str = r#"
[[phase.step]]
kind  = "shadow_log"
table = "app.tenantmig_shadow"
"#;

/// Its columns and their types, as the server writes them.
const COLUMNS: &[(&str, &str, &str)] = &[
    ("id", "uuid", "PRIMARY KEY DEFAULT gen_random_uuid()"),
    ("slot", "timestamp with time zone", "NOT NULL DEFAULT clock_timestamp()"),
    ("at", "timestamp with time zone", "NOT NULL DEFAULT clock_timestamp()"),
    ("pid", "integer", "NOT NULL DEFAULT pg_backend_pid()"),
    ("relation", "text", "NOT NULL DEFAULT ''"),
    ("command", "text", "NOT NULL DEFAULT ''"),
    ("tenant", "text", "NOT NULL DEFAULT ''"),
    ("application", "text", "NOT NULL DEFAULT ''"),
    ("username", "name", "NOT NULL DEFAULT session_user"),
    ("statement", "text", "NOT NULL DEFAULT ''"),
];

/// So many characters of a statement are kept, and so many looked at: a bulk insert may have millions.
const STATEMENT_KEPT: u32 = 500;
const STATEMENT_READ: u32 = 4_000;
/// So many different statements of one application, user, table, command and case are kept of a slot of time.
const STATEMENTS_A_SLOT: u32 = 20;
/// Whatever calls them. A note waits 100 ms at most for its table, which somebody may have locked whole.
const TENANT_FORM: &str = "RETURNS anyelement LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp";
const NOTE_FORM: &str = "RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms'";

/// What is taken out of a statement before it is kept. An identifier in quotes (the first group) stays; comments, strings of
/// every form, and numbers go. In one pass from the left, so that a quote in a comment opens nothing.
const LITERALS: &str = r#"("(?:[^"]|"")*")|/\*(?:[^*]|\*+[^*/])*\*+/|--[^\n]*|(?<!\w)[eE]'(?:[^'\\]|''|\\.)*'|'(?:[^']|'')*'|\$([a-zA-Z_]\w*|)\$.*\$\2\$|(?<![\w$.])[0-9][\w.]*"#;
/// A literal that was cut, or that the pass above did not understand: nothing from there on is kept.
const UNCLOSED: &str = r"('|/\*|\$[a-zA-Z_]*\$).*$";

/// The function that a policy calls when a row would be lost: table, read or write, the setting, whether it says a tenant.
pub(super) fn note(log: &QName) -> QName {
    log.sibling(Ident::derived(&[log.name.as_str(), "note"]))
}

const NOTE_ARGS: &str = "(text, text, text, boolean)";

/// The function that reads the tenant from the setting and raises nothing: the setting, a value of the tenant's type, and what a
/// session has that said none.
pub(super) fn tenant(log: &QName) -> QName {
    log.sibling(Ident::derived(&[log.name.as_str(), "tenant"]))
}

const TENANT_ARGS: &str = "(text, anyelement, text)";

impl StepKind for ShadowLog {
    fn default_id(&self) -> String {
        self.table.name.as_str().to_owned()
    }

    fn check(&mut self, _site: &mut Site<'_>) {}

    fn lower(&self, cx: &Lowering<'_>) -> Vec<Unit> {
        let table = &self.table;
        let unit = |part: &str, title: String, up: Vec<Stmt>, down: Stmt, probe: Probe| Unit {
            id: cx.unit(part),
            title,
            up: Op::Tx(up),
            down: Down::tx([down]),
            probe,
            lock: Lock::on(LockLevel::AccessExclusive, table, Hold::Moment),
            loses: (part == "table").then(|| "which statements row-level security would change".to_owned()),
            guards_rows: false,
            grows: Growth::Little,
        };
        let columns: Vec<Stmt> = COLUMNS
            .iter()
            .map(|(name, of, more)| sql!("\n  {} {} {}", Stmt::raw(*name), Stmt::raw(*of), Stmt::raw(*more)))
            .collect();
        let index = Ident::derived(&[table.name.as_str(), "slot"]);
        let function = |part: &str, name: QName, args: &'static str, what: &str, form: &'static str, body: &Stmt| {
            let call = sql!("{}{}", name, Stmt::raw(args));
            unit(
                part,
                format!("create function {name}, which {what}"),
                vec![
                    sql!("CREATE FUNCTION {} {} AS {}", call, Stmt::raw(form), Literal::new(body.as_str())),
                    // A policy calls it as whoever reads the table; the database may grant PUBLIC nothing by default.
                    sql!("GRANT EXECUTE ON FUNCTION {} TO PUBLIC", call),
                ],
                sql!("DROP FUNCTION IF EXISTS {}", call),
                probe_function(&call, body),
            )
        };
        vec![
            unit(
                "table",
                format!("create table {table} for what row-level security would change"),
                vec![
                    sql!("CREATE TABLE {} ({}\n)", table, List(&columns, ",")),
                    sql!("CREATE INDEX {} ON {} (slot, relation)", index, table),
                    sql!("INSERT INTO {} (pid, application) VALUES (0, 'tenantmig: noted from here on')", table),
                ],
                sql!("DROP TABLE IF EXISTS {}", table),
                has_columns(&self.table, COLUMNS),
            ),
            function(
                "tenant",
                tenant(table),
                TENANT_ARGS,
                "reads the tenant and raises nothing",
                TENANT_FORM,
                &body_tenant(),
            ),
            function("note", note(table), NOTE_ARGS, "notes a statement", NOTE_FORM, &self.body_note()),
        ]
    }

    fn makes(&self) -> Vec<(Object, &'static str)> {
        vec![(Object::Table(self.table.clone()), "table")]
    }
}

/// The cast stands in a block of its own: what a hostile or mistaken setting has in it must refuse nothing here.
fn body_tenant() -> Stmt {
    sql!(
        "
DECLARE
  said text := coalesce(nullif(current_setting($1, true), ''), $3);
  tenant $2%TYPE;
BEGIN
  IF said IS NOT NULL THEN
    BEGIN
      tenant := said;
    EXCEPTION WHEN OTHERS THEN
      tenant := NULL;
    END;
  END IF;
  RETURN tenant;
END
"
    )
}

/// Gives the variable `sample` the statement of the session, without its literals.
pub(super) fn sample() -> Stmt {
    sql!(
        "IF current_setting('standard_conforming_strings') = 'on' THEN
      sample := regexp_replace(left(current_query(), {}), {}, '\\1' || chr(1), 'g');
      sample := replace(replace(sample, '\"' || chr(1), '\"'), chr(1), '?');
      sample := left(btrim(regexp_replace(regexp_replace(sample, {}, '…'), '\\s+', ' ', 'g')), {});
    END IF;",
        STATEMENT_READ,
        Literal::new(LITERALS),
        Literal::new(UNCLOSED),
        STATEMENT_KEPT
    )
}

impl ShadowLog {
    /// The mark of the slot is set outside the block that may fail, so a note that cannot be made is tried no more often. What others noted is not looked for under SERIALIZABLE: the look could make the application's transaction fail.
    fn body_note(&self) -> Stmt {
        let log = &self.table;
        sql!(
            "
#variable_conflict use_column
DECLARE
  this timestamptz := to_timestamp(floor(extract(epoch FROM clock_timestamp()) / {0}) * {0});
  who text := coalesce(current_setting('application_name', true), '');
  said text := CASE WHEN $4 THEN 'other' WHEN coalesce(current_setting($3, true), '') = '' THEN 'missing' ELSE 'unreadable' END;
  mark text := 'tenantmig.shadow_' || to_hex(hashtextextended(concat_ws(' ', $1, $2, said), 0));
  sample text := '';
  alike bigint;
  others bigint;
BEGIN
  IF current_setting(mark, true) = extract(epoch FROM this)::bigint::text THEN
    RETURN true;
  END IF;
  BEGIN
    PERFORM set_config(mark, extract(epoch FROM this)::bigint::text, false);
  EXCEPTION WHEN OTHERS THEN
    RETURN true;
  END;
  BEGIN
    IF current_setting('transaction_read_only') = 'on' THEN
      RAISE LOG 'row-level security would change a % of % by % as % (tenant: %); a read-only transaction notes nothing', $2, $1, who, session_user, said;
      RETURN true;
    END IF;
    {1}
    IF current_setting('transaction_isolation') <> 'serializable' THEN
      SELECT count(*) FILTER (WHERE s.statement = sample), count(*) INTO alike, others FROM (
        SELECT l.statement FROM {2} AS l WHERE l.slot = this AND l.relation = $1 AND l.command = $2 AND l.tenant = said
           AND l.application = who AND l.username = session_user LIMIT {3}) AS s;
    END IF;
    IF coalesce(alike, 0) = 0 AND coalesce(others, 0) < {3} THEN
      INSERT INTO {2} (slot, relation, command, tenant, application, statement) VALUES (this, $1, $2, said, who, sample);
    END IF;
  EXCEPTION WHEN OTHERS THEN
    RAISE LOG 'what row-level security would change of % was not noted: % (%)', $1, SQLERRM, SQLSTATE;
  END;
  RETURN true;
END
",
            SLOT_S,
            sample(),
            log,
            STATEMENTS_A_SLOT
        )
    }
}

fn probe_function(call: &Stmt, body: &Stmt) -> Probe {
    Probe::catalog(sql!(
        "SELECT CASE WHEN p.oid IS NULL THEN 'absent'
                     WHEN p.prosrc = {} AND 'search_path=pg_catalog, pg_temp' = ANY (p.proconfig) THEN 'present'
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
    }
}
