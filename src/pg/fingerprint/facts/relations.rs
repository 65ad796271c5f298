//! Tables, partitioned tables, views, materialised views, foreign tables and sequences.

use super::query::Facts;

/// Columns, constraints and indexes have their own files; a view's columns are printed as columns as well.
pub(super) const FACTS: &[Facts] = &[
    Facts {
        about: "tables and views",
        since: 0,
        sql: r#"
SELECT r.head || f.property || ': ' || f.value
FROM (SELECT c.*, CASE c.relkind WHEN 'v' THEN 'view ' WHEN 'm' THEN 'materialized view ' WHEN 'f' THEN 'foreign table ' ELSE 'table ' END
                  || format('%I.%I', n.nspname, c.relname) AS head
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE n.oid = ANY ($1) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')) r
LEFT JOIN pg_am am ON am.oid = r.relam
LEFT JOIN pg_tablespace ts ON ts.oid = r.reltablespace
LEFT JOIN pg_class toast ON toast.oid = r.reltoastrelid
LEFT JOIN pg_foreign_table ft ON ft.ftrelid = r.oid
LEFT JOIN pg_foreign_server fs ON fs.oid = ft.ftserver
CROSS JOIN LATERAL (VALUES
    ('', concat_ws(' ', CASE r.relpersistence WHEN 'p' THEN 'permanent' WHEN 'u' THEN 'unlogged' ELSE 'temporary' END,
                   CASE WHEN r.relkind = 'p' THEN 'partitioned' END, 'using ' || quote_ident(am.amname),
                   'on server ' || quote_ident(fs.srvname))),
    (' row security', CASE WHEN r.relkind IN ('r', 'p') THEN CASE WHEN r.relrowsecurity THEN 'enabled' ELSE 'disabled' END END),
    (' force row security', CASE WHEN r.relkind IN ('r', 'p') THEN CASE WHEN r.relforcerowsecurity THEN 'forced' ELSE 'not forced' END END),
    (' replica identity', CASE WHEN r.relkind IN ('r', 'p', 'm') THEN CASE r.relreplident WHEN 'd' THEN 'default' WHEN 'n' THEN 'nothing'
                                                                       WHEN 'f' THEN 'full' ELSE 'index' END END),
    (' tablespace', quote_ident(ts.spcname)),
    (' options', (SELECT string_agg(o, ', ' ORDER BY o COLLATE "C") FROM unnest(r.reloptions) o)),
    (' toast options', (SELECT string_agg(o, ', ' ORDER BY o COLLATE "C") FROM unnest(toast.reloptions) o)),
    (' foreign options', (SELECT string_agg(o, ', ' ORDER BY o COLLATE "C") FROM unnest(ft.ftoptions) o)),
    (' of type', CASE WHEN r.reloftype <> 0 THEN format_type(r.reloftype, NULL) END),
    (' partition key', CASE WHEN r.relkind = 'p' THEN pg_get_partkeydef(r.oid) END),
    (' partition bound', pg_get_expr(r.relpartbound, r.oid)),
    (' inherits', (SELECT string_agg(format('%I.%I', pn.nspname, p.relname), ', ' ORDER BY i.inhseqno)
                   FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent JOIN pg_namespace pn ON pn.oid = p.relnamespace
                   WHERE i.inhrelid = r.oid)),
    (' populated', CASE WHEN r.relkind = 'm' THEN CASE WHEN r.relispopulated THEN 'yes' ELSE 'no' END END),
    (' definition', CASE WHEN r.relkind IN ('v', 'm') THEN pg_get_viewdef(r.oid) END)
) f (property, value)
WHERE f.value IS NOT NULL
"#,
    },
    Facts {
        about: "partitions being detached",
        since: 140_000,
        sql: r#"
SELECT format('table %I.%I detach: pending', n.nspname, c.relname)
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE i.inhdetachpending AND n.oid = ANY ($1)
"#,
    },
    // The value a sequence stands at is data, never goes back, and is left out.
    Facts {
        about: "sequences",
        since: 0,
        sql: r#"
SELECT format('sequence %I.%I', n.nspname, c.relname) || f.property || ': ' || f.value
FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.objsubid = 0
                     AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
LEFT JOIN pg_class t ON t.oid = d.refobjid
LEFT JOIN pg_namespace tn ON tn.oid = t.relnamespace
LEFT JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
CROSS JOIN LATERAL (VALUES
    ('', concat_ws(' ', CASE c.relpersistence WHEN 'p' THEN 'permanent' WHEN 'u' THEN 'unlogged' ELSE 'temporary' END,
                   format_type(s.seqtypid, NULL), 'start', s.seqstart, 'increment', s.seqincrement, 'min', s.seqmin, 'max', s.seqmax,
                   'cache', s.seqcache, CASE WHEN s.seqcycle THEN 'cycle' END)),
    (' owned by', quote_ident(tn.nspname) || '.' || quote_ident(t.relname) || '.' || quote_ident(a.attname)
                  || CASE WHEN d.deptype = 'i' THEN ' as identity' ELSE '' END)
) f (property, value)
WHERE n.oid = ANY ($1) AND f.value IS NOT NULL
"#,
    },
];
