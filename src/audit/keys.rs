//! Keys that do not know of tenants.

use super::rule::{Ground, Look, Rule};
use crate::{hazards::Severity, sql, sql::Stmt};

pub(super) const KINDS: &[Rule] = &[
    Rule {
        code: "TM0534",
        severity: Severity::High,
        title: "a foreign key across tenants",
        why: "foreign keys pass over row-level security: a child may point at another tenant's parent, which tells that it exists, and \
              goes or changes with it by ON DELETE CASCADE",
        fix: "let the key carry the tenant: a step composite_foreign_key, (tenant, id) references (tenant, id)",
        look: Look::Built(foreign),
    },
    Rule {
        code: "TM0535",
        severity: Severity::High,
        title: "a unique key over all tenants",
        why: "one tenant's value keeps every other from using it, and the refusal tells that it exists; ON CONFLICT DO NOTHING loses \
              the write, DO UPDATE raises 42501 on a row of another tenant",
        fix: "make it unique within the tenant: a step scope_unique",
        look: Look::Text(UNIQUE),
    },
];

/// SQL text of an SQL expression: what gives the foreign key `f` of `c` on `t` the tenant column `y` of the parent, where its own columns
/// are `k.children` and the parent's `k.parents`. Both sides need it, and the parent a unique index.
pub(super) const CARRY: &str = r"format('CREATE UNIQUE INDEX IF NOT EXISTS %I ON %s (%I, %s); ALTER TABLE %s DROP CONSTRAINT %I, ADD CONSTRAINT %6$I %s',
                left('tenant_' || t.relname || '_' || regexp_replace(k.parents, '\W+', '_', 'g'), 60), t.oid::regclass, y.attname, k.parents,
                c.oid::regclass, f.conname,
                regexp_replace(
                    regexp_replace(
                        regexp_replace(pg_get_constraintdef(f.oid), '^FOREIGN KEY \(', 'FOREIGN KEY (' || quote_ident(y.attname) || ', '),
                        ' REFERENCES ([^(]+)\(', ' REFERENCES \1(' || quote_ident(y.attname) || ', '),
                    ' ON DELETE SET (NULL|DEFAULT)(?! \()', ' ON DELETE SET \1 (' || k.children || ')'))";

/// The columns of `f`, and whether it carries the tenant.
pub(super) const COLUMNS: &str = "(
       SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY u.place) AS children, string_agg(quote_ident(b.attname), ', ' ORDER BY u.place) AS parents,
              bool_or(a.attname = $6 AND b.attname = $6) AS carries
         FROM unnest(f.conkey, f.confkey) WITH ORDINALITY u (child, parent, place)
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.child JOIN pg_attribute b ON b.attrelid = t.oid AND b.attnum = u.parent)";

/// Whether [`CARRY`] is right: before 15 SET NULL would empty the tenant as well, so there the words alone are told.
pub(super) fn carries(ground: &Ground) -> Stmt {
    Stmt::raw(if ground.server.version_num >= 150_000 {
        "f.confupdtype NOT IN ('n', 'd')"
    } else {
        "f.confupdtype NOT IN ('n', 'd') AND f.confdeltype NOT IN ('n', 'd')"
    })
}

/// Only between tenants' tables; the column must stand at the same place on both sides.
fn foreign(ground: &Ground) -> Stmt {
    sql!(
        r#"
SELECT c.oid::regclass || '.' || quote_ident(f.conname), 'may point at another tenant''s row of ' || t.oid::regclass, pg_get_constraintdef(f.oid),
       CASE WHEN {} THEN {} END
  FROM pg_constraint f JOIN pg_class c ON c.oid = f.conrelid JOIN pg_class t ON t.oid = f.confrelid
  JOIN pg_attribute x ON x.attrelid = c.oid AND x.attname = $6 AND NOT x.attisdropped
  JOIN pg_attribute y ON y.attrelid = t.oid AND y.attname = $6 AND NOT y.attisdropped
  CROSS JOIN LATERAL {} k
 WHERE f.contype = 'f' AND f.conparentid = 0 AND c.oid IN (SELECT unnest($1)) AND t.oid IN (SELECT unnest($1)) AND NOT t.oid = ANY ($5) AND NOT k.carries
 ORDER BY 1"#,
        carries(ground),
        Stmt::raw(CARRY),
        Stmt::raw(COLUMNS)
    )
}

/// Left out is what belongs to one tenant by itself or says nothing of it: keys with the tenant column; surrogates (a number or a uuid
/// that is the primary key; another one all of uuid, identity, a sequence's or a random default); keys that hold a reference to
/// another tenant's table, whose row is one tenant's. A key that a foreign key needs is mended with that first.
const UNIQUE: &str = r#"
SELECT c.oid::regclass || ' (' || k.columns || ')',
       CASE WHEN i.indisprimary THEN 'its primary key' ELSE 'unique' END || ' over all tenants' ||
       CASE WHEN i.indpred IS NOT NULL THEN ', for a part of the rows' ELSE '' END,
       pg_get_indexdef(i.indexrelid),
       CASE WHEN EXISTS (SELECT FROM pg_constraint f WHERE f.contype = 'f' AND f.conindid = i.indexrelid) THEN NULL
            WHEN n.oid IS NOT NULL
            THEN format('ALTER TABLE %s DROP CONSTRAINT %I, ADD CONSTRAINT %2$I %s', c.oid::regclass, n.conname,
                        regexp_replace(pg_get_constraintdef(n.oid), '\(', '(' || quote_ident($6) || ', '))
            ELSE format('DROP INDEX %s; %s', i.indexrelid::regclass,
                        regexp_replace(pg_get_indexdef(i.indexrelid), ' USING (\w+) \(', ' USING \1 (' || quote_ident($6) || ', ')) END
  FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_attribute t ON t.attrelid = c.oid AND t.attname = $6 AND NOT t.attisdropped
  LEFT JOIN pg_constraint n ON n.conindid = i.indexrelid AND n.contype IN ('p', 'u')
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
 WHERE c.oid IN (SELECT unnest($1)) AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND i.indisunique AND i.indislive
   AND NOT k.scoped AND NOT k.surrogate AND NOT k.owned AND NOT (i.indisprimary AND k.numbered)
 ORDER BY 1"#;
