//! Keys and constraints that do not know of tenants.

use super::kind::{Kind, Needs, Query, Severity};

pub(super) const KINDS: &[Kind] = &[
    Kind {
        code: "TM0411",
        severity: Severity::High,
        title: "a unique key over all tenants",
        why: "one tenant's value keeps every other from using it, and the refusal tells that it exists; ON CONFLICT DO NOTHING \
              loses the write, DO UPDATE raises 42501 on a row of another tenant",
        fix: "make it unique within the tenant: a step scope_unique",
        needs: Needs::Catalog,
        query: Query::Text(UNIQUE),
    },
    Kind {
        code: "TM0412",
        severity: Severity::High,
        title: "a foreign key acts across tenants",
        why: "foreign keys pass over row-level security: a child may point at another tenant's parent, and when that is deleted or \
              its key changed, the other tenant's rows go or change with it",
        fix: "let the key carry the tenant: a step composite_foreign_key, (tenant, id) references (tenant, id)",
        needs: Needs::Catalog,
        query: Query::Text(CASCADES),
    },
    Kind {
        code: "TM0413",
        severity: Severity::Slow,
        title: "no index on the way to the tenant",
        why: "when a parent's tenant changes its children follow, and are looked for by these columns; so does the server when a \
              parent is deleted: without an index each is a scan of the table",
        fix: "make the index first",
        needs: Needs::Catalog,
        query: Query::Text(UNINDEXED),
    },
    Kind {
        code: "TM0414",
        severity: Severity::Medium,
        title: "a constraint that was never validated",
        why: "rows of before need not fulfil it, so a way to the tenant that leads over it may end at no parent",
        fix: "validate it, or mend the rows that break it, before the backfill",
        needs: Needs::Catalog,
        query: Query::Text(NOT_VALID),
    },
    Kind {
        code: "TM0415",
        severity: Severity::Medium,
        title: "a deferrable constraint",
        why: "what it refuses is refused at COMMIT: a batch that seems done fails as a whole; a deferrable unique key serves no \
              ON CONFLICT, and a new key beside it must be deferrable too where the application defers it",
        fix: "make its successor deferrable as well, or see that nobody defers it",
        needs: Needs::Catalog,
        query: Query::Text(DEFERRABLE),
    },
    Kind {
        code: "TM0416",
        severity: Severity::Medium,
        title: "a table without a primary key",
        why: "its rows can neither be found again one by one (values that a rollback keeps, orphans in quarantine) nor be \
              replicated without REPLICA IDENTITY FULL",
        fix: "give it a primary key",
        needs: Needs::Catalog,
        query: Query::Text(KEYLESS),
    },
];

/// Left out is what belongs to one tenant by itself or says nothing of it: keys with the tenant column; surrogates (a primary key
/// that holds a number or a uuid; another one all of uuid, identity, a sequence's or a random default); keys that hold a reference
/// to another table of the plan, whose row is one tenant's; what a step scope_unique takes. Partitions have theirs from the parent.
const UNIQUE: &str = r#"
SELECT c.oid::regclass || ' (' || k.columns || ')',
       CASE WHEN i.indisprimary THEN 'its primary key' ELSE 'unique' END || ' over all tenants' ||
       CASE WHEN i.indpred IS NOT NULL THEN ', for a part of the rows' ELSE '' END,
       pg_get_indexdef(i.indexrelid), NULL::text
  FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
  CROSS JOIN LATERAL (
       SELECT string_agg(coalesce(quote_ident(a.attname), pg_get_indexdef(i.indexrelid, x.place::int, true)), ', ' ORDER BY x.place) AS columns,
              coalesce(bool_or(a.attname = $6), false) AS scoped,
              coalesce(bool_or(a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'uuid'::regtype)), false) AS numbered,
              bool_and(coalesce(a.atttypid = 'uuid'::regtype OR a.attidentity <> '' OR pg_get_expr(d.adbin, d.adrelid) ~* 'nextval\(|random|uuid', false)) AS surrogate,
              coalesce(bool_or(EXISTS (SELECT FROM pg_constraint f WHERE f.conrelid = c.oid AND f.contype = 'f' AND a.attnum = ANY (f.conkey)
                                          AND f.confrelid = ANY ($1))), false) AS owned
         FROM unnest(i.indkey::int2[]) WITH ORDINALITY x (attnum, place)
         LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = x.attnum AND x.attnum > 0
         LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE x.place <= i.indnkeyatts) k
 WHERE c.oid = ANY ($1) AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND i.indisunique AND i.indislive
   AND NOT k.scoped AND NOT k.surrogate AND NOT k.owned AND NOT (i.indisprimary AND k.numbered)
   AND NOT EXISTS (SELECT FROM jsonb_array_elements($12) d
                    WHERE d ->> 'what' = 'unique_key' AND to_regclass(d ->> 'table')::oid = c.oid AND NOT i.indisprimary
                      AND CASE WHEN d ->> 'name' IS NOT NULL THEN (SELECT n.relname FROM pg_class n WHERE n.oid = i.indexrelid) = d ->> 'name'
                               ELSE k.columns = (SELECT string_agg(quote_ident(e.name), ', ' ORDER BY e.n) FROM jsonb_array_elements_text(d -> 'columns') WITH ORDINALITY e (name, n)) END)
 ORDER BY i.indisprimary, 1"#;

