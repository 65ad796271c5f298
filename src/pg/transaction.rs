//! One explicit transaction, with its bounds set inside it, so that it behaves the same behind a transaction pooler.

use std::time::Duration;

use tokio_postgres::Client;

use super::{Fault, connect::Connection};

/// How long the statements of a transaction may wait and run. Neither is ever unlimited.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The longest wait for a lock: whoever queues behind it waits as long.
    pub lock: Duration,
    /// The longest that one statement may run.
    pub statement: Duration,
}

/// Runs `work` in a transaction and commits; rolls back when it fails. The error of a COMMIT whose answer was lost is
/// [`super::Class::Ambiguous`]: the caller asks the database what happened.
pub async fn in_transaction<T, E: From<Fault>>(
    connection: &Connection,
    bounds: Bounds,
    work: impl AsyncFnOnce(&Client) -> Result<T, E>,
) -> Result<T, E> {
    let client = &connection.client;
    let bound = connection.bound_for_now(bounds.statement);
    client.batch_execute("BEGIN").await.map_err(Fault::from)?;
    let result = match prepare(connection, bounds).await {
        Ok(()) => work(client).await,
        Err(fault) => Err(fault.into()),
    };
    match result {
        Ok(value) => {
            bound.committing();
            client.batch_execute("COMMIT").await.map_err(Fault::from)?;
            Ok(value)
        }
        Err(error) => {
            // When the connection is gone this fails as well, and the server has rolled back by itself.
            if let Err(rollback) = client.batch_execute("ROLLBACK").await {
                tracing::debug!("rollback: {rollback}");
            }
            Err(error)
        }
    }
}

async fn prepare(connection: &Connection, bounds: Bounds) -> Result<(), Fault> {
    if connection.pooled {
        connection.settings.apply(&connection.client, true).await?;
    }
    let set = format!(
        "SET LOCAL row_security = off; SET LOCAL lock_timeout = '{}ms'; SET LOCAL statement_timeout = '{}ms'",
        bounds.lock.as_millis().max(1),
        bounds.statement.as_millis().max(1)
    );
    connection.client.batch_execute(&set).await?;
    Ok(())
}
