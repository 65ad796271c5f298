//! On which server the lease was taken last: a copy of the database elsewhere carries the ledger along, and must not be taken
//! for the original.

use tokio_postgres::{GenericClient, types::Type};

use super::{error::LedgerError, lease::Hold};
use crate::{pg::connect::Identity, sql, sql::Ident};

/// The server of the last holder; unknown before the first.
pub async fn last_server(client: &impl GenericClient, schema: &Ident) -> Result<Identity, LedgerError> {
    let query = sql!("SELECT system_identifier, timeline FROM {}.lease", schema);
    // A table that lost its row, or has two, is refused by whoever takes the lease.
    match client.query_typed(query.as_str(), &[]).await?.first() {
        Some(row) => Ok(Identity { system: row.try_get(0)?, timeline: row.try_get(1)? }),
        None => Ok(Identity { system: None, timeline: None }),
    }
}

/// Refuses a server that cannot be the last holder's.
pub async fn same_server(client: &impl GenericClient, schema: &Ident, found: Identity) -> Result<(), LedgerError> {
    found.follows(last_server(client, schema).await?).map_err(LedgerError::Moved)
}

/// Notes on which server this holder works. What it does not tell stays as it was.
pub async fn stands_on(
    client: &impl GenericClient,
    schema: &Ident,
    ours: Hold,
    server: Identity,
) -> Result<(), LedgerError> {
    let note = sql!(
        "UPDATE {}.lease SET system_identifier = coalesce($2, system_identifier), timeline = coalesce($3, timeline)
          WHERE epoch = $1 AND holder = $4 AND (system_identifier, timeline) IS DISTINCT FROM (coalesce($2, system_identifier), coalesce($3, timeline))",
        schema
    );
    let params: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 4] = [
        (&ours.epoch, Type::INT8),
        (&server.system, Type::INT8),
        (&server.timeline, Type::INT8),
        (&ours.holder, Type::UUID),
    ];
    client.execute_typed(note.as_str(), &params).await?;
    Ok(())
}
