//! What is asked before an undo begins, and after it. Whoever asks for a rollback is told what its guards find and may consent;
//! where a failure would begin one by itself nobody is there to, so that what they find holds it.

use super::{
    error::DriveError,
    gate::{Measured, measure, unmeasured},
    shell::Shell,
};
use crate::{
    checks::Gate,
    engine::{Event, Finding, Found, Held, Mode, Notice, Program, Run, guards},
    ledger::RunRecord,
    pg::{Bounds, Class, connect::Connection},
};

/// Which of a run's guards speak against keeping only the first `keep` phases. Those of a rollback that is under way have
/// let it through.
pub fn speaking(program: &Program, run: &Run, keep: usize) -> Vec<(String, crate::checks::Guard)> {
    let begun = run.mode().keep().unwrap_or(program.phases.len());
    guards(program, run, keep..begun).into_iter().map(|(phase, guard)| (phase.to_owned(), guard.clone())).collect()
}

/// What the guards find, asked by a session that only looks.
pub async fn found(
    connection: &Connection,
    record: &RunRecord,
    run: &Run,
    keep: usize,
) -> Result<Vec<Found>, DriveError> {
    let safety = &record.program.safety;
    let bounds = Bounds { lock: safety.lock_timeout.duration(), statement: safety.statement_deadline.duration() };
    let mut all = Vec::new();
    for (phase, guard) in speaking(&record.program, run, keep) {
        let findings = findings(measure(connection, bounds, &guard.gate, baseline(record, &guard.gate)).await)?;
        all.extend(told(phase, &guard, findings));
    }
    Ok(all)
}

fn baseline(record: &RunRecord, gate: &Gate) -> Option<i64> {
    record.baselines.get(&gate.id).and_then(serde_json::Value::as_i64)
}

fn told(phase: String, guard: &crate::checks::Guard, findings: Vec<Finding>) -> Option<Found> {
    let (title, consent) = (guard.gate.title.clone(), guard.consent);
    (!findings.is_empty()).then_some(Found { phase, title, consent, findings })
}

/// What cannot be measured does not hold.
fn findings(measured: Result<Measured, DriveError>) -> Result<Vec<Finding>, DriveError> {
    match measured {
        Ok(Measured::Passed | Measured::Noted(_)) => Ok(Vec::new()),
        Ok(Measured::Failed(findings)) => Ok(findings),
        Ok(Measured::Unmeasurable(why)) => Ok(vec![unmeasured(why)]),
        Err(DriveError::Server(fault)) if !matches!(fault.class, Class::Ambiguous | Class::Cancelled) => {
            Ok(vec![unmeasured(fault.to_string())])
        }
        Err(error) => Err(error),
    }
}

impl Shell {
    /// What the guards find that speak against keeping only the first `keep` phases.
    pub async fn guards_found(&self, keep: usize) -> Result<Vec<Found>, DriveError> {
        let speaking = speaking(&self.journal.record.program, &self.journal.run, keep);
        self.ask_guards(speaking).await
    }

    async fn ask_guards(&self, speaking: Vec<(String, crate::checks::Guard)>) -> Result<Vec<Found>, DriveError> {
        let mut all = Vec::new();
        for (phase, guard) in speaking {
            self.say(Notice::Gate { phase: phase.clone(), title: guard.gate.title.clone() });
            let baseline = baseline(&self.journal.record, &guard.gate);
            let findings = findings(self.measure_patiently(&guard.gate, baseline).await)?;
            all.extend(told(phase, &guard, findings));
        }
        Ok(all)
    }

    /// The event of a failure, with what holds the rollback that it would begin.
    pub(super) async fn unless_held(&self, event: Event) -> Result<Event, DriveError> {
        let program = &self.journal.record.program;
        let mut then = self.journal.run.clone();
        then.apply(program, &event)?;
        let Mode::Unwinding { keep } = then.mode() else { return Ok(event) };
        let all = guards(program, &then, *keep..program.phases.len());
        let speaking = all.into_iter().map(|(phase, guard)| (phase.to_owned(), guard.clone())).collect();
        let found = self.ask_guards(speaking).await?;
        if found.is_empty() {
            return Ok(event);
        }
        Ok(event.held(Held { keep: program.keep_name(*keep).to_owned(), found }))
    }

    /// Measures gate `number` of what must hold when phase `p` is undone.
    pub(super) async fn check_undo(&mut self, p: usize, number: usize) -> Result<(), DriveError> {
        let phase = &self.journal.record.program.phases[p];
        let (id, gate) = (phase.id.clone(), phase.after_undo[number].clone());
        self.say(Notice::Gate { phase: id.clone(), title: gate.title.clone() });
        let baseline = baseline(&self.journal.record, &gate);
        let findings = findings(self.measure_patiently(&gate, baseline).await)?;
        self.record(Event::UndoChecked { phase: id, gate: gate.id, findings }).await
    }
}
