//! Tables without row-level security, or with a part of it.

use super::{
    keys, mend,
    rule::{Ground, Look, Rule},
};
use crate::{
    hazards::Severity,
    sql,
    sql::{Literal, Stmt},
};

pub(super) const KINDS: &[Rule] = &[
    Rule {
        code: "TM0501",
        severity: Severity::Critical,
        title: "a tenant's table without row-level security",
        why: "whoever may read the table reads every tenant's rows",
        fix: "a policy, the floor, ENABLE and FORCE, in one transaction: a step enforce_rls",
        look: Look::Built(unprotected),
    },
    Rule {
        code: "TM0502",
        severity: Severity::Critical,
        title: "policies that do nothing",
        why: "the table has policies, and row-level security is off: every row is shown",
        fix: "ENABLE ROW LEVEL SECURITY",
        look: Look::Built(off),
    },
    Rule {
        code: "TM0503",
        severity: Severity::Break,
        title: "row-level security without a permissive policy",
        why: "nothing is shown and nothing can be written: what a DROP … CASCADE leaves behind (class 47)",
        fix: "create the policy",
        look: Look::Built(deny_all),
    },
    Rule {
        code: "TM0504",
        severity: Severity::Critical,
        title: "an owner whom policies do not bind, or who is the application",
        why: "an owner without FORCE sees every row, and with it what runs as the owner: views, functions, rules; and an owner can \
              switch row-level security off",
        fix: "FORCE ROW LEVEL SECURITY, and another owner than the application's role",
        look: Look::Built(owners),
    },
    Rule {
        code: "TM0531",
        severity: Severity::High,
        title: "a partition or child without protection of its own",
        why: "a query that names a partition or an inheriting table is bound by that table's own flags and policies, and not by \
              the parent's; a new one begins without",
        fix: "protect it as its parent is, or take the grants on it away",
        look: Look::Built(children),
    },
    Rule {
        code: "TM0544",
        severity: Severity::Break,
        title: "a command that no policy lets through",
        why: "the role has the right, and no permissive policy speaks for the command: INSERT … RETURNING without a SELECT policy \
              raises an error, and FOR UPDATE without an UPDATE policy finds nothing",
        fix: "one policy FOR ALL, or take the right away",
        look: Look::Built(commands),
    },
    Rule {
        code: "TM0545",
        severity: Severity::High,
        title: "a copy of a protected table",
        why: "CREATE TABLE … (LIKE …) and CREATE TABLE AS copy no policy, no ENABLE and no FORCE, even with INCLUDING ALL",
        fix: "drop the copy, or protect it as the table is",
        look: Look::Built(copies),
    },
    Rule {
        code: "TM0546",
        severity: Severity::High,
        title: "a table that belongs to tenants by its parent only",
        why: "its rows point at a tenant's rows, it has no tenant column and no row-level security: whoever may read it reads \
              every tenant's rows of it",
        fix: "give it the tenant column: tenantmig init writes the plan, which fills it while the table is in use",
        look: Look::Built(joins),
    },
];

/// The tenant's tables with their column, which `a` stands on.
const FROM: &str = "FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = $6 AND NOT a.attisdropped
 WHERE c.oid IN (SELECT unnest($1)) AND c.relkind IN ('r', 'p')";

const CHILD: &str = "EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = c.oid)";

const ANY_POLICY: &str = "EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid)";

const PERMISSIVE_POLICY: &str = "EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polpermissive)";

const NAMES: &str =
    "(SELECT string_agg(quote_ident(p.polname), ', ' ORDER BY p.polname) FROM pg_policy p WHERE p.polrelid = c.oid)";

/// Who of the application's roles may use the table.
const USERS: &str = "(SELECT string_agg(CASE WHEN r = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(r)) END, ', ')
    FROM unnest($4) r WHERE (has_any_column_privilege(r, c.oid, 'SELECT, INSERT, UPDATE') OR has_table_privilege(r, c.oid, 'DELETE')))";

/// A protected table with the same columns, whose name is a part of this one's.
const ORIGINAL: &str = "(SELECT min(o.oid::regclass::text) FROM pg_class o
  WHERE o.oid IN (SELECT unnest($1)) AND o.relrowsecurity AND o.oid <> c.oid AND position(o.relname IN c.relname) > 0 AND o.relnatts > 2
    AND (SELECT array_agg(x.attname || ' ' || x.atttypid ORDER BY x.attname) FROM pg_attribute x WHERE x.attrelid = o.oid AND x.attnum > 0 AND NOT x.attisdropped)
      = (SELECT array_agg(x.attname || ' ' || x.atttypid ORDER BY x.attname) FROM pg_attribute x WHERE x.attrelid = c.oid AND x.attnum > 0 AND NOT x.attisdropped))";

