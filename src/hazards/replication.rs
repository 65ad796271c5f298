//! What leaves the database or comes into it: foreign tables, publications, subscriptions, logical slots.

use super::kind::{Kind, Needs, Query, Server, Severity};
use crate::{sql, sql::Stmt};

pub(super) const KINDS: &[Kind] = &[
    Kind {
        code: "TM0406",
        severity: Severity::High,
        title: "a foreign table",
        why: "a foreign table takes no row-level security, neither by itself nor as a partition: whoever may read it reads every \
              tenant's rows, and a backfill writes through it to another server without its transaction",
        fix: "take it from the application's roles, and protect the rows on the server where they are",
        needs: Needs::Catalog,
        query: Query::Text(FOREIGN),
    },
    Kind {
        code: "TM0407",
        severity: Severity::Break,
        title: "a published table without a replica identity",
        why: "the server refuses every UPDATE and DELETE of it (55000), a backfill's too",
        fix: "give it a primary key, or REPLICA IDENTITY FULL",
        needs: Needs::Catalog,
        query: Query::Text(UNIDENTIFIED),
    },
    Kind {
        code: "TM0408",
        severity: Severity::High,
        title: "a publication passes over policies",
        why: "publications ignore row-level security: a subscriber gets every tenant's rows, and each row that a backfill writes \
              once more",
        fix: "give the publication a row filter (15 and later), or let only roles that may see every tenant have the subscriber",
        needs: Needs::Catalog,
        query: Query::Built(published),
    },
    Kind {
        code: "TM0409",
        severity: Severity::Break,
        title: "a subscription writes a table",
        why: "its worker applies changes as its owner: without BYPASSRLS it cannot write a table with row-level security, and rows \
              that come without a tenant are refused once the column is NOT NULL",
        fix: "let a role with BYPASSRLS own the subscription, and the publisher send the tenant column",
        needs: Needs::Catalog,
        query: Query::Text(SUBSCRIBED),
    },
    Kind {
        code: "TM0410",
        severity: Severity::Medium,
        title: "a logical replication slot",
        why: "a backfill's changes wait in the WAL until the slot's reader has taken them: one that is behind or gone fills the disk",
        fix: "see that its reader keeps up, watch it with [throttle] max_slot_retained, and drop a slot that nobody reads",
        needs: Needs::Catalog,
        query: Query::Text(SLOTS),
    },
];

const FOREIGN: &str = r#"
SELECT c.oid::regclass::text,
       CASE WHEN c.relispartition THEN 'is a foreign partition of ' || (SELECT i.inhparent::regclass::text FROM pg_inherits i WHERE i.inhrelid = c.oid)
            ELSE 'is a foreign table' END || ' on server ' || quote_ident(s.srvname),
       coalesce('may be read by ' || a.names, 'no role but its owner has been granted anything on it'),
       'REVOKE ALL ON ' || c.oid::regclass || ' FROM ' || a.names
  FROM pg_class c JOIN pg_foreign_table f ON f.ftrelid = c.oid JOIN pg_foreign_server s ON s.oid = f.ftserver
  LEFT JOIN LATERAL (
       SELECT string_agg(DISTINCT CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END, ', ') AS names
         FROM aclexplode(c.relacl) x WHERE x.grantee <> c.relowner) a ON true
 WHERE c.oid = ANY ($1 || $5)
 ORDER BY 1"#;

/// A partition is published by its ancestors as well.
const UNIDENTIFIED: &str = r#"
WITH RECURSIVE above AS (
    SELECT c.oid AS heap, c.oid AS at FROM pg_class c WHERE c.oid = ANY ($1) AND c.relkind = 'r'
    UNION
    SELECT a.heap, i.inhparent FROM above a JOIN pg_class c ON c.oid = a.at AND c.relispartition JOIN pg_inherits i ON i.inhrelid = a.at)
SELECT c.oid::regclass::text,
       'is published with updates and has no replica identity: UPDATE fails',
       'publication ' || string_agg(DISTINCT quote_ident(p.pubname), ', '),
       format('ALTER TABLE %s REPLICA IDENTITY FULL', c.oid::regclass)
  FROM above a JOIN pg_class t ON t.oid = a.at JOIN pg_namespace n ON n.oid = t.relnamespace
  JOIN pg_publication_tables l ON (l.schemaname, l.tablename) = (n.nspname, t.relname)
  JOIN pg_publication p ON p.pubname = l.pubname AND (p.pubupdate OR p.pubdelete)
  JOIN pg_class c ON c.oid = a.heap
 WHERE c.relreplident = 'n'
    OR c.relreplident = 'd' AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)
 GROUP BY c.oid
 ORDER BY 1"#;

/// Row filters are known from 15 on.
fn published(server: &Server) -> Stmt {
    let filter = if server.version_num >= 150_000 { "l.rowfilter" } else { "NULL::text" };
    sql!(
        r#"
SELECT 'publication ' || quote_ident(l.pubname),
       format('sends %s table%s of the plan%s', count(*), CASE WHEN count(*) = 1 THEN '' ELSE 's' END,
              CASE WHEN count({0}) = 0 THEN ' without a row filter'
                   ELSE format(', %s of them through a row filter', count({0})) END),
       CASE WHEN count(*) > 5 THEN count(*) || ' tables, among them ' ELSE '' END
       || array_to_string((array_agg(c.oid::regclass || coalesce(' WHERE ' || {0}, '') ORDER BY c.oid::regclass::text))[1:5], ', '),
       NULL::text
  FROM pg_publication_tables l JOIN pg_namespace n ON n.nspname = l.schemaname
  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = l.tablename
 WHERE c.oid = ANY ($1)
 GROUP BY l.pubname
 ORDER BY 1"#,
        Stmt::raw(filter)
    )
}

const SUBSCRIBED: &str = r#"
SELECT c.oid::regclass::text, 'is written by a subscription', 'state ' || string_agg(s.srsubstate::text, ', '), NULL::text
  FROM pg_subscription_rel s JOIN pg_class c ON c.oid = s.srrelid
 WHERE c.oid = ANY ($1)
 GROUP BY c.oid
 ORDER BY 1"#;

const SLOTS: &str = r#"
SELECT 'slot ' || quote_ident(s.slot_name),
       CASE WHEN s.active THEN 'decodes every change of this database' ELSE 'has no reader, and keeps the WAL since its last one' END,
       format('plugin %s, %s kept', s.plugin,
              pg_size_pretty(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
                                             s.restart_lsn))),
       CASE WHEN NOT s.active THEN format('SELECT pg_drop_replication_slot(%L)', s.slot_name) END
  FROM pg_replication_slots s
 WHERE s.slot_type = 'logical' AND s.database = current_database() AND NOT s.temporary AND cardinality($1) > 0
 ORDER BY 1"#;
