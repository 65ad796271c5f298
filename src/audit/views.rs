//! Views, materialised views and rules: what reads or writes the tables with other rights than its user's.

use super::rule::{Ground, Look, Rule};
use crate::{hazards::Severity, sql, sql::Stmt};

pub(super) const KINDS: &[Rule] = &[
    Rule {
        code: "TM0527",
        severity: Severity::Critical,
        title: "a view that passes over policies",
        why: "a view without security_invoker is judged by the policies that bind its owner: one whom none binds shows every \
              tenant's rows to whoever may read the view, also through an invoker view above it",
        fix: "on 15 and later: ALTER VIEW … SET (security_invoker = true); before that give the view to an owner whom FORCE binds",
        look: Look::Built(definer),
    },
    Rule {
        code: "TM0528",
        severity: Severity::High,
        title: "a materialised view of every tenant's rows",
        why: "it is a copy without policies: who may read it reads all tenants; and where FORCE binds its owner, the next REFRESH \
              leaves it empty",
        fix: "take it from the application's roles, and let a role with BYPASSRLS own and refresh it",
        look: Look::Built(materialised),
    },
    Rule {
        code: "TM0530",
        severity: Severity::High,
        title: "a rewrite rule runs as the table's owner",
        why: "what a rule adds to a statement is judged by the rights and policies of the table's owner, not of the session",
        fix: "replace it by a trigger, which runs as the session",
        look: Look::AsHazard("TM0405"),
    },
    Rule {
        code: "TM0536",
        severity: Severity::High,
        title: "a view that filters by tenant without being a barrier",
        why: "a function of the reader's that is cheaper than the filter is run on every tenant's rows before it, and may tell of \
              them",
        fix: "security_barrier on the view, and row-level security on the table",
        look: Look::Built(leaky),
    },
];

/// `over`: every view that stands on a table of `$1`, however long the chain, with each table and each view on the way.
const OVER: &str = "over AS (
    SELECT w.ev_class AS view, d.refobjid AS base
      FROM pg_depend d JOIN pg_rewrite w ON w.oid = d.objid
     WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid IN (SELECT unnest($1)) AND w.ev_class <> d.refobjid
    UNION
    SELECT w.ev_class, o.base
      FROM over o JOIN pg_depend d ON d.refobjid = o.view AND d.refclassid = 'pg_class'::regclass AND d.classid = 'pg_rewrite'::regclass
      JOIN pg_rewrite w ON w.oid = d.objid AND w.ev_class <> d.refobjid)";

/// `above`: each view and what stands on it, itself among them.
const ABOVE: &str = "above AS (
    SELECT o.view, o.view AS user FROM over o
    UNION
    SELECT a.view, w.ev_class FROM above a JOIN pg_depend d ON d.refobjid = a.user AND d.refclassid = 'pg_class'::regclass AND d.classid = 'pg_rewrite'::regclass
      JOIN pg_rewrite w ON w.oid = d.objid AND w.ev_class <> d.refobjid)";

/// Whom of the application's roles the view, or one above it, is open to.
const READERS: &str = "(SELECT string_agg(DISTINCT CASE WHEN r = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(r)) END, ', ')
    FROM unnest($4) r JOIN above u ON u.view = v.oid WHERE (has_any_column_privilege(r, u.user, 'SELECT, INSERT, UPDATE') OR has_table_privilege(r, u.user, 'DELETE')))";

const IS_INVOKER: &str = "coalesce((SELECT o.option_value::bool FROM pg_options_to_table(v.reloptions) o WHERE o.option_name = 'security_invoker'), false)";

/// Whom no policy binds: superusers and BYPASSRLS for good, the owner of a base table until FORCE; everybody on a partition or child
/// without row-level security, which need not be told of by itself, where nobody else may read it.
const EXEMPT: &str = "(r.rolsuper OR r.rolbypassrls OR EXISTS (SELECT FROM over o JOIN pg_class b ON b.oid = o.base
    WHERE o.view = v.oid AND (NOT b.relforcerowsecurity AND pg_has_role(r.oid, b.relowner, 'USAGE')
       OR NOT b.relrowsecurity AND has_any_column_privilege(r.oid, b.oid, 'SELECT') AND EXISTS (SELECT FROM pg_inherits h JOIN pg_class p ON p.oid = h.inhparent WHERE h.inhrelid = b.oid AND p.relrowsecurity))))";

