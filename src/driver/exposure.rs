//! Whether a table holds rows of more than one tenant, asked before its protection is taken off. It is asked while it is in force:
//! what cannot be seen counts as found, and nothing is taken off to find out.
//!
//! Under FORCE a plain owner sees no rows to count. Its own ALTER TABLE … NO FORCE makes them visible to its transaction alone: the
//! lock keeps everybody else off the table until that is rolled back, and nobody ever finds it unprotected.

use std::time::Duration;

use tokio_postgres::Client;

use super::{
    error::DriveError,
    gate::{Measured, measured},
};
use crate::{
    pg::{Bounds, Class, Fault, connect::Connection, in_transaction},
    sql,
    sql::{QName, Stmt},
};

/// With an index that leads with the tenant it takes a millisecond; without one, a table of one tenant is read as far as this
/// allows. Whoever rolls back in a hurry does not wait longer for a number that an option can stand for.
const COUNT_MAX: Duration = Duration::from_secs(10);
/// The same where everybody else waits for the table meanwhile, and how long they may be made to wait for that lock.
const UNFORCED_COUNT_MAX: Duration = Duration::from_secs(1);
const UNFORCED_LOCK_MAX: Duration = Duration::from_millis(500);

/// How a transaction ends that is to leave nothing: always as a failure.
enum RolledBack {
    Measured(Measured),
    Failed(DriveError),
}

impl From<Fault> for RolledBack {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault.into())
    }
}

/// Runs the query over `table`, as whoever it takes.
pub(super) async fn measure_tenants(
    connection: &Connection,
    bounds: Bounds,
    query: &Stmt,
    table: &QName,
) -> Result<Measured, DriveError> {
    let seen = measure_openly(connection, bounds, query).await;
    match &seen {
        Err(DriveError::Server(fault)) if fault.class == Class::Privilege => {
            told(measure_unforced(connection, bounds, query, table).await)
        }
        Ok(_) | Err(_) => told(seen),
    }
}

/// The same, for who may only look: where a lock would be needed it says so.
pub(super) async fn measure_tenants_unlocked(
    connection: &Connection,
    bounds: Bounds,
    query: &Stmt,
) -> Result<Measured, DriveError> {
    told(measure_openly(connection, bounds, query).await)
}

/// What takes too long, or may not be seen, is not known. A lock that was not had can be tried for again.
fn told(seen: Result<Measured, DriveError>) -> Result<Measured, DriveError> {
    match seen {
        Err(DriveError::Server(fault)) if !matches!(fault.class, Class::Ambiguous | Class::Transient) => {
            let why = match fault.class {
                Class::Cancelled => {
                    "it took too long; an index that leads with the tenant makes it a moment".to_owned()
                }
                Class::Privilege => {
                    format!("{fault}; only a role with BYPASSRLS sees every row under FORCE, or the owner under a lock")
                }
                Class::Ambiguous | Class::Transient | Class::Resources | Class::Fatal => fault.to_string(),
            };
            Ok(Measured::Unmeasurable(why))
        }
        other => other,
    }
}

async fn measure_openly(connection: &Connection, bounds: Bounds, query: &Stmt) -> Result<Measured, DriveError> {
    let bounds = Bounds { statement: bounds.statement.min(COUNT_MAX), ..bounds };
    in_transaction(connection, bounds, async |client: &Client| {
        client.batch_execute("SET TRANSACTION READ ONLY").await?;
        ask(client, query).await
    })
    .await
}

async fn measure_unforced(
    connection: &Connection,
    bounds: Bounds,
    query: &Stmt,
    table: &QName,
) -> Result<Measured, DriveError> {
    let bounds =
        Bounds { lock: bounds.lock.min(UNFORCED_LOCK_MAX), statement: bounds.statement.min(UNFORCED_COUNT_MAX) };
    let unforce = sql!("ALTER TABLE {} NO FORCE ROW LEVEL SECURITY", table);
    let seen = in_transaction(connection, bounds, async |client: &Client| {
        client.batch_execute(unforce.as_str()).await.map_err(Fault::from)?;
        let seen = ask(client, query).await;
        Err::<(), _>(seen.map_or_else(RolledBack::Failed, RolledBack::Measured))
    });
    match seen.await {
        Ok(()) => Err(Fault::new(Class::Fatal, "a transaction was committed that is only rolled back").into()),
        Err(RolledBack::Measured(measured)) => Ok(measured),
        Err(RolledBack::Failed(error)) => Err(error),
    }
}

async fn ask(client: &Client, query: &Stmt) -> Result<Measured, DriveError> {
    let rows = client.query_typed(query.as_str(), &[]).await;
    measured(&rows.map_err(|error| Fault::from(error).in_statement(query.as_str()))?)
}
