//! Statements that the application runs and that policies break, as pg_stat_statements has them.

use super::kind::{Kind, Needs, Query, Server, Severity};
use crate::{sql, sql::Stmt};

pub(super) const KINDS: &[Kind] = &[
    Kind {
        code: "TM0426",
        severity: Severity::Break,
        title: "COPY FROM into a table",
        why: "COPY FROM raises an error on a table with row-level security for every role that its policies bind",
        fix: "write with INSERT, or let a role with BYPASSRLS load",
        needs: Needs::Statements,
        query: Query::Built(copies),
    },
    Kind {
        code: "TM0427",
        severity: Severity::Break,
        title: "ON CONFLICT on a unique key that is to be scoped",
        why: "ON CONFLICT names the columns of a unique key: once that is (tenant, …) the statement fails (42P10) until it names \
              the tenant column as well",
        fix: "release the application with ON CONFLICT (tenant_id, …) together with the new key; until then keep both",
        needs: Needs::Statements,
        query: Query::Built(conflicts),
    },
    Kind {
        code: "TM0428",
        severity: Severity::Break,
        title: "a dump by a role that policies bind",
        why: "COPY TO, as pg_dump runs it, fails on a table with row-level security (42501), and with --enable-row-security it \
              writes a backup without rows and reports success",
        fix: "give the role that backs up BYPASSRLS",
        needs: Needs::Statements,
        query: Query::Built(dumps),
    },
];

/// A statement is pg_stat_statements' text of it: normalised, and found by the table's name as a word in it, which another
/// schema's table of that name matches too; so what is told is the statement.
pub(super) fn of_this_database(server: &Server) -> Stmt {
    let Some(schema) = &server.statements else {
        return sql!("SELECT NULL::oid AS userid, NULL::text AS query, NULL::bigint AS calls WHERE false");
    };
    sql!(
        "SELECT s.userid, s.query, s.calls FROM {}.pg_stat_statements s
          WHERE s.dbid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())",
        schema
    )
}

fn copies(server: &Server) -> Stmt {
    sql!(
        r#"
WITH s AS MATERIALIZED (SELECT x.* FROM ({}) x WHERE x.query ~* '^\s*copy\M' AND x.query ~* '\mfrom\M')
SELECT c.oid::regclass::text, format('%s runs COPY FROM on it, %s times so far', quote_ident(pg_get_userbyid(s.userid)), sum(s.calls)),
       left(min(s.query), 200), NULL::text
  FROM s JOIN pg_class c ON c.oid = ANY ($1) AND substring(s.query FROM '(?i)^\s*copy\s+([^\s(]+)') IN
       (c.relname, quote_ident(c.relname), c.oid::regclass::text)
  JOIN pg_roles r ON r.oid = s.userid AND NOT (r.rolsuper OR r.rolbypassrls)
 GROUP BY c.oid, s.userid
 ORDER BY 1, 2"#,
        of_this_database(server)
    )
}

fn conflicts(server: &Server) -> Stmt {
    sql!(
        r#"
WITH s AS MATERIALIZED (SELECT x.*, substring(x.query FROM '(?i)\minsert\s+into\s+([^\s(]+)') AS target,
                               substring(x.query FROM '(?i)\mon\s+conflict\s*\(([^)]*)\)') AS columns,
                               substring(x.query FROM '(?i)\mon\s+conflict\s+on\s+constraint\s+(\S+)') AS named
                          FROM ({}) x WHERE x.query ~* '\mon\s+conflict\M')
SELECT c.oid::regclass::text,
       format('%s runs ON CONFLICT %s on it, %s times so far', quote_ident(pg_get_userbyid(s.userid)),
              coalesce('(' || s.columns || ')', 'ON CONSTRAINT ' || s.named, 'on any key'), sum(s.calls)),
       left(min(s.query), 200), NULL::text
  FROM s JOIN pg_class c ON c.oid = ANY ($1) AND NOT c.relispartition
   AND s.target IN (c.relname, quote_ident(c.relname), c.oid::regclass::text, replace(c.oid::regclass::text, '"', ''))
 WHERE $6 IS NULL OR position($6 IN coalesce(s.columns, '')) = 0
 GROUP BY c.oid, s.userid, s.columns, s.named
 ORDER BY 1, 2"#,
        of_this_database(server)
    )
}

fn dumps(server: &Server) -> Stmt {
    sql!(
        r#"
WITH s AS MATERIALIZED (SELECT x.* FROM ({}) x WHERE x.query ~* '^\s*copy\M.*\mto\s+stdout')
SELECT 'role ' || quote_ident(r.rolname), 'has dumped rows by COPY TO, and has no BYPASSRLS',
       format('%s statements, as: %s', count(*), left(min(s.query), 160)), format('ALTER ROLE %I BYPASSRLS', r.rolname)
  FROM s JOIN pg_roles r ON r.oid = s.userid AND NOT (r.rolsuper OR r.rolbypassrls)
 WHERE EXISTS (SELECT FROM pg_class c WHERE c.oid = ANY ($1) AND substring(s.query FROM '(?i)^\s*copy\s+([^\s(]+)')
                                                               IN (c.relname, quote_ident(c.relname), c.oid::regclass::text))
 GROUP BY r.oid, r.rolname
 ORDER BY 1"#,
        of_this_database(server)
    )
}
