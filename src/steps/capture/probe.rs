//! Whether a function and its triggers are there as the deed makes them. The function is compared by its text; of a trigger
//! the server's own deparse, with a twin on a temporary table.

use super::{Part, guard};
use crate::{
    sql,
    sql::{List, Literal, Stmt},
    unit::{Probe, Twin},
};

/// All there is present; nothing there, absent; anything between or otherwise, or out of action, is in the way.
pub(super) fn of(part: &Part) -> Probe {
    let on = &part.triggers[0].on;
    let twin = sql!("pg_temp.{}", on.name);
    let mut setup = vec![sql!("CREATE TEMPORARY TABLE {} (LIKE {}) ON COMMIT DROP", on.name, on)];
    setup.extend(part.triggers.iter().map(|t| sql!("{} {} {}", t.head, twin, t.tail)));
    let same = sql!(
        "NOT EXISTS (SELECT FROM here AS h LEFT JOIN pg_trigger AS w ON w.tgrelid = to_regclass({}) AND w.tgname = h.tgname
           WHERE substring(pg_get_triggerdef(w.oid) FROM ' FOR EACH ROW .*') IS DISTINCT FROM substring(pg_get_triggerdef(h.oid) FROM ' FOR EACH ROW .*')
              OR w.tgtype IS DISTINCT FROM h.tgtype OR array_length(h.tgattr::int2[], 1) > 0)",
        Literal::new(twin.to_string())
    );
    Probe::Catalog {
        query: state(part, &sql!("'compare'")),
        twin: Some(Twin { setup, query: state(part, &sql!("CASE WHEN {} THEN 'present' ELSE 'conflict' END", same)) }),
    }
}

/// `there` is the presence where all parts are there.
fn state(part: &Part, there: &Stmt) -> Stmt {
    let on = Literal::new(part.triggers[0].on.to_string());
    let names: Vec<Literal> = part.triggers.iter().map(|t| Literal::new(t.name.as_str())).collect();
    sql!(
        "WITH due AS (
       SELECT r.rel, n.name FROM (SELECT to_regclass({}) AS rel UNION ALL SELECT w.rel FROM ({}) AS w (rel)) AS r
        CROSS JOIN unnest(ARRAY[{}]::text[]) AS n (name) WHERE r.rel IS NOT NULL),
     here AS (SELECT g.* FROM due AS d JOIN pg_trigger AS g ON g.tgrelid = d.rel AND g.tgname = d.name),
     sum AS (SELECT (SELECT count(*) FROM due) AS due, count(*) AS here,
                    count(*) FILTER (WHERE h.tgfoid IS DISTINCT FROM to_regprocedure({})) AS others,
                    count(*) FILTER (WHERE h.tgenabled NOT IN ('O', 'A')) AS disabled FROM here AS h)
     SELECT CASE WHEN p.oid IS NULL AND s.here = 0 THEN 'absent'
                 WHEN p.oid IS NULL OR f.other OR s.others + s.disabled > 0 OR s.here < s.due THEN 'conflict'
                 ELSE {} END,
            CASE WHEN f.other THEN format('a function %s with another text', p.oid::regprocedure)
                 WHEN s.others > 0 THEN 'a trigger of that name that calls another function'
                 WHEN s.disabled > 0 THEN 'a trigger that is disabled'
                 WHEN s.here < s.due THEN format('%s of %s triggers', s.here, s.due)
                 ELSE 'the triggers and their function' END,
            NULL::text[]
       FROM sum AS s LEFT JOIN pg_proc AS p ON p.oid = to_regprocedure({})
       CROSS JOIN LATERAL (SELECT (p.prosrc, p.prosecdef, p.proconfig) IS DISTINCT FROM ({}, true, ARRAY['search_path=pg_catalog, pg_temp']::text[])
                                  AND p.oid IS NOT NULL AS other) AS f",
        on,
        guard::inheriting(&sql!("to_regclass({})", on)),
        List(&names, ", "),
        Literal::new(format!("{}()", part.function)),
        there,
        Literal::new(format!("{}()", part.function)),
        Literal::new(part.body.as_str())
    )
}
