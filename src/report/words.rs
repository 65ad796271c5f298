//! One notice in plain English. Every reporter for people takes its words from here; they differ in what they show when.

use chrono::{DateTime, Utc};

use super::{
    excerpt,
    look::Mark,
    one_line, quantity,
    story::{Cause, Story, Task, Walk, What},
};
use crate::{
    engine::{Agreed, Blocker, Event, Failure, Finding, Found, Held, Notice, Outcome, PutOff},
    unit::{Presence, UnitId},
};

/// Characters of a failed statement that are shown; the ledger keeps it whole.
const STATEMENT_CHARS_MAX: usize = 400;

/// Characters of somebody else's query that are shown: enough to recognise it.
const QUERY_CHARS_MAX: usize = 80;

/// Sessions that are named one by one.
const BLOCKERS_NAMED_MAX: usize = 5;

/// A notice in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    pub stay: Stay,
    pub mark: Mark,
    /// One line.
    pub text: String,
    /// Lines that belong to it, each with a label.
    pub details: Vec<Detail>,
}

/// A label and one line.
pub(super) type Detail = (&'static str, String);

/// For how long the words matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stay {
    /// Part of the run's record.
    Lasting,
    /// Until the unit or gate ends.
    Begun,
    /// Until the next batch.
    Progress,
    /// Until the lock is had.
    LockWait,
    /// Until it goes on.
    Waiting,
}

impl Words {
    fn new(stay: Stay, mark: Mark, text: impl Into<String>) -> Self {
        Self { stay, mark, text: one_line(&text.into()), details: Vec::new() }
    }

    fn lasting(mark: Mark, text: impl Into<String>) -> Self {
        Self::new(Stay::Lasting, mark, text)
    }

    fn with(mut self, details: impl IntoIterator<Item = Detail>) -> Self {
        self.details.extend(details);
        self
    }
}

/// The words for a notice that the story has heard; `None` where an earlier notice said it.
pub(super) fn words(story: &Story, at: DateTime<Utc>, notice: &Notice) -> Option<Words> {
    Some(match notice {
        Notice::Opened { run, plan, units_done, units, resumed } => {
            let verb = if *resumed { "goes on" } else { "begins" };
            let all = quantity::counted(*units as u64, "unit", "units");
            let done = if *units_done > 0 { format!("{units_done} of {all} done") } else { all };
            Words::lasting(Mark::Begin, format!("plan {plan} {verb}: {done}, run {run}"))
        }
        Notice::Phase { id, number, of } => Words::lasting(Mark::Begin, format!("phase {number} of {of}: {id}")),
        Notice::Unit { title, undo } => {
            let text = if *undo { format!("undo: {title}") } else { title.clone() };
            Words::new(Stay::Begun, Mark::Blank, text)
        }
        Notice::Event(event) => return happened(story, at, event),
        Notice::Batch { .. } => {
            let task = story.task.as_ref()?;
            Words::new(Stay::Progress, Mark::Blank, format!("{}: {}", task.title, progress(task.walk.as_ref()?)))
        }
        Notice::LockWait { statement, attempt, attempts, blockers, again_in_ms } => {
            let again = quantity::millis(i64::try_from(*again_in_ms).unwrap_or(i64::MAX));
            let text = format!("no lock at attempt {attempt} of {attempts}, again in {again}");
            Words::new(Stay::LockWait, Mark::Wait, text)
                .with([("why", excerpt(statement, STATEMENT_CHARS_MAX))])
                .with(blocked_by(blockers, BLOCKERS_NAMED_MAX))
        }
        Notice::Waiting { why, again_in_ms } => {
            let again = quantity::millis(i64::try_from(*again_in_ms).unwrap_or(i64::MAX));
            Words::new(Stay::Waiting, Mark::Wait, format!("waiting: {why}, looking again in {again}"))
        }
        Notice::Gate { title, .. } => Words::new(Stay::Begun, Mark::Blank, format!("gate: {title}")),
        Notice::Note { text } => Words::lasting(Mark::Blank, format!("note: {text}")),
        Notice::Closed { outcome } => closed(story, at, *outcome),
    })
}

