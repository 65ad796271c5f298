//! Takes a log as it stands for the truth, and makes the rows for people say the same.

use tokio_postgres::{GenericClient, types::Type};

use super::{
    append::{Place, append, rows},
    chain,
    error::LedgerError,
    load::Kept,
};
use crate::{engine::Event, sql};

/// Accepts `kept`, of which `what` was wrong. To be called in a transaction, behind the fence.
pub async fn accept(tx: &impl GenericClient, place: &Place, kept: &Kept, what: &str) -> Result<(), LedgerError> {
    let last = kept.events.last().map_or(0, |recorded| recorded.number);
    chain::rebase(tx, place, last).await?;
    append(tx, place, last + 1, &Event::Repaired { what: what.to_owned() }).await?;
    rows(tx, place, &kept.record.program).await?;
    let words: Vec<_> = kept
        .record
        .program
        .units()
        .enumerate()
        .map(|(number, (_, unit))| serde_json::json!({ "unit": unit.id, "status": kept.run.unit(number).word() }))
        .collect();
    let project = sql!(
        "UPDATE {}.migration_progress p SET status = x.status, updated_at = clock_timestamp()
           FROM jsonb_to_recordset($2) AS x(unit text, status text)
          WHERE p.run_id = $1 AND p.unit = x.unit AND p.status <> x.status",
        place.schema
    );
    let words = serde_json::Value::Array(words);
    tx.execute_typed(project.as_str(), &[(&place.run, Type::UUID), (&words, Type::JSONB)]).await?;
    Ok(())
}
