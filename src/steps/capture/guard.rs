//! What has to hold before a trigger is made, so that the migration fails and not each write of the application; and what
//! only the catalogue knows: the children of a table by inheritance, and its owner.

use super::{Capture, Parent, body};
use crate::{
    sql,
    sql::{Ident, List, Literal, QName, Stmt},
    steps::capture_log,
};

/// For the triggers on the table itself.
pub(super) fn capture(of: &Capture) -> Stmt {
    let table = Literal::new(of.table.to_string());
    let (mut written, mut read): (Vec<Literal>, Vec<Stmt>) = (vec![lit(&of.column)], Vec::new());
    let mut problems = Vec::new();
    match (&of.from, &of.sql) {
        (Some(from), _) => {
            written.extend(from.r#match.keys().map(lit));
            problems.extend(readable(of, from));
            read.push(sql!(
                "SELECT parent.{} FROM {} AS row JOIN {} AS parent ON {} LIMIT 0",
                of.theirs(from),
                of.table,
                from.table,
                body::equal(from, "row")
            ));
        }
        (None, Some(expr)) => read.push(sql!("SELECT ({}) FROM {} AS row LIMIT 0", expr, of.table)),
        (None, None) => {}
    }
    // A BEFORE trigger is called before generated columns are computed.
    problems.push(sql!(
        "SELECT format('%I is a generated column, of which a trigger before the write does not know the value', attname)
      FROM pg_attribute WHERE attrelid = mine AND attname IN ({}) AND attgenerated <> ''
    UNION ALL SELECT format('%I is an identity column', attname)
      FROM pg_attribute WHERE attrelid = mine AND attname = {} AND attidentity <> ''",
        List(&written, ", "),
        lit(&of.column)
    ));
    problems.extend(of.log.as_ref().map(writable));
    check(&table, &problems, &read)
}

/// For the trigger on the parent.
pub(super) fn follow(of: &Capture) -> Stmt {
    let table = Literal::new(of.table.to_string());
    let problems: Vec<Stmt> = of.from.iter().flat_map(|from| readable(of, from)).collect();
    check(&table, &problems, &[])
}

fn lit(name: &Ident) -> Literal {
    Literal::new(name.as_str())
}

/// The queries of `problems` have a row for each; they know the table as `mine` and its owner as `boss`. Those of `read` are
/// planned under the function's own search path and return no row.
fn check(table: &Literal, problems: &[Stmt], read: &[Stmt]) -> Stmt {
    let tries: Vec<Stmt> = read.iter().map(|query| sql!("  EXECUTE {};\n", Literal::new(query.as_str()))).collect();
    let none = sql!("SELECT NULL WHERE false");
    let problems = if problems.is_empty() { std::slice::from_ref(&none) } else { problems };
    let body = sql!(
        "
DECLARE
  mine regclass := {};
  boss oid := (SELECT relowner FROM pg_catalog.pg_class WHERE oid = mine);
  path text := current_setting('search_path');
  problem text := (SELECT string_agg(p.problem, '; ') FROM (
    {}) AS p (problem));
BEGIN
  IF problem IS NOT NULL THEN
    RAISE EXCEPTION USING MESSAGE = format('what is written to %s cannot be captured: %s', mine, problem);
  END IF;
  PERFORM set_config('search_path', 'pg_catalog, pg_temp', true);
{}  PERFORM set_config('search_path', path, true);
END
",
        table,
        List(problems, "\n    UNION ALL "),
        List(&tries, "")
    );
    sql!("DO {}", Literal::new(body.as_str()))
}

/// The function reads the parent with the rights of the table's owner, by a key that finds one row, with an operator that
/// the fixed search path finds: an extension's type (citext) would be compared as the text that it can be read as.
fn readable(of: &Capture, from: &Parent) -> Vec<Stmt> {
    let parent = Literal::new(from.table.to_string());
    let keys: Vec<Literal> = from.r#match.values().map(lit).collect();
    let all: Vec<Literal> = [of.theirs(from)].into_iter().chain(from.r#match.values()).map(lit).collect();
    vec![
        sql!(
            "SELECT format('the owner %I may not read %s (%I)', pg_get_userbyid(boss), a.attrelid::regclass, a.attname)
      FROM pg_attribute AS a WHERE a.attrelid = {}::regclass AND a.attname IN ({})
       AND NOT (has_column_privilege(boss, a.attrelid, a.attnum, 'SELECT') AND has_schema_privilege(boss, {}, 'USAGE'))",
            parent,
            List(&all, ", "),
            lit(&from.table.schema)
        ),
        sql!(
            "SELECT format('%s (%s) is not unique, so a row could have several parents', {}::regclass, {})
     WHERE NOT EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = {}::regclass AND i.indisunique AND i.indisvalid
       AND i.indpred IS NULL AND i.indexprs IS NULL
       AND (SELECT array_agg(a.attname::text) FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) AS k
              JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k) <@ ARRAY[{}]::text[])",
            parent,
            Literal::new(List(&from.r#match.values().collect::<Vec<_>>(), ", ").to_string()),
            parent,
            List(&keys, ", ")
        ),
        sql!(
            "SELECT format('%I is of the type %s, whose operators are not in pg_catalog; write sql = \"…\" with OPERATOR(schema.=)',
                   a.attname, format_type(a.atttypid, a.atttypmod))
      FROM pg_attribute AS a JOIN pg_type AS y ON y.oid = a.atttypid
     WHERE a.attrelid = {}::regclass AND a.attname IN ({}) AND y.typtype = 'b' AND y.typnamespace <> 'pg_catalog'::regnamespace",
            parent,
            List(&keys, ", ")
        ),
    ]
}

/// Who writes without a tenant is noted with the rights of the table's owner. A note that fails is let pass, so a right
/// that is lacking would look like silence.
fn writable(log: &QName) -> Stmt {
    let note = Literal::new(format!("{}(text, boolean)", capture_log::note(log)));
    sql!(
        "SELECT CASE WHEN to_regprocedure({}) IS NULL THEN format('%s is not there; a step capture_log makes it', {})
                     ELSE format('the owner %I may not call %s', pg_get_userbyid(boss), {}) END
     WHERE (has_function_privilege(boss, to_regprocedure({}), 'EXECUTE') AND has_schema_privilege(boss, {}, 'USAGE')) IS NOT TRUE",
        note,
        note,
        note,
        note,
        lit(&log.schema)
    )
}

/// Makes the trigger on the tables that inherit from `on` as well. Partitions get theirs from PostgreSQL; children do not.
pub(super) fn heirs(on: &QName, head: &Stmt, tail: &Stmt) -> Stmt {
    let body = sql!(
        "
DECLARE heir regclass;
BEGIN
  FOR heir IN {} LOOP
    EXECUTE {} || heir || {};
  END LOOP;
END
",
        inheriting(&sql!("{}::regclass", Literal::new(on.to_string()))),
        Literal::new(sql!("{} ", head).as_str()),
        Literal::new(sql!(" {}", tail).as_str())
    );
    sql!("DO {}", Literal::new(body.as_str()))
}

/// The tables that inherit from `rel` and theirs, partitions left out.
pub(super) fn inheriting(rel: &Stmt) -> Stmt {
    sql!(
        "WITH RECURSIVE heir (oid) AS (
      SELECT i.inhrelid FROM pg_catalog.pg_inherits AS i WHERE i.inhparent = {}
      UNION SELECT i.inhrelid FROM heir AS h JOIN pg_catalog.pg_inherits AS i ON i.inhparent = h.oid)
    SELECT c.oid::regclass FROM heir AS h JOIN pg_catalog.pg_class AS c ON c.oid = h.oid
     WHERE c.relkind = 'r' AND NOT c.relispartition ORDER BY c.oid",
        rel
    )
}

/// Gives the function to the table's owner, where somebody else makes it.
pub(super) fn owned(function: &QName, table: &QName) -> Stmt {
    let body = sql!(
        "
DECLARE boss oid := (SELECT relowner FROM pg_catalog.pg_class WHERE oid = {}::regclass);
BEGIN
  IF boss <> (SELECT proowner FROM pg_catalog.pg_proc WHERE oid = {}::regprocedure) THEN
    EXECUTE format({}, pg_get_userbyid(boss));
  END IF;
END
",
        Literal::new(table.to_string()),
        Literal::new(format!("{function}()")),
        Literal::new(sql!("ALTER FUNCTION {}() OWNER TO ", function).as_str().replace('%', "%%") + "%I")
    );
    sql!("DO {}", Literal::new(body.as_str()))
}
