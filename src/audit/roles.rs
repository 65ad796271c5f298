//! Roles whom policies do not bind or who may become such a one, what they are granted, and settings that give them a tenant.

use super::rule::{Look, Rule};
use crate::hazards::Severity;

pub(super) const KINDS: &[Rule] = &[
    Rule {
        code: "TM0505",
        severity: Severity::Critical,
        title: "the application's role passes over policies",
        why: "no policy binds a superuser or a role with BYPASSRLS: every tenant's rows are shown",
        fix: "let the application log in as a role of its own",
        look: Look::Text(BYPASSES),
    },
    Rule {
        code: "TM0506",
        severity: Severity::High,
        title: "the application may become a role that passes over policies",
        why: "BYPASSRLS is not inherited, but SET ROLE takes it: whoever can run SQL as the application can do that",
        fix: "take the membership away",
        look: Look::AsHazard("TM0422"),
    },
    Rule {
        code: "TM0507",
        severity: Severity::Critical,
        title: "the application is a member of a table's owner",
        why: "a member has its owner's rights: it sees all rows of a table without FORCE, and can switch row-level security off \
              where there is FORCE",
        fix: "take the membership away",
        look: Look::AsHazard("TM0423"),
    },
    Rule {
        code: "TM0522",
        severity: Severity::Critical,
        title: "a setting gives sessions a tenant, or takes their errors",
        why: "sessions of a role or database for which the tenant is set are that tenant's without asking, and so is what runs in a \
              function with that setting",
        fix: "reset it",
        look: Look::AsHazard("TM0437"),
    },
    Rule {
        code: "TM0533",
        severity: Severity::Critical,
        title: "a grant that no policy restrains",
        why: "TRUNCATE empties the table for every tenant; REFERENCES lets a foreign key tell which keys exist; TRIGGER lets a \
              function of the grantee's see each row that others write",
        fix: "take the grant away",
        look: Look::AsHazard("TM0425"),
    },
    Rule {
        code: "TM0539",
        severity: Severity::Medium,
        title: "the application sees other sessions' statements",
        why: "pg_stat_activity shows the statements of other roles, with the values in them, to members of pg_read_all_stats; those \
              of one's own role everybody sees, so values belong into parameters",
        fix: "take the membership away",
        look: Look::Text(STATEMENTS),
    },
    Rule {
        code: "TM0542",
        severity: Severity::Critical,
        title: "a backup role that policies bind",
        why: "pg_dump fails on a table with row-level security (42501), and with --enable-row-security it writes a backup without \
              rows and reports success",
        fix: "give the role that backs up BYPASSRLS",
        look: Look::AsHazard("TM0424"),
    },
];

const BYPASSES: &str = r#"
SELECT 'role ' || quote_ident(r.rolname), CASE WHEN r.rolsuper THEN 'is a superuser' ELSE 'has BYPASSRLS' END, NULL::text,
       format('ALTER ROLE %I NOSUPERUSER NOBYPASSRLS', r.rolname)
  FROM pg_roles r
 WHERE r.oid = ANY ($4) AND (r.rolsuper OR r.rolbypassrls)
 ORDER BY 1"#;

/// The membership that leads there is the one to take away, however long the chain behind it.
const STATEMENTS: &str = r#"
SELECT DISTINCT 'role ' || quote_ident(r.rolname), 'may read the statements of every session, by ' || quote_ident(g.rolname), NULL::text,
       format('REVOKE %I FROM %I', g.rolname, r.rolname)
  FROM pg_roles r JOIN pg_auth_members m ON m.member = r.oid JOIN pg_roles g ON g.oid = m.roleid
 WHERE r.oid = ANY ($4) AND NOT r.rolsuper AND pg_has_role(g.oid, 'pg_read_all_stats', 'MEMBER')
 ORDER BY 1, 2"#;