fn happened(story: &Story, at: DateTime<Utc>, event: &Event) -> Option<Words> {
    let task = story.task.as_ref();
    let title = task.map_or("", |task| &task.title);
    let took = task.map_or_else(String::new, |task| quantity::millis(task.took_ms(at)));
    Some(match event {
        Event::Started { before, .. } if before.presence == Presence::Partial => {
            let found = before.found.as_deref().map(|found| ("found", excerpt(found, STATEMENT_CHARS_MAX)));
            Words::lasting(Mark::Blank, format!("{title}: there in part or in another form, and made anew")).with(found)
        }
        Event::Started { .. } | Event::UndoStarted { .. } => return None,
        Event::Succeeded { .. } if task.is_some_and(|t| t.presence == Some(Presence::Present)) => {
            Words::lasting(Mark::Done, format!("{title} (found in place, left as it is)"))
        }
        Event::Succeeded { rows: Some(rows), .. } => {
            Words::lasting(Mark::Done, format!("{title} ({took}, {})", quantity::rows(*rows)))
        }
        Event::Succeeded { rows: None, .. } => Words::lasting(Mark::Done, format!("{title} ({took})")),
        Event::Failed { unit, failure } => Words::lasting(Mark::Failed, format!("{title} failed after {took}"))
            .with([("where", place(story, unit))])
            .with(reason(failure)),
        Event::Undone { .. } => Words::lasting(Mark::Done, format!("undone: {title} ({took})")),
        Event::UndoFailed { unit, failure } => Words::lasting(Mark::Failed, format!("{title} could not be undone"))
            .with([("where", place(story, unit))])
            .with(reason(failure)),
        Event::GatePassed { .. } => Words::lasting(Mark::Done, format!("gate passed: {title} ({took})")),
        Event::GateFailed { phase, findings, held: by, .. } => {
            Words::lasting(Mark::Failed, format!("gate failed: {title} ({took})"))
                .with([("where", format!("phase {}", numbered(story, phase)))])
                .with(findings.iter().map(|f| ("found", finding(f))))
                .with(held(by.as_ref()))
        }
        Event::UndoChecked { findings, .. } if findings.is_empty() => {
            Words::lasting(Mark::Done, format!("holds after the undo: {title} ({took})"))
        }
        Event::UndoChecked { phase, findings, .. } => {
            Words::lasting(Mark::Failed, format!("does not hold after the undo: {title} ({took})"))
                .with([("where", format!("phase {}", numbered(story, phase)))])
                .with(findings.iter().map(|f| ("found", finding(f))))
        }
        Event::RollbackRequested { keep, consents } => {
            Words::lasting(Mark::Begin, format!("rollback requested: {}", all_after(keep)))
                .with(consents.iter().map(|given| ("consents", given.to_string())))
        }
        Event::GuardsPutOff { guards, agreed } => put_off(guards, agreed),
        Event::GuardAsked { found, agreed, .. } => asked(title, &took, found.as_ref(), agreed.as_ref()),
        Event::TurnedRound => Words::lasting(Mark::Begin, "the rollback is given up, and the run goes forward again"),
        Event::Paused { why, asked: None } => Words::lasting(Mark::Wait, format!("paused: {why}")),
        Event::Paused { why, asked: Some(asked) } => {
            Words::lasting(Mark::Wait, format!("paused by {} on {}: {why}", asked.by, asked.host))
        }
        Event::Drifted { phase, since, found } => drifted(story, phase, since, found),
        Event::DriftAccepted { since, found, .. } => {
            Words::lasting(Mark::Begin, format!("what others changed since `{since}` was over is accepted"))
                .with(found.lines().map(|line| ("found", line.to_owned())))
        }
        Event::Throttled { signal, why, .. } => {
            Words::lasting(Mark::Wait, format!("waits{}: {why}", quantity::waits_for(signal)))
        }
        Event::Unthrottled { waited_ms, .. } => {
            let waited = i64::try_from(*waited_ms).unwrap_or(i64::MAX);
            Words::lasting(Mark::Begin, format!("goes on after a wait of {}", quantity::millis(waited)))
        }
        Event::Retuned { by, host, tuning, .. } => {
            retuned(&format!("{by} on {host}"), &tuning.without_hold().to_string(), tuning.hold.as_ref())
        }
        Event::Repaired { what } => Words::lasting(Mark::Wait, format!("the log was accepted as it stood: {what}")),
        Event::Resumed => Words::lasting(Mark::Begin, "goes on"),
    })
}

fn drifted(story: &Story, phase: &str, since: &str, found: &str) -> Words {
    Words::lasting(Mark::Wait, format!("others changed what the plan touches since `{since}` was over"))
        .with([("where", format!("before phase {}", numbered(story, phase)))])
        .with(found.lines().map(|line| ("found", line.to_owned())))
}