fn raw(text: &str) -> Stmt {
    Stmt::raw(text)
}

fn unprotected(ground: &Ground) -> Stmt {
    sql!(
        "SELECT c.oid::regclass::text, format('has the column %I and no row-level security', a.attname), 'used by ' || {}, {} {}
            AND NOT c.relrowsecurity AND NOT {} AND NOT {} AND {} IS NULL ORDER BY 1",
        raw(USERS),
        mend::protect(ground),
        raw(FROM),
        raw(CHILD),
        raw(ANY_POLICY),
        raw(ORIGINAL)
    )
}

fn copies(ground: &Ground) -> Stmt {
    sql!(
        "SELECT c.oid::regclass::text, 'has the columns of ' || {0} || ' and no row-level security', 'used by ' || {1}, {2} {3}
            AND NOT c.relrowsecurity AND NOT {4} AND NOT {5} AND {0} IS NOT NULL ORDER BY 1",
        raw(ORIGINAL),
        raw(USERS),
        mend::protect(ground),
        raw(FROM),
        raw(CHILD),
        raw(ANY_POLICY)
    )
}

/// Of every table with policies, also of one without the column.
fn off(ground: &Ground) -> Stmt {
    sql!(
        "SELECT c.oid::regclass::text, 'has policies, and row-level security is off', 'policies ' || {}, {}
           FROM pg_class c WHERE c.oid IN (SELECT unnest($1)) AND c.relkind IN ('r', 'p') AND NOT c.relrowsecurity AND {} AND NOT {} ORDER BY 1",
        raw(NAMES),
        mend::flags(ground),
        raw(ANY_POLICY),
        raw(CHILD)
    )
}

fn deny_all(ground: &Ground) -> Stmt {
    sql!(
        "SELECT c.oid::regclass::text, 'has row-level security and no permissive policy: nothing is shown', 'policies ' || {}, {} {}
            AND c.relrowsecurity AND NOT {} AND NOT {} ORDER BY 1",
        raw(NAMES),
        sql!("concat_ws('; ', {}, {})", mend::permissive(ground), mend::flags(ground)),
        raw(FROM),
        raw(PERMISSIVE_POLICY),
        raw(CHILD)
    )
}

/// The database's owner takes the tables, and the application gets what it needs.
fn owners(ground: &Ground) -> Stmt {
    let unbound = Stmt::raw(if ground.force { "true" } else { "c.relowner = ANY ($4)" });
    sql!(
        "SELECT c.oid::regclass::text, format('does not bind its owner %I', pg_get_userbyid(c.relowner)), 'without FORCE',
                format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', c.oid::regclass)
           FROM pg_class c
          WHERE c.oid IN (SELECT unnest($1)) AND c.relkind IN ('r', 'p') AND c.relrowsecurity AND NOT c.relforcerowsecurity AND {0} AND NOT {1} AND {2}
         UNION ALL
         SELECT c.oid::regclass::text, format('belongs to %I, a role of the application', pg_get_userbyid(c.relowner)),
                'an owner can switch row-level security off',
                CASE WHEN NOT d.datdba = ANY ($4) THEN format('ALTER TABLE %s OWNER TO %I; GRANT SELECT, INSERT, UPDATE, DELETE ON %1$s TO %3$I',
                     c.oid::regclass, pg_get_userbyid(d.datdba), pg_get_userbyid(c.relowner)) END
           FROM pg_class c JOIN pg_database d ON d.datname = current_database()
          WHERE c.oid IN (SELECT unnest($1)) AND c.relkind IN ('r', 'p') AND c.relowner = ANY ($4) AND NOT c.relispartition
          ORDER BY 1, 2",
        unbound,
        raw(CHILD),
        raw(PERMISSIVE_POLICY)
    )
}

/// What has a policy of its own is only switched on.
fn children(ground: &Ground) -> Stmt {
    let force = Stmt::raw(if ground.force { "NOT c.relforcerowsecurity" } else { "false" });
    sql!(
        "SELECT c.oid::regclass::text,
                format('lies below %s and has %s of its own', (SELECT string_agg(i.inhparent::regclass::text, ', ') FROM pg_inherits i WHERE i.inhrelid = c.oid),
                       CASE WHEN NOT c.relrowsecurity THEN 'no row-level security' WHEN NOT {0} THEN 'no permissive policy' ELSE 'no FORCE' END),
                'may be named by ' || {1},
                CASE WHEN {0} THEN {2} ELSE {3} END {4}
            AND {5} AND NOT (c.relrowsecurity AND {0} AND NOT {6}) AND {1} IS NOT NULL ORDER BY 1",
        raw(PERMISSIVE_POLICY),
        raw(USERS),
        mend::flags(ground),
        mend::protect(ground),
        raw(FROM),
        raw(CHILD),
        force
    )
}

