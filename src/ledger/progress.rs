//! `migration_progress`: a backfill's cursor, and what people look at.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio_postgres::{
    GenericClient,
    types::{ToSql, Type},
};

use super::{append::Place, error::LedgerError, pace::Pace};
use crate::{
    engine::ranges::Heap,
    sql,
    sql::{Ident, Stmt},
    unit::UnitId,
};

/// The walk of a backfill that is under way, or was the last one: what its ranges are ranges of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// 0 is the main walk; later ones sweep up rows that were locked or moved.
    pub sweep: u32,
    /// In the order of the walk, with the upper bounds that were fixed when it began. Later rows carry their value already,
    /// or a sweep finds them.
    pub heaps: Vec<Heap>,
}

/// One row of `migration_progress`.
#[derive(Debug, Clone, Serialize)]
pub struct Progress {
    pub unit: String,
    pub phase: String,
    pub step: String,
    pub title: String,
    pub status: String,
    pub rows_done: i64,
    pub rows_estimated: Option<i64>,
    pub attempts: i32,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub updated_at: Option<DateTime<Utc>>,
    pub error: Option<String>,
    pub cursor: Option<serde_json::Value>,
    /// A [`super::Pace`], while it is a backfill under way.
    pub pace: Option<serde_json::Value>,
}

/// The rows of a run in the order of its units. A backfill's rows are counted where its batches commit them: in its ranges,
/// so that workers do not wait for each other on the one row of the unit.
pub async fn progress(
    client: &impl GenericClient,
    schema: &Ident,
    run: uuid::Uuid,
) -> Result<Vec<Progress>, LedgerError> {
    let query = sql!(
        "SELECT p.unit, p.phase, p.step, p.title, p.status, greatest(p.rows_done, r.rows), p.rows_estimated, p.attempts,
                p.started_at, p.finished_at, greatest(p.updated_at, r.at), p.error, p.cursor, p.pace
           FROM {}.migration_progress p
           LEFT JOIN (SELECT unit, sum(rows_done)::bigint AS rows, max(updated_at) AS at
                        FROM {}.backfill_ranges WHERE run_id = $1 GROUP BY unit) r USING (unit)
          WHERE p.run_id = $1 ORDER BY p.ordinal",
        schema,
        schema
    );
    let rows = client.query_typed(query.as_str(), &[(&run, Type::UUID)]).await?;
    rows.iter()
        .map(|row| {
            Ok(Progress {
                unit: row.try_get(0)?,
                phase: row.try_get(1)?,
                step: row.try_get(2)?,
                title: row.try_get(3)?,
                status: row.try_get(4)?,
                rows_done: row.try_get(5)?,
                rows_estimated: row.try_get(6)?,
                attempts: row.try_get(7)?,
                started_at: row.try_get(8)?,
                finished_at: row.try_get(9)?,
                updated_at: row.try_get(10)?,
                error: row.try_get(11)?,
                cursor: row.try_get(12)?,
                pace: row.try_get(13)?,
            })
        })
        .collect()
}

/// The walk that a unit began last; `None` before its first. One that cannot be read (an earlier version wrote it, or somebody by
/// hand) is none either: a walk that begins anew leaves no row out, since rows that have their value are not due.
pub async fn cursor(client: &impl GenericClient, place: &Place, unit: &UnitId) -> Result<Option<Cursor>, LedgerError> {
    let query = sql!("SELECT cursor FROM {}.migration_progress WHERE run_id = $1 AND unit = $2", place.schema);
    let row = client.query_typed_opt(query.as_str(), &[(&place.run, Type::UUID), (&unit.0, Type::TEXT)]).await?;
    let json: Option<serde_json::Value> = row.map(|row| row.try_get(0)).transpose()?.flatten();
    let read = |json| {
        let read = serde_json::from_value(json);
        read.inspect_err(|why| tracing::warn!("the cursor of {unit} cannot be read, so its walk begins anew: {why}"))
            .ok()
    };
    Ok(json.and_then(read))
}

/// Begins a walk, behind the caller's fence and before its first range.
pub async fn begin_walk(
    tx: &impl GenericClient,
    place: &Place,
    unit: &UnitId,
    cursor: &Cursor,
) -> Result<(), LedgerError> {
    let json = serde_json::to_value(cursor).map_err(|e| LedgerError::Install(e.to_string()))?;
    set(tx, place, unit, Stmt::raw("cursor = $3, updated_at = clock_timestamp()"), &json, Type::JSONB).await
}

/// How fast the unit goes now, for people.
pub async fn set_pace(tx: &impl GenericClient, place: &Place, unit: &UnitId, pace: &Pace) -> Result<(), LedgerError> {
    let json = serde_json::to_value(pace).map_err(|e| LedgerError::Install(e.to_string()))?;
    set(tx, place, unit, Stmt::raw("pace = $3"), &json, Type::JSONB).await
}

/// Notes how many rows there may be to do.
pub async fn estimate(tx: &impl GenericClient, place: &Place, unit: &UnitId, rows: i64) -> Result<(), LedgerError> {
    set(tx, place, unit, Stmt::raw("rows_estimated = $3"), &rows, Type::INT8).await
}

async fn set(
    tx: &impl GenericClient,
    place: &Place,
    unit: &UnitId,
    what: Stmt,
    value: &(dyn ToSql + Sync),
    ty: Type,
) -> Result<(), LedgerError> {
    let update = sql!("UPDATE {}.migration_progress SET {} WHERE run_id = $1 AND unit = $2", place.schema, what);
    tx.execute_typed(update.as_str(), &[(&place.run, Type::UUID), (&unit.0, Type::TEXT), (value, ty)]).await?;
    Ok(())
}
