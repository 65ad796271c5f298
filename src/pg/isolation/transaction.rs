//! The transactions of probes: none of them can commit, and what they set ends with them.

use std::{convert::Infallible, time::Duration};

use tokio_postgres::Client;

use crate::{
    isolation::{Answer, Refusal},
    pg::{Bounds, Class, Fault, connect::Connection, in_transaction},
    sql,
    sql::{Ident, Literal, Stmt},
};

/// The longest that a statement of a probe may run: it finds its row by an index or at the table's beginning.
pub(super) const BOUNDS: Bounds = Bounds { lock: Duration::from_secs(1), statement: Duration::from_secs(5) };
/// Where no index finds a tenant's rows and the table is large, a look for rows that must not be there would read all of it:
/// so much of it is read. A policy that is open shows its first row at once.
pub(super) const GLANCE: Duration = Duration::from_millis(500);

/// What a transaction that is rolled back gave.
enum Back<T> {
    Value(T),
    Fault(Fault),
}

impl<T> From<Fault> for Back<T> {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Runs `work` in a transaction and rolls it back, whatever comes: there is no way to a COMMIT.
pub(in crate::pg) async fn rolled_back<T>(
    connection: &Connection,
    bounds: Bounds,
    work: impl AsyncFnOnce(&Client) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let done: Result<Infallible, Back<T>> = in_transaction(connection, bounds, async |client: &Client| {
        Err(match work(client).await {
            Ok(value) => Back::Value(value),
            Err(fault) => Back::Fault(fault),
        })
    })
    .await;
    match done {
        Ok(never) => match never {},
        Err(Back::Value(value)) => Ok(value),
        Err(Back::Fault(fault)) => Err(fault),
    }
}

/// From here to the transaction's end policies apply to it, and it is `role` where one is given.
pub(in crate::pg) async fn become_role(client: &Client, role: Option<&Ident>) -> Result<(), Fault> {
    client.batch_execute("SET LOCAL row_security = on").await?;
    if let Some(role) = role {
        set(client, "role", role.as_str()).await?;
    }
    Ok(())
}

/// A setting, to the transaction's end.
pub(in crate::pg) async fn set(client: &Client, name: &str, value: &str) -> Result<(), Fault> {
    let stmt = sql!("SELECT set_config({}, {}, true)", Literal::new(name), Literal::new(value));
    client.query_typed(stmt.as_str(), &[]).await?;
    Ok(())
}

/// Sends statements for their effect in this transaction.
pub(super) async fn run(client: &Client, stmt: &Stmt) -> Result<(), Fault> {
    client.batch_execute(stmt.as_str()).await.map_err(|error| Fault::from(error).in_statement(stmt.as_str()))
}

/// What kind of answer a statement has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// One row: how many, and how many of them are another tenant's.
    Count,
    /// The number of rows that it wrote.
    Written,
}

/// Asks one question behind a savepoint, to which it returns: an error does not end the transaction, and a row that was written
/// is gone before the next question.
pub(super) async fn ask(client: &Client, form: Form, stmt: &Stmt) -> Result<Answer, Fault> {
    client.batch_execute("SAVEPOINT tenantmig_probe").await?;
    let said = match form {
        Form::Count => client
            .query_typed_one(stmt.as_str(), &[])
            .await
            .and_then(|row| Ok(Answer::Rows { rows: row.try_get(0)?, foreign: row.try_get(1)? })),
        Form::Written => client
            .execute_typed(stmt.as_str(), &[])
            .await
            .map(|rows| Answer::rows(i64::try_from(rows).unwrap_or(i64::MAX))),
    };
    let answer = match said {
        Ok(answer) => answer,
        Err(error) => {
            let of_a_domain = error.as_db_error().is_some_and(|db| db.datatype().is_some() && db.table().is_none());
            Answer::Refused(Refusal { of_a_domain, ..refusal(Fault::from(error))? })
        }
    };
    client.batch_execute("ROLLBACK TO SAVEPOINT tenantmig_probe").await?;
    Ok(answer)
}

/// What the server said; a lost session, or an error that no server reported, is the caller's.
pub(super) fn refusal(fault: Fault) -> Result<Refusal, Fault> {
    match (&fault.sqlstate, fault.class) {
        (Some(state), Class::Transient | Class::Privilege | Class::Cancelled | Class::Resources | Class::Fatal) => {
            Ok(Refusal { sqlstate: state.clone(), message: fault.message.clone(), of_a_domain: false })
        }
        (None, _) | (Some(_), Class::Ambiguous) => Err(fault),
    }
}
