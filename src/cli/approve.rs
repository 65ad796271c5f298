//! `approve`: lets a phase begin that waits for somebody, or confirms what it did. From any host, also before the run gets there.

use std::time::Duration;

use serde_json::json;
use tokio_postgres::{Client, types::Type};

use super::{
    args,
    failure::CliError,
    session::{Context, host},
};
use crate::{
    checks::{Measure, Stage},
    driver,
    engine::{Mode, Program, Run},
    exit::Exit,
    ledger::{self, Kept},
    pg::connect::Connection,
    plan::Millis,
    sql::Ident,
    unit::UnitId,
};

/// Approves a phase of the newest run, or the one named.
pub async fn run(context: &Context, args: &args::Approve) -> Result<Exit, CliError> {
    let schema = context.schema()?;
    let session = context.look().await?;
    match act(context, args, &session, &schema).await {
        Err(error) if error.exit == Exit::Privilege => {
            Err(CliError { advice: Some(grants(&session, &schema).await?), ..error })
        }
        done => done,
    }
}

async fn act(context: &Context, args: &args::Approve, session: &Connection, schema: &Ident) -> Result<Exit, CliError> {
    let look = async |client: &Client| {
        ledger::require(client, schema).await?;
        let kept = driver::current(client, schema, args.run).await?;
        let alive = ledger::holder(client, schema).await?.is_some_and(|holder| holder.alive);
        Ok::<_, driver::DriveError>((kept, alive))
    };
    let (Kept { record, run, .. }, alive) = session.with(look).await?;
    let program = &record.program;
    let p = program.phases.iter().position(|phase| phase.id == args.phase);
    let p = p.ok_or_else(|| CliError::no_phase(program, &args.phase, "approve", false))?;
    let (stage, within) = awaited(program, &run, p)?;
    let phase = &program.phases[p];
    let units: Vec<UnitId> = phase.units.iter().map(|unit| unit.id.clone()).collect();
    let asked = (record.id, phase.id.as_str());
    let write = async |client: &Client| {
        let now = ledger::approval(client, schema, asked, driver::counts(stage, &units, within)).await?;
        if now.given.is_some() || stage == Stage::Confirm && now.waited >= within {
            return Ok(Err(now));
        }
        Ok::<_, CliError>(Ok(ledger::approve(client, schema, asked, &host(), args.reason.as_deref()).await?))
    };
    let number = match session.with(write).await? {
        Ok(number) => Some(number),
        Err(found) if found.given.is_some() => None,
        Err(_) => {
            let time = humantime::format_duration(within);
            let message =
                format!("phase `{}` was to be confirmed within {time}, which is over; nothing was changed", phase.id);
            return Err(CliError::new(
                Exit::Refused,
                message,
                "the next tenantmig resume carries out what it does on a failure",
            ));
        }
    };
    let what = match stage {
        Stage::Begin => "may begin",
        Stage::Confirm => "is confirmed",
    };
    let said = if number.is_some() { "approved" } else { "approved already" };
    let message = format!("{said}: phase `{}` of the plan `{}` {what}", phase.id, record.plan);
    let outcome = if number.is_some() { "approved" } else { "unchanged" };
    context.console.result(
        &message,
        json!({ "outcome": outcome, "exit": 0, "message": message, "run": record.id, "phase": phase.id, "approval": number }),
    )?;
    context.console.note(if alive {
        " next: wait; whoever works on the run sees it within 15 s, or when it gets there"
    } else {
        " next: nobody works on the run now: tenantmig resume"
    });
    Ok(Exit::Done)
}

/// What of the phase is to be approved: its begin, where nothing of it is done, else what it did.
fn awaited(program: &Program, run: &Run, p: usize) -> Result<(Stage, Duration), CliError> {
    let phase = &program.phases[p];
    let refused = |what: &str| {
        let message = format!("phase `{}` {what}; nothing was changed", phase.id);
        Err(CliError::new(Exit::Refused, message, "tenantmig status shows what is waited for"))
    };
    let open = |stage: Stage| {
        let mut gates = phase.gates.iter().enumerate();
        let gate = gates.find(|(_, gate)| gate.measure == Measure::Approval(stage));
        gate.map(|(g, gate)| (run.gate_passed(p, g), gate.wait.map_or(Duration::ZERO, Millis::duration)))
    };
    let back = match run.mode() {
        Mode::Forward => false,
        Mode::Paused { then } => **then != Mode::Forward,
        Mode::Unwinding { .. } | Mode::Stuck { .. } => true,
    };
    let units = program.first_unit(p)..program.first_unit(p + 1);
    let done = units.clone().all(|unit| run.unit(unit).is_done());
    match (open(Stage::Begin), open(Stage::Confirm)) {
        (None, None) => refused("waits for nobody's approval: the plan says neither approve_within nor confirm_within"),
        _ if back => refused("is on its way back, or was taken back: approve it when the run goes forward again"),
        (Some((false, within)), _) => Ok((Stage::Begin, within)),
        (_, Some((false, within))) if done => Ok((Stage::Confirm, within)),
        (_, Some((false, _))) => refused("is not done yet: confirm it when you have seen what it did"),
        (Some((true, _)), _) | (None, Some((true, _))) => refused("is approved, and the run has gone on"),
    }
}

/// What lets a role look at the ledger and approve, and no more: who approves, and when, stays the server's word.
async fn grants(session: &Connection, schema: &Ident) -> Result<String, CliError> {
    let query =
        "SELECT format('GRANT USAGE ON SCHEMA %1$I TO %2$I; GRANT SELECT ON ALL TABLES IN SCHEMA %1$I TO %2$I; '
        'GRANT INSERT (run_id, phase, host, reason) ON %1$I.approvals TO %2$I', $1, current_user)";
    let ask = async |client: &Client| {
        Ok::<_, CliError>(client.query_typed_one(query, &[(&schema.as_str(), Type::TEXT)]).await?)
    };
    Ok(session.with(ask).await?.try_get(0)?)
}
