//! Policies as they stand in `pg_policy`, as SQL over it: written back as a statement, and compared.

use super::Stmt;
use crate::sql;

/// CREATE POLICY as the server would write it, of the row `p` of `pg_policy` and for the table that the SQL expression `table`
/// names. Expressions are deparsed with the names that the search path makes visible.
pub fn definition(table: &Stmt) -> Stmt {
    sql!(
        "(format('CREATE POLICY %I ON %s AS %s FOR %s TO %s', p.polname, {},
                 CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
                 CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
                 (SELECT string_agg(CASE r.oid WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(r.oid)) END, ', ' ORDER BY r.place)
                    FROM unnest(p.polroles) WITH ORDINALITY AS r (oid, place)))
          || coalesce(' USING (' || pg_get_expr(p.polqual, p.polrelid) || ')', '')
          || coalesce(' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')', ''))",
        table
    )
}

/// COMMENT ON POLICY of the same row; NULL where there is none.
pub fn note(table: &Stmt) -> Stmt {
    sql!(
        "(format('COMMENT ON POLICY %I ON %s IS ', p.polname, {}) || quote_literal(obj_description(p.oid, 'pg_policy')))",
        table
    )
}

/// Whether the rows `w` and `p` of `pg_policy` say the same, each of its own table. Where an expression has a sub-select, the
/// server writes the table's columns there with the table's name.
pub fn same() -> Stmt {
    let said = |policy: &str, side: &str| {
        sql!(
            r"(SELECT regexp_replace(pg_get_expr({0}.{1}, {0}.polrelid), '(?<![\w$.])' || regexp_replace(quote_ident(z.relname), '(\W)', '\\\1', 'g')
                                     || '\.', 'its own row.', 'g') FROM pg_class z WHERE z.oid = {0}.polrelid)",
            Stmt::raw(policy),
            Stmt::raw(side)
        )
    };
    sql!(
        "(w.polcmd = p.polcmd AND w.polpermissive = p.polpermissive AND w.polroles @> p.polroles AND w.polroles <@ p.polroles
          AND {} IS NOT DISTINCT FROM {} AND {} IS NOT DISTINCT FROM {})",
        said("w", "polqual"),
        said("p", "polqual"),
        said("w", "polwithcheck"),
        said("p", "polwithcheck")
    )
}
