//! Functions that policies call, that run with other rights than their caller's, or that somebody called harmless.

use super::rule::{Look, Rule};
use crate::hazards::Severity;

pub(super) const KINDS: &[Rule] = &[
    Rule {
        code: "TM0526",
        severity: Severity::Critical,
        title: "an IMMUTABLE context function",
        why: "it is folded into a prepared statement, which then serves one tenant's rows to another, also with (SELECT …) around it",
        fix: "make it STABLE",
        look: Look::Text(IMMUTABLE),
    },
    Rule {
        code: "TM0529",
        severity: Severity::High,
        title: "a function that passes over policies",
        why: "a SECURITY DEFINER function is judged by the policies that bind its owner: where none does, it shows and changes every \
              tenant's rows to whoever may call it",
        fix: "make it SECURITY INVOKER, or give it to an owner whom FORCE binds",
        look: Look::Text(DEFINER),
    },
    Rule {
        code: "TM0537",
        severity: Severity::High,
        title: "a function that somebody called LEAKPROOF",
        why: "the server runs it before the policy, on every tenant's rows; whether it tells of them (an error, a notice, a table \
              that it writes) nobody has checked",
        fix: "take the promise back",
        look: Look::AsHazard("TM0418"),
    },
    Rule {
        code: "TM0551",
        severity: Severity::Slow,
        title: "a VOLATILE function in a policy",
        why: "it is called for every row, and no index on the tenant is used (2257 ms against 0.1)",
        fix: "make it STABLE",
        look: Look::Text(VOLATILE),
    },
];

/// The functions of the policies' node trees: pg_depend leaves out those that the server pins. Comparing and casting is IMMUTABLE
/// by right, so only a function that takes no argument or reads a setting is meant.
const IMMUTABLE: &str = r#"
SELECT p.oid::regprocedure::text, 'is IMMUTABLE, and a policy takes the tenant from it',
       (SELECT count(DISTINCT y.polrelid) || ' tables' FROM pg_policy y WHERE y.polrelid IN (SELECT unnest($1))
           AND concat(y.polqual::text, y.polwithcheck::text) ~ (':(funcid|opfuncid) ' || p.oid || '\M')),
       format('ALTER FUNCTION %s STABLE', p.oid::regprocedure)
  FROM pg_proc p
 WHERE p.provolatile = 'i' AND p.oid >= 16384 AND (p.pronargs = 0 OR position('current_setting' IN p.prosrc) > 0)
   AND p.oid IN (SELECT m[1]::oid FROM pg_policy y CROSS JOIN regexp_matches(concat(y.polqual::text, ' ', y.polwithcheck::text), ':(?:funcid|opfuncid) (\d+)', 'g') m
                  WHERE y.polrelid IN (SELECT unnest($1)))
 ORDER BY 1"#;

/// Those that the server brings as well: random(), clock_timestamp().
const VOLATILE: &str = r#"
SELECT p.oid::regprocedure::text, 'is VOLATILE, and a policy calls it for each row', 'policies of ' || string_agg(DISTINCT f.polrelid::regclass::text, ', '),
       CASE WHEN p.oid >= 16384 THEN format('ALTER FUNCTION %s STABLE', p.oid::regprocedure) END
  FROM (SELECT y.polrelid, m[1]::oid AS oid FROM pg_policy y
         CROSS JOIN regexp_matches(concat(y.polqual::text, ' ', y.polwithcheck::text), ':(?:funcid|opfuncid) (\d+)', 'g') m
         WHERE y.polrelid IN (SELECT unnest($1))) f
  JOIN pg_proc p ON p.oid = f.oid
 WHERE p.provolatile = 'v'
 GROUP BY p.oid
 ORDER BY 1"#;

/// One that returns a trigger cannot be called. One in SQL or PL/pgSQL that names no tenant's table and runs no text that it puts
/// together reads none either, as far as its source says.
const DEFINER: &str = r#"
SELECT p.oid::regprocedure::text,
       format('is SECURITY DEFINER and runs as %I, %s', r.rolname,
              CASE WHEN r.rolsuper THEN 'a superuser' WHEN r.rolbypassrls THEN 'who has BYPASSRLS' ELSE 'whom some of these tables do not bind' END),
       'may be called by ' || callers.names || coalesce('; names ' || named.tables, ''),
       format('ALTER FUNCTION %s SECURITY INVOKER', p.oid::regprocedure)
  FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
  CROSS JOIN LATERAL (
       SELECT string_agg(CASE WHEN a = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a)) END, ', ') AS names
         FROM unnest($4) a WHERE has_function_privilege(a, p.oid, 'EXECUTE')) callers
  LEFT JOIN LATERAL (
       SELECT string_agg(c.oid::regclass::text, ', ') AS tables
         FROM pg_class c WHERE c.oid IN (SELECT unnest($1))
          AND (p.prosrc ~* ('\m' || regexp_replace(c.relname, '\W', '.', 'g') || '\M')
               OR EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.refobjid = c.oid))) named ON true
 WHERE p.prosecdef AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype) AND callers.names IS NOT NULL
   AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND p.proname NOT LIKE 'tenantmig%'
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
   AND (r.rolsuper OR r.rolbypassrls OR EXISTS (SELECT FROM pg_class c WHERE c.oid IN (SELECT unnest($1)) AND NOT c.relforcerowsecurity
                                                   AND pg_has_role(r.oid, c.relowner, 'USAGE'))
        OR EXISTS (SELECT FROM pg_class c JOIN pg_inherits h ON h.inhrelid = c.oid JOIN pg_class u ON u.oid = h.inhparent
                    WHERE c.oid IN (SELECT unnest($1)) AND NOT c.relrowsecurity AND u.relrowsecurity AND has_any_column_privilege(r.oid, c.oid, 'SELECT')
                      AND p.prosrc ~* ('\m' || regexp_replace(c.relname, '\W', '.', 'g') || '\M')))
   AND (named.tables IS NOT NULL OR l.lanname NOT IN ('sql', 'plpgsql') OR p.prosrc ~* '\mexecute\M')
 ORDER BY 1"#;
