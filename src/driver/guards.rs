//! What is asked before an undo begins, and after it. Whoever asks for a rollback is told what its guards find and may consent;
//! where a failure would begin one by itself nobody is there to, so that what they find holds it.
//!
//! Under FORCE a plain owner cannot count rows. Where the rollback itself takes that off before it comes to what a guard
//! guards, the guard is put off until then; what it finds then pauses the run, unless somebody agreed.

use tokio_postgres::Client;

use super::{
    error::DriveError,
    exposure::measure_tenants_unlocked,
    gate::{Measured, measure, unmeasured},
    shell::Shell,
};
use crate::{
    checks::{Consent, Gate, Guard, Measure},
    engine::{
        Agreed, Event, Finding, Found, Held, Mode, Notice, Program, PutOff, Run, guards, is_lifted, named, not_there,
    },
    ledger::RunRecord,
    pg::{self, Bounds, Class, connect::Connection},
    sql::QName,
};

/// What the guards of a rollback say.
#[derive(Debug, Clone, Default)]
pub struct Said {
    pub found: Vec<Found>,
    /// Those that can be asked only when the rollback is under way.
    pub put_off: Vec<PutOff>,
}

/// What became of one guard.
enum Answer {
    Findings(Vec<Finding>),
    /// These tables hide their rows until the rollback is under way, or are not there (whole) until then.
    PutOff {
        hidden: Vec<QName>,
        aside: bool,
    },
}

/// Which of a run's guards speak against keeping only the first `keep` phases. Those of a rollback that is under way have
/// let it through, but for those that were put off.
pub fn speaking(program: &Program, run: &Run, keep: usize) -> Vec<(usize, Guard)> {
    let begun = run.mode().keep().unwrap_or(program.phases.len());
    let place = |p: usize, guard: &Guard| program.phases[p].before_undo.iter().position(|one| one == guard);
    let open = guards(program, run, begun..program.phases.len()).into_iter();
    let open = open.filter(|(p, guard)| place(*p, guard).is_some_and(|g| run.is_put_off(*p, g)));
    let new = guards(program, run, keep.min(begun)..begun);
    open.chain(new).map(|(p, guard)| (p, guard.clone())).collect()
}

/// What the guards find, asked by a session that only looks.
///
/// Of a table under FORCE a plain owner sees no rows but by a lock, which it takes only where it `may_lock`.
pub async fn found(
    connection: &Connection,
    record: &RunRecord,
    run: &Run,
    keep: usize,
    may_lock: bool,
) -> Result<Said, DriveError> {
    let safety = &record.program.safety;
    let bounds = Bounds { lock: safety.lock_timeout.duration(), statement: safety.statement_deadline.duration() };
    let mut said = Said::default();
    for (p, guard) in speaking(&record.program, run, keep) {
        let measured = match &guard.gate.measure {
            Measure::Tenants(_) if !may_lock => measure_tenants_unlocked(connection, bounds, &guard.gate.query).await,
            Measure::Tenants(_)
            | Measure::Query
            | Measure::Isolation(_)
            | Measure::Latency(_)
            | Measure::Approval(_) => measure(connection, bounds, &guard.gate, baseline(record, &guard.gate)).await,
        };
        let answer = answer(connection, &record.program, run, (p, &guard), measured).await?;
        said.take(&record.program, (p, &guard), answer);
    }
    Ok(said)
}

fn baseline(record: &RunRecord, gate: &Gate) -> Option<i64> {
    record.baselines.get(&gate.id).and_then(serde_json::Value::as_i64)
}

