//! What a look at the activity of tables saw, kept beside the measurements of gates: the look after a change is compared with it.

use tokio_postgres::{
    GenericClient,
    types::{ToSql, Type},
};

use super::{append::Place, error::LedgerError};
use crate::{activity::Seen, sql, unit::UnitId};

/// What stands in `measurements.probe` for these.
const PROBE: &str = "activity";

/// Keeps what a unit's look saw. `over`: something in it was over its limit. To be called behind the fence.
pub async fn keep_activity(
    tx: &impl GenericClient,
    place: &Place,
    (phase, unit): (&str, &UnitId),
    seen: &Seen,
    over: bool,
) -> Result<(), LedgerError> {
    let insert = sql!(
        "INSERT INTO {}.measurements (run_id, phase, gate, probe, over, measured) VALUES ($1, $2, $3, $4, $5, $6)",
        place.schema
    );
    let measured = serde_json::to_value(seen).map_err(|e| LedgerError::Install(e.to_string()))?;
    let params: [(&(dyn ToSql + Sync), Type); 6] = [
        (&place.run, Type::UUID),
        (&phase, Type::TEXT),
        (&unit.0, Type::TEXT),
        (&PROBE, Type::TEXT),
        (&over, Type::BOOL),
        (&measured, Type::JSONB),
    ];
    tx.execute_typed(insert.as_str(), &params).await?;
    Ok(())
}

/// What this unit's look saw the last time; `None` where it saw nothing that could be kept.
pub async fn activity(client: &impl GenericClient, place: &Place, unit: &UnitId) -> Result<Option<Seen>, LedgerError> {
    let query = sql!(
        "SELECT measured FROM {}.measurements WHERE run_id = $1 AND gate = $2 AND probe = $3 ORDER BY measurement_id DESC LIMIT 1",
        place.schema
    );
    let params: [(&(dyn ToSql + Sync), Type); 3] =
        [(&place.run, Type::UUID), (&unit.0, Type::TEXT), (&PROBE, Type::TEXT)];
    let row = client.query_typed_opt(query.as_str(), &params).await?;
    // What another version wrote in another form is no look.
    row.map(|row| Ok(serde_json::from_value(row.try_get(0)?).ok())).transpose().map(Option::flatten)
}
