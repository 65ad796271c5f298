//! Constraints of tables and domains.

use super::query::Facts;

/// `pg_get_constraintdef` prints NOT VALID, NOT ENFORCED, NO INHERIT and deferrability, and from PostgreSQL 18 on the named
/// not-null constraints. Foreign keys work through internal triggers, which are not printed one by one, but DISABLE TRIGGER ALL
/// switches them off and so the key with them: that is printed with the constraint.
pub(super) const FACTS: &[Facts] = &[Facts {
    about: "constraints",
    since: 0,
    sql: r#"
SELECT k.head || f.property || ': ' || f.value
FROM (SELECT k.*, format('constraint %I.%I.%I', n.nspname, c.relname, k.conname) AS head
      FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE n.oid = ANY ($1)
      UNION ALL
      SELECT k.*, format('constraint %I.%I.%I', n.nspname, t.typname, k.conname)
      FROM pg_constraint k JOIN pg_type t ON t.oid = k.contypid JOIN pg_namespace n ON n.oid = t.typnamespace
      WHERE n.oid = ANY ($1)) k
CROSS JOIN LATERAL (VALUES
    ('', pg_get_constraintdef(k.oid)),
    (' inherited', CASE WHEN k.coninhcount > 0
                        THEN format('from %s %s', k.coninhcount, CASE WHEN k.conislocal THEN 'and defined here' ELSE 'only' END) END),
    (' enforcing triggers', CASE WHEN k.contype = 'f' THEN
        (SELECT string_agg(DISTINCT CASE g.tgenabled WHEN 'D' THEN 'disabled' WHEN 'A' THEN 'always' ELSE 'replica' END, ', ')
         FROM pg_trigger g WHERE g.tgconstraint = k.oid AND g.tgisinternal AND g.tgenabled <> 'O') END)
) f (property, value)
WHERE f.value IS NOT NULL
"#,
}];
