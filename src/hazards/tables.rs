//! Tables, partitions, columns and objects that a plan may pass by.

use super::kind::{Kind, Needs, Query, Severity};

pub(super) const KINDS: &[Kind] = &[
    Kind {
        code: "TM0429",
        severity: Severity::High,
        title: "a partition or child that can be named past its parent's policies",
        why: "a query that names a partition or an inheriting table is judged by that table's own row-level security and grants, \
              not by the parent's",
        fix: "protect it as well (enforce_rls does), and take the direct grants away; the same for each new one",
        needs: Needs::Catalog,
        query: Query::Text(CHILDREN),
    },
    Kind {
        code: "TM0430",
        severity: Severity::Break,
        title: "the tenant column is there, with another type",
        why: "neither the backfill nor a policy can compare it with the tenant",
        fix: "rename it, or give [tenancy] another column",
        needs: Needs::Catalog,
        query: Query::Text(OTHER_TYPE),
    },
    Kind {
        code: "TM0431",
        severity: Severity::Critical,
        title: "a table that the plan does not know",
        why: "it lies among the plan's tables, and nobody has said whether its rows belong to tenants: as it is, every tenant \
              that may read it reads all of them",
        fix: "give it a [[table]], or a [[shared]] with the reason",
        needs: Needs::Catalog,
        query: Query::Text(UNKNOWN),
    },
    Kind {
        code: "TM0432",
        severity: Severity::Medium,
        title: "a table that is not permanent",
        why: "an unlogged table is empty after a crash and is not on replicas; a temporary one hides the table of the same name \
              from its session",
        fix: "ALTER TABLE … SET LOGGED rewrites it; or leave it out of the plan",
        needs: Needs::Catalog,
        query: Query::Text(PASSING),
    },
    Kind {
        code: "TM0433",
        severity: Severity::High,
        title: "large objects",
        why: "large objects have no row-level security: whoever may read one by its number reads it, whose tenant's ever it is",
        fix: "keep them as bytea in a table with policies",
        needs: Needs::Catalog,
        query: Query::Text(LARGE_OBJECTS),
    },
    Kind {
        code: "TM0434",
        severity: Severity::Medium,
        title: "an event trigger",
        why: "it runs with each DDL of the migration, in its transaction: what it refuses fails the step, what it waits for \
              lengthens the lock",
        fix: "read what it does before the plan is applied",
        needs: Needs::Catalog,
        query: Query::Text(EVENT_TRIGGERS),
    },
];

/// Where nothing is granted on it by itself, nobody but its owner can name it; where a step protects the whole family, it has
/// the policies of its parent.
const CHILDREN: &str = r#"
WITH RECURSIVE safe AS (
    SELECT to_regclass(d ->> 'table')::oid AS oid FROM jsonb_array_elements($12) d WHERE d ->> 'what' = 'family'
    UNION SELECT i.inhrelid FROM safe s JOIN pg_inherits i ON i.inhparent = s.oid)
SELECT c.oid::regclass::text,
       format('is a %s of %s%s', CASE WHEN c.relispartition THEN 'partition' ELSE 'child' END, i.inhparent::regclass,
              CASE WHEN p.relrowsecurity AND NOT c.relrowsecurity THEN ', which has row-level security, and has none itself'
                   ELSE ', and has no row-level security' END),
       coalesce('granted by itself to ' || g.names, 'nothing is granted on it by itself'),
       CASE WHEN g.names IS NOT NULL THEN format('REVOKE ALL ON %s FROM %s', c.oid::regclass, g.names)
            ELSE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', c.oid::regclass) END
  FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid AND c.relkind IN ('r', 'p') JOIN pg_class p ON p.oid = i.inhparent
  LEFT JOIN LATERAL (
       SELECT string_agg(DISTINCT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END, ', ') AS names
         FROM aclexplode(c.relacl) a WHERE a.grantee <> c.relowner) g ON true
 WHERE c.oid = ANY ($1) AND NOT c.relrowsecurity AND (p.relrowsecurity OR g.names IS NOT NULL)
   AND c.oid NOT IN (SELECT s.oid FROM safe s WHERE s.oid IS NOT NULL)
 ORDER BY 1"#;

