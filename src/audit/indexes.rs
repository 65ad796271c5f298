//! Indexes that a policy keeps from being used, or that its condition lacks.

use super::rule::{Look, Rule};
use crate::hazards::Severity;

pub(super) const KINDS: &[Rule] = &[
    Rule {
        code: "TM0553",
        severity: Severity::Slow,
        title: "an index that policies keep from being used",
        why: "a condition whose operator or function is not leakproof waits for the policy, so its index serves no query (lower(x) = \
              0.06 → 300 ms, numeric = 0.04 → 267, jsonb @> 0.08 → 252)",
        fix: "an index that begins with the tenant and holds the same behind it; for GIN and GiST that needs btree_gin or btree_gist",
        look: Look::Text(LEAKY),
    },
    Rule {
        code: "TM0554",
        severity: Severity::Slow,
        title: "no index begins with the tenant",
        why: "the policy's condition is on every query, and without an index each reads the whole table; ORDER BY created_at LIMIT 20 \
              takes 523 ms against 0.1 with (tenant, created_at)",
        fix: "an index on (tenant, what the application orders or looks by)",
        look: Look::Text(MISSING),
    },
];

/// The operator that looks for equality (btree 3, hash 1), or any of the operator class for other methods, where none is leakproof; and functions
/// of indexed expressions. A unique one serves its constraint all the same. One of ordering operators alone (a vector's)
/// is no condition's.
const LEAKY: &str = r#"
SELECT i.indexrelid::regclass::text,
       format('of %s serves no condition: %s', i.indrelid::regclass, string_agg(DISTINCT l.name, ', ')),
       pg_get_indexdef(i.indexrelid),
       CASE WHEN m.amname = 'btree' OR m.amname = 'gin' AND EXISTS (SELECT FROM pg_extension e WHERE e.extname = 'btree_gin')
            THEN regexp_replace(regexp_replace(pg_get_indexdef(i.indexrelid), '^CREATE (UNIQUE )?INDEX \S+ ON (ONLY )?',
                                CASE WHEN c.relkind = 'p' THEN 'CREATE INDEX ON ' ELSE 'CREATE INDEX CONCURRENTLY ON ' END),
                                ' USING (\w+) \(', ' USING \1 (' || quote_ident($6) || ', ') END
  FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam
  JOIN pg_attribute t ON t.attrelid = c.oid AND t.attname = $6 AND NOT t.attisdropped
  CROSS JOIN LATERAL (
       SELECT o.opcname || ' is not leakproof' AS name
         FROM unnest(i.indclass::oid[]) u (opclass) JOIN pg_opclass o ON o.oid = u.opclass
        WHERE EXISTS (SELECT FROM pg_amop a WHERE a.amopfamily = o.opcfamily AND a.amoppurpose = 's')
          AND NOT EXISTS (SELECT FROM pg_amop a JOIN pg_operator p ON p.oid = a.amopopr JOIN pg_proc f ON f.oid = p.oprcode
                           WHERE a.amopfamily = o.opcfamily AND a.amoppurpose = 's' AND f.proleakproof
                             AND (a.amoplefttype = o.opcintype OR m.amname NOT IN ('btree', 'hash')))
       UNION
       SELECT f.oid::regprocedure || ' is not leakproof'
         FROM regexp_matches(i.indexprs::text, ':(?:funcid|opfuncid) (\d+)', 'g') r JOIN pg_proc f ON f.oid = r[1]::oid AND NOT f.proleakproof) l
 WHERE c.oid IN (SELECT unnest($1)) AND c.relkind IN ('r', 'p') AND NOT x.relispartition AND i.indisvalid AND NOT i.indisunique AND NOT i.indisexclusion
   AND pg_get_indexdef(i.indexrelid, 1, false) <> quote_ident($6)
   AND NOT EXISTS (SELECT FROM pg_constraint n WHERE n.conindid = i.indexrelid)
   AND NOT EXISTS (SELECT FROM pg_index j
                    WHERE j.indrelid = i.indrelid AND j.indisvalid AND j.indnkeyatts > i.indnkeyatts AND j.indkey[0] = t.attnum
                      AND NOT EXISTS (SELECT FROM generate_series(1, i.indnkeyatts) k
                                       WHERE pg_get_indexdef(i.indexrelid, k, false) <> pg_get_indexdef(j.indexrelid, k + 1, false)))
 GROUP BY i.indexrelid, i.indrelid, m.amname, c.relkind
 ORDER BY 1"#;

/// Partitions have theirs from the parent, or are told by it. The indexes are hashed once: the statistics of a catalogue that grew a
/// moment ago would have them looked through for each table.
const MISSING: &str = r#"
WITH led AS MATERIALIZED (
    SELECT i.indrelid, i.indkey[0] AS first FROM pg_index i WHERE i.indisvalid AND i.indpred IS NULL)
SELECT c.oid::regclass::text, 'has no index that begins with ' || quote_ident(a.attname), 'about ' || greatest(c.reltuples, 0)::bigint || ' rows',
       format(CASE WHEN c.relkind = 'p' THEN 'CREATE INDEX ON %s (%I%s)' ELSE 'CREATE INDEX CONCURRENTLY ON %s (%I%s)' END, c.oid::regclass, a.attname,
              (SELECT ', ' || quote_ident(t.attname) FROM pg_attribute t
                WHERE t.attrelid = c.oid AND t.attname IN ('created_at', 'created', 'inserted_at') AND NOT t.attisdropped LIMIT 1))
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = $6 AND NOT a.attisdropped
 WHERE c.oid IN (SELECT unnest($1)) AND c.relkind IN ('r', 'p') AND NOT c.relispartition
   AND NOT (c.oid, a.attnum) IN (SELECT l.indrelid, l.first FROM led l)
 ORDER BY 1"#;
