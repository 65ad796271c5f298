//! Functions whose rights, promises or volatility pass by the policies.

use super::kind::{Kind, Needs, Query, Severity};

pub(super) const KINDS: &[Kind] = &[
    Kind {
        code: "TM0417",
        severity: Severity::High,
        title: "a function runs with its owner's rights",
        why: "a SECURITY DEFINER function is judged by the policies that bind its owner: called by the application it shows and \
              changes every tenant's rows where its owner is exempt",
        fix: "make it SECURITY INVOKER, or give it to an owner whom FORCE binds",
        needs: Needs::Catalog,
        query: Query::Text(DEFINER),
    },
    Kind {
        code: "TM0418",
        severity: Severity::High,
        title: "a function that somebody called LEAKPROOF",
        why: "the server runs it before the policy, on every tenant's rows; whether it tells of them (an error, a notice, a table \
              that it writes) nobody has checked",
        fix: "take the promise back",
        needs: Needs::Catalog,
        query: Query::Text(LEAKPROOF),
    },
    Kind {
        code: "TM0419",
        severity: Severity::Critical,
        title: "the context function is not STABLE",
        why: "IMMUTABLE is folded into a prepared statement, which then serves one tenant's rows to another; VOLATILE is called \
              for each row, and no index is used",
        fix: "make it STABLE",
        needs: Needs::Catalog,
        query: Query::Text(CONTEXT),
    },
];

/// One that returns a trigger cannot be called. Which tables it names is a word in its source, no more.
const DEFINER: &str = r#"
SELECT p.oid::regprocedure::text,
       format('is SECURITY DEFINER and runs as %I, %s', r.rolname,
              CASE WHEN r.rolsuper THEN 'a superuser' WHEN r.rolbypassrls THEN 'who has BYPASSRLS'
                   ELSE 'who owns tables of the plan and is bound by FORCE only' END),
       'may be called by ' || callers.names || coalesce('; names ' || named.tables, ''),
       format('ALTER FUNCTION %s SECURITY INVOKER', p.oid::regprocedure)
  FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner JOIN pg_namespace n ON n.oid = p.pronamespace
  CROSS JOIN LATERAL (
       SELECT string_agg(CASE WHEN a = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a)) END, ', ') AS names
         FROM unnest($4) a WHERE has_function_privilege(a, p.oid, 'EXECUTE')) callers
  LEFT JOIN LATERAL (
       SELECT string_agg(c.oid::regclass::text, ', ') AS tables
         FROM pg_class c WHERE c.oid = ANY ($1) AND NOT c.relispartition AND position(c.relname IN p.prosrc) > 0) named ON true
 WHERE p.prosecdef AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype) AND callers.names IS NOT NULL
   AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND p.proname NOT LIKE 'tenantmig%'
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
   AND (r.rolsuper OR r.rolbypassrls OR EXISTS (SELECT FROM pg_class c WHERE c.oid = ANY ($1) AND pg_has_role(r.oid, c.relowner, 'USAGE')))
 ORDER BY 1"#;

const LEAKPROOF: &str = r#"
SELECT p.oid::regprocedure::text, 'is LEAKPROOF, which ' || quote_ident(pg_get_userbyid(p.proowner)) || ' says',
       'language ' || l.lanname, format('ALTER FUNCTION %s NOT LEAKPROOF', p.oid::regprocedure)
  FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
 WHERE p.proleakproof AND p.oid >= 16384
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
 ORDER BY 1"#;

/// The function that the plan names, and every other one that reads the setting.
const CONTEXT: &str = r#"
SELECT p.oid::regprocedure::text,
       CASE p.provolatile WHEN 'i' THEN 'is IMMUTABLE, and reads a setting that changes' ELSE 'is VOLATILE, and is called for each row' END,
       CASE WHEN n.nspname || '.' || p.proname = $10 THEN 'the plan''s context function' ELSE 'reads ' || $8 END,
       format('ALTER FUNCTION %s STABLE', p.oid::regprocedure)
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE p.provolatile <> 's' AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND p.prokind = 'f' AND p.pronargs = 0
   AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype, 'void'::regtype)
   AND (n.nspname || '.' || p.proname = $10 OR position('current_setting(''' || $8 IN p.prosrc) > 0)
 ORDER BY 1"#;
