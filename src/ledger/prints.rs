//! What the touched objects were like when the run came to rest between two phases. At most one print of a run measures
//! anything; once the run goes on, either way, it is spent, and kept for whoever looks back.

use serde::{Deserialize, Serialize};
use tokio_postgres::{GenericClient, types::Type};
use uuid::Uuid;

use super::{append::Place, error::LedgerError};
use crate::{pg::fingerprint::Touched, sql, sql::Ident};

/// A print as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Print {
    /// The phase that was over; `start` before the first.
    pub phase: String,
    /// Of the facts: see [`crate::pg::fingerprint::FORMAT`].
    pub format: i32,
    /// The server's major version, which words definitions in its own way.
    pub server: i32,
    pub touched: Touched,
}

/// Keeps a print, in place of the one that measured before. To be called behind the fence.
pub async fn keep_print(tx: &impl GenericClient, place: &Place, print: &Print) -> Result<(), LedgerError> {
    spend_print(tx, place).await?;
    let insert = sql!(
        "INSERT INTO {}.phase_prints (run_id, phase, format, server, lines) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (run_id, phase) DO UPDATE
             SET format = excluded.format, server = excluded.server, lines = excluded.lines, taken_at = now(), spent_at = NULL",
        place.schema
    );
    let lines = serde_json::to_value(&print.touched).map_err(|e| LedgerError::Install(e.to_string()))?;
    let params: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 5] = [
        (&place.run, Type::UUID),
        (&print.phase, Type::TEXT),
        (&print.format, Type::INT4),
        (&print.server, Type::INT4),
        (&lines, Type::JSONB),
    ];
    tx.execute_typed(insert.as_str(), &params).await?;
    Ok(())
}

/// The run goes on: what was measured is the run's own to change from here. To be called behind the fence.
pub async fn spend_print(tx: &impl GenericClient, place: &Place) -> Result<(), LedgerError> {
    let spend =
        sql!("UPDATE {}.phase_prints SET spent_at = now() WHERE run_id = $1 AND spent_at IS NULL", place.schema);
    tx.execute_typed(spend.as_str(), &[(&place.run, Type::UUID)]).await?;
    Ok(())
}

/// The print that measures, if there is one; of another format or server only that it is there.
pub async fn print_in_force(
    client: &impl GenericClient,
    schema: &Ident,
    run: Uuid,
) -> Result<Option<Print>, LedgerError> {
    let query = sql!(
        "SELECT phase, format, server, lines FROM {}.phase_prints WHERE run_id = $1 AND spent_at IS NULL ORDER BY taken_at DESC LIMIT 1",
        schema
    );
    let Some(row) = client.query_typed_opt(query.as_str(), &[(&run, Type::UUID)]).await? else { return Ok(None) };
    let (phase, format, server): (String, i32, i32) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    // What cannot be read was written by another version, which says so by its format.
    let touched = serde_json::from_value(row.try_get(3)?).unwrap_or_default();
    Ok(Some(Print { phase, format, server, touched }))
}
