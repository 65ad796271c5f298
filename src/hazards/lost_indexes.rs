//! Statements of the application that row-level security costs their index, as pg_stat_statements has them.

use super::{
    kind::{Kind, Needs, Query, Server, Severity},
    statements::of_this_database,
};
use crate::{sql, sql::Stmt};

pub(super) const KINDS: &[Kind] = &[Kind {
    code: "TM0441",
    severity: Severity::Slow,
    title: "a statement that row-level security costs its index",
    why: "a condition whose operator or function is not leakproof waits for the policy, so the index that serves it now serves it no \
              more, and every row of the tenant is read",
    fix: "an index that begins with the tenant and holds the same behind it, made before the tables are enforced",
    needs: Needs::Statements,
    query: Query::Built(losing),
}];

/// By text: a statement is not planned here, for that runs its IMMUTABLE functions as whoever plans it. It names the table, and behind WHERE
/// what the index begins with: a function that is not leakproof, or a column whose operator class has no leakproof operator.
fn losing(server: &Server) -> Stmt {
    sql!(
        r#"
WITH s AS MATERIALIZED (SELECT x.userid, x.query, x.calls, lower(x.query) AS text, lower(substring(x.query FROM '(?i)\mwhere\M(.*)$')) AS condition
                          FROM ({}) x WHERE x.query ~* '^[\s(]*(select|update|delete|with)\M' AND x.query ~* '\mwhere\M'),
plain AS (SELECT '::[a-z ]+(\(\d+\))?|[\s()"]' AS noise),
leaky AS (
    SELECT i.indexrelid, c.oid AS rel, lower(c.relname) AS relname, f.word, f.name
      FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid AND c.oid = ANY ($1) AND NOT c.relispartition
      JOIN pg_class x ON x.oid = i.indexrelid CROSS JOIN plain
     CROSS JOIN LATERAL (
           SELECT lower(p.proname) AS word, p.oid::regprocedure::text AS name
             FROM regexp_matches(i.indexprs::text, ':(?:funcid|opfuncid) (\d+)', 'g') r JOIN pg_proc p ON p.oid = r[1]::oid AND NOT p.proleakproof
            WHERE i.indkey[0] = 0
           UNION
           SELECT lower(a.attname), o.opcname::text
             FROM pg_attribute a JOIN pg_opclass o ON o.oid = i.indclass[0]
            WHERE i.indkey[0] <> 0 AND a.attrelid = c.oid AND a.attnum = i.indkey[0] AND a.attname IS DISTINCT FROM $6
              AND EXISTS (SELECT FROM pg_amop m WHERE m.amopfamily = o.opcfamily AND m.amoppurpose = 's')
              AND NOT EXISTS (SELECT FROM pg_amop m JOIN pg_operator q ON q.oid = m.amopopr JOIN pg_proc p ON p.oid = q.oprcode
                               WHERE m.amopfamily = o.opcfamily AND m.amoppurpose = 's' AND p.proleakproof)) f
     WHERE i.indisvalid
       AND NOT EXISTS (SELECT FROM pg_index j JOIN pg_attribute t ON t.attrelid = j.indrelid AND t.attnum = j.indkey[0] AND t.attname = $6
                        WHERE j.indrelid = i.indrelid AND j.indisvalid
                          AND pg_get_indexdef(j.indexrelid, 2, false) = pg_get_indexdef(i.indexrelid, 1, false))
       AND NOT EXISTS (SELECT FROM jsonb_array_elements($12) d
                        WHERE to_regclass(d ->> 'table')::oid = c.oid
                          AND (d ->> 'what' = 'unique_key' AND d ->> 'name' = x.relname
                               OR d ->> 'what' = 'index' AND d -> 'keys' ->> 0 = $6
                                  AND regexp_replace(lower(d -> 'keys' ->> 1), noise, '', 'g')
                                      = regexp_replace(lower(pg_get_indexdef(i.indexrelid, 1, false)), noise, '', 'g'))))
SELECT l.indexrelid::regclass::text,
       format('serves statements on %s that ran %s times so far, and under a policy none of them: %s is not leakproof',
              l.rel::regclass, sum(s.calls), l.name),
       left((array_agg(s.query ORDER BY s.calls DESC))[1], 200), NULL::text
  FROM leaky l JOIN s ON position(l.relname IN s.text) > 0 AND position(l.word IN s.condition) > 0
  JOIN pg_roles r ON r.oid = s.userid AND NOT (r.rolsuper OR r.rolbypassrls)
 GROUP BY l.indexrelid, l.rel, l.name
 ORDER BY 1"#,
        of_this_database(server)
    )
}