/// Only those that change rows by themselves; one whose two sides carry the tenant cannot leave it.
const CASCADES: &str = r#"
SELECT c.oid::regclass || '.' || quote_ident(f.conname),
       concat_ws(' and ',
           CASE f.confdeltype WHEN 'c' THEN 'deletes rows of ' || c.oid::regclass || ' with their parent in ' || f.confrelid::regclass
                              WHEN 'n' THEN 'empties the columns when the parent in ' || f.confrelid::regclass || ' is deleted'
                              WHEN 'd' THEN 'resets the columns when the parent in ' || f.confrelid::regclass || ' is deleted' END,
           CASE WHEN f.confupdtype IN ('c', 'n', 'd') THEN 'changes rows when the key of ' || f.confrelid::regclass || ' changes' END),
       pg_get_constraintdef(f.oid), NULL::text
  FROM pg_constraint f JOIN pg_class c ON c.oid = f.conrelid
 WHERE f.contype = 'f' AND f.conparentid = 0 AND f.conrelid = ANY ($1) AND f.confrelid = ANY ($1)
   AND (f.confdeltype IN ('c', 'n', 'd') OR f.confupdtype IN ('c', 'n', 'd'))
   AND NOT EXISTS (SELECT FROM unnest(f.conkey, f.confkey) k (child, parent)
                     JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.child AND a.attname = $6
                     JOIN pg_attribute b ON b.attrelid = f.confrelid AND b.attnum = k.parent AND b.attname = $6)
   AND NOT EXISTS (SELECT FROM jsonb_array_elements($12) d
                    WHERE d ->> 'what' = 'foreign_key' AND to_regclass(d ->> 'table')::oid = f.conrelid
                      AND (SELECT string_agg(quote_ident(e.name), ', ' ORDER BY e.n) FROM jsonb_array_elements_text(d -> 'columns') WITH ORDINALITY e (name, n))
                        = (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY k.n) FROM unnest(f.conkey) WITH ORDINALITY k (num, n)
                             JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.num))
 ORDER BY 1"#;

/// The ways of the plan and the foreign keys among its tables. An index serves when it begins with the columns, in any order, and holds every row.
const UNINDEXED: &str = r#"
WITH ways AS (
    SELECT to_regclass(w ->> 'table')::oid AS child,
           (SELECT array_agg(a.attnum ORDER BY a.attnum) FROM pg_attribute a JOIN jsonb_array_elements_text(w -> 'columns') n ON a.attname = n
             WHERE a.attrelid = to_regclass(w ->> 'table')::oid) AS columns
      FROM jsonb_array_elements(coalesce($9, '[]')) w
    UNION
    SELECT f.conrelid, (SELECT array_agg(x ORDER BY x) FROM unnest(f.conkey) x)
      FROM pg_constraint f WHERE f.contype = 'f' AND f.conparentid = 0 AND f.conrelid = ANY ($1) AND f.confrelid = ANY ($1 || $5))
SELECT c.oid::regclass || ' (' || n.names || ')', 'has no index that begins with ' || n.names,
       'about ' || greatest(c.reltuples, 0)::bigint || ' rows',
       format('CREATE INDEX CONCURRENTLY ON %s (%s)', c.oid::regclass, n.names)
  FROM ways w JOIN pg_class c ON c.oid = w.child AND c.relkind IN ('r', 'p')
  CROSS JOIN LATERAL (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) AS names
                        FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = ANY (w.columns)) n
 WHERE w.columns IS NOT NULL AND n.names IS NOT NULL
   AND NOT EXISTS (SELECT FROM pg_index i
                    WHERE i.indrelid = c.oid AND i.indisvalid AND i.indpred IS NULL
                      AND (i.indkey::int2[])[0:cardinality(w.columns) - 1] @> w.columns)
 ORDER BY 1"#;

const NOT_VALID: &str = r#"
SELECT c.oid::regclass || '.' || quote_ident(k.conname), 'is NOT VALID', pg_get_constraintdef(k.oid),
       format('ALTER TABLE %s VALIDATE CONSTRAINT %I', c.oid::regclass, k.conname)
  FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
 WHERE NOT k.convalidated AND (k.conrelid = ANY ($1) OR k.confrelid = ANY ($1)) AND k.conparentid = 0
 ORDER BY 1"#;

const DEFERRABLE: &str = r#"
SELECT c.oid::regclass || '.' || quote_ident(k.conname),
       CASE WHEN k.condeferred THEN 'is checked at COMMIT' ELSE 'may be deferred to COMMIT' END, pg_get_constraintdef(k.oid), NULL::text
  FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
 WHERE k.condeferrable AND (k.conrelid = ANY ($1) OR k.confrelid = ANY ($1)) AND k.conparentid = 0 AND k.contype <> 't'
 ORDER BY 1"#;

const KEYLESS: &str = r#"
SELECT c.oid::regclass::text, 'has no primary key', 'about ' || greatest(c.reltuples, 0)::bigint || ' rows', NULL::text
  FROM pg_class c
 WHERE c.oid = ANY ($1) AND c.relkind IN ('r', 'p') AND NOT c.relispartition
   AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)
 ORDER BY 1"#;
