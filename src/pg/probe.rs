//! Asks the database how much of a unit's deed it holds.

use tokio_postgres::{Client, Row};

use super::Fault;
use crate::{
    sql::Stmt,
    unit::{Before, Presence, Probe},
};

/// Runs a probe inside the open transaction of `client`. The ledger's own probe always answers "absent": whether the deed
/// was done is then known from the events alone. A twin is made and taken away under a savepoint.
pub async fn probe(client: &Client, probe: &Probe) -> Result<Before, Fault> {
    let Probe::Catalog { query, twin } = probe else { return Ok(Before::absent()) };
    let row = client.query_typed_one(query.as_str(), &[]).await?;
    let presence: String = row.try_get(0)?;
    let Some(twin) = twin.as_ref().filter(|_| presence == "compare") else { return read(&row) };
    client.batch_execute("SAVEPOINT tenantmig_twin").await?;
    let answer = compare(client, &twin.setup, &twin.query).await;
    client.batch_execute("ROLLBACK TO SAVEPOINT tenantmig_twin; RELEASE SAVEPOINT tenantmig_twin").await?;
    answer
}

async fn compare(client: &Client, setup: &[Stmt], query: &Stmt) -> Result<Before, Fault> {
    for stmt in setup {
        client.batch_execute(stmt.as_str()).await?;
    }
    read(&client.query_typed_one(query.as_str(), &[]).await?)
}

fn read(row: &Row) -> Result<Before, Fault> {
    let word: String = row.try_get(0)?;
    let presence = match word.as_str() {
        "absent" => Presence::Absent,
        "partial" => Presence::Partial,
        "present" => Presence::Present,
        "conflict" => Presence::Conflict,
        other => return Err(Fault::new(super::Class::Fatal, format!("a probe answered `{other}`"))),
    };
    let restore: Option<Vec<String>> = row.try_get(2)?;
    let restore = restore.unwrap_or_default().into_iter().map(Stmt::raw).collect();
    let found = if presence == Presence::Absent { None } else { row.try_get(1)? };
    Ok(Before { presence, found, restore })
}
