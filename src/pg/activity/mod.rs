//! Counts how busy tables are, from the server's own counters, which anybody may read.

mod log;

use tokio_postgres::{Client, types::Type};

pub use log::RefusalLog;

use super::Fault;
use crate::{activity::Counts, sql::QName};

/// The counters at this moment. To be asked in a transaction of its own: within one the server gives the same numbers again.
pub async fn counts(client: &Client, tables: &[QName], log: Option<&mut RefusalLog>) -> Result<Counts, Fault> {
    let database = "SELECT extract(epoch FROM clock_timestamp())::float8, pg_stat_get_db_xact_commit(oid),
                           pg_stat_get_db_xact_rollback(oid)
                      FROM pg_database WHERE datname = current_database()";
    let row = client.query_typed_one(database, &[]).await?;
    let (at, commits, rollbacks) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    // A row is counted where it is stored: in a partition, or a child.
    let written = "WITH RECURSIVE tree AS (
             SELECT u.n, to_regclass(u.t)::oid AS oid FROM unnest($1) WITH ORDINALITY AS u (t, n)
             UNION SELECT tree.n, i.inhrelid FROM tree JOIN pg_inherits i ON i.inhparent = tree.oid)
         SELECT coalesce(sum(pg_stat_get_tuples_inserted(oid) + pg_stat_get_tuples_updated(oid) + pg_stat_get_tuples_deleted(oid)), 0)::bigint
           FROM tree GROUP BY n ORDER BY n";
    let names: Vec<String> = tables.iter().map(QName::to_string).collect();
    let rows = client.query_typed(written, &[(&names, Type::TEXT_ARRAY)]).await?;
    let writes = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    let denied = match log {
        Some(log) => Some(log.read(client).await?),
        None => None,
    };
    Ok(Counts { at, commits, rollbacks, writes, denied })
}
