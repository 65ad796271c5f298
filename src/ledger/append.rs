//! Writing: a new run, and its events one after the other.

use tokio_postgres::{
    GenericClient,
    types::{ToSql, Type},
};
use uuid::Uuid;

use super::{chain, error::LedgerError, lease::Hold};
use crate::{
    engine::{Event, Program},
    sql,
    sql::Ident,
};

/// Where a holder writes: which ledger, which run, as whom and under which epoch, from which host.
#[derive(Debug, Clone)]
pub struct Place {
    pub schema: Ident,
    pub run: Uuid,
    pub holder: Uuid,
    pub epoch: i64,
    pub host: String,
}

impl Place {
    /// What the lease has to say for anything to be written here.
    pub fn hold(&self) -> Hold {
        Hold { holder: self.holder, epoch: self.epoch }
    }
}

/// A run that is about to begin.
#[derive(Debug)]
pub struct NewRun<'a> {
    pub plan_path: Option<&'a str>,
    pub plan_text: &'a str,
    pub fingerprint: &'a str,
    pub program: &'a Program,
    pub baselines: serde_json::Value,
}

/// Records a new run with a pending row for each unit. To be called in a transaction, behind the fence.
pub async fn create_run(tx: &impl GenericClient, place: &Place, new: &NewRun<'_>) -> Result<(), LedgerError> {
    let program = serde_json::to_value(new.program).map_err(|e| LedgerError::Install(e.to_string()))?;
    let insert = sql!(
        "INSERT INTO {}.runs (run_id, plan, plan_path, plan_text, fingerprint, program, baselines, host, tool_version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        place.schema
    );
    tx.execute_typed(
        insert.as_str(),
        &[
            (&place.run, Type::UUID),
            (&new.program.plan, Type::TEXT),
            (&new.plan_path, Type::TEXT),
            (&new.plan_text, Type::TEXT),
            (&new.fingerprint, Type::TEXT),
            (&program, Type::JSONB),
            (&new.baselines, Type::JSONB),
            (&place.host, Type::TEXT),
            (&env!("CARGO_PKG_VERSION"), Type::TEXT),
        ],
    )
    .await?;
    rows(tx, place, new.program).await?;
    chain::begin(tx, place, 0).await.map(drop)
}

/// A pending row for each unit that has none.
pub(super) async fn rows(tx: &impl GenericClient, place: &Place, program: &Program) -> Result<(), LedgerError> {
    let rows: Vec<serde_json::Value> = program
        .units()
        .enumerate()
        .map(|(ordinal, (p, unit))| {
            let step = unit.id.0.split('/').nth(1).unwrap_or_default();
            serde_json::json!({ "unit": unit.id, "ordinal": ordinal, "phase": program.phases[p].id, "step": step, "title": unit.title })
        })
        .collect();
    let insert = sql!(
        "INSERT INTO {}.migration_progress (run_id, unit, ordinal, phase, step, title)
         SELECT $1, x.unit, x.ordinal, x.phase, x.step, x.title
           FROM jsonb_to_recordset($2) AS x(unit text, ordinal integer, phase text, step text, title text)
         ON CONFLICT (run_id, unit) DO NOTHING",
        place.schema
    );
    let rows = serde_json::Value::Array(rows);
    tx.execute_typed(insert.as_str(), &[(&place.run, Type::UUID), (&rows, Type::JSONB)]).await?;
    Ok(())
}

/// Appends event `number`, with its link of the chain, and projects it on `migration_progress`, in the caller's transaction and behind its fence.
pub async fn append(tx: &impl GenericClient, place: &Place, number: i64, event: &Event) -> Result<(), LedgerError> {
    let insert = chain::insert(&place.schema);
    let body = serde_json::to_value(event).map_err(|e| LedgerError::Install(e.to_string()))?;
    let unit = event.unit().map(|unit| unit.0.as_str());
    let params: [(&(dyn ToSql + Sync), Type); 7] = [
        (&place.run, Type::UUID),
        (&number, Type::INT8),
        (&place.epoch, Type::INT8),
        (&place.host, Type::TEXT),
        (&event.kind(), Type::TEXT),
        (&unit, Type::TEXT),
        (&body, Type::JSONB),
    ];
    if tx.execute_typed(insert.as_str(), &params).await? == 0 {
        // A run that an earlier version began has no chain yet.
        let begun = chain::begin(tx, place, number - 1).await?;
        if !begun || tx.execute_typed(insert.as_str(), &params).await? == 0 {
            return Err(chain::moved(place.run, number));
        }
    }
    project(tx, place, event).await
}

/// What the event means for the row of its unit.
async fn project(tx: &impl GenericClient, place: &Place, event: &Event) -> Result<(), LedgerError> {
    let Some(unit) = event.unit() else { return Ok(()) };
    let (change, error) = match event {
        Event::Started { .. } => (
            "status = 'running', attempts = attempts + 1, started_at = coalesce(started_at, clock_timestamp()), finished_at = NULL, error = NULL",
            None,
        ),
        Event::Succeeded { .. } => ("status = 'done', finished_at = clock_timestamp(), error = NULL", None),
        Event::Failed { failure, .. } => {
            ("status = 'failed', finished_at = clock_timestamp(), error = $3", Some(&failure.message))
        }
        Event::UndoStarted { .. } => ("status = 'undoing', error = NULL", None),
        // The next apply begins this unit from the start.
        Event::Undone { .. } => (
            "status = 'pending', rows_done = 0, cursor = NULL, attempts = 0, started_at = NULL, finished_at = NULL, error = NULL",
            None,
        ),
        Event::UndoFailed { failure, .. } => ("status = 'stuck', error = $3", Some(&failure.message)),
        Event::GatePassed { .. }
        | Event::GateFailed { .. }
        | Event::RollbackRequested { .. }
        | Event::UndoChecked { .. }
        | Event::GuardsPutOff { .. }
        | Event::GuardAsked { .. }
        | Event::TurnedRound
        | Event::Paused { .. }
        | Event::Drifted { .. }
        | Event::DriftAccepted { .. }
        | Event::Throttled { .. }
        | Event::Unthrottled { .. }
        | Event::Retuned { .. }
        | Event::Repaired { .. }
        | Event::Resumed => return Ok(()),
    };
    let update = sql!(
        "UPDATE {}.migration_progress SET updated_at = clock_timestamp(), {} WHERE run_id = $1 AND unit = $2 AND ($3::text IS NULL OR true)",
        place.schema,
        sql::Stmt::raw(change)
    );
    tx.execute_typed(update.as_str(), &[(&place.run, Type::UUID), (&unit.0, Type::TEXT), (&error, Type::TEXT)]).await?;
    if matches!(event, Event::Undone { .. }) {
        let forget = sql!("DELETE FROM {}.backfill_ranges WHERE run_id = $1 AND unit = $2", place.schema);
        tx.execute_typed(forget.as_str(), &[(&place.run, Type::UUID), (&unit.0, Type::TEXT)]).await?;
    }
    Ok(())
}
