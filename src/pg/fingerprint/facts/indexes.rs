//! Indexes and extended statistics.

use super::query::Facts;

/// An index is as good as its flags: a CREATE INDEX CONCURRENTLY that failed leaves one that is not valid, yet may be ready
/// and so still refuse duplicates. Hence the state has a line of its own.
pub(super) const FACTS: &[Facts] = &[
    Facts {
        about: "indexes",
        since: 0,
        sql: r#"
SELECT format('index %I.%I', n.nspname, c.relname) || f.property || ': ' || f.value
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_tablespace ts ON ts.oid = c.reltablespace
CROSS JOIN LATERAL (VALUES
    ('', pg_get_indexdef(i.indexrelid)),
    (' state', concat_ws(', ', CASE WHEN i.indisvalid THEN 'valid' ELSE 'invalid' END, CASE WHEN i.indisready THEN 'ready' ELSE 'not ready' END,
                         CASE WHEN i.indislive THEN 'live' ELSE 'being dropped' END)),
    (' role', nullif(concat_ws(', ', CASE WHEN i.indisprimary THEN 'primary key' END, CASE WHEN i.indisexclusion THEN 'exclusion' END,
                               CASE WHEN NOT i.indimmediate THEN 'deferrable' END, CASE WHEN i.indisclustered THEN 'clustered' END,
                               CASE WHEN i.indisreplident THEN 'replica identity' END), '')),
    (' tablespace', quote_ident(ts.spcname)),
    (' attached to', (SELECT format('%I.%I', pn.nspname, p.relname)
                      FROM pg_inherits h JOIN pg_class p ON p.oid = h.inhparent JOIN pg_namespace pn ON pn.oid = p.relnamespace
                      WHERE h.inhrelid = i.indexrelid)),
    (' statistics targets', (SELECT string_agg(format('column %s %s', a.attnum, a.attstattarget), ', ' ORDER BY a.attnum)
                             FROM pg_attribute a WHERE a.attrelid = i.indexrelid AND a.attstattarget >= 0))
) f (property, value)
WHERE n.oid = ANY ($1) AND f.value IS NOT NULL
"#,
    },
    Facts {
        about: "extended statistics",
        since: 0,
        sql: r#"
SELECT format('statistics %I.%I', n.nspname, s.stxname) || f.property || ': ' || f.value
FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace
CROSS JOIN LATERAL (VALUES
    ('', pg_get_statisticsobjdef(s.oid)),
    (' target', nullif(s.stxstattarget, -1)::text)
) f (property, value)
WHERE n.oid = ANY ($1) AND f.value IS NOT NULL
"#,
    },
];
