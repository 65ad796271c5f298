//! A connection of the application, and the transaction that it does everything in.

use tokio_postgres::{Client, Error, NoTls, types::ToSql};
use uuid::Uuid;

use crate::{sql, sql::Literal};

/// Connects as the application does: none of tenantmig's own session settings.
pub async fn connect(url: &str) -> Result<Client, Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    // Its end shows as an error of the client's next statement.
    tokio::spawn(connection);
    Ok(client)
}

/// Begins a transaction for a tenant. Before row-level security is on, the setting means nothing to anybody.
pub async fn begin(client: &Client, tenant: Uuid) -> Result<(), Error> {
    let set = sql!("BEGIN; SET LOCAL app.current_tenant_id = {}", Literal::new(tenant.to_string()));
    client.batch_execute(set.as_str()).await
}

/// Commits, or rolls back and hands the error on.
pub async fn end<T>(client: &Client, result: Result<T, Error>) -> Result<T, Error> {
    match result {
        Ok(value) => client.batch_execute("COMMIT").await.map(|()| value),
        Err(error) => {
            // A connection that is gone has rolled back by itself; the first error is the one that counts.
            let _rolled_back = client.batch_execute("ROLLBACK").await;
            Err(error)
        }
    }
}

/// One row, by the unnamed statement: a prepared one would break when a column is added or dropped.
pub async fn one(
    client: &Client,
    query: &str,
    params: &[(&(dyn ToSql + Sync), tokio_postgres::types::Type)],
) -> Result<tokio_postgres::Row, Error> {
    client.query_typed_one(query, params).await
}

/// `SQLSTATE: message`, of which the driver's own Display shows neither.
pub fn describe(error: &Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{}: {}", db.code().code(), db.message()),
        None => error.to_string(),
    }
}