fn told(phase: String, guard: &Guard, findings: Vec<Finding>) -> Option<Found> {
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

/// What could not be measured is put off where only row-level security hides its rows, and the rollback takes that off first; or where it
/// was put aside by a later step, and the rollback brings that back first.
async fn answer(
    connection: &Connection,
    program: &Program,
    run: &Run,
    (p, guard): (usize, &Guard),
    measured: Result<Measured, DriveError>,
) -> Result<Answer, DriveError> {
    // A guard may well pass over what is not there: of a table that is put aside nothing is known, whatever was measured.
    let missing = matches!(&measured, Err(DriveError::Server(fault)) if fault.is_missing());
    let away = not_there(program, run, p, guard).into_iter().filter(|(_, whole)| *whole || missing);
    let away: Vec<QName> = away.map(|(table, _)| table).collect();
    if !away.is_empty() && guard.consent != Some(Consent::Exposure) {
        return Ok(Answer::PutOff { hidden: away, aside: true });
    }
    // That rows become visible is asked before they do, or never.
    if matches!(measured, Ok(Measured::Unmeasurable(_))) && guard.consent != Some(Consent::Exposure) {
        let tables = &guard.gate.tables;
        let hidden = connection.with(async |client: &Client| pg::rls_hides(client, tables, &[]).await).await?;
        let hidden: Vec<QName> = tables.iter().filter(|table| hidden.contains(&table.to_string())).cloned().collect();
        if is_lifted(program, run, p, guard, &hidden) {
            return Ok(Answer::PutOff { hidden, aside: false });
        }
    }
    Ok(Answer::Findings(findings(measured)?))
}

/// A guard that could be asked only with row-level security off, where nobody may take it off.
fn unasked(guard: PutOff) -> Found {
    let PutOff { phase, title, consent, hidden, .. } = guard;
    let why = format!("row-level security hides the rows of {}, and stays while nobody is asked", named(&hidden));
    Found { phase, title, consent, findings: vec![unmeasured(why)] }
}

impl Said {
    fn take(&mut self, program: &Program, (p, guard): (usize, &Guard), answer: Answer) {
        let phase = program.phases[p].id.clone();
        let Guard { gate, consent, .. } = guard;
        match answer {
            Answer::Findings(findings) => self.found.extend(told(phase, guard, findings)),
            Answer::PutOff { hidden, aside } => {
                let (gate, title) = (gate.id.clone(), gate.title.clone());
                self.put_off.push(PutOff { phase, gate, title, consent: *consent, hidden, aside });
            }
        }
    }
}

impl Shell {
    /// What the guards find that speak against keeping only the first `keep` phases.
    pub async fn guards_found(&self, keep: usize) -> Result<Said, DriveError> {
        let run = &self.journal.run;
        self.ask_guards(run, speaking(&self.journal.record.program, run, keep)).await
    }

    async fn ask_guards(&self, run: &Run, speaking: Vec<(usize, Guard)>) -> Result<Said, DriveError> {
        let program = &self.journal.record.program;
        let mut said = Said::default();
        for (p, guard) in speaking {
            self.say(Notice::Gate { phase: program.phases[p].id.clone(), title: guard.gate.title.clone() });
            let baseline = baseline(&self.journal.record, &guard.gate);
            let measured = self.measure_patiently(&guard.gate, baseline).await;
            // A signal that came while it was measured is no answer.
            self.stop.check()?;
            let answer = answer(&self.work, program, run, (p, &guard), measured).await?;
            said.take(program, (p, &guard), answer);
        }
        Ok(said)
    }

    /// Records which guards are put off, and what was agreed to beforehand: before the rollback is begun, since one that is
    /// begun without would never ask them.
    pub async fn put_off(&mut self, guards: Vec<PutOff>, agreed: Vec<Agreed>) -> Result<(), DriveError> {
        if guards.is_empty() && !self.journal.run.puts_off() {
            return Ok(());
        }
        self.record(Event::GuardsPutOff { guards, agreed }).await
    }

    /// The event of a failure, with what holds the rollback that it would begin.
    pub(super) async fn unless_held(&mut self, event: Event) -> Result<Event, DriveError> {
        let program = &self.journal.record.program;
        let mut then = self.journal.run.clone();
        then.apply(program, &event)?;
        let Mode::Unwinding { keep } = *then.mode() else { return Ok(event) };
        let all = guards(program, &then, keep..program.phases.len());
        let speaking = all.into_iter().map(|(p, guard)| (p, guard.clone())).collect();
        let Said { mut found, put_off } = self.ask_guards(&then, speaking).await?;
        // What was put aside may come back unasked. To ask the others, protection would have to come off first, and nobody is there to
        // say so.
        let (aside, hidden): (Vec<PutOff>, Vec<PutOff>) = put_off.into_iter().partition(|guard| guard.aside);
        found.extend(hidden.into_iter().map(unasked));
        if !found.is_empty() {
            let keep = self.journal.record.program.keep_name(keep).to_owned();
            return Ok(event.held(Held { keep, found }));
        }
        if !aside.is_empty() {
            self.put_off(aside, Vec::new()).await?;
        }
        Ok(event)
    }

    /// Asks guard `number` of phase `p`, which was put off: what it guards is the next to be undone.
    pub(super) async fn ask(&mut self, p: usize, number: usize) -> Result<(), DriveError> {
        let phase = &self.journal.record.program.phases[p];
        let (id, guard) = (phase.id.clone(), phase.before_undo[number].clone());
        self.say(Notice::Gate { phase: id.clone(), title: guard.gate.title.clone() });
        let baseline = baseline(&self.journal.record, &guard.gate);
        let findings = findings(self.measure_patiently(&guard.gate, baseline).await)?;
        // A signal that came while it was measured is no answer.
        self.stop.check()?;
        let found = told(id.clone(), &guard, findings);
        let consent = found.as_ref().and_then(|found| found.consent);
        let agreed = self.journal.run.agreed().iter().find(|agreed| Some(agreed.consent) == consent).cloned();
        self.record(Event::GuardAsked { phase: id, gate: guard.gate.id, found, agreed }).await
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
