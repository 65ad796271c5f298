//! About how many rows a table has, without counting them.

use tokio_postgres::{GenericClient, types::Type};

use super::Fault;
use crate::sql::QName;

/// The planner's estimate for the largest of `tables`, partitions of every level added up; 0 where none exists. A table that was never
/// analysed has no estimate: there its size is divided by the width of a middling row, 128 bytes.
pub async fn rows_estimated(client: &impl GenericClient, tables: &[QName]) -> Result<u64, Fault> {
    let query = "WITH RECURSIVE tree AS (SELECT t, to_regclass(t)::oid AS oid FROM unnest($1) t
             UNION SELECT tree.t, i.inhrelid FROM pg_inherits i JOIN tree ON tree.oid = i.inhparent)
        SELECT coalesce(max(e.rows), 0)::bigint FROM (
          SELECT sum(CASE WHEN c.reltuples > 0 THEN c.reltuples ELSE pg_relation_size(c.oid) / 128 END) AS rows
            FROM tree JOIN pg_class c USING (oid)
           WHERE c.relkind IN ('r', 'm') GROUP BY tree.t) e";
    let names: Vec<String> = tables.iter().map(QName::to_string).collect();
    let rows: i64 = client.query_typed_one(query, &[(&names, Type::TEXT_ARRAY)]).await?.try_get(0)?;
    Ok(u64::try_from(rows).unwrap_or(0))
}
