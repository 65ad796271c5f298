//! Measures gates. A gate that cannot be measured does not pass. One that waits for what others do (`wait`) is measured again
//! while it finds something: after each look the loop goes on, so that requests and reasons to stop are seen between two.

use std::time::{Duration, Instant};

use tokio_postgres::{Client, Row, types::Type};

use super::{
    error::DriveError,
    exposure::measure_tenants,
    isolation::measure_isolation,
    latency::gauge,
    shell::{Shell, cancellable, millis},
};
use crate::{
    checks::{Gate, Measure},
    engine::{Event, Finding, Notice},
    pg::{Bounds, Class, Fault, connect::Connection, in_transaction},
    plan::OnDiskFull,
};

/// A gate that waits is measured about a hundred times in its time, but not so often that its query weighs on the server, nor
/// so seldom that the run stands still for long after the last old session is gone.
pub(super) const LOOKS: u32 = 100;
pub(super) const LOOK_EVERY: std::ops::RangeInclusive<Duration> = Duration::from_millis(500)..=Duration::from_secs(15);

/// The gate that is being waited for, and since when. A lost connection does not begin it anew; another process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Awaited {
    phase: usize,
    gate: usize,
    pub(super) since: Instant,
}

/// What measuring a gate gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Measured {
    Passed,
    /// It passed, and there is something to say.
    Noted(Vec<String>),
    Failed(Vec<Finding>),
    /// The role may not see what the gate asks for.
    Unmeasurable(String),
}

impl Shell {
    /// Measures gate `number` of phase `p` and records what it says; of one that still waits nothing is recorded.
    pub async fn gate(&mut self, p: usize, number: usize) -> Result<(), DriveError> {
        let phase = &self.journal.record.program.phases[p];
        let (id, gate) = (phase.id.clone(), phase.gates[number].clone());
        if self.awaited.is_none_or(|awaited| (awaited.phase, awaited.gate) != (p, number)) {
            self.say(Notice::Gate { phase: id.clone(), title: gate.title.clone() });
            self.awaited = Some(Awaited { phase: p, gate: number, since: Instant::now() });
        }
        if let Measure::Approval(stage) = gate.measure {
            return self.await_approval(p, &gate, stage).await;
        }
        let baseline = self.journal.record.baselines.get(&gate.id).and_then(serde_json::Value::as_i64);
        let failed = |findings| Event::GateFailed { phase: id.clone(), gate: gate.id.clone(), findings, held: None };
        let measured = match &gate.measure {
            Measure::Latency(gauge) => self.latency(&id, &gate.id, gauge).await,
            Measure::Query | Measure::Isolation(_) | Measure::Tenants(_) | Measure::Approval(_) => {
                self.measure_patiently(&gate, baseline).await
            }
        };
        let event = match measured {
            Ok(Measured::Passed) => Event::GatePassed { phase: id.clone(), gate: gate.id.clone(), approved: None },
            Ok(Measured::Noted(notes)) => {
                for text in notes {
                    self.say(Notice::Note { text });
                }
                Event::GatePassed { phase: id.clone(), gate: gate.id.clone(), approved: None }
            }
            Ok(Measured::Failed(findings)) => match self.still_waits(&gate) {
                Some(pause) => return self.wait_for_others(&gate, &findings, pause).await,
                None => failed(findings),
            },
            Ok(Measured::Unmeasurable(why)) => failed(vec![unmeasured(why)]),
            // A gate that sorts needs room as well; that it had none says nothing about the rows.
            Err(DriveError::Server(fault))
                if fault.is_disk_full() && self.safety().on_disk_full == OnDiskFull::Pause =>
            {
                Event::Paused { why: format!("the gate could not be measured: {fault}"), asked: None }
            }
            Err(DriveError::Server(fault)) if fault.class != Class::Ambiguous => {
                self.stop.check()?;
                failed(vec![unmeasured(fault.to_string())])
            }
            Err(error) => return Err(error),
        };
        self.awaited = None;
        let event = self.unless_held(event).await?;
        self.record(event).await
    }

