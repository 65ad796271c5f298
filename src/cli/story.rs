//! Carries a run on and tells how it ended: what failed, where, why, what was undone, what stays, what to type next.

use serde_json::{Value, json};
use tokio_postgres::Client;

use super::{args::Format, awaits, consent, failure::CliError, session::Context};
use crate::{
    driver::{Lease, Rest, Shell, drive},
    engine::{Event, Failure, Outcome, Program, Run, nothing_to_run, operators_pause, taken_back},
    exit::Exit,
    ledger::{self, LedgerError, Recorded},
    report::Listener,
    unit::UnitId,
};

/// What the command wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// To the end of the plan, or of the first phases.
    Forward { until: Option<usize> },
    /// Back to where only the first phases stay.
    Back,
}

/// Drives the opened run, gives the lease back, and prints the result.
pub async fn carry(
    context: &Context,
    mut shell: Shell,
    lease: Lease,
    listener: Listener,
    goal: Goal,
) -> Result<Exit, CliError> {
    let first = shell.journal.last() + 1;
    shell.open();
    let until = match goal {
        Goal::Forward { until } => until,
        Goal::Back => None,
    };
    let driven = match goal {
        // A rollback that was under way is finished first and not turned round.
        Goal::Forward { .. } => match shell.wake().await {
            Ok(()) => drive(&mut shell, until).await,
            Err(error) => Err(error),
        },
        Goal::Back => drive(&mut shell, until).await,
    };
    let driven = match driven {
        Ok(rest) => Ok(rest),
        Err(error) => Err(shell.name_successor(error).await),
    };
    lease.give_back().await;
    let program = shell.journal.record.program.clone();
    let place = &shell.journal.place;
    let events = match &driven {
        // The statement that was stopped may still be under way, and a question would wait behind it.
        Err(_) => Ok(Vec::new()),
        Ok(_) => {
            let read = async |client: &Client| ledger::read(client, &place.schema, place.run).await;
            match shell.work.with(read).await {
                // One of the two sessions may have been lost after its last use.
                Err(LedgerError::Server(_)) => shell.monitor.with(read).await,
                read => read,
            }
            .map(|kept| kept.map_or(Vec::new(), |kept| kept.events))
        }
    };
    drop(shell);
    // The reporters end before the summary, so that their last lines stand above it.
    match tokio::task::spawn_blocking(move || listener.finish()).await {
        Ok(ending) => {
            if let Some(why) = ending.broken {
                context.console.note(&format!("note: the progress was not told to its end: {why}"));
            }
        }
        Err(error) => tracing::warn!("the reporters ended badly: {error}"),
    }
    let rest = driven?;
    let end = End::of(&program, &events?, first, rest, goal);
    match context.console.format {
        Format::Text => context.console.show(&end.text())?,
        Format::Json => context.console.print(&end.json().to_string())?,
        Format::Ndjson => {
            let mut value = end.json();
            value["kind"] = json!("summary");
            context.console.print(&value.to_string())?;
        }
    }
    if let Some(next) = &end.next {
        context.console.note(&format!(" next: {next}"));
    }
    Ok(end.exit)
}

/// Undone units that the summary names, last done first: enough to see where it began.
const UNDONE_SHOWN_MAX: usize = 15;

/// How a command's run ended.
#[derive(Debug)]
pub(super) struct End {
    pub exit: Exit,
    outcome: &'static str,
    headline: String,
    failure: Option<Why>,
    undone: Vec<String>,
    stays: Vec<String>,
    rows: u64,
    pub next: Option<String>,
}

/// What failed.
#[derive(Debug)]
struct Why {
    what: String,
    phase: String,
    step: Option<String>,
    why: String,
    statement: Option<String>,
    advice: Option<String>,
}

