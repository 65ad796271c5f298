//! How many partitions a table has.

use tokio_postgres::{Client, types::Type};

use super::Fault;
use crate::sql::QName;

/// The partitions of every level that have rows of their own; `None` where the table is not partitioned, or not there.
pub async fn partitions(client: &Client, table: &QName) -> Result<Option<u64>, Fault> {
    let query = "WITH RECURSIVE tree AS (
             SELECT c.oid, c.relkind FROM pg_class c WHERE c.oid = to_regclass($1) AND c.relkind = 'p'
             UNION ALL
             SELECT c.oid, c.relkind FROM tree t JOIN pg_inherits i ON i.inhparent = t.oid JOIN pg_class c ON c.oid = i.inhrelid)
         SELECT count(*) FILTER (WHERE relkind <> 'p') FROM tree HAVING count(*) > 0";
    let row = client.query_typed_opt(query, &[(&table.to_string(), Type::TEXT)]).await?;
    row.map(|row| Ok(u64::try_from(row.try_get::<_, i64>(0)?).unwrap_or(0))).transpose()
}