/// A superuser meets no policy, and where nothing at all is permitted that is told already.
fn commands(ground: &Ground) -> Stmt {
    sql!(
        "SELECT n.object, format('shows %I no row for %s', n.role, n.commands), n.names, n.mend
           FROM (SELECT c.oid::regclass::text AS object, r.rolname AS role, string_agg(k.word, ', ' ORDER BY k.place) AS commands,
                        'policies ' || min({0}) AS names, min({1}) AS mend
                   FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = $6 AND NOT a.attisdropped
                   JOIN pg_roles r ON r.oid = ANY ($4) AND NOT r.rolsuper AND NOT r.rolbypassrls
                   CROSS JOIN (VALUES (1, 'r', 'SELECT'), (2, 'a', 'INSERT'), (3, 'w', 'UPDATE'), (4, 'd', 'DELETE')) k (place, command, word)
                  WHERE c.oid IN (SELECT unnest($1)) AND c.relkind IN ('r', 'p') AND c.relrowsecurity AND {2}
                    AND has_table_privilege(r.oid, c.oid, k.word)
                    AND NOT EXISTS (SELECT FROM pg_policy p
                                     WHERE p.polrelid = c.oid AND p.polpermissive AND p.polcmd IN ('*', k.command::\"char\")
                                       AND (0 = ANY (p.polroles) OR EXISTS (SELECT FROM unnest(p.polroles) x WHERE x <> 0 AND pg_has_role(r.oid, x, 'USAGE'))))
                  GROUP BY c.oid, r.rolname) n
          ORDER BY 1, 2",
        raw(NAMES),
        mend::permissive(ground),
        raw(PERMISSIVE_POLICY)
    )
}

/// A foreign key says whose its rows are; what is referenced is the registry's or a shared table's otherwise. Fills the column in
/// one statement, which is right for a small table only.
fn joins(ground: &Ground) -> Stmt {
    sql!(
        "SELECT DISTINCT ON (c.oid) c.oid::regclass::text, format('references %s and has no column %I', t.oid::regclass, a.attname),
                pg_get_constraintdef(f.oid) || coalesce('; used by ' || {0}, ''),
                format('ALTER TABLE %s ADD COLUMN %I %s; UPDATE %1$s SET %2$I = tenant_parent.%2$I FROM %4$s tenant_parent WHERE %5$s; '
                       || 'ALTER TABLE %1$s ALTER COLUMN %2$I SET NOT NULL; CREATE INDEX ON %1$s (%2$I); ',
                       c.oid::regclass, a.attname, format_type(a.atttypid, a.atttypmod), t.oid::regclass,
                       (SELECT string_agg(format('%s.%I = tenant_parent.%I', c.oid::regclass, x.attname, z.attname), ' AND ')
                          FROM unnest(f.conkey, f.confkey) u (child, parent)
                          JOIN pg_attribute x ON x.attrelid = c.oid AND x.attnum = u.child
                          JOIN pg_attribute z ON z.attrelid = t.oid AND z.attnum = u.parent))
                || CASE WHEN {4} THEN {5} || '; ' ELSE '' END || {1}
           FROM pg_constraint f JOIN pg_class c ON c.oid = f.conrelid JOIN pg_class t ON t.oid = f.confrelid
           JOIN pg_attribute a ON a.attrelid = t.oid AND a.attname = $6 AND NOT a.attisdropped
           CROSS JOIN LATERAL (SELECT a.attname) y CROSS JOIN LATERAL {6} k
          WHERE f.contype = 'f' AND f.conparentid = 0 AND t.oid IN (SELECT unnest($1)) AND NOT c.oid = ANY ($1) AND NOT c.oid = ANY ($5)
            AND c.relkind IN ('r', 'p') AND NOT c.relrowsecurity AND {0} IS NOT NULL AND NOT {2}
            AND c.relname NOT LIKE {3}
          ORDER BY c.oid, f.conname",
        raw(USERS),
        mend::protect(ground),
        raw(CHILD),
        Literal::new("tenantmig%"),
        keys::carries(ground),
        raw(keys::CARRY),
        raw(keys::COLUMNS)
    )
}
