//! The probes of a plan: what their queries took before the run, what they take under the policies, and what they answer.

use serde_json::{Map, Value};
use tokio_postgres::Client;

use super::{
    error::DriveError,
    gate::Measured,
    shell::{Shell, cancellable},
    verify::{Verdict, Verified},
};
use crate::{
    checks::Measure,
    engine::{Effect, Finding, Notice, Outcome, Program, Run, UnitState},
    latency::{Baseline, Gauge, Measurement, Spec},
    ledger,
    pg::{
        Bounds,
        connect::Connection,
        latency::{Outcome as Timed, answers, baseline, measure},
    },
    plan::Safety,
};

/// In the run's baselines: no gate has such an id.
fn key(probe: &str) -> String {
    format!("probe {probe}")
}

/// Measures the queries that gates of the program will measure, before anything of it is done. Not in the transaction that makes the
/// run: that holds the lease's row, which is renewed meanwhile.
pub(super) async fn before(session: &Connection, program: &Program) -> Result<Map<String, Value>, DriveError> {
    let mut kept = Map::new();
    for spec in gauges(program).flat_map(|gauge| &gauge.probes).filter(|spec| spec.timed) {
        if !kept.contains_key(&key(&spec.name)) {
            let value = serde_json::to_value(baseline(session, spec).await?).unwrap_or_default();
            kept.insert(key(&spec.name), value);
        }
    }
    Ok(kept)
}

/// The baseline of a probe; none where another version wrote it.
fn kept(baselines: &Map<String, Value>, spec: &Spec) -> Option<Baseline> {
    baselines.get(&key(&spec.name)).and_then(|value| serde_json::from_value(value.clone()).ok())
}

fn gauges(program: &Program) -> impl Iterator<Item = &Gauge> {
    program.phases.iter().flat_map(|phase| &phase.gates).filter_map(|gate| match &gate.measure {
        Measure::Latency(gauge) => Some(&**gauge),
        Measure::Query | Measure::Isolation(_) | Measure::Tenants(_) | Measure::Approval(_) => None,
    })
}

/// All that a gate found.
#[derive(Debug, Default)]
pub(super) struct Gauged {
    pub measured: Vec<Measurement>,
    failed: Vec<Finding>,
    unmeasurable: Vec<String>,
}

/// Asks and measures every probe of a gate.
pub(super) async fn gauge(
    session: &Connection,
    gauge: &Gauge,
    baselines: &Map<String, Value>,
) -> Result<Gauged, DriveError> {
    let mut all = Gauged::default();
    for spec in &gauge.probes {
        let of = |what: String| format!("probe {} as {}: {what}", spec.name, spec.role);
        match answers(session, spec).await? {
            Ok(wrong) => all.failed.extend(wrong.into_iter().map(|what| finding(of(what)))),
            Err(why) => all.unmeasurable.push(of(why)),
        }
        match measure(session, spec, gauge.budget, kept(baselines, spec).as_ref()).await? {
            Timed::Untimed => {}
            Timed::Measured(measurement) => {
                all.failed.extend(measurement.over.iter().cloned().map(finding));
                all.measured.push(*measurement);
            }
            Timed::TooLong(what) => all.failed.push(finding(what)),
            Timed::Unmeasurable(why) => all.unmeasurable.push(why),
        }
    }
    Ok(all)
}

impl Gauged {
    /// What fails, else what could not be measured, else what is to be told.
    pub(super) fn verdict(&self) -> Measured {
        if !self.failed.is_empty() {
            return Measured::Failed(self.failed.clone());
        }
        if !self.unmeasurable.is_empty() {
            return Measured::Unmeasurable(self.unmeasurable.join("; "));
        }
        let mut notes: Vec<String> = self.measured.iter().map(Measurement::told).collect();
        notes.extend(self.measured.iter().flat_map(|measurement| measurement.notes.clone()));
        if notes.is_empty() { Measured::Passed } else { Measured::Noted(notes) }
    }
}

impl Shell {
    /// Measures a gate's probes and keeps what they took.
    pub(super) async fn latency(&self, phase: &str, gate: &str, spec: &Gauge) -> Result<Measured, DriveError> {
        let baselines = &self.journal.record.baselines;
        let measuring = gauge(&self.work, spec, baselines);
        let gauged = cancellable(&self.work, &self.stop, measuring).await?;
        // A statement that was cancelled because somebody wants the end is no slow one.
        self.stop.check()?;
        let bounds = Bounds { lock: self.bounds().lock, statement: Safety::default().lock_timeout.duration() };
        self.fenced(bounds, async |client: &Client| {
            let place = &self.journal.place;
            Ok(ledger::keep_measurements(client, place, phase, gate, &gauged.measured).await?)
        })
        .await?;
        if matches!(gauged.verdict(), Measured::Failed(_)) {
            for text in gauged.measured.iter().map(Measurement::told) {
                self.say(Notice::Note { text });
            }
        }
        Ok(gauged.verdict())
    }
}

/// A gate that passed once, for `verify`: a line for each probe.
pub(super) async fn verify_latency(
    session: &Connection,
    phase: &str,
    spec: &Gauge,
    baselines: &Map<String, Value>,
) -> Result<Vec<Verified>, DriveError> {
    let mut out = Vec::new();
    for probe in spec.probes.iter().filter(|probe| probe.timed) {
        let one = Gauge { probes: vec![Spec { expect: None, ..probe.clone() }], budget: spec.budget };
        let gauged = gauge(session, &one, baselines).await?;
        let verdict = match gauged.verdict() {
            Measured::Passed | Measured::Noted(_) => Verdict::Passed,
            Measured::Failed(findings) => Verdict::Failed(findings),
            Measured::Unmeasurable(why) => Verdict::Unmeasurable(why),
        };
        let measurement = gauged.measured.into_iter().next();
        let what = measurement
            .as_ref()
            .map_or_else(|| format!("probe {} as {}: no time", probe.name, probe.role), Measurement::told);
        let mut verified = Verified::new(Some(phase.to_owned()), what, verdict);
        verified.latency = measurement;
        out.push(verified);
    }
    Ok(out)
}

/// The answers of the probes that expect one, once the run protects something or is complete.
pub(super) async fn verify_answers(
    session: &Connection,
    program: &Program,
    state: &Run,
) -> Result<Vec<Verified>, DriveError> {
    let protects = program
        .units()
        .enumerate()
        .any(|(n, (_, unit))| unit.guards_rows && matches!(state.unit(n), UnitState::Done { .. }));
    let complete = matches!(state.next(program), Effect::Halt(Outcome::Completed));
    let mut out = Vec::new();
    for spec in program.probes.iter().filter(|spec| spec.expect.is_some() && (protects || complete)) {
        let verdict = match answers(session, spec).await? {
            Ok(wrong) if wrong.is_empty() => Verdict::Passed,
            Ok(wrong) => Verdict::Failed(wrong.into_iter().map(finding).collect()),
            Err(why) => Verdict::Unmeasurable(why),
        };
        let expect = spec.expect.as_deref().unwrap_or_default();
        let what = format!("probe {} as {}: the answer is {expect}", spec.name, spec.role);
        out.push(Verified::new(None, what, verdict));
    }
    Ok(out)
}

fn finding(what: String) -> Finding {
    Finding { what, count: 1, example: None }
}
