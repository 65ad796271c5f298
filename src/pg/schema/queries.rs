//! The queries. Each takes the tables' OIDs and so returns as many rows as there is to tell of them.

/// Tables, views and foreign tables in the schemas of $2 (all where it is empty) but those of $1, without what belongs to an
/// extension. The size is asked of the file only where there is no estimate: that takes a lock.
pub(super) const RELATIONS: &str = "
SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text, r.rolname::text, c.reltuples::bigint,
       CASE WHEN c.relkind <> 'r' THEN 0 WHEN c.reltuples > 0 THEN c.relpages::bigint * current_setting('block_size')::bigint
            ELSE pg_relation_size(c.oid) END,
       c.relrowsecurity, c.relforcerowsecurity,
       coalesce(c.reloptions && ARRAY['security_invoker=true', 'security_invoker=on', 'security_invoker=1'], false),
       ARRAY(SELECT i.inhparent FROM pg_inherits i WHERE i.inhrelid = c.oid ORDER BY i.inhseqno)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_roles r ON r.oid = c.relowner
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't'
   AND n.nspname <> ALL ($1) AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'
   AND (cardinality($2) = 0 OR n.nspname = ANY ($2))
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
 ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\"";

pub(super) const COLUMNS: &str = "
SELECT a.attrelid, a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull OR t.typnotnull,
       CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END, a.attgenerated <> '', a.attidentity <> ''
  FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE a.attrelid = ANY ($1) AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attrelid, a.attnum";

/// A key that is an expression is NULL.
pub(super) const INDEXES: &str = "
SELECT i.indrelid, c.relname::text, am.amname::text,
       ARRAY(SELECT a.attname::text FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) WITH ORDINALITY k(n, at)
               LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.n AND k.n > 0 ORDER BY k.at),
       i.indisunique, i.indisprimary, i.indpred IS NOT NULL,
       EXISTS (SELECT FROM pg_constraint o WHERE o.conindid = i.indexrelid AND o.contype IN ('p', 'u', 'x')),
       NOT i.indimmediate,
       EXISTS (SELECT FROM pg_constraint o WHERE o.conindid = i.indexrelid AND o.contype = 'f')
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am am ON am.oid = c.relam
 WHERE i.indrelid = ANY ($1) AND i.indisvalid
 ORDER BY i.indrelid, c.relname COLLATE \"C\"";

/// Foreign keys as they were written: those that partitioning derived from them have a parent. The last column says why
/// `composite_foreign_key` would refuse one, as far as its actions say.
pub(super) const REFERENCES: &str = "
SELECT o.conrelid, o.conname::text,
       ARRAY(SELECT a.attname::text FROM unnest(o.conkey) WITH ORDINALITY k(n, at)
               JOIN pg_attribute a ON a.attrelid = o.conrelid AND a.attnum = k.n ORDER BY k.at),
       n.nspname::text, c.relname::text,
       ARRAY(SELECT a.attname::text FROM unnest(o.confkey) WITH ORDINALITY k(n, at)
               JOIN pg_attribute a ON a.attrelid = o.confrelid AND a.attnum = k.n ORDER BY k.at),
       o.convalidated,
       CASE WHEN o.confupdtype IN ('n', 'd') THEN 'its ON UPDATE would clear the tenant too'
            WHEN o.confdeltype IN ('n', 'd') AND current_setting('server_version_num')::int < 150000
            THEN 'its ON DELETE would clear the tenant too before PostgreSQL 15'
            WHEN o.confmatchtype = 'f' AND cardinality(o.conkey) > 1 THEN 'it is MATCH FULL'
            WHEN EXISTS (SELECT FROM pg_trigger g WHERE g.tgconstraint = o.oid AND g.tgenabled <> 'O') THEN 'its triggers are switched off' END
  FROM pg_constraint o JOIN pg_class c ON c.oid = o.confrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE o.conrelid = ANY ($1) AND o.contype = 'f' AND o.conparentid = 0
 ORDER BY o.conrelid, o.conname COLLATE \"C\"";

pub(super) const POLICIES: &str = "
SELECT p.polrelid, p.polname::text FROM pg_policy p WHERE p.polrelid = ANY ($1) ORDER BY p.polrelid, p.polname COLLATE \"C\"";

/// Who owns or may use the tables, or is connected now; sessions of this program do not count.
pub(super) const ROLES: &str = "
WITH t AS (SELECT c.oid, c.relowner, c.relacl FROM pg_class c WHERE c.oid = ANY ($1)),
     g AS (SELECT a.grantee, bool_or(a.privilege_type = 'SELECT') AS reads,
                  bool_or(a.privilege_type IN ('INSERT', 'UPDATE', 'DELETE')) AS writes
             FROM t CROSS JOIN LATERAL aclexplode(t.relacl) a WHERE a.grantee NOT IN (0, t.relowner) GROUP BY a.grantee, t.oid),
     s AS (SELECT r.rolname::text AS name, r.rolsuper OR r.rolbypassrls AS exempt, r.rolcanlogin AS login,
                  (SELECT count(*) FROM t WHERE t.relowner = r.oid) AS owns,
                  (SELECT count(*) FROM g WHERE g.grantee = r.oid AND g.reads) AS reads,
                  (SELECT count(*) FROM g WHERE g.grantee = r.oid AND g.writes) AS writes,
                  (SELECT count(*) FROM pg_stat_activity a WHERE a.usesysid = r.oid AND a.datname = current_database()
                      AND a.backend_type = 'client backend' AND a.application_name NOT LIKE 'tenantmig%') AS sessions
             FROM pg_roles r WHERE r.rolname !~ '^pg_')
SELECT name, exempt, login, owns, reads, writes, sessions FROM s
 WHERE owns + reads + writes + sessions > 0 ORDER BY name COLLATE \"C\"";
