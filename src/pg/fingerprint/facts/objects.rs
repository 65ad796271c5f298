//! What objects of every kind have in common: owner, grants, comment, security labels.

use super::query::Facts;

/// One list of all objects, from which the four common properties are read.
///
/// - An absent ACL means the built-in default: `acldefault` spells it out, so that GRANT followed by REVOKE, which leaves an
///   explicit ACL with the same meaning, makes no difference.
/// - Indexes and column lists have no owner of their own; `acldefault` is strict, so a NULL owner or ACL type yields no grants.
/// - Objects whose creation nothing else prints (operators, casts, collations, text search …) get a line that they exist;
///   16384 is FirstNormalObjectId (access/transam.h): what initdb made lies below it.
pub(super) const FACTS: &[Facts] = &[Facts {
    about: "owners, grants, comments and security labels",
    since: 0,
    sql: r#"
WITH rels AS MATERIALIZED (
    SELECT c.oid, c.relkind, c.relowner, c.relacl, format('%I.%I', n.nspname, c.relname) AS name
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.oid = ANY ($1)
), others AS MATERIALIZED (
    SELECT o.classid, o.objid, i.type || ' ' || i.identity AS head
    FROM (SELECT 'pg_operator'::regclass::oid, oid, oprnamespace FROM pg_operator
          UNION ALL SELECT 'pg_opclass'::regclass, oid, opcnamespace FROM pg_opclass
          UNION ALL SELECT 'pg_opfamily'::regclass, oid, opfnamespace FROM pg_opfamily
          UNION ALL SELECT 'pg_collation'::regclass, oid, collnamespace FROM pg_collation
          UNION ALL SELECT 'pg_conversion'::regclass, oid, connamespace FROM pg_conversion
          UNION ALL SELECT 'pg_ts_config'::regclass, oid, cfgnamespace FROM pg_ts_config
          UNION ALL SELECT 'pg_ts_dict'::regclass, oid, dictnamespace FROM pg_ts_dict
          UNION ALL SELECT 'pg_ts_parser'::regclass, oid, prsnamespace FROM pg_ts_parser
          UNION ALL SELECT 'pg_ts_template'::regclass, oid, tmplnamespace FROM pg_ts_template
          UNION ALL SELECT 'pg_cast'::regclass, oid, NULL FROM pg_cast
          UNION ALL SELECT 'pg_transform'::regclass, oid, NULL FROM pg_transform
          UNION ALL SELECT 'pg_am'::regclass, oid, NULL FROM pg_am) o (classid, objid, namespace)
    CROSS JOIN LATERAL pg_identify_object(o.classid, o.objid, 0) i
    WHERE o.objid >= 16384 AND (o.namespace IS NULL OR o.namespace = ANY ($1))
), objects (classid, objid, objsubid, head, owner, acl, acltype) AS MATERIALIZED (
    SELECT 'pg_namespace'::regclass::oid, oid, 0, format('schema %I', nspname), nspowner, nspacl, 'n'::"char"
    FROM pg_namespace WHERE oid = ANY ($1)
    UNION ALL
    SELECT 'pg_class'::regclass, oid, 0,
           CASE WHEN relkind = 'S' THEN 'sequence ' WHEN relkind = 'v' THEN 'view ' WHEN relkind = 'm' THEN 'materialized view '
                WHEN relkind = 'f' THEN 'foreign table ' WHEN relkind IN ('i', 'I') THEN 'index ' ELSE 'table ' END || name,
           CASE WHEN relkind NOT IN ('i', 'I') THEN relowner END, relacl,
           CASE WHEN relkind = 'S' THEN 's'::"char" WHEN relkind NOT IN ('i', 'I') THEN 'r'::"char" END
    FROM rels WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'i', 'I')
    UNION ALL
    SELECT 'pg_class'::regclass, a.attrelid, a.attnum, 'column ' || r.name || format('.%I', a.attname), NULL, a.attacl, 'c'
    FROM pg_attribute a JOIN rels r ON r.oid = a.attrelid
    WHERE r.relkind IN ('r', 'p', 'v', 'm', 'f', 'c') AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT 'pg_constraint'::regclass, k.oid, 0,
           'constraint ' || coalesce(r.name, format('%I.%I', n.nspname, t.typname)) || format('.%I', k.conname), NULL, NULL, NULL
    FROM pg_constraint k LEFT JOIN rels r ON r.oid = k.conrelid
    LEFT JOIN pg_type t ON t.oid = k.contypid LEFT JOIN pg_namespace n ON n.oid = t.typnamespace
    WHERE k.connamespace = ANY ($1)
    UNION ALL
    SELECT 'pg_policy'::regclass, p.oid, 0, 'policy ' || r.name || format('.%I', p.polname), NULL, NULL, NULL
    FROM pg_policy p JOIN rels r ON r.oid = p.polrelid
    UNION ALL
    SELECT 'pg_trigger'::regclass, g.oid, 0, 'trigger ' || r.name || format('.%I', g.tgname), NULL, NULL, NULL
    FROM pg_trigger g JOIN rels r ON r.oid = g.tgrelid WHERE NOT g.tgisinternal
    UNION ALL
    SELECT 'pg_rewrite'::regclass, w.oid, 0, 'rule ' || r.name || format('.%I', w.rulename), NULL, NULL, NULL
    FROM pg_rewrite w JOIN rels r ON r.oid = w.ev_class
    UNION ALL
    SELECT 'pg_proc'::regclass, p.oid, 0, format('function %I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)),
           p.proowner, p.proacl, 'f'
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.oid = ANY ($1)
    UNION ALL
    SELECT 'pg_type'::regclass, t.oid, 0, format('type %I.%I', n.nspname, t.typname), t.typowner, t.typacl, 'T'
    FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN rels r ON r.oid = t.typrelid
    WHERE n.oid = ANY ($1) AND coalesce(r.relkind = 'c', true) AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid)
    UNION ALL
    SELECT 'pg_extension'::regclass, oid, 0, format('extension %I', extname), extowner, NULL, NULL FROM pg_extension
    UNION ALL
    SELECT 'pg_event_trigger'::regclass, e.oid, 0, format('event trigger %I', e.evtname), e.evtowner, NULL, NULL
    FROM pg_event_trigger e JOIN pg_proc p ON p.oid = e.evtfoid WHERE p.pronamespace = ANY ($1)
    UNION ALL
    SELECT 'pg_publication'::regclass, oid, 0, format('publication %I', pubname), pubowner, NULL, NULL FROM pg_publication
    UNION ALL
    SELECT 'pg_statistic_ext'::regclass, s.oid, 0, format('statistics %I.%I', n.nspname, s.stxname), s.stxowner, NULL, NULL
    FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace WHERE n.oid = ANY ($1)
    UNION ALL
    SELECT 'pg_language'::regclass, oid, 0, format('language %I', lanname), lanowner, lanacl, 'l' FROM pg_language
    UNION ALL
    SELECT 'pg_foreign_data_wrapper'::regclass, oid, 0, format('foreign data wrapper %I', fdwname), fdwowner, fdwacl, 'F'
    FROM pg_foreign_data_wrapper
    UNION ALL
    SELECT 'pg_foreign_server'::regclass, oid, 0, format('server %I', srvname), srvowner, srvacl, 'S' FROM pg_foreign_server
    UNION ALL
    SELECT 'pg_database'::regclass, oid, 0, 'database', datdba, datacl, 'd' FROM pg_database WHERE datname = current_database()
    UNION ALL
    SELECT 'pg_default_acl'::regclass, d.oid, 0,
           format('default privileges of %I ', pg_get_userbyid(d.defaclrole)) || coalesce('in schema ' || quote_ident(n.nspname) || ' ', '')
           || CASE d.defaclobjtype WHEN 'r' THEN 'on tables' WHEN 'S' THEN 'on sequences' WHEN 'f' THEN 'on functions'
                                   WHEN 'T' THEN 'on types' WHEN 'n' THEN 'on schemas' ELSE 'on ' || d.defaclobjtype::text END,
           NULL, d.defaclacl, NULL
    FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace
    WHERE d.defaclnamespace = 0 OR n.oid = ANY ($1)
    UNION ALL
    SELECT classid, objid, 0, head, NULL, NULL, NULL FROM others
)
SELECT head || ' owner: ' || quote_ident(pg_get_userbyid(owner)) FROM objects WHERE owner IS NOT NULL
UNION ALL
SELECT o.head || ' grant to ' || CASE WHEN g.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END
       || ' by ' || quote_ident(pg_get_userbyid(g.grantor)) || ': '
       || string_agg(g.privilege_type || CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END, ', '
                     ORDER BY g.privilege_type COLLATE "C")
FROM objects o CROSS JOIN LATERAL aclexplode(coalesce(o.acl, acldefault(o.acltype, o.owner))) g
GROUP BY o.classid, o.objid, o.objsubid, o.head, g.grantee, g.grantor
UNION ALL
SELECT o.head || ' comment: ' || d.description
FROM objects o JOIN pg_description d ON d.classoid = o.classid AND d.objoid = o.objid AND d.objsubid = o.objsubid
UNION ALL
SELECT o.head || ' comment: ' || d.description
FROM objects o JOIN pg_shdescription d ON d.classoid = o.classid AND d.objoid = o.objid
UNION ALL
SELECT o.head || format(' security label of %I: ', l.provider) || l.label
FROM objects o JOIN pg_seclabel l ON l.classoid = o.classid AND l.objoid = o.objid AND l.objsubid = o.objsubid
UNION ALL
SELECT o.head || format(' security label of %I: ', l.provider) || l.label
FROM objects o JOIN pg_shseclabel l ON l.classoid = o.classid AND l.objoid = o.objid
UNION ALL
SELECT head || ': exists' FROM objects WHERE acltype IN ('n', 'l', 'F')
UNION ALL
SELECT head || ': exists' FROM others
"#,
}];
