//! The closing proof: what is left of the whole table.

use tokio_postgres::Client;

use super::{Batches, Deed, Fault};
use crate::sql;

/// What the proof found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Rows that are still NULL although a value for them is there; that are not copied yet.
    pub due: i64,
    /// Rows for which no value is found; whose copy is another.
    pub orphans: i64,
    /// One of them.
    pub example: Option<String>,
}

impl Batches {
    /// Counts what is left, over the whole table.
    pub async fn prove(&self, client: &Client) -> Result<Proof, Fault> {
        let (column, value) = match &self.deed {
            Deed::Fill { column, value } => (column, value),
            Deed::Copy(copy) => return copy.prove(client, &self.table, &self.only).await,
        };
        let (value, join) = (value.expression(), value.join());
        let query = sql!(
            "SELECT count(*) FILTER (WHERE ({}) IS NOT NULL), count(*) FILTER (WHERE ({}) IS NULL),
                    left(min(row::text) FILTER (WHERE ({}) IS NULL), 200)
               FROM {} AS row {} WHERE row.{} IS NULL{}",
            value,
            value,
            value,
            self.table,
            join,
            column,
            self.only
        );
        let row = client.query_typed_one(query.as_str(), &[]).await?;
        Ok(Proof { due: row.try_get(0)?, orphans: row.try_get(1)?, example: row.try_get(2)? })
    }
}
