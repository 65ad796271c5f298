//! The queries that bring the policies, with the parameters that every query has.

use crate::{
    audit::{mend, rule::Ground},
    sql,
    sql::Stmt,
};

/// A row a policy, by table, with the tenant column's type, a domain's base in its place: what compares it casts to that, which costs
/// nothing. Expressions print qualified under `search_path = pg_catalog`. What an expression reads stands in its node
/// tree by number.
pub fn policies(ground: &Ground) -> Stmt {
    sql!(
        r#"
SELECT c.oid, c.oid::regclass::text, c.relrowsecurity, quote_ident(a.attname), coalesce(b.name, format_type(a.atttypid, a.atttypmod)), coalesce(a.attnotnull, false),
       CASE WHEN a.attname IS NOT NULL THEN {0} END,
       quote_ident(p.polname), p.polpermissive, p.polcmd::text, p.polroles, pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid),
       (SELECT coalesce(array_agg(DISTINCT m[1]::oid), '{{}}') FROM regexp_matches(concat(p.polqual::text, ' ', p.polwithcheck::text), ':relid (\d+)', 'g') m),
       CASE WHEN a.attname IS NOT NULL THEN format('ALTER POLICY %I ON %s', p.polname, c.oid::regclass)
         || CASE WHEN p.polcmd <> 'a' THEN ' USING (' || {1} || ')' ELSE '' END
         || CASE WHEN p.polcmd IN ('*', 'a', 'w') THEN ' WITH CHECK (' || {1} || ')' ELSE '' END END
  FROM pg_class c JOIN pg_policy p ON p.polrelid = c.oid
  LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = $6 AND NOT a.attisdropped
  LEFT JOIN LATERAL (
       WITH RECURSIVE base AS (
            SELECT y.typbasetype AS oid, y.typtypmod AS modifier FROM pg_type y WHERE y.oid = a.atttypid AND y.typtype = 'd'
            UNION ALL SELECT y.typbasetype, y.typtypmod FROM base JOIN pg_type y ON y.oid = base.oid AND y.typtype = 'd')
       SELECT format_type(base.oid, base.modifier) AS name FROM base JOIN pg_type y ON y.oid = base.oid AND y.typtype <> 'd') b ON true
 WHERE c.oid IN (SELECT unnest($1))
 ORDER BY 2, p.polname"#,
        mend::floor(ground),
        mend::row(ground)
    )
}

/// The functions without arguments that policies call, and the one that is named.
pub fn functions() -> Stmt {
    sql!(
        r#"
SELECT p.oid::regproc::text, CASE WHEN p.prosrc <> '' THEN p.prosrc ELSE pg_get_functiondef(p.oid) END, l.lanname::text,
       (SELECT format('CREATE OR REPLACE FUNCTION %s() RETURNS %s LANGUAGE sql STABLE PARALLEL SAFE AS %L', p.oid::regproc, format_type(a.atttypid, NULL),
                      'SELECT ' || {})
          FROM (SELECT p.prorettype AS atttypid) a)
  FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE p.pronargs = 0 AND p.oid >= 16384 AND p.prokind = 'f'
   AND (n.nspname || '.' || p.proname = $10
        OR p.oid IN (SELECT m[1]::oid FROM pg_policy y CROSS JOIN regexp_matches(concat(y.polqual::text, ' ', y.polwithcheck::text), ':funcid (\d+)', 'g') m
                      WHERE y.polrelid IN (SELECT unnest($1))))
 ORDER BY 1"#,
        mend::setting_read()
    )
}

/// What says who the tenants are: both expressions of every policy, and how many policies say the same, and the sources of functions without arguments that one calls.
pub const VOTES: &str = r#"
SELECT array_remove(ARRAY[pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)], NULL), count(*)
  FROM pg_policy p
 GROUP BY 1"#;

pub const SOURCES: &str = r#"
SELECT p.oid::regproc::text, CASE WHEN p.prosrc <> '' THEN p.prosrc ELSE pg_get_functiondef(p.oid) END
  FROM pg_proc p
 WHERE p.pronargs = 0 AND p.oid >= 16384 AND p.prokind = 'f'
   AND p.oid IN (SELECT m[1]::oid FROM pg_policy y CROSS JOIN regexp_matches(concat(y.polqual::text, ' ', y.polwithcheck::text), ':funcid (\d+)', 'g') m)"#;
