//! Why the server would refuse to fill a column, asked before anything is touched.

use tokio_postgres::{Client, types::Type};

use super::Fault;
use crate::unit::BackfillSpec;

/// What stands in the way of a backfill: in words, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfillable {
    pub what: String,
    pub advice: String,
}

/// What it is on the table, its partitions and its children, the first in the order of names.
///
/// A batch is one statement with an UPDATE in WITH, which the server does not rewrite by a rule (0A000); DO INSTEAD NOTHING would
/// even let it pass without a row. It writes each partition by its own name, and a foreign one has no blocks to walk over.
pub async fn unfillable(client: &Client, spec: &BackfillSpec) -> Result<Option<Unfillable>, Fault> {
    let query = "WITH RECURSIVE heap AS (SELECT to_regclass($1)::oid AS oid
             UNION SELECT i.inhrelid FROM pg_inherits i JOIN heap ON heap.oid = i.inhparent),
           it AS (SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS tab, c.relkind AS kind
                    FROM heap JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace)
        SELECT what, advice FROM (
         SELECT 1 AS rank, tab, format('%s is a %s, whose rows are elsewhere', tab,
                  CASE kind WHEN 'f' THEN 'foreign table' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialised view' ELSE 'relation of another kind' END) AS what,
                'fill it where its rows are, and the other partitions by their names' AS advice FROM it WHERE kind NOT IN ('r', 'p')
         UNION ALL
         SELECT 2, tab, format('the rule %I of %s rewrites every UPDATE', r.rulename, tab), format('make a trigger of it, or for as long as it is filled: ALTER TABLE %s DISABLE RULE %I', tab, r.rulename)
           FROM it JOIN pg_rewrite r ON r.ev_class = it.oid AND r.ev_type = '2' AND r.ev_enabled IN ('O', 'A')
         UNION ALL
         SELECT 3, tab, format('column %I of %s is generated, so the server computes it', a.attname, tab), 'take another column, or one that is not generated'
           FROM it JOIN pg_attribute a ON a.attrelid = it.oid AND a.attname = $2 AND (a.attgenerated <> '' OR a.attidentity = 'a')) w
        ORDER BY rank, tab LIMIT 1";
    let params: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
        [(&spec.table.to_string(), Type::TEXT), (&spec.column.as_str(), Type::TEXT)];
    let row = client.query_typed_opt(query, &params).await?;
    row.map(|row| Ok(Unfillable { what: row.try_get(0)?, advice: row.try_get(1)? })).transpose()
}
