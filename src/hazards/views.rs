//! Views, materialised views and rewrite rules: what reads or writes the tables with other rights than its user's.

use super::kind::{Kind, Needs, Query, Severity};

pub(super) const KINDS: &[Kind] = &[
    Kind {
        code: "TM0403",
        severity: Severity::Critical,
        title: "a view runs with its owner's rights",
        why: "a view without security_invoker is judged by the policies that bind its owner: one who bypasses them shows every \
              tenant's rows to whoever may read the view, also through an invoker view above it",
        fix: "on 15 and later: ALTER VIEW … SET (security_invoker = true); before that give the view to an owner whom FORCE binds",
        needs: Needs::Catalog,
        query: Query::Text(DEFINER),
    },
    Kind {
        code: "TM0404",
        severity: Severity::High,
        title: "a materialised view holds every tenant's rows",
        why: "it is a copy without policies: who may read it reads all tenants; and once FORCE binds its owner, REFRESH leaves \
              it empty",
        fix: "take it from the application's roles, and let a role with BYPASSRLS own and refresh it",
        needs: Needs::Catalog,
        query: Query::Text(MATERIALISED),
    },
    Kind {
        code: "TM0405",
        severity: Severity::High,
        title: "a rewrite rule runs as the table's owner",
        why: "what a rule adds to a statement is judged by the rights and policies of the table's owner, not of the session",
        fix: "replace it by a trigger, which runs as the session",
        needs: Needs::Catalog,
        query: Query::Text(RULES),
    },
];

/// Walks from the tables up to every view that stands on them, however long the chain. Whoever is a superuser or has BYPASSRLS
/// is exempt for good, an owner of a table until FORCE.
const DEFINER: &str = r#"
WITH RECURSIVE over AS (
    SELECT w.ev_class AS view, d.refobjid AS via
      FROM pg_depend d JOIN pg_rewrite w ON w.oid = d.objid
     WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY ($1) AND w.ev_class <> d.refobjid
    UNION
    SELECT w.ev_class, d.refobjid
      FROM over o JOIN pg_depend d ON d.refobjid = o.view AND d.refclassid = 'pg_class'::regclass AND d.classid = 'pg_rewrite'::regclass
      JOIN pg_rewrite w ON w.oid = d.objid AND w.ev_class <> d.refobjid),
views AS (
    SELECT v.oid, r.rolname, r.rolsuper OR r.rolbypassrls AS exempt,
           coalesce((SELECT o.option_value::bool FROM pg_options_to_table(v.reloptions) o WHERE o.option_name = 'security_invoker'), false) AS invoker,
           array_agg(DISTINCT o.via) AS bases
      FROM over o JOIN pg_class v ON v.oid = o.view AND v.relkind = 'v' JOIN pg_roles r ON r.oid = v.relowner
     GROUP BY v.oid, r.rolname, exempt, invoker, v.reloptions)
SELECT v.oid::regclass::text,
       CASE WHEN v.invoker THEN 'is security_invoker, but reads ' || d.names || ', which is not'
            WHEN v.exempt THEN format('runs with the rights of %I, whom no policy binds', v.rolname)
            ELSE format('runs with the rights of %I, and hides rows only as far as policies bind that role', v.rolname) END,
       'reads ' || (SELECT string_agg(b::regclass::text, ', ' ORDER BY b::regclass::text) FROM unnest(v.bases) b),
       CASE WHEN NOT v.invoker AND current_setting('server_version_num')::int >= 150000
            THEN format('ALTER VIEW %s SET (security_invoker = true)', v.oid::regclass) END
  FROM views v
  LEFT JOIN LATERAL (SELECT string_agg(x.oid::regclass::text, ', ') AS names FROM views x WHERE x.oid = ANY (v.bases) AND NOT x.invoker) d ON true
 WHERE NOT v.invoker OR d.names IS NOT NULL
 ORDER BY 1"#;

const MATERIALISED: &str = r#"
WITH RECURSIVE over AS (
    SELECT w.ev_class AS view
      FROM pg_depend d JOIN pg_rewrite w ON w.oid = d.objid
     WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY ($1) AND w.ev_class <> d.refobjid
    UNION
    SELECT w.ev_class
      FROM over o JOIN pg_depend d ON d.refobjid = o.view AND d.refclassid = 'pg_class'::regclass AND d.classid = 'pg_rewrite'::regclass
      JOIN pg_rewrite w ON w.oid = d.objid AND w.ev_class <> d.refobjid)
SELECT v.oid::regclass::text,
       format('holds rows of the tables; owner %s', pg_get_userbyid(v.relowner)),
       coalesce('may be read by ' || readers.names, 'no role but its owner has been granted anything on it'),
       format('REVOKE ALL ON %s FROM PUBLIC', v.oid::regclass) || coalesce(', ' || readers.roles, '')
  FROM over o JOIN pg_class v ON v.oid = o.view AND v.relkind = 'm'
  LEFT JOIN LATERAL (
       SELECT string_agg(CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END, ', ') AS names,
              string_agg(quote_ident(pg_get_userbyid(a.grantee)), ', ') FILTER (WHERE a.grantee <> 0) AS roles
         FROM aclexplode(v.relacl) a WHERE a.privilege_type = 'SELECT' AND a.grantee <> v.relowner) readers ON true
 ORDER BY 1"#;

const RULES: &str = r#"
SELECT c.oid::regclass || '.' || quote_ident(w.rulename),
       format('rewrites %s of the table with the rights of its owner %s',
              CASE w.ev_type WHEN '1' THEN 'SELECT' WHEN '2' THEN 'UPDATE' WHEN '3' THEN 'INSERT' ELSE 'DELETE' END,
              pg_get_userbyid(c.relowner)),
       pg_get_ruledef(w.oid),
       format('DROP RULE %I ON %s', w.rulename, c.oid::regclass)
  FROM pg_rewrite w JOIN pg_class c ON c.oid = w.ev_class
 WHERE c.oid = ANY ($1) AND w.rulename <> '_RETURN' AND w.ev_enabled <> 'D'
 ORDER BY 1"#;