const OTHER_TYPE: &str = r#"
SELECT c.oid::regclass || '.' || quote_ident(a.attname),
       format('is %s, and the tenant is %s', format_type(a.atttypid, a.atttypmod), $7),
       NULL::text, NULL::text
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
 WHERE c.oid = ANY ($1) AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attname = $6 AND NOT a.attisdropped
   AND format_type(a.atttypid, NULL) <> $7
 ORDER BY 1"#;

/// Of the schemas in which the plan's tables lie. Extensions bring their own; what tenantmig makes carries its name.
const UNKNOWN: &str = r#"
WITH RECURSIVE known AS (
    SELECT unnest($1 || $5) AS oid UNION SELECT i.inhparent FROM known k JOIN pg_inherits i ON i.inhrelid = k.oid)
SELECT c.oid::regclass::text,
       'is neither in a [[table]] nor in a [[shared]], and no step touches it',
       coalesce('references ' || (SELECT string_agg(DISTINCT f.confrelid::regclass::text, ', ') FROM pg_constraint f
                                   WHERE f.conrelid = c.oid AND f.contype = 'f' AND f.confrelid = ANY ($1 || $5)),
                CASE WHEN EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = $6 AND NOT a.attisdropped)
                     THEN 'has the tenant column' END),
       NULL::text
  FROM pg_class c
 WHERE c.relkind IN ('r', 'p', 'f') AND c.relpersistence <> 't'
   AND c.relnamespace IN (SELECT t.relnamespace FROM pg_class t WHERE t.oid = ANY ($1))
   AND c.oid NOT IN (SELECT k.oid FROM known k) AND c.relname NOT LIKE 'tenantmig%' AND c.relname !~ '_quarantined(_late)?$'
   AND NOT c.relispartition
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
 ORDER BY 1"#;

const PASSING: &str = r#"
SELECT c.oid::regclass::text, 'is unlogged', NULL::text, format('ALTER TABLE %s SET LOGGED', c.oid::regclass)
  FROM pg_class c WHERE c.oid = ANY ($1) AND c.relkind = 'r' AND c.relpersistence = 'u'
UNION ALL
SELECT c.oid::regclass::text, 'is hidden from a session by a temporary table of its name',
       'in ' || string_agg(n.nspname, ', '), NULL::text
  FROM pg_class c JOIN pg_class t ON t.relname = c.relname AND t.relpersistence = 't' AND t.relkind = 'r' JOIN pg_namespace n ON n.oid = t.relnamespace
 WHERE c.oid = ANY ($1)
 GROUP BY c.oid
 ORDER BY 1"#;

const LARGE_OBJECTS: &str = r#"
SELECT 'large objects', format('%s of them stand in this database', count(*)),
       coalesce('pointed at by ' || (
           SELECT string_agg(c.oid::regclass || '.' || quote_ident(a.attname), ', ')
             FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
            WHERE c.oid = ANY ($1) AND a.atttypid IN ('oid'::regtype) AND a.attnum > 0 AND NOT a.attisdropped),
           'no column of the tables has their type'),
       NULL::text
  FROM pg_largeobject_metadata
 WHERE cardinality($1) > 0
HAVING count(*) > 0"#;

const EVENT_TRIGGERS: &str = r#"
SELECT 'event trigger ' || quote_ident(e.evtname), format('runs on %s and calls %s', e.evtevent, e.evtfoid::regprocedure),
       'tags ' || array_to_string(e.evttags, ', '), NULL::text
  FROM pg_event_trigger e
 WHERE e.evtenabled IN ('O', 'A') AND cardinality($1) > 0
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_event_trigger'::regclass AND d.objid = e.oid AND d.deptype = 'e')
 ORDER BY 1"#;
