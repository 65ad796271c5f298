//! Ways in and out that policies do not see: foreign tables, large objects, publications, COPY.

use super::rule::{Ground, Look, Rule};
use crate::{hazards::Severity, sql, sql::Stmt};

pub(super) const KINDS: &[Rule] = &[
    Rule {
        code: "TM0532",
        severity: Severity::High,
        title: "a foreign table that the application may use",
        why: "a foreign table takes no row-level security: whoever may read it reads every tenant's rows",
        fix: "take it from the application's roles, and protect the rows on the server where they are",
        look: Look::Text(FOREIGN),
    },
    Rule {
        code: "TM0540",
        severity: Severity::High,
        title: "large objects that the application may read",
        why: "large objects have no row-level security: whoever may read one by its number reads it, whose tenant's ever it is",
        fix: "keep them as bytea in a table with policies",
        look: Look::Text(LARGE_OBJECTS),
    },
    Rule {
        code: "TM0541",
        severity: Severity::High,
        title: "a publication passes over policies, or a subscription is stopped by them",
        why: "publications ignore row-level security: a subscriber gets every tenant's rows; and a subscription whose owner policies \
              bind cannot write its tables",
        fix: "a row filter (15 and later), or a waiver that says who may have every tenant's rows; a subscription's owner needs BYPASSRLS",
        look: Look::Built(published),
    },
    Rule {
        code: "TM0543",
        severity: Severity::Break,
        title: "COPY FROM into a table with row-level security",
        why: "COPY FROM raises an error there for every role that policies bind",
        fix: "write with INSERT, or let a role with BYPASSRLS load",
        look: Look::AsHazard("TM0426"),
    },
];

const FOREIGN: &str = r#"
SELECT c.oid::regclass::text, 'is a foreign table on server ' || quote_ident(s.srvname), 'open to ' || users.names,
       'REVOKE ALL ON ' || c.oid::regclass || ' FROM ' || granted.names
  FROM pg_class c JOIN pg_foreign_table f ON f.ftrelid = c.oid JOIN pg_foreign_server s ON s.oid = f.ftserver
  CROSS JOIN LATERAL (
       SELECT string_agg(CASE WHEN r = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(r)) END, ', ') AS names
         FROM unnest($4) r WHERE (has_any_column_privilege(r, c.oid, 'SELECT, INSERT, UPDATE') OR has_table_privilege(r, c.oid, 'DELETE'))) users
  CROSS JOIN LATERAL (
       SELECT string_agg(DISTINCT CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END, ', ') AS names
         FROM aclexplode(c.relacl) x WHERE x.grantee <> c.relowner) granted
 WHERE c.oid IN (SELECT unnest($1)) AND users.names IS NOT NULL
 ORDER BY 1"#;

/// The database's owner takes them, which keeps what they hold.
const LARGE_OBJECTS: &str = r#"
SELECT 'large objects of ' || quote_ident(pg_get_userbyid(m.lomowner)), format('%s of them, open to %s', count(DISTINCT m.oid), string_agg(DISTINCT u.name, ', ')),
       'among them ' || min(m.oid::bigint),
       format('DO $$ DECLARE lo oid; BEGIN FOR lo IN SELECT oid FROM pg_largeobject_metadata WHERE lomowner = %s LOOP '
              || 'EXECUTE format(''REVOKE ALL ON LARGE OBJECT %%s FROM PUBLIC, %s'', lo); EXECUTE format(''ALTER LARGE OBJECT %%s OWNER TO %I'', lo); END LOOP; END $$',
              m.lomowner, string_agg(DISTINCT u.quoted, ', '), pg_get_userbyid(d.datdba))
  FROM pg_largeobject_metadata m
  JOIN pg_database d ON d.datname = current_database()
  CROSS JOIN LATERAL (
       SELECT quote_ident(pg_get_userbyid(m.lomowner)) AS name, quote_ident(pg_get_userbyid(m.lomowner)) AS quoted WHERE m.lomowner = ANY ($4)
       UNION
       SELECT CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END,
              CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END
         FROM aclexplode(m.lomacl) x WHERE x.grantee <> m.lomowner
          AND (x.grantee = 0 OR EXISTS (SELECT FROM unnest($4) r WHERE r <> 0 AND pg_has_role(r, x.grantee, 'USAGE')))) u
 GROUP BY m.lomowner, d.datdba
 ORDER BY 1"#;

/// Row filters are known from 15 on. Who may read a subscription's connection string is none of this; its owner everybody may.
fn published(ground: &Ground) -> Stmt {
    let unfiltered = if ground.server.version_num >= 150_000 { "l.rowfilter IS NULL" } else { "true" };
    sql!(
        r#"
SELECT 'publication ' || quote_ident(l.pubname),
       format('sends every tenant''s rows of %s table%s', count(*), CASE WHEN count(*) = 1 THEN '' ELSE 's' END),
       array_to_string((array_agg(c.oid::regclass::text ORDER BY c.oid::regclass::text))[1:5], ', ') || CASE WHEN count(*) > 5 THEN ', …' ELSE '' END,
       CASE WHEN p.puballtables OR count(*) FILTER (WHERE r.prrelid IS NULL) > 0 THEN format('DROP PUBLICATION %I', l.pubname)
            ELSE format('ALTER PUBLICATION %I DROP TABLE %s', l.pubname, string_agg(c.oid::regclass::text, ', ')) END
  FROM pg_publication_tables l JOIN pg_publication p ON p.pubname = l.pubname JOIN pg_namespace n ON n.nspname = l.schemaname
  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = l.tablename
  LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = c.oid
 WHERE c.oid IN (SELECT unnest($1)) AND {}
 GROUP BY l.pubname, p.puballtables
UNION ALL
SELECT 'subscription ' || quote_ident(s.subname), format('writes as %I, whom policies bind', r.rolname), NULL,
       format('ALTER ROLE %I BYPASSRLS', r.rolname)
  FROM pg_subscription s JOIN pg_roles r ON r.oid = s.subowner JOIN pg_database d ON d.oid = s.subdbid
 WHERE d.datname = current_database() AND NOT r.rolsuper AND NOT r.rolbypassrls AND NOT r.oid = ANY ($4) AND cardinality($1) > 0
 ORDER BY 1"#,
        Stmt::raw(unfiltered)
    )
}