/// A pause that a limit of the throttle caused is over some time; another waits for a person.
fn paused(
    program: &Program,
    run: Option<&Run>,
    events: &[Recorded],
) -> (Exit, &'static str, String, Vec<String>, Option<String>) {
    if let Some((why, asked)) = operators_pause(events.iter().map(|recorded| &recorded.event)) {
        let headline = format!("paused by {} on {}: {why}", asked.by, asked.host);
        let next = "tenantmig resume; or undo: tenantmig rollback --to PHASE".to_owned();
        return (Exit::Temporary, "paused", headline, Vec::new(), Some(next));
    }
    if let Some(next) = run.and_then(|run| awaits::next(program, run, false)) {
        return (Exit::Temporary, "paused", "paused: nobody let the phase begin".to_owned(), Vec::new(), Some(next));
    }
    match events.last().map(|recorded| &recorded.event) {
        Some(Event::Paused { why, .. }) => (
            Exit::Temporary,
            "paused",
            format!("paused: {why}"),
            Vec::new(),
            Some("when the cause is gone: tenantmig resume; other limits for backfills: tenantmig throttle --help; or undo: tenantmig rollback --to PHASE".to_owned()),
        ),
        Some(Event::GuardAsked { found: Some(found), .. }) => {
            let keep = run.and_then(|run| run.mode().keep()).map_or("start", |keep| program.keep_name(keep));
            let exposed = run.map_or(String::new(), |run| consent::exposed(program, run));
            let headline = format!("paused before what a guard forbids, none of which is undone; {exposed}\n{found}");
            (Exit::Refused, "paused", headline, Vec::new(), Some(consent::way_on_at(found, keep)))
        }
        Some(Event::Drifted { phase, since, found }) => (
            Exit::Refused,
            "drifted",
            format!(
                "paused before phase `{phase}`: others changed what the plan touches since `{since}` was over; nothing was touched\n{found}"
            ),
            Vec::new(),
            Some(DRIFT_NEXT.to_owned()),
        ),
        Some(Event::Failed { failure, .. }) if failure.disk_full => (
            Exit::Temporary,
            "paused",
            "paused: the server's disk is full; everything done so far stays".to_owned(),
            Vec::new(),
            Some("make room, then: tenantmig resume; or undo: tenantmig rollback --to PHASE".to_owned()),
        ),
        Some(Event::Failed { failure: Failure { held: Some(held), .. }, .. })
        | Some(Event::GateFailed { held: Some(held), .. }) => {
            let found: Vec<String> = held.found.iter().map(ToString::to_string).collect();
            let headline =
                format!("paused and nothing undone: nobody agreed to what the rollback's guards found\n{}", found.join("\n"));
            (Exit::Failed, "paused", headline, Vec::new(), Some(consent::way_on(held)))
        }
        Some(_) | None => (
            Exit::Failed,
            "paused",
            "paused: everything stays as it is until somebody decides".to_owned(),
            Vec::new(),
            Some("mend the cause, then: tenantmig resume; or undo: tenantmig rollback --to PHASE".to_owned()),
        ),
    }
}

/// Everything was undone that should be, and it is not as the plan says that it is then.
fn doubtful(keep: &str) -> (Exit, &'static str, String, Vec<String>, Option<String>) {
    let headline = format!("rolled back to `{keep}`, and what after_undo asks for does not hold");
    let next = format!("mend it, then measure again: tenantmig rollback --to {keep}");
    (Exit::Findings, "rolled_back", headline, Vec::new(), Some(next))
}

/// What to type when others changed what the plan touches.
pub(super) const DRIFT_NEXT: &str = "put it back, then: tenantmig resume; or take it as it is: tenantmig resume --accept-drift; or undo: tenantmig rollback --to PHASE";

/// Rows that batches wrote.
fn written(events: &[Recorded]) -> u64 {
    events.iter().map(|r| if let Event::Succeeded { rows: Some(rows), .. } = &r.event { *rows } else { 0 }).sum()
}

