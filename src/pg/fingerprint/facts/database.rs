//! What belongs to the database rather than to a schema: extensions, publications, foreign servers, settings.

use super::query::Facts;

/// The database's own name is not printed, so that two databases can be compared. A publication is printed as JSON of its row,
/// which covers the options that each major release adds. Values of settings whose name sounds like a secret are printed as a
/// digest: a difference is seen, the secret is not.
pub(super) const FACTS: &[Facts] = &[
    Facts {
        about: "extensions",
        since: 0,
        sql: r#"
SELECT format('extension %I: version %s in schema %I', e.extname, e.extversion, n.nspname)
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
"#,
    },
    Facts {
        about: "publications",
        since: 0,
        sql: r#"
SELECT format('publication %I: ', pubname) || (to_jsonb(p) - 'oid' - 'pubname' - 'pubowner')::text FROM pg_publication p
UNION ALL
SELECT format('publication %I table %I.%I: published', p.pubname, n.nspname, c.relname)
FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.oid = ANY ($1)
"#,
    },
    Facts {
        about: "published schemas, columns and row filters",
        since: 150_000,
        sql: r#"
SELECT format('publication %I schema %I: published', p.pubname, n.nspname)
FROM pg_publication_namespace r JOIN pg_publication p ON p.oid = r.pnpubid JOIN pg_namespace n ON n.oid = r.pnnspid
WHERE n.oid = ANY ($1)
UNION ALL
SELECT format('publication %I table %I.%I', p.pubname, n.nspname, c.relname) || f.property || ': ' || f.value
FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (VALUES
    (' WHERE', pg_get_expr(r.prqual, r.prrelid)),
    (' columns', (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attname COLLATE "C")
                  FROM pg_attribute a WHERE a.attrelid = r.prrelid AND a.attnum = ANY (r.prattrs)))
) f (property, value)
WHERE n.oid = ANY ($1) AND f.value IS NOT NULL
"#,
    },
    Facts {
        about: "foreign servers",
        since: 0,
        sql: r#"
SELECT format('server %I: ', s.srvname)
       || concat_ws(' ', format('FOREIGN DATA WRAPPER %I', w.fdwname), 'TYPE ' || quote_literal(s.srvtype), 'VERSION ' || quote_literal(s.srvversion),
                    (SELECT 'OPTIONS (' || string_agg(o, ', ' ORDER BY o COLLATE "C") || ')' FROM unnest(s.srvoptions) o))
FROM pg_foreign_server s JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw
"#,
    },
    Facts {
        about: "settings of this database",
        since: 0,
        sql: r#"
SELECT 'setting of ' || CASE WHEN d.setrole = 0 THEN 'all roles' ELSE 'role ' || quote_ident(pg_get_userbyid(d.setrole)) END
       || ' ' || s.name || ': '
       || CASE WHEN s.name ~* 'secret|passw|token|key|credential' THEN 'sha256 ' || left(encode(sha256(convert_to(s.value, getdatabaseencoding()::text::name)), 'hex'), 16)
               ELSE s.value END
FROM pg_db_role_setting d
CROSS JOIN LATERAL (SELECT split_part(c, '=', 1), substr(c, strpos(c, '=') + 1) FROM unnest(d.setconfig) c) s (name, value)
WHERE d.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
"#,
    },
];
