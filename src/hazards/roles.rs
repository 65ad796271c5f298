//! Roles whom policies do not bind, or that others may become.

use super::kind::{Kind, Needs, Query, Server, Severity};
use crate::{
    sql,
    sql::{Literal, Stmt},
};

pub(super) const KINDS: &[Kind] = &[
    Kind {
        code: "TM0420",
        severity: Severity::Critical,
        title: "the application's role passes over policies",
        why: "no policy binds a superuser or a role with BYPASSRLS: every tenant's rows are shown, whatever the plan enforces",
        fix: "let the application log in as a role of its own: a step create_role with purpose = \"application\"",
        needs: Needs::Catalog,
        query: Query::Text(BYPASSES),
    },
    Kind {
        code: "TM0421",
        severity: Severity::Critical,
        title: "the application's role owns a table",
        why: "an owner sees every row without FORCE, and with FORCE can still switch row-level security off or drop the policy",
        fix: "let another role own the tables, and grant the application what it needs",
        needs: Needs::Catalog,
        query: Query::Text(OWNS),
    },
    Kind {
        code: "TM0422",
        severity: Severity::High,
        title: "the application may become a role that passes over policies",
        why: "BYPASSRLS is not inherited, but SET ROLE takes it: whoever can run SQL as the application can do that",
        fix: "take the membership away",
        needs: Needs::Catalog,
        query: Query::Built(becomes_bypass),
    },
    Kind {
        code: "TM0423",
        severity: Severity::Critical,
        title: "the application is a member of a table's owner",
        why: "a member has its owner's rights: it sees all rows of a table without FORCE, and can switch row-level security off \
              where there is FORCE",
        fix: "take the membership away",
        needs: Needs::Catalog,
        query: Query::Text(MEMBER),
    },
    Kind {
        code: "TM0424",
        severity: Severity::Break,
        title: "a backup role that policies bind",
        why: "pg_dump fails on a table with row-level security (42501), and with --enable-row-security it writes a backup without \
              rows and reports success",
        fix: "give the role that backs up BYPASSRLS",
        needs: Needs::Catalog,
        query: Query::Text(BACKUP),
    },
    Kind {
        code: "TM0425",
        severity: Severity::Critical,
        title: "a grant that no policy restrains",
        why: "TRUNCATE empties the table for every tenant; REFERENCES lets a foreign key tell which keys exist; TRIGGER lets a \
              function of the grantee's see each row that others write",
        fix: "take the grant away",
        needs: Needs::Catalog,
        query: Query::Text(GRANTS),
    },
];

const BYPASSES: &str = r#"
SELECT 'role ' || quote_ident(r.rolname),
       CASE WHEN r.rolsuper THEN 'is a superuser' ELSE 'has BYPASSRLS' END,
       (SELECT format('%s sessions now, application %s', count(*), coalesce(quote_literal(min(s.application_name)), 'unknown'))
          FROM pg_stat_activity s WHERE s.usesysid = r.oid AND s.datname = current_database() HAVING count(*) > 0),
       CASE WHEN r.rolsuper THEN NULL ELSE format('ALTER ROLE %I NOBYPASSRLS', r.rolname) END
  FROM pg_roles r
 WHERE r.oid = ANY ($4) AND (r.rolsuper OR r.rolbypassrls)
 ORDER BY 1"#;

const OWNS: &str = r#"
SELECT 'role ' || quote_ident(r.rolname),
       format('owns %s of the tables', count(*)),
       array_to_string((array_agg(c.oid::regclass::text ORDER BY c.oid::regclass::text))[1:5], ', ') || CASE WHEN count(*) > 5 THEN ', …' ELSE '' END,
       NULL::text
  FROM pg_roles r JOIN pg_class c ON c.relowner = r.oid
 WHERE r.oid = ANY ($4) AND c.oid = ANY ($1) AND NOT r.rolsuper
 GROUP BY r.rolname
 ORDER BY 1"#;

/// The membership that leads there, over others maybe, is the one to revoke; where none does yet, what lets the role take one.
fn becomes_bypass(server: &Server) -> Stmt {
    sql!(
        r#"
SELECT 'role ' || quote_ident(a.rolname),
       format('may SET ROLE to %I, %s', r.rolname, CASE WHEN r.rolsuper THEN 'a superuser' ELSE 'which has BYPASSRLS' END)
         || CASE WHEN pg_has_role(a.oid, r.oid, {1}) THEN '' ELSE ', which it may give itself' END,
       NULL::text,
       CASE WHEN pg_has_role(a.oid, r.oid, 'MEMBER')
            THEN (SELECT string_agg(format('REVOKE %I FROM %I', g.rolname, a.rolname), '; ' ORDER BY g.rolname)
                    FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = a.oid AND pg_has_role(g.oid, r.oid, 'MEMBER'))
            ELSE (SELECT string_agg(format('ALTER ROLE %I NOCREATEROLE', g.rolname), '; ' ORDER BY g.rolname)
                    FROM pg_roles g WHERE g.rolcreaterole AND NOT g.rolsuper AND pg_has_role(a.oid, g.oid, 'MEMBER')) END
  FROM pg_roles a JOIN pg_roles r ON r.oid <> a.oid AND (r.rolsuper OR r.rolbypassrls)
 WHERE a.oid = ANY ($4) AND NOT a.rolsuper AND {0}
 ORDER BY 1, 2"#,
        becomes(server.version_num, "a", "r"),
        Literal::new(set_role(server.version_num))
    )
}

