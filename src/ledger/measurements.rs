//! `measurements`: how long queries of the application took when a gate measured them.

use chrono::{DateTime, Utc};
use tokio_postgres::{
    GenericClient,
    types::{ToSql, Type},
};
use uuid::Uuid;

use super::{append::Place, error::LedgerError};
use crate::{latency::Measurement, sql, sql::Ident};

/// The most that is read of a run: each look of a gate that waits leaves one of each probe, and the newest tell.
const READ_MAX: u32 = 1_000;

/// One of them, as people ask for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    pub phase: String,
    pub at: DateTime<Utc>,
    pub by: String,
    pub measurement: Measurement,
}

/// Keeps what a gate measured. To be called behind the fence.
pub async fn keep_measurements(
    tx: &impl GenericClient,
    place: &Place,
    phase: &str,
    gate: &str,
    all: &[Measurement],
) -> Result<(), LedgerError> {
    let insert = sql!(
        "INSERT INTO {}.measurements (run_id, phase, gate, probe, over, measured) VALUES ($1, $2, $3, $4, $5, $6)",
        place.schema
    );
    for one in all {
        let measured = serde_json::to_value(one).map_err(|e| LedgerError::Install(e.to_string()))?;
        let over = !one.over.is_empty();
        let params: [(&(dyn ToSql + Sync), Type); 6] = [
            (&place.run, Type::UUID),
            (&phase, Type::TEXT),
            (&gate, Type::TEXT),
            (&one.probe, Type::TEXT),
            (&over, Type::BOOL),
            (&measured, Type::JSONB),
        ];
        tx.execute_typed(insert.as_str(), &params).await?;
    }
    Ok(())
}

/// What was measured in a run, newest first. What another version wrote in another form is left out.
pub async fn measurements(
    client: &impl GenericClient,
    schema: &Ident,
    run: Uuid,
) -> Result<Vec<Measured>, LedgerError> {
    let query = sql!(
        "SELECT phase, measured_at, measured_by, measured FROM {}.measurements WHERE run_id = $1 ORDER BY measurement_id DESC LIMIT {}",
        schema,
        READ_MAX
    );
    let mut out = Vec::new();
    for row in client.query_typed(query.as_str(), &[(&run, Type::UUID)]).await? {
        if let Ok(measurement) = serde_json::from_value(row.try_get(3)?) {
            out.push(Measured { phase: row.try_get(0)?, at: row.try_get(1)?, by: row.try_get(2)?, measurement });
        }
    }
    Ok(out)
}