impl End {
    pub fn of(program: &Program, all: &[Recorded], first: i64, rest: Rest, goal: Goal) -> Self {
        let events = &all[all.partition_point(|recorded| recorded.number < first)..];
        let wished = goal == Goal::Back || taken_back(all.iter().map(|recorded| &recorded.event));
        let done = events.iter().filter(|r| matches!(r.event, Event::Succeeded { .. })).count();
        let undone = undone(program, all, first);
        let failure = events.iter().rev().find_map(|r| why(program, &r.event));
        let rows = written(events);
        let names = |keep: usize| program.phases.iter().take(keep).map(|phase| phase.id.clone()).collect::<Vec<_>>();
        let plan = &program.plan;
        let run = Run::fold(program, all.iter().map(|r| &r.event)).ok();
        let in_doubt = run.as_ref().is_some_and(Run::undo_is_in_doubt);
        let all = program.phases.len();
        let (exit, outcome, headline, stays, next) = match (rest, goal) {
            (Rest::At(Outcome::Completed), _) if events.is_empty() => (
                Exit::Done,
                "unchanged",
                format!("nothing to do: plan `{plan}` is applied already; nothing was changed"),
                names(all),
                None,
            ),
            (Rest::At(Outcome::Completed), _) => (
                Exit::Done,
                "completed",
                format!("done: plan `{plan}` is applied ({} in this run)", counted(done)),
                names(all),
                None,
            ),
            (Rest::Reached { phases }, _) => (
                Exit::Done,
                "reached",
                format!("done up to phase `{}` ({} in this run)", program.keep_name(phases), counted(done)),
                names(phases),
                Some("tenantmig resume".to_owned()),
            ),
            (Rest::At(Outcome::RolledBack { keep }), _) if in_doubt => doubtful(program.keep_name(keep)),
            (Rest::At(Outcome::RolledBack { keep }), _) if failure.is_none() && wished => (
                Exit::Done,
                "rolled_back",
                if undone.is_empty() {
                    format!("nothing to undo: the run stands at `{}` already", program.keep_name(keep))
                } else {
                    format!("done: rolled back to `{}` ({} undone)", program.keep_name(keep), counted(undone.len()))
                },
                names(keep),
                undone.is_empty().then(|| "to go forward again: tenantmig apply PLAN".to_owned()),
            ),
            (Rest::At(Outcome::RolledBack { keep }), _) => (
                Exit::RolledBack,
                "rolled_back",
                format!("failed; rolled back cleanly to `{}`", program.keep_name(keep)),
                names(keep),
                Some("mend the cause, then: tenantmig resume".to_owned()),
            ),
            (Rest::At(Outcome::Stuck { unit }), _) => {
                let id = program.unit(unit).map(|(_, unit)| unit.id.to_string()).unwrap_or_default();
                (
                    Exit::Stuck,
                    "stuck",
                    format!("STUCK: the undo of {id} failed; what was undone before it stays undone, what comes before it stays done"),
                    Vec::new(),
                    Some("mend the cause, then: tenantmig resume (the SQL that is left: tenantmig rollback --to start --dry-run --sql)".to_owned()),
                )
            }
            (Rest::At(Outcome::Paused), _) => paused(program, run.as_ref(), events),
        };
        Self { exit, outcome, headline, failure, undone, stays, rows, next }
    }

    pub fn text(&self) -> String {
        let mut lines = vec![self.headline.clone()];
        let mut row =
            |name: &str, value: &str| lines.push(format!("  {name:<10} {}", value.replace('\n', "\n             ")));
        if let Some(failure) = &self.failure {
            row("what", &failure.what);
            let step = failure.step.as_ref().map_or(String::new(), |step| format!(", step `{step}`"));
            row("where", &format!("phase `{}`{step}", failure.phase));
            row("why", &failure.why);
            if let Some(statement) = &failure.statement {
                row("statement", statement);
            }
            if let Some(advice) = &failure.advice {
                row("advice", advice);
            }
        }
        if !self.undone.is_empty() {
            let shown: Vec<&str> = self.undone.iter().take(UNDONE_SHOWN_MAX).map(String::as_str).collect();
            let more = self.undone.len() - shown.len();
            let rest =
                if more > 0 { format!("\n… {more} more; --format json lists them all") } else { String::new() };
            row("undone", &format!("{}{rest}", shown.join("\n")));
        }
        if !self.stays.is_empty() {
            row("stays", &format!("phases {}", self.stays.join(", ")));
        } else if self.outcome == "rolled_back" {
            row("stays", "nothing of the plan");
        }
        if self.rows > 0 {
            row("rows", &crate::report::quantity::rows(self.rows));
        }
        lines.join("\n")
    }

