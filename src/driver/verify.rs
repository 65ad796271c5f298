//! Verifies what the ledger claims: the projection equals the fold, every deed is still there, every gate still passes.

use tokio_postgres::Client;

use super::{
    error::DriveError,
    gate::{Measured, measure},
    isolation::verify_isolation,
    latency::{verify_answers, verify_latency},
    open::find,
    repair::differing,
};
use crate::{
    checks::{Gate, Measure},
    engine::{Finding, Program, Run, UnitState, put_aside},
    isolation::Report,
    latency::Measurement,
    ledger::{self, Kept, RunRecord},
    pg::{
        Bounds,
        connect::Connection,
        fingerprint::{FORMAT, touched},
        in_transaction, probe,
    },
    sql::{Ident, Stmt},
    unit::{Down, Op, Presence, Probe},
};

/// What one verification said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    Failed(Vec<Finding>),
    /// The role may not see what it takes to tell.
    Unmeasurable(String),
    /// There is nothing to tell it by; nothing was asked.
    Untried(String),
}

/// One thing that was verified.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    pub phase: Option<String>,
    pub what: String,
    pub verdict: Verdict,
    /// What was asked as the application.
    pub isolation: Option<Report>,
    /// What a query of the application took.
    pub latency: Option<Measurement>,
}

impl Verified {
    /// With nothing but its verdict.
    pub(super) fn new(phase: Option<String>, what: String, verdict: Verdict) -> Self {
        Self { phase, what, verdict, isolation: None, latency: None }
    }
}

/// Verifies the newest run, or the one named. Changes nothing.
pub async fn verify(
    connection: &Connection,
    schema: &Ident,
    run: Option<uuid::Uuid>,
) -> Result<Vec<Verified>, DriveError> {
    let kept = connection
        .with(async |client: &Client| {
            ledger::require(client, schema).await?;
            find(client, schema, run).await
        })
        .await?;
    let Kept { record, run: state, .. } = kept;
    let safety = &record.program.safety;
    let bounds = Bounds { lock: safety.lock_timeout.duration(), statement: safety.statement_deadline.duration() };
    let mut out = vec![projection(connection, schema, &record, &state).await?];
    out.extend(undrifted(connection, bounds, schema, &record).await?);
    for (number, (p, unit)) in record.program.units().enumerate() {
        let done = matches!(state.unit(number), UnitState::Done { .. });
        if !done || matches!(unit.probe, Probe::Ledger) || is_ended(&record.program, &state, number) {
            continue;
        }
        let away = put_aside(&record.program, &state, number);
        if unit.lock.on.iter().any(|table| away.iter().any(|(of, whole)| *whole && of == table)) {
            continue;
        }
        let now =
            in_transaction(connection, bounds, async |client| Ok::<_, DriveError>(probe(client, &unit.probe).await?))
                .await?;
        let verdict = if now.presence == Presence::Present {
            Verdict::Passed
        } else {
            let found = now.found.unwrap_or_else(|| "nothing".to_owned());
            Verdict::Failed(vec![Finding {
                what: format!("the ledger says done, the database has {found}"),
                count: 1,
                example: None,
            }])
        };
        out.push(Verified::new(Some(record.program.phases[p].id.clone()), unit.title.clone(), verdict));
    }
    for (p, phase) in record.program.phases.iter().enumerate() {
        for (g, gate) in phase.gates.iter().enumerate().filter(|(g, _)| state.gate_passed(p, *g)) {
            // What is protected is asked below, whole. What somebody approved stays approved.
            match &gate.measure {
                Measure::Isolation(_) | Measure::Approval(_) => continue,
                Measure::Latency(gauge) => {
                    out.extend(verify_latency(connection, &phase.id, gauge, &record.baselines).await?);
                    continue;
                }
                Measure::Query | Measure::Tenants(_) => {}
            }
            let verdict = passes(connection, bounds, (&record, &state), (p, gate)).await?;
            tracing::debug!("gate {g} of {}: {verdict:?}", phase.id);
            out.push(Verified::new(Some(phase.id.clone()), gate.title.clone(), verdict));
        }
    }
    out.extend(verify_isolation(connection, &record.program, &state).await?);
    out.extend(verify_answers(connection, &record.program, &state).await?);
    Ok(out)
}

/// Measures a gate of phase `p`. What a later step put aside cannot be looked at.
async fn passes(
    connection: &Connection,
    bounds: Bounds,
    (record, state): (&RunRecord, &Run),
    (p, gate): (usize, &Gate),
) -> Result<Verdict, DriveError> {
    let baseline = record.baselines.get(&gate.id).and_then(serde_json::Value::as_i64);
    let measured = measure(connection, bounds, gate, baseline).await;
    let away = put_aside(&record.program, state, record.program.first_unit(p + 1).saturating_sub(1));
    let away = gate.tables.iter().find(|table| away.iter().any(|(of, _)| of == *table));
    Ok(match (measured, away) {
        (Ok(Measured::Passed | Measured::Noted(_)), _) => Verdict::Passed,
        (Ok(Measured::Failed(findings)), _) => Verdict::Failed(findings),
        (Ok(Measured::Unmeasurable(why)), _) => Verdict::Unmeasurable(why),
        (Err(DriveError::Server(fault)), Some(table)) if fault.is_missing() => {
            Verdict::Untried(format!("a later step put {table} aside, or a column of it"))
        }
        (Err(error), _) => return Err(error),
    })
}

