//! Types, domains, enums, ranges.

use super::query::Facts;

/// Left out are the array type of each type and the row type of each table, which come and go with it. The attributes of a
/// composite type are printed as columns, a domain's checks as constraints.
pub(super) const FACTS: &[Facts] = &[Facts {
    about: "types",
    since: 0,
    sql: r#"
SELECT format('type %I.%I: ', n.nspname, t.typname) || CASE t.typtype
           WHEN 'e' THEN 'ENUM (' || coalesce((SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder)
                                               FROM pg_enum e WHERE e.enumtypid = t.oid), '') || ')'
           WHEN 'd' THEN concat_ws(' ', 'DOMAIN', format_type(t.typbasetype, t.typtypmod),
                                   CASE WHEN k.oid IS NOT NULL THEN format('COLLATE %I.%I', kn.nspname, k.collname) END,
                                   CASE WHEN t.typnotnull THEN 'NOT NULL' END,
                                   'DEFAULT ' || coalesce(pg_get_expr(t.typdefaultbin, 0), t.typdefault))
           WHEN 'r' THEN concat_ws(' ', 'RANGE OF', format_type(r.rngsubtype, NULL), 'OPCLASS',
                                   (SELECT format('%I.%I', oc_n.nspname, oc.opcname)
                                    FROM pg_opclass oc JOIN pg_namespace oc_n ON oc_n.oid = oc.opcnamespace WHERE oc.oid = r.rngsubopc),
                                   'CANONICAL ' || nullif(r.rngcanonical, 0)::regprocedure::text,
                                   'SUBTYPE_DIFF ' || nullif(r.rngsubdiff, 0)::regprocedure::text)
           WHEN 'm' THEN 'MULTIRANGE'
           WHEN 'c' THEN 'COMPOSITE'
           WHEN 'p' THEN 'PSEUDO'
           ELSE concat_ws(' ', 'BASE INPUT', t.typinput::regprocedure, 'OUTPUT', t.typoutput::regprocedure, 'LENGTH', t.typlen,
                          'ALIGN', t.typalign, 'STORAGE', t.typstorage, 'DEFAULT ' || t.typdefault) END
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
LEFT JOIN pg_class c ON c.oid = t.typrelid
LEFT JOIN pg_type b ON b.oid = t.typbasetype
LEFT JOIN pg_collation k ON k.oid = t.typcollation AND t.typtype = 'd' AND t.typcollation <> b.typcollation
LEFT JOIN pg_namespace kn ON kn.oid = k.collnamespace
LEFT JOIN pg_range r ON r.rngtypid = t.oid
WHERE n.oid = ANY ($1) AND coalesce(c.relkind = 'c', true) AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid)
"#,
}];
