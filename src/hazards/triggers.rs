//! Triggers of the application that a migration sets off.

use super::kind::{Kind, Needs, Query, Severity};

pub(super) const KINDS: &[Kind] = &[
    Kind {
        code: "TM0401",
        severity: Severity::Break,
        title: "a trigger fires on a backfill",
        why: "a backfill is an UPDATE of every row: the trigger runs for each of them, so times of change are lost, \
              queues and audit tables fill, and notifications go out",
        fix: "let it pass over rows of which only the tenant column changes: WHEN (to_jsonb(OLD) - 'tenant_id' IS DISTINCT \
              FROM to_jsonb(NEW) - 'tenant_id') once the column is there",
        needs: Needs::Catalog,
        query: Query::Text(ON_BACKFILL),
    },
    Kind {
        code: "TM0402",
        severity: Severity::Break,
        title: "a trigger fires on a quarantine",
        why: "rows without a tenant are moved to a table beside, which is a DELETE here: the trigger takes it for a deletion",
        fix: "let it pass over rows without a tenant, or mend those rows before the plan is applied",
        needs: Needs::Catalog,
        query: Query::Text(ON_QUARANTINE),
    },
];

/// A trigger UPDATE OF other columns stays silent. tgtype: 1 row, 2 before, 4 insert, 8 delete, 16 update. One that fires on
/// replicas only (R) does not fire here, a disabled one (D) nowhere. One that does nothing but set columns which the plan keeps
/// is dealt with.
const ON_BACKFILL: &str = r#"
SELECT c.oid::regclass || '.' || quote_ident(g.tgname),
       format('fires %s UPDATE, %s, and calls %s%s', CASE WHEN g.tgtype & 2 > 0 THEN 'before' ELSE 'after' END,
              CASE WHEN g.tgtype & 1 > 0 THEN 'for each row that a backfill writes' ELSE 'once for each batch of a backfill' END,
              g.tgfoid::regprocedure,
              ', which overwrites ' || substring(p.prosrc FROM '(?i)\mnew\.("?\w*(?:updated|modified|changed|touched)\w*"?)\s*:?=')),
       pg_get_triggerdef(g.oid), NULL::text
  FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid JOIN pg_proc p ON p.oid = g.tgfoid
 WHERE c.oid = ANY ($2) AND NOT g.tgisinternal AND g.tgenabled IN ('O', 'A') AND g.tgtype & 16 > 0 AND g.tgtype & 64 = 0
   AND g.tgname NOT LIKE 'tenantmig%'
   AND (cardinality(g.tgattr::int2[]) = 0
        OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = $6 AND a.attnum = ANY (g.tgattr::int2[])))
   AND NOT (g.tgtype & 3 = 3 AND p.prosrc !~* '\m(insert|update|delete|merge|perform|select|execute|call|notify|copy)\M'
            AND coalesce((SELECT bool_and(EXISTS (
                      SELECT FROM jsonb_array_elements($12) d
                       WHERE d ->> 'what' = 'kept' AND to_regclass(d ->> 'table')::oid = c.oid AND d -> 'columns' ? m.part[1]))
                    FROM regexp_matches(p.prosrc, '(?i)\mnew\."?(\w+)"?\s*:?=', 'g') m (part)), false))
 ORDER BY 1"#;

const ON_QUARANTINE: &str = r#"
SELECT c.oid::regclass || '.' || quote_ident(g.tgname),
       format('fires %s DELETE, %s, and calls %s', CASE WHEN g.tgtype & 2 > 0 THEN 'before' ELSE 'after' END,
              CASE WHEN g.tgtype & 1 > 0 THEN 'for each row that is moved' ELSE 'once for each batch that is moved' END,
              g.tgfoid::regprocedure),
       pg_get_triggerdef(g.oid), NULL::text
  FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid
 WHERE c.oid = ANY ($3) AND NOT g.tgisinternal AND g.tgenabled IN ('O', 'A') AND g.tgtype & 8 > 0 AND g.tgtype & 64 = 0
   AND g.tgname NOT LIKE 'tenantmig%'
 ORDER BY 1"#;