/// While the run rests between phases, or is complete: whether others changed what it touches. `None` without a print to compare with.
async fn undrifted(
    connection: &Connection,
    bounds: Bounds,
    schema: &Ident,
    record: &ledger::RunRecord,
) -> Result<Option<Verified>, DriveError> {
    let read = async |client: &Client| ledger::print_in_force(client, schema, record.id).await;
    let print = connection.with(read).await?;
    let comparable =
        |print: &ledger::Print| (print.format, print.server) == (FORMAT, connection.server_version_num / 10_000);
    let Some(print) = print.filter(comparable) else { return Ok(None) };
    let function = record.program.tenancy.as_ref().and_then(|tenancy| tenancy.function.as_ref());
    let look = async |client: &Client| touched(client, &record.program.touches(), function).await;
    let changes = print.touched.changes(&in_transaction(connection, bounds, look).await?);
    let findings: Vec<_> = changes.into_iter().map(|what| Finding { what, count: 1, example: None }).collect();
    let verdict = if findings.is_empty() { Verdict::Passed } else { Verdict::Failed(findings) };
    let what = "nobody else changed what the plan touches since then".to_owned();
    Ok(Some(Verified::new(Some(print.phase), what, verdict)))
}

/// Whether a later unit of the plan took away on purpose what this one made (its deed is this one's undo), or made it anew
/// (the two have the same undo, hence the same object: a column's default; or both replace one function). That later one's probe says what is there.
fn is_ended(program: &Program, state: &Run, number: usize) -> bool {
    let Some(Down::Op(undo)) = program.unit(number).map(|(_, unit)| &unit.down) else { return false };
    let deed = program.unit(number).map(|(_, unit)| &unit.up);
    let last = if let Op::Tx(statements) = undo { statements.last() } else { None };
    let is_empty = matches!(undo, Op::Tx(statements) if statements.is_empty());
    let later = program.units().enumerate().skip(number + 1);
    later.into_iter().any(|(n, (_, unit))| {
        let again =
            !is_empty && matches!(&unit.down, Down::Op(op) if op == undo) && !matches!(unit.probe, Probe::Ledger);
        matches!(state.unit(n), UnitState::Done { .. })
            && (unit.up == *undo
                || again
                || last.is_some_and(|last| takes_along(&unit.up, last))
                || deed.is_some_and(|deed| replaced(deed).is_some_and(|function| Some(function) == replaced(&unit.up))))
    })
}

/// Whether a deed has in it what an undo ends with (`enforce_rls` drops the policy of `shadow_rls` in its own transaction), or
/// replaces the function that it drops.
fn takes_along(deed: &Op, last: &Stmt) -> bool {
    let Op::Tx(statements) = deed else { return false };
    let replaces = |deed: &Stmt| {
        let (old, new) = ("DROP FUNCTION IF EXISTS ", "CREATE OR REPLACE FUNCTION ");
        let dropped = last.as_str().strip_prefix(old);
        dropped
            .zip(deed.as_str().strip_prefix(new))
            .is_some_and(|(call, made)| made.strip_prefix(call).is_some_and(|rest| rest.starts_with(' ')))
    };
    statements.contains(last) || statements.iter().any(replaces)
}

/// The function that a deed gives another body: its name and arguments.
fn replaced(deed: &Op) -> Option<&str> {
    let Op::Tx(statements) = deed else { return None };
    let made = statements.iter().find_map(|made| made.as_str().strip_prefix("CREATE OR REPLACE FUNCTION "))?;
    made.split_once(" RETURNS ").map(|(call, _)| call)
}

/// `migration_progress.status` is a projection of the events; a difference means that somebody changed one of the two.
async fn projection(
    connection: &Connection,
    schema: &Ident,
    record: &ledger::RunRecord,
    state: &Run,
) -> Result<Verified, DriveError> {
    let look = async |client: &Client| differing(client, schema, record, state).await;
    let differing = connection.with(look).await?;
    let findings: Vec<_> = differing.into_iter().map(|what| Finding { what, count: 1, example: None }).collect();
    let verdict = if findings.is_empty() { Verdict::Passed } else { Verdict::Failed(findings) };
    let what = "the progress that status shows agrees with the events of the ledger".to_owned();
    Ok(Verified::new(None, what, verdict))
}