    pub fn json(&self) -> Value {
        let failure = self.failure.as_ref().map(|f| {
            json!({ "what": f.what, "phase": f.phase, "step": f.step, "why": f.why, "statement": f.statement, "advice": f.advice })
        });
        json!({
            "v": 1, "outcome": self.outcome, "exit": self.exit as u8, "message": self.headline, "failure": failure,
            "undone": self.undone, "stays": self.stays, "rows": self.rows, "next": self.next,
        })
    }
}

/// What was undone since `first`, and where there was nothing to run for it, why: "undone" would promise more than was done.
fn undone(program: &Program, all: &[Recorded], first: i64) -> Vec<String> {
    let mut run = Run::new(program);
    let mut lines = Vec::new();
    for Recorded { number, event, .. } in all {
        if let (Some(unit), Event::Undone { .. }) = (event.unit(), event)
            && let Some((n, _, found)) = program.find(unit).filter(|_| *number >= first)
        {
            let nothing = nothing_to_run(program, &run, run.mode().keep().unwrap_or(0), n);
            let note = nothing.map_or(String::new(), |why| format!(" — nothing to run: {why}"));
            lines.push(format!("{}{note}", found.title));
        }
        if run.apply(program, event).is_err() {
            break;
        }
    }
    lines
}

fn why(program: &Program, event: &Event) -> Option<Why> {
    match event {
        Event::Failed { unit, failure } | Event::UndoFailed { unit, failure } => {
            let (_, p, found) = program.find(unit)?;
            let state = failure.sqlstate.as_ref().map_or(String::new(), |state| format!(" (SQLSTATE {state})"));
            Some(Why {
                what: found.title.clone(),
                phase: program.phases[p].id.clone(),
                step: step(unit),
                why: format!("{}{state}", failure.message),
                statement: failure.statement.clone(),
                advice: failure.advice.clone(),
            })
        }
        Event::GateFailed { phase, gate, findings, .. } | Event::UndoChecked { phase, gate, findings } => {
            if findings.is_empty() && matches!(event, Event::UndoChecked { .. }) {
                return None;
            }
            let of = program.phases.iter().find(|p| &p.id == phase)?;
            let gates = if matches!(event, Event::UndoChecked { .. }) { &of.after_undo } else { &of.gates };
            let title = gates.iter().find(|g| &g.id == gate)?.title.clone();
            let text: Vec<String> = findings
                .iter()
                .map(|f| {
                    let example = f.example.as_ref().map_or(String::new(), |e| format!("; e.g. {e}"));
                    format!(
                        "{}: {}{example}",
                        f.what,
                        crate::report::quantity::count(u64::try_from(f.count).unwrap_or(0))
                    )
                })
                .collect();
            Some(Why {
                what: format!("gate: {title}"),
                phase: phase.clone(),
                step: None,
                why: text.join("\n"),
                statement: None,
                advice: None,
            })
        }
        Event::Started { .. }
        | Event::Succeeded { .. }
        | Event::UndoStarted { .. }
        | Event::Undone { .. }
        | Event::GatePassed { .. }
        | Event::GuardsPutOff { .. }
        | Event::GuardAsked { .. }
        | Event::TurnedRound
        | Event::RollbackRequested { .. }
        | Event::Paused { .. }
        | Event::Drifted { .. }
        | Event::DriftAccepted { .. }
        | Event::Throttled { .. }
        | Event::Unthrottled { .. }
        | Event::Retuned { .. }
        | Event::Repaired { .. }
        | Event::Resumed => None,
    }
}

fn counted(units: usize) -> String {
    crate::report::quantity::counted(u64::try_from(units).unwrap_or(0), "unit", "units")
}

fn step(unit: &UnitId) -> Option<String> {
    unit.0.split('/').nth(1).map(str::to_owned)
}
