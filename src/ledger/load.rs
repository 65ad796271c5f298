//! Reading: runs and their events. What does not fit is reported as damage, never guessed around.

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio_postgres::{GenericClient, Row, types::Type};
use uuid::Uuid;

use super::{chain, error::LedgerError, layout::version};
use crate::{
    engine::{Event, Program, Run},
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

/// What tells a run from others, without its program.
#[derive(Debug, Clone)]
pub struct RunName {
    pub id: Uuid,
    pub plan: String,
    pub fingerprint: String,
    pub created_at: DateTime<Utc>,
    pub created_by: String,
    pub host: String,
}

/// A run with its log, judged: the chain is whole, every event can be read and may follow the one before.
#[derive(Debug, Clone)]
pub struct Kept {
    pub record: RunRecord,
    pub events: Vec<Recorded>,
    /// The fold of the events.
    pub run: Run,
}

/// Since then the log of a run is chained.
const CHAINED_SINCE: i32 = 3;

/// Every run, newest first.
pub async fn runs(client: &impl GenericClient, schema: &Ident) -> Result<Vec<RunName>, LedgerError> {
    let query = sql!(
        "SELECT run_id, plan, fingerprint, created_at, created_by, host FROM {}.runs ORDER BY created_at DESC, run_id DESC",
        schema
    );
    let rows = client.query_typed(query.as_str(), &[]).await?;
    let name = |row: &Row| {
        Ok(RunName {
            id: row.try_get(0)?,
            plan: row.try_get(1)?,
            fingerprint: row.try_get(2)?,
            created_at: row.try_get(3)?,
            created_by: row.try_get(4)?,
            host: row.try_get(5)?,
        })
    };
    rows.iter().map(name).collect()
}

/// One run with its log. The only way to either, so that nobody decides by a log that was not judged. `None`: no such run.
pub async fn read(client: &impl GenericClient, schema: &Ident, run: Uuid) -> Result<Option<Kept>, LedgerError> {
    kept(client, schema, run, true).await
}

/// One run with its log as it stands, for whoever is about to accept that. It must still be a log that can be folded.
pub async fn read_as_it_stands(
    client: &impl GenericClient,
    schema: &Ident,
    run: Uuid,
) -> Result<Option<Kept>, LedgerError> {
    kept(client, schema, run, false).await
}

async fn kept(
    client: &impl GenericClient,
    schema: &Ident,
    run: Uuid,
    judged: bool,
) -> Result<Option<Kept>, LedgerError> {
    let query = sql!(
        "SELECT run_id, plan, plan_path, plan_text, fingerprint, program, baselines, created_at, created_by, host, tool_version
           FROM {}.runs WHERE run_id = $1",
        schema
    );
    let Some(row) = client.query_typed_opt(query.as_str(), &[(&run, Type::UUID)]).await? else { return Ok(None) };
    let damaged = |what: String| LedgerError::Damaged { run: run.to_string(), what };
    let chained = version(client, schema).await?.is_some_and(|version| version >= CHAINED_SINCE);
    let log = if chained { chain::select(schema) } else { unchained(schema) };
    let rows = client.query_typed(log.as_str(), &[(&run, Type::UUID)]).await?;
    if chained
        && judged
        && let Some(what) = chain::judge(&rows)?
    {
        return Err(damaged(what));
    }
    let record = record(&row)?;
    let events = events(&rows, run)?;
    let folded = Run::fold(&record.program, events.iter().map(|recorded| &recorded.event));
    let run = folded.map_err(|illegal| damaged(format!("its events contradict each other: {illegal}")))?;
    Ok(Some(Kept { record, events, run }))
}

/// The events as a ledger of an earlier version has them.
fn unchained(schema: &Ident) -> Stmt {
    sql!("SELECT number, at, epoch, actor, host, event FROM {}.events WHERE run_id = $1 ORDER BY number", schema)
}

fn record(row: &Row) -> Result<RunRecord, LedgerError> {
    let (id, tool_version): (Uuid, String) = (row.try_get(0)?, row.try_get(10)?);
    let program: serde_json::Value = row.try_get(5)?;
    let baselines: serde_json::Value = row.try_get(6)?;
    let baselines = baselines
        .as_object()
        .cloned()
        .ok_or_else(|| LedgerError::Damaged { run: id.to_string(), what: "its baselines are no object".to_owned() })?;
    let program = serde_json::from_value(program).map_err(|e| LedgerError::Unknown {
        run: id.to_string(),
        what: format!("its program, written by tenantmig {tool_version}: {e}"),
    })?;
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
        tool_version,
    })
}

/// The events of a run in their order, without a gap.
fn events(rows: &[Row], run: Uuid) -> Result<Vec<Recorded>, LedgerError> {
    let mut out = Vec::with_capacity(rows.len());
    for (row, expected) in rows.iter().zip(1i64..) {
        let Some(number) = row.try_get::<_, Option<i64>>(0)? else { break };
        if number != expected {
            let what = format!("event {expected} is missing; the next one is {number}");
            return Err(LedgerError::Damaged { run: run.to_string(), what });
        }
        let event: serde_json::Value = row.try_get(5)?;
        let event = serde_json::from_value(event)
            .map_err(|e| LedgerError::Unknown { run: run.to_string(), what: format!("event {number}: {e}") })?;
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

/// One line of a log that nothing is decided by.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    pub number: i64,
    pub at: DateTime<Utc>,
    pub actor: String,
    pub host: String,
    pub kind: String,
    pub unit: Option<String>,
}

/// The newest entries of a log, newest first, judged or not: for somebody who looks at a damaged one.
pub async fn entries(
    client: &impl GenericClient,
    schema: &Ident,
    run: Uuid,
    limit: u32,
) -> Result<Vec<Entry>, LedgerError> {
    let query = sql!(
        "SELECT number, at, actor, host, kind, unit FROM {}.events WHERE run_id = $1 ORDER BY number DESC LIMIT {}",
        schema,
        limit
    );
    let rows = client.query_typed(query.as_str(), &[(&run, Type::UUID)]).await?;
    let entry = |row: &Row| {
        Ok(Entry {
            number: row.try_get(0)?,
            at: row.try_get(1)?,
            actor: row.try_get(2)?,
            host: row.try_get(3)?,
            kind: row.try_get(4)?,
            unit: row.try_get(5)?,
        })
    };
    rows.iter().map(entry).collect()
}