/// The right to SET ROLE, as `pg_has_role` calls it: from 16 on a membership can be without.
fn set_role(version: u32) -> &'static str {
    if version >= 160_000 { "SET" } else { "MEMBER" }
}

/// Whether the role `a` of `pg_roles` may become the role `r`, or may give itself what it needs for that: from 16 on by the ADMIN
/// option of it, with which it grants itself SET; before by CREATEROLE, its own or one that it may become, which grants any role but
/// a superuser.
pub fn becomes(version: u32, a: &str, r: &str) -> Stmt {
    let (a, r) = (Stmt::raw(a), Stmt::raw(r));
    let has = sql!("pg_has_role({0}.oid, {1}.oid, {2})", a, r, Literal::new(set_role(version)));
    if version >= 160_000 {
        return sql!("({0} OR pg_has_role({1}.oid, {2}.oid, 'MEMBER WITH ADMIN OPTION'))", has, a, r);
    }
    sql!(
        "({0} OR NOT {2}.rolsuper AND EXISTS (SELECT FROM pg_roles AS maker WHERE maker.rolcreaterole AND pg_has_role({1}.oid, maker.oid, 'MEMBER')))",
        has,
        a,
        r
    )
}

const MEMBER: &str = r#"
SELECT 'role ' || quote_ident(a.rolname), format('is a member of %I, which owns %s of the tables', o.rolname, count(*)),
       array_to_string((array_agg(c.oid::regclass::text ORDER BY c.oid::regclass::text))[1:5], ', ') || CASE WHEN count(*) > 5 THEN ', …' ELSE '' END,
       (SELECT string_agg(format('REVOKE %I FROM %I', g.rolname, a.rolname), '; ' ORDER BY g.rolname)
                     FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = a.oid AND pg_has_role(g.oid, o.oid, 'MEMBER'))
  FROM pg_roles a JOIN pg_roles o ON o.oid <> a.oid AND pg_has_role(a.oid, o.oid, 'MEMBER')
  JOIN pg_class c ON c.relowner = o.oid
 WHERE a.oid = ANY ($4) AND NOT a.rolsuper AND c.oid = ANY ($1)
 GROUP BY a.oid, a.rolname, o.oid, o.rolname
 ORDER BY 1, 2"#;

/// Who backs up is told by a pg_dump at work, by a membership made for it, or by the role's name.
const BACKUP: &str = r#"
SELECT 'role ' || quote_ident(r.rolname), 'backs up, and has no BYPASSRLS', w.why, format('ALTER ROLE %I BYPASSRLS', r.rolname)
  FROM pg_roles r
  CROSS JOIN LATERAL (
       SELECT concat_ws('; ',
           (SELECT 'runs ' || min(s.application_name) || ' now' FROM pg_stat_activity s
             WHERE s.usesysid = r.oid AND s.datname = current_database() AND s.application_name IN ('pg_dump', 'pg_dumpall') HAVING count(*) > 0),
           CASE WHEN EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
                              WHERE m.member = r.oid AND g.rolname = 'pg_read_all_data') THEN 'is a member of pg_read_all_data' END,
           CASE WHEN r.rolcanlogin AND r.rolname ~* '(^|[^a-z])(backup|dump|pg_?dump|barman|pgbackrest)' THEN 'is called so' END) AS why) w
 WHERE NOT r.rolsuper AND NOT r.rolbypassrls AND w.why <> '' AND cardinality($1) > 0
   AND (has_database_privilege(r.oid, current_database(), 'CONNECT'))
 ORDER BY 1"#;

const GRANTS: &str = r#"
SELECT c.oid::regclass::text,
       format('%s may use %s on it', CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
              string_agg(DISTINCT a.privilege_type, ', ')),
       min(array_to_string(c.relacl, ', ')),
       format('REVOKE %s ON %s FROM %s', string_agg(DISTINCT a.privilege_type, ', '), c.oid::regclass,
              CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END)
  FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a
 WHERE c.oid = ANY ($1) AND a.privilege_type IN ('TRUNCATE', 'REFERENCES', 'TRIGGER') AND a.grantee <> c.relowner
   AND (a.grantee = 0 OR EXISTS (SELECT FROM unnest($4) r WHERE r <> 0 AND pg_has_role(r, a.grantee, 'MEMBER')
                                                            AND NOT (SELECT x.rolsuper FROM pg_roles x WHERE x.oid = r)))
 GROUP BY c.oid, a.grantee
 ORDER BY 1, 2"#;