fn put_off(guards: &[PutOff], agreed: &[Agreed]) -> Words {
    Words::lasting(Mark::Wait, "guards are put off until row-level security is off the tables that they read")
        .with(guards.iter().map(|one| ("put off", one.to_string())))
        .with(agreed.iter().map(|one| ("agreed", one.to_string())))
}

/// What a guard that was put off said.
fn asked(title: &str, took: &str, found: Option<&Found>, agreed: Option<&Agreed>) -> Words {
    let (mark, text) = match (found, agreed) {
        (None, _) => (Mark::Done, format!("guard passed: {title} ({took})")),
        (Some(_), Some(_)) => (Mark::Wait, format!("passed over, since somebody agreed: {title}")),
        (Some(_), None) => (Mark::Failed, format!("guard: {title} ({took})")),
    };
    Words::lasting(mark, text)
        .with(agreed.map(|agreed| ("agreed", agreed.to_string())))
        .with(found.map(|found| ("found", one_line(&found.to_string()))))
}

/// Who changed the pace, and to what; whether the backfills are to stand still, and why.
fn retuned(who: &str, pace: &str, hold: Option<&Option<String>>) -> Words {
    let changed = (!pace.is_empty()).then(|| format!("changed the pace: {pace}"));
    let (mark, held) = match hold {
        Some(Some(why)) => (Mark::Wait, Some(format!("holds the backfills: {why}"))),
        Some(None) => (Mark::Begin, Some("lets the backfills go on".to_owned())),
        None => (Mark::Begin, None),
    };
    let said: Vec<String> = changed.into_iter().chain(held).collect();
    Words::lasting(mark, format!("{who} {}", said.join("; and ")))
}

fn closed(story: &Story, at: DateTime<Utc>, outcome: Outcome) -> Words {
    let took = |began: DateTime<Utc>| format!(" in {}", quantity::millis((at - began).num_milliseconds()));
    let took = story.began.map_or_else(String::new, took);
    match outcome {
        Outcome::Completed if story.done_now == 0 => {
            Words::lasting(Mark::Done, "completed: every unit was done before")
        }
        Outcome::Completed => {
            let done = quantity::counted(story.done_now as u64, "unit", "units");
            Words::lasting(Mark::Done, format!("completed: {done} done{took}"))
        }
        Outcome::RolledBack { keep } => {
            let undone = match story.undone_now {
                0 => "nothing was left to undo".to_owned(),
                n => format!("{} undone{took}", quantity::counted(n as u64, "unit", "units")),
            };
            let mark = if story.cause.is_some() { Mark::Failed } else { Mark::Done };
            let text = format!("rolled back {}: {undone}", kept(story, keep));
            Words::lasting(mark, text).with(because(story))
        }
        Outcome::Stuck { unit } => {
            let title = story.task.as_ref().filter(|task| task.what == What::Undo).map(|task| task.title.clone());
            let title = title.unwrap_or_else(|| format!("unit number {}", unit + 1));
            let undone = quantity::counted(story.undone_now as u64, "unit", "units");
            let text = format!("stuck: {title} could not be undone; {undone} undone before it");
            Words::lasting(Mark::Failed, text).with(because(story))
        }
        Outcome::Paused => {
            let why = story.paused.as_deref().unwrap_or("");
            let done = quantity::counted(story.done_now as u64, "unit", "units");
            let text = format!("paused{why}; {done} done{took}, what is done stays");
            Words::lasting(if story.cause.is_some() { Mark::Failed } else { Mark::Wait }, text).with(because(story))
        }
    }
}

/// `61.2 %, 1,234,567 of about 2,000,000 rows, 12,300 rows/s, about 4 min 10 s left`.
pub(super) fn progress(walk: &Walk) -> String {
    let mut parts = vec![quantity::percent(walk.percent), rows_of(walk)];
    parts.extend(walk.speed.rows_per_second().map(quantity::rows_per_second));
    parts.extend(walk.speed.remaining().map(|left| format!("about {} left", quantity::duration(left))));
    parts.join(", ")
}

/// `1,234,567 of about 2,000,000 rows`; without the estimate where there is none or where it is outgrown.
pub(super) fn rows_of(walk: &Walk) -> String {
    if walk.rows_estimated > walk.rows_done {
        format!("{} of about {}", quantity::count(walk.rows_done), quantity::rows(walk.rows_estimated))
    } else {
        quantity::rows(walk.rows_done)
    }
}

