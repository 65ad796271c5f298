//! Reading for a report: everything of a run that nothing is decided by, whole and in a fixed order.

use chrono::{DateTime, Utc};
use tokio_postgres::{GenericClient, Row, types::Type};
use uuid::Uuid;

use super::{error::LedgerError, requests::wish};
use crate::{engine::ranges::Range, pg::fingerprint::Touched, sql, sql::Ident, unit::UnitId};

/// The end of the chain over a run's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub number: i64,
    pub digest: String,
    /// Up to this event the log was taken as it stood.
    pub base: i64,
}

/// A range with what was written in it, and when.
#[derive(Debug, Clone)]
pub struct KeptRange {
    pub unit: UnitId,
    pub range: Range,
    pub rows: u64,
    pub rows_hot: u64,
    pub claimed_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// A print, in force or spent.
#[derive(Debug, Clone)]
pub struct KeptPrint {
    pub phase: String,
    pub format: i32,
    pub server: i32,
    pub taken_at: DateTime<Utc>,
    /// None: another version wrote it.
    pub touched: Option<Touched>,
}

/// A request, answered or not.
#[derive(Debug, Clone)]
pub struct KeptRequest {
    pub id: i64,
    pub asked_at: DateTime<Utc>,
    pub actor: String,
    pub host: String,
    /// In words.
    pub what: String,
    pub event: Option<i64>,
    pub refused: Option<String>,
}

/// The head; none where an earlier version wrote the log and no event came since.
pub async fn head(client: &impl GenericClient, schema: &Ident, run: Uuid) -> Result<Option<Head>, LedgerError> {
    let query = sql!("SELECT number, digest, base FROM {}.event_heads WHERE run_id = $1", schema);
    let row = client.query_typed_opt(query.as_str(), &[(&run, Type::UUID)]).await?;
    let head = |row: Row| Ok(Head { number: row.try_get(0)?, digest: row.try_get(1)?, base: row.try_get(2)? });
    row.map(head).transpose()
}

/// The ranges of all units and all walks.
pub async fn all_ranges(client: &impl GenericClient, schema: &Ident, run: Uuid) -> Result<Vec<KeptRange>, LedgerError> {
    let query = sql!(
        "SELECT sweep, number, heap, lo, hi, stripes, stripes_done, skipping, unit, rows_done, rows_hot, claimed_at, updated_at
           FROM {}.backfill_ranges WHERE run_id = $1 ORDER BY unit, sweep, number",
        schema
    );
    let kept = |row: &Row| {
        Ok(KeptRange {
            range: super::ranges::range(row)?,
            unit: UnitId(row.try_get(8)?),
            rows: super::ranges::count(row, 9)?,
            rows_hot: super::ranges::count(row, 10)?,
            claimed_at: row.try_get(11)?,
            updated_at: row.try_get(12)?,
        })
    };
    client.query_typed(query.as_str(), &[(&run, Type::UUID)]).await?.iter().map(kept).collect()
}

/// Every print, in the order in which they were taken.
pub async fn prints(client: &impl GenericClient, schema: &Ident, run: Uuid) -> Result<Vec<KeptPrint>, LedgerError> {
    let query = sql!(
        "SELECT phase, format, server, taken_at, lines FROM {}.phase_prints WHERE run_id = $1 ORDER BY taken_at, phase",
        schema
    );
    let print = |row: &Row| {
        Ok(KeptPrint {
            phase: row.try_get(0)?,
            format: row.try_get(1)?,
            server: row.try_get(2)?,
            taken_at: row.try_get(3)?,
            touched: serde_json::from_value(row.try_get(4)?).ok(),
        })
    };
    client.query_typed(query.as_str(), &[(&run, Type::UUID)]).await?.iter().map(print).collect()
}

/// Every request of the run, oldest first.
pub async fn all_requests(
    client: &impl GenericClient,
    schema: &Ident,
    run: Uuid,
) -> Result<Vec<KeptRequest>, LedgerError> {
    let query = sql!(
        "SELECT request_id, asked_at, actor, host, kind, body, event, refused FROM {}.requests
          WHERE run_id = $1 ORDER BY request_id",
        schema
    );
    let request = |row: &Row| {
        let kind: String = row.try_get(4)?;
        let what = wish(&kind, row.try_get(5)?);
        Ok(KeptRequest {
            id: row.try_get(0)?,
            asked_at: row.try_get(1)?,
            actor: row.try_get(2)?,
            host: row.try_get(3)?,
            what: what.map_or_else(|why| format!("{kind}, which cannot be read: {why}"), |wish| wish.to_string()),
            event: row.try_get(6)?,
            refused: row.try_get(7)?,
        })
    };
    client.query_typed(query.as_str(), &[(&run, Type::UUID)]).await?.iter().map(request).collect()
}