    /// How long until it is measured again; `None` when its time is spent, or it has none.
    fn still_waits(&self, gate: &Gate) -> Option<Duration> {
        let (wait, since) = (gate.wait?.duration(), self.awaited?.since);
        let left = wait.checked_sub(since.elapsed()).filter(|left| !left.is_zero())?;
        Some((wait / LOOKS).clamp(*LOOK_EVERY.start(), *LOOK_EVERY.end()).min(left))
    }

    async fn wait_for_others(&self, gate: &Gate, findings: &[Finding], pause: Duration) -> Result<(), DriveError> {
        let more = findings.len().saturating_sub(1);
        let first = findings.first().map_or("", |finding| finding.what.as_str());
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        let why = format!("{}: {first}{more}", gate.title);
        self.say(Notice::Waiting { why, again_in_ms: millis(pause) });
        self.rest(pause).await
    }

    /// Measures; a lock that is not had at once says nothing about the rows, and is tried for again as for a step.
    pub(super) async fn measure_patiently(&self, gate: &Gate, baseline: Option<i64>) -> Result<Measured, DriveError> {
        let mut number = 0;
        loop {
            number += 1;
            let (watch, sampled) = self.watch_blockers(self.bounds().lock);
            let measured = measure(&self.work, self.bounds(), gate, baseline);
            let measured = cancellable(&self.work, &self.stop, measured).await;
            watch.abort();
            let Err(error) = measured else { return measured };
            self.try_again(error, number, sampled.take(), "the gate").await?;
        }
    }
}

pub(super) fn unmeasured(why: String) -> Finding {
    Finding { what: format!("the gate could not be measured: {why}"), count: 0, example: None }
}

/// Runs a gate's query in a read-only transaction, or asks as the application. `baseline` is the value measured when the run began.
pub async fn measure(
    connection: &Connection,
    bounds: Bounds,
    gate: &Gate,
    baseline: Option<i64>,
) -> Result<Measured, DriveError> {
    match &gate.measure {
        Measure::Isolation(spec) => return measure_isolation(connection, spec).await,
        Measure::Approval(_) => return Ok(Measured::Unmeasurable("only a run that is under way asks that".to_owned())),
        // Without what was before: a guard of an undo has another state to compare with.
        Measure::Latency(spec) => return Ok(gauge(connection, spec, &serde_json::Map::new()).await?.verdict()),
        Measure::Tenants(table) => return measure_tenants(connection, bounds, &gate.query, table).await,
        Measure::Query => {}
    }
    let rows = in_transaction(connection, bounds, async |client: &Client| {
        client.batch_execute("SET TRANSACTION READ ONLY").await?;
        let params: &[(&(dyn tokio_postgres::types::ToSql + Sync), Type)] =
            if gate.baseline.is_some() { &[(&baseline, Type::INT8)] } else { &[] };
        let rows = client.query_typed(gate.query.as_str(), params).await;
        Ok::<_, DriveError>(rows.map_err(|error| Fault::from(error).in_statement(gate.query.as_str()))?)
    })
    .await;
    let rows = match rows {
        Ok(rows) => rows,
        Err(DriveError::Server(fault)) if fault.class == Class::Privilege => {
            let hint = "under FORCE ROW LEVEL SECURITY only a role with BYPASSRLS sees every row";
            return Ok(Measured::Unmeasurable(format!("{fault}; {hint}")));
        }
        Err(error) => return Err(error),
    };
    measured(&rows)
}

/// What the rows of a gate's query say.
pub(super) fn measured(rows: &[Row]) -> Result<Measured, DriveError> {
    let findings = rows
        .iter()
        .map(|row| Ok(Finding { what: row.try_get(0)?, count: row.try_get(1)?, example: row.try_get(2)? }))
        .collect::<Result<Vec<_>, DriveError>>()?;
    Ok(if findings.is_empty() { Measured::Passed } else { Measured::Failed(findings) })
}