const BASES: &str =
    "'reads ' || (SELECT string_agg(DISTINCT o.base::regclass::text, ', ') FROM over o WHERE o.view = v.oid)";

/// Before 15 the owner of a table below takes it, if a policy can bind that one.
fn definer(ground: &Ground) -> Stmt {
    let mend = if ground.server.version_num >= 150_000 {
        "format('ALTER VIEW %s SET (security_invoker = true)', v.oid::regclass)"
    } else {
        "(SELECT format('ALTER VIEW %s OWNER TO %I', v.oid::regclass, q.rolname) FROM over o JOIN pg_class b ON b.oid = o.base JOIN pg_roles q ON q.oid = b.relowner
           WHERE o.view = v.oid AND NOT q.rolsuper AND NOT q.rolbypassrls LIMIT 1)"
    };
    sql!(
        "WITH RECURSIVE {0}, {1}
         SELECT v.oid::regclass::text, format('runs with the rights of %I, whom no policy binds', r.rolname),
                {2} || '; open to ' || {3}, {4}
           FROM pg_class v JOIN pg_roles r ON r.oid = v.relowner
          WHERE v.relkind = 'v' AND v.oid IN (SELECT view FROM over) AND NOT {5} AND {6} AND {3} IS NOT NULL
          ORDER BY 1",
        Stmt::raw(OVER),
        Stmt::raw(ABOVE),
        Stmt::raw(BASES),
        Stmt::raw(READERS),
        Stmt::raw(mend),
        Stmt::raw(IS_INVOKER),
        Stmt::raw(EXEMPT)
    )
}

/// Nobody's of the application, it may still be emptied by its owner's next REFRESH.
fn materialised(_: &Ground) -> Stmt {
    sql!(
        "WITH RECURSIVE {0}, {1}
         SELECT v.oid::regclass::text, 'holds rows of every tenant', {2} || '; open to ' || {3},
                'REVOKE ALL ON ' || v.oid::regclass || ' FROM ' ||
                (SELECT string_agg(DISTINCT CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END, ', ')
                   FROM aclexplode(v.relacl) x WHERE x.grantee <> v.relowner)
           FROM pg_class v WHERE v.relkind = 'm' AND v.oid IN (SELECT view FROM over) AND {3} IS NOT NULL
         UNION ALL
         SELECT v.oid::regclass::text, format('belongs to %I, whom policies bind: the next REFRESH leaves it empty', r.rolname), {2},
                (SELECT format('ALTER MATERIALIZED VIEW %s OWNER TO %I', v.oid::regclass, q.rolname)
                   FROM pg_roles q WHERE (q.rolsuper OR q.rolbypassrls) AND NOT q.oid = ANY ($4) ORDER BY q.rolsuper, q.rolcanlogin, q.oid LIMIT 1)
           FROM pg_class v JOIN pg_roles r ON r.oid = v.relowner
          WHERE v.relkind = 'm' AND v.oid IN (SELECT view FROM over) AND NOT {4}
            AND EXISTS (SELECT FROM over o JOIN pg_class b ON b.oid = o.base WHERE o.view = v.oid AND b.relrowsecurity)
          ORDER BY 1, 2",
        Stmt::raw(OVER),
        Stmt::raw(ABOVE),
        Stmt::raw(BASES),
        Stmt::raw(READERS),
        Stmt::raw(EXEMPT)
    )
}

/// A view that reads the context is meant to isolate.
fn leaky(_: &Ground) -> Stmt {
    sql!(
        "WITH RECURSIVE {0}, {1}
         SELECT v.oid::regclass::text, 'filters by the session''s tenant and is no security_barrier', {2} || '; open to ' || {3},
                format('ALTER VIEW %s SET (security_barrier = true)', v.oid::regclass)
           FROM pg_class v
          WHERE v.relkind = 'v' AND v.oid IN (SELECT view FROM over) AND {3} IS NOT NULL
            AND NOT coalesce((SELECT o.option_value::bool FROM pg_options_to_table(v.reloptions) o WHERE o.option_name = 'security_barrier'), false)
            AND (position('current_setting(''' || $8 || '''' IN pg_get_viewdef(v.oid)) > 0
                 OR position(replace($10, 'public.', '') || '()' IN pg_get_viewdef(v.oid)) > 0)
          ORDER BY 1",
        Stmt::raw(OVER),
        Stmt::raw(ABOVE),
        Stmt::raw(BASES),
        Stmt::raw(READERS)
    )
}
