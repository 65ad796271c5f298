//! About how many rows tables have, without counting them.

use std::collections::BTreeMap;

use tokio_postgres::{GenericClient, types::Type};

use super::Fault;
use crate::sql::QName;

/// The planner's estimate for each of `tables`, partitions of every level added up; a table that does not exist has none. One that was
/// never analysed has no estimate: there its size is divided by the width of a middling row, 128 bytes.
pub async fn rows_of_each(client: &impl GenericClient, tables: &[QName]) -> Result<BTreeMap<QName, u64>, Fault> {
    let query =
        "WITH RECURSIVE tree AS (SELECT n, to_regclass(t)::oid AS oid FROM unnest($1) WITH ORDINALITY AS u (t, n)
             UNION SELECT tree.n, i.inhrelid FROM pg_inherits i JOIN tree ON tree.oid = i.inhparent)
        SELECT tree.n, sum(CASE WHEN c.reltuples > 0 THEN c.reltuples ELSE pg_relation_size(c.oid) / 128 END)::bigint
          FROM tree JOIN pg_class c USING (oid)
         WHERE c.relkind IN ('r', 'm') GROUP BY tree.n";
    let names: Vec<String> = tables.iter().map(QName::to_string).collect();
    let mut out = BTreeMap::new();
    for row in client.query_typed(query, &[(&names, Type::TEXT_ARRAY)]).await? {
        let (number, rows): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        let table = usize::try_from(number - 1).ok().and_then(|at| tables.get(at));
        out.extend(table.map(|table| (table.clone(), u64::try_from(rows).unwrap_or(0))));
    }
    Ok(out)
}

/// The same for the largest of `tables`; 0 where none exists.
pub async fn rows_estimated(client: &impl GenericClient, tables: &[QName]) -> Result<u64, Fault> {
    Ok(rows_of_each(client, tables).await?.into_values().max().unwrap_or(0))
}
