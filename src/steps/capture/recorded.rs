//! A trigger function and the triggers that call it, as the catalogue has them: statements that bring them back, and that drop
//! them wherever they are.

use crate::{
    sql,
    sql::{Literal, QName, Stmt},
};

/// Statements that bring back the function `p` (a row of pg_proc) with its rights, owner and comment, and each trigger that
/// calls it with its state and comment: an expression of type text[]. They may run twice. Definitions are deparsed with the
/// names that the search path makes visible, so that path is set first. The copies of a trigger on partitions come with
/// it; their states are their own.
pub(in crate::steps) fn restore() -> Stmt {
    sql!(
        "(SELECT array_agg(s.text ORDER BY s.place, s.text) FROM (
       SELECT 0, 'SELECT pg_catalog.set_config(''search_path'', ' || quote_literal(current_setting('search_path')) || ', true)'
       UNION ALL SELECT 1, pg_get_functiondef(p.oid)
       UNION ALL SELECT 2, format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', o.call) WHERE p.proacl IS NOT NULL
       UNION ALL SELECT 3, format('GRANT EXECUTE ON FUNCTION %s TO %s%s', o.call,
                CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
                CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
           FROM aclexplode(p.proacl) AS a WHERE a.grantee <> p.proowner
       UNION ALL SELECT 4, format('COMMENT ON FUNCTION %s IS ', o.call) || quote_literal(obj_description(p.oid, 'pg_proc'))
       UNION ALL SELECT 5, format('DROP TRIGGER IF EXISTS %I ON %s', g.tgname, g.rel) FROM calls AS g WHERE g.tgparentid = 0
       UNION ALL SELECT 6, pg_get_triggerdef(g.oid) FROM calls AS g WHERE g.tgparentid = 0
       UNION ALL SELECT 7, format('ALTER TABLE ONLY %s %s TRIGGER %I', g.rel, CASE g.tgenabled WHEN 'D' THEN 'DISABLE'
                WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END, g.tgname) FROM calls AS g WHERE g.tgenabled <> 'O'
       UNION ALL SELECT 8, format('COMMENT ON TRIGGER %I ON %s IS ', g.tgname, g.rel) || quote_literal(obj_description(g.oid, 'pg_trigger'))
           FROM calls AS g
       UNION ALL SELECT 9, format('ALTER FUNCTION %s OWNER TO %I', o.call, pg_get_userbyid(p.proowner))) AS s (place, text)
     WHERE s.text IS NOT NULL)"
    )
}

/// `p` (a row of pg_proc, or NULLs) for a trigger function, with what [`restore`] needs of it; `select` is what is asked.
pub(in crate::steps) fn about(function: &QName, select: &Stmt) -> Stmt {
    sql!(
        "WITH calls AS (
       SELECT g.oid, g.tgname, g.tgparentid, g.tgenabled, format('%I.%I', n.nspname, c.relname) AS rel
         FROM pg_trigger AS g JOIN pg_class AS c ON c.oid = g.tgrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE g.tgfoid = to_regprocedure({}) AND NOT g.tgisinternal)
     {}
       FROM (SELECT to_regprocedure({}) AS oid, {} AS call) AS o LEFT JOIN pg_proc AS p ON p.oid = o.oid",
        Literal::new(format!("{function}()")),
        select,
        Literal::new(format!("{function}()")),
        Literal::new(format!("{function}()"))
    )
}

/// Drops every trigger that calls the function, and the function; nothing where it is not there.
pub(in crate::steps) fn drop(function: &QName) -> Vec<Stmt> {
    let body = sql!(
        "
DECLARE call record;
BEGIN
  FOR call IN SELECT tgname, tgrelid::regclass AS rel FROM pg_catalog.pg_trigger
               WHERE tgfoid = to_regprocedure({}) AND tgparentid = 0 AND NOT tgisinternal ORDER BY tgrelid, tgname LOOP
    EXECUTE format('DROP TRIGGER %I ON %s', call.tgname, call.rel);
  END LOOP;
END
",
        Literal::new(format!("{function}()"))
    );
    vec![sql!("DO {}", Literal::new(body.as_str())), sql!("DROP FUNCTION IF EXISTS {}()", function)]
}