/// The sessions in the way, at most `named_max` by name.
pub(super) fn blocked_by(blockers: &[Blocker], named_max: usize) -> Vec<Detail> {
    let mut details: Vec<Detail> = blockers.iter().take(named_max).map(|b| ("blocked by", blocker(b))).collect();
    if blockers.len() > named_max {
        let more = quantity::counted((blockers.len() - named_max) as u64, "more session", "more sessions");
        details.push(("blocked by", more));
    }
    details
}

/// `pid 4711, app_rw/psql, 4 min 10 s, idle in transaction: UPDATE …`.
pub fn blocker(b: &Blocker) -> String {
    let who = if b.application.is_empty() { b.user.clone() } else { format!("{}/{}", b.user, b.application) };
    let age = quantity::millis(b.transaction_age_ms);
    if b.is_prepared() {
        return one_line(&format!(
            "prepared transaction {} of {}, {age}: COMMIT PREPARED or ROLLBACK PREPARED it",
            b.query, b.user
        ));
    }
    let query = excerpt(&b.query, QUERY_CHARS_MAX);
    let tail = if query.is_empty() { query } else { format!(": {query}") };
    one_line(&format!("pid {}, {who}, {age}, {}{tail}", b.pid, b.state))
}

/// What is being done, with the sign of its direction: `undo: add column …`.
pub(super) fn title(task: &Task) -> String {
    match task.what {
        What::Up => one_line(&task.title),
        What::Undo => one_line(&format!("undo: {}", task.title)),
        What::Gate => one_line(&format!("gate: {}", task.title)),
    }
}

fn place(story: &Story, unit: &UnitId) -> String {
    let mut parts = unit.0.splitn(3, '/');
    let phase = numbered(story, parts.next().unwrap_or_default());
    match parts.next() {
        Some(step) => format!("phase {phase}, step {step}"),
        None => format!("phase {phase}"),
    }
}

fn numbered(story: &Story, phase: &str) -> String {
    match story.phase.as_ref().filter(|known| known.id == phase) {
        Some(known) => format!("{phase} ({} of {})", known.number, known.of),
        None => phase.to_owned(),
    }
}

fn reason(failure: &Failure) -> Vec<Detail> {
    let mut details = vec![("why", why(failure))];
    details.extend(failure.statement.as_ref().map(|sql| ("statement", excerpt(sql, STATEMENT_CHARS_MAX))));
    details.extend(failure.advice.as_ref().map(|advice| ("advice", one_line(advice))));
    details.extend(held(failure.held.as_ref()));
    details
}

/// What stood in the way of the rollback that the failure would have begun.
fn held(held: Option<&Held>) -> Vec<Detail> {
    let found = held.iter().flat_map(|held| &held.found);
    found.map(|found| ("not undone", one_line(&found.to_string()))).collect()
}

fn why(failure: &Failure) -> String {
    match &failure.sqlstate {
        Some(code) => one_line(&format!("{} (SQLSTATE {code})", failure.message)),
        None => one_line(&failure.message),
    }
}

fn because(story: &Story) -> Vec<Detail> {
    match &story.cause {
        None => Vec::new(),
        Some(Cause::Unit { title, failure }) => {
            let mut details = vec![("because", one_line(&format!("{title}: {}", why(failure))))];
            details.extend(failure.advice.as_ref().map(|advice| ("advice", one_line(advice))));
            details
        }
        Some(Cause::Gate { title, findings }) => {
            let found = findings.first().map_or_else(String::new, |f| format!(": {}", finding(f)));
            vec![("because", one_line(&format!("gate {title}{found}")))]
        }
    }
}

fn finding(f: &Finding) -> String {
    let example = f.example.as_ref().map_or_else(String::new, |example| format!(", for example {example}"));
    let count = u64::try_from(f.count).map(quantity::count).unwrap_or_else(|_| f.count.to_string());
    one_line(&format!("{}: {count}{example}", f.what))
}

fn all_after(keep: &str) -> String {
    if keep == "start" {
        "everything is to be undone".to_owned()
    } else {
        format!("everything after phase {keep} is to be undone")
    }
}

fn kept(story: &Story, keep: usize) -> String {
    let requested = story.requested.as_ref().filter(|name| *name != "start");
    match (keep, story.phases.get(&keep), requested) {
        (0, _, _) => "to the start".to_owned(),
        (_, Some(name), _) | (_, None, Some(name)) => format!("to the end of phase {name}"),
        (1, None, None) => "to the end of the first phase".to_owned(),
        (_, None, None) => format!("to the end of phase number {keep}"),
    }
}
