//! Reading: runs and their events. What does not fit is reported as damage, never guessed around.

use chrono::{DateTime, Utc};
use tokio_postgres::{GenericClient, Row, types::Type};
use uuid::Uuid;

use super::error::LedgerError;
use crate::{
    engine::{Event, Program},
    sql,
    sql::{Ident, Stmt},
};

/// A run as the ledger keeps it.
#[derive(Debug, Clone)]
pub struct RunRecord {
    pub id: Uuid,
    pub plan: String,
    pub plan_path: Option<String>,
    pub plan_text: String,
    pub fingerprint: String,
    pub program: Program,
    /// Rows measured before the first unit, by gate.
    pub baselines: serde_json::Map<String, serde_json::Value>,
    pub created_at: DateTime<Utc>,
    pub created_by: String,
    pub host: String,
    pub tool_version: String,
}

/// An event with its circumstances.
#[derive(Debug, Clone)]
pub struct Recorded {
    pub number: i64,
    pub at: DateTime<Utc>,
    pub epoch: i64,
    pub actor: String,
    pub host: String,
    pub event: Event,
}

const COLUMNS: &str =
    "run_id, plan, plan_path, plan_text, fingerprint, program, baselines, created_at, created_by, host, tool_version";

/// Every run, oldest first.
pub async fn runs(client: &impl GenericClient, schema: &Ident) -> Result<Vec<RunRecord>, LedgerError> {
    let query = sql!("SELECT {} FROM {}.runs ORDER BY created_at, run_id", Stmt::raw(COLUMNS), schema);
    client.query_typed(query.as_str(), &[]).await?.iter().map(record).collect()
}

/// One run.
pub async fn load(client: &impl GenericClient, schema: &Ident, run: Uuid) -> Result<Option<RunRecord>, LedgerError> {
    let query = sql!("SELECT {} FROM {}.runs WHERE run_id = $1", Stmt::raw(COLUMNS), schema);
    client.query_typed_opt(query.as_str(), &[(&run, Type::UUID)]).await?.as_ref().map(record).transpose()
}

fn record(row: &Row) -> Result<RunRecord, LedgerError> {
    let id: Uuid = row.try_get(0)?;
    let program: serde_json::Value = row.try_get(5)?;
    let baselines: serde_json::Value = row.try_get(6)?;
    let damaged = |what: String| LedgerError::Damaged { run: id.to_string(), what };
    let baselines = baselines.as_object().cloned().ok_or_else(|| damaged("baselines is not an object".to_owned()))?;
    let program = serde_json::from_value(program).map_err(|e| damaged(format!("the program cannot be read: {e}")))?;
    Ok(RunRecord {
        id,
        plan: row.try_get(1)?,
        plan_path: row.try_get(2)?,
        plan_text: row.try_get(3)?,
        fingerprint: row.try_get(4)?,
        program,
        baselines,
        created_at: row.try_get(7)?,
        created_by: row.try_get(8)?,
        host: row.try_get(9)?,
        tool_version: row.try_get(10)?,
    })
}

/// The events of a run in their order, without a gap.
pub async fn events(client: &impl GenericClient, schema: &Ident, run: Uuid) -> Result<Vec<Recorded>, LedgerError> {
    let query =
        sql!("SELECT number, at, epoch, actor, host, event FROM {}.events WHERE run_id = $1 ORDER BY number", schema);
    let rows = client.query_typed(query.as_str(), &[(&run, Type::UUID)]).await?;
    let damaged = |what: String| LedgerError::Damaged { run: run.to_string(), what };
    let mut out = Vec::with_capacity(rows.len());
    for (row, expected) in rows.iter().zip(1i64..) {
        let number: i64 = row.try_get(0)?;
        if number != expected {
            return Err(damaged(format!("event {expected} is missing; the next one is {number}")));
        }
        let event: serde_json::Value = row.try_get(5)?;
        let event =
            serde_json::from_value(event).map_err(|e| damaged(format!("event {number} cannot be read: {e}")))?;
        out.push(Recorded {
            number,
            at: row.try_get(1)?,
            epoch: row.try_get(2)?,
            actor: row.try_get(3)?,
            host: row.try_get(4)?,
            event,
        });
    }
    Ok(out)
}
