//! Each event of the log in words, with what belongs to it.

use super::{
    facts::Logged,
    model::{Happened, Tone},
};
use crate::{
    engine::{Agreed, Approved, Asker, Event, Failure, Finding, Found, Given, Held, Program, PutOff, option},
    report::quantity,
    unit::{Before, Presence, UnitId},
};

/// The whole log.
pub(super) fn events(program: &Program, log: &[Logged]) -> Vec<Happened> {
    let one = |logged: &Logged| {
        let Logged { number, at, epoch, actor, host, event } = logged;
        let (tone, text, details) = told(program, event);
        let details = details.into_iter().map(|(label, text)| (label.to_owned(), text)).collect();
        Happened {
            number: *number,
            at: *at,
            epoch: *epoch,
            actor: actor.clone(),
            host: host.clone(),
            kind: event.kind().to_owned(),
            unit: event.unit().map(|unit| unit.0.clone()),
            tone,
            text,
            details,
        }
    };
    log.iter().map(one).collect()
}

type Details = Vec<(&'static str, String)>;

fn told(program: &Program, event: &Event) -> (Tone, String, Details) {
    let title = |unit: &UnitId| program.find(unit).map_or(unit.to_string(), |(_, _, unit)| unit.title.clone());
    match event {
        Event::Started { unit, before } => (Tone::Plain, format!("begins: {}", title(unit)), found(before)),
        Event::Succeeded { unit, rows } => {
            let rows = rows.map_or_else(String::new, |rows| format!(" ({})", quantity::rows(rows)));
            (Tone::Good, format!("done: {}{rows}", title(unit)), Vec::new())
        }
        Event::Failed { unit, failure } => (Tone::Bad, format!("failed: {}", title(unit)), why(failure)),
        Event::UndoStarted { unit } => (Tone::Caution, format!("begins to undo: {}", title(unit)), Vec::new()),
        Event::Undone { unit } => (Tone::Caution, format!("undone: {}", title(unit)), Vec::new()),
        Event::UndoFailed { unit, failure } => {
            (Tone::Bad, format!("could not be undone: {}", title(unit)), why(failure))
        }
        Event::GatePassed { phase, gate, approved } => {
            let details = approved.iter().map(|approved| ("approved by", approval(approved))).collect();
            (Tone::Good, format!("gate of phase {phase} passed: {}", gate_title(program, phase, gate)), details)
        }
        Event::GateFailed { phase, gate, findings, held: by } => {
            let details = findings.iter().map(|f| ("found", finding(f))).chain(held(by.as_ref())).collect();
            (Tone::Bad, format!("gate of phase {phase} failed: {}", gate_title(program, phase, gate)), details)
        }
        Event::RollbackRequested { keep, consents } => {
            let text = match keep.as_str() {
                "start" => "a rollback of everything was asked for".to_owned(),
                keep => format!("a rollback of everything after phase {keep} was asked for"),
            };
            (Tone::Caution, text, consents.iter().map(|given| ("consent", consent(given))).collect())
        }
        Event::GuardsPutOff { guards, agreed } => put_off(guards, agreed),
        Event::GuardAsked { phase, gate, found, agreed } => asked(phase, gate, found.as_ref(), agreed.as_ref()),
        Event::TurnedRound => {
            (Tone::Caution, "the rollback was given up; the run goes forward again".to_owned(), Vec::new())
        }
        Event::UndoChecked { phase, gate, findings } => {
            let (tone, verb) = if findings.is_empty() { (Tone::Good, "holds") } else { (Tone::Bad, "does not hold") };
            let details = findings.iter().map(|f| ("found", finding(f))).collect();
            let title = gate_title(program, phase, gate);
            (tone, format!("{verb} after the undo of phase {phase}: {title}"), details)
        }
        Event::Paused { why, asked } => (Tone::Caution, "paused".to_owned(), paused(why, asked.as_ref())),
        Event::Drifted { phase, since, found } => {
            let text = format!("stopped before phase {phase}: others changed what the plan touches since {since}");
            (Tone::Caution, text, vec![("found", found.clone())])
        }
        Event::DriftAccepted { phase, since, found } => {
            let text = format!("what others changed since {since} was accepted before phase {phase}");
            (Tone::Caution, text, vec![("accepted", found.clone())])
        }
        Event::Throttled { unit, signal, why } => {
            let text = format!("waits{}: {}", quantity::waits_for(signal), title(unit));
            (Tone::Caution, text, vec![("measured", why.clone())])
        }
        Event::Unthrottled { unit, waited_ms } => {
            let waited = quantity::millis(i64::try_from(*waited_ms).unwrap_or(i64::MAX));
            (Tone::Plain, format!("goes on after {waited}: {}", title(unit)), Vec::new())
        }
        Event::Retuned { by, host, asked_at, tuning } => {
            (Tone::Plain, format!("another pace: {tuning}"), vec![("asked by", format!("{by} on {host}, {asked_at}"))])
        }
        Event::Repaired { what } => {
            (Tone::Caution, "the log was accepted as it stood".to_owned(), vec![("wrong with it", what.clone())])
        }
        Event::Resumed => (Tone::Plain, "goes on".to_owned(), Vec::new()),
    }
}

fn gate_title(program: &Program, phase: &str, gate: &str) -> String {
    let phase = program.phases.iter().find(|p| p.id == phase);
    let mut gates = phase.into_iter().flat_map(|phase| phase.gates.iter().chain(&phase.after_undo));
    gates.find(|known| known.id == gate).map_or_else(|| gate.to_owned(), |known| known.title.clone())
}

/// Guards that are asked on the way back, and who agreed beforehand to whatever they find.
fn put_off(guards: &[PutOff], agreed: &[Agreed]) -> (Tone, String, Details) {
    let details = guards.iter().map(|guard| ("later", guard.to_string()));
    let details = details.chain(agreed.iter().map(|agreed| ("consent", agreed.to_string()))).collect();
    (Tone::Caution, "guards are asked on the way, once row-level security is off".to_owned(), details)
}

fn asked(phase: &str, gate: &str, found: Option<&Found>, agreed: Option<&Agreed>) -> (Tone, String, Details) {
    let mut details: Details = found.map(|found| ("found", found.to_string())).into_iter().collect();
    details.extend(agreed.map(|agreed| ("consent", agreed.to_string())));
    let (tone, word) = match (found, agreed) {
        (None, _) => (Tone::Good, "found nothing"),
        (Some(_), Some(_)) => (Tone::Caution, "found something that was agreed to"),
        (Some(_), None) => (Tone::Bad, "found something, and stopped the rollback"),
    };
    (tone, format!("guard {gate} of phase {phase} {word}"), details)
}

/// What stood there before, where something did.
fn found(before: &Before) -> Details {
    let text = match before.presence {
        Presence::Absent => return Vec::new(),
        Presence::Partial => "there in part, or in another form; made anew",
        Presence::Present => "there already, left as it is, and stays after a rollback",
        Presence::Conflict => "something else stands in its place, and was not touched",
    };
    let text = before.found.as_ref().map_or_else(|| text.to_owned(), |found| format!("{text}: {found}"));
    vec![("found", text)]
}

fn why(failure: &Failure) -> Details {
    let code = failure.sqlstate.as_ref().map_or_else(String::new, |code| format!(" (SQLSTATE {code})"));
    let mut details = vec![("why", format!("{}{code}", failure.message))];
    details.extend(failure.statement.clone().map(|statement| ("statement", statement)));
    details.extend(failure.advice.clone().map(|advice| ("advice", advice)));
    details.extend(held(failure.held.as_ref()));
    details
}

fn held(held: Option<&Held>) -> Details {
    held.iter().flat_map(|held| &held.found).map(|found| ("not undone", found.to_string())).collect()
}

fn paused(why: &str, asked: Option<&Asker>) -> Details {
    let mut details = vec![("why", why.to_owned())];
    details.extend(asked.map(|asked| ("asked by", format!("{} on {}, {}", asked.by, asked.host, asked.at))));
    details
}

/// `dba on host2, 2026-03-04T05:06:07Z: looked at it`.
pub(super) fn approval(of: &Approved) -> String {
    let why = of.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
    format!("{} on {}, {}{why}", of.by, of.host, of.at)
}

fn consent(given: &Given) -> String {
    let Given { consent, by, host, found } = given;
    format!("{} by {by} on {host}: {found}", option(*consent))
}

/// `2 rows without a tenant: 2, for example 17`.
pub(super) fn finding(f: &Finding) -> String {
    let example = f.example.as_ref().map_or_else(String::new, |example| format!(", for example {example}"));
    format!("{}: {}{example}", f.what, f.count)
}
