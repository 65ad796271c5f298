//! What a reporter remembers of a run, so that one notice can be told in full: the title of a unit, how long it took,
//! what failed first.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::speed::Speed;
use crate::{
    engine::{Blocker, Event, Failure, Finding, Notice},
    unit::{Presence, UnitId},
};

/// The run so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Story {
    /// When the first notice came.
    pub began: Option<DateTime<Utc>>,
    pub closed: bool,
    /// Units done and taken back since it opened.
    pub done_now: usize,
    pub undone_now: usize,
    pub phase: Option<Phase>,
    /// Phases by their number, as far as they were entered.
    pub phases: BTreeMap<usize, String>,
    /// What is being done, or was done last.
    pub task: Option<Task>,
    /// What it waits for; over with the next notice that is not about waiting.
    pub wait: Option<Wait>,
    /// The first failure since the last request: the reason for a rollback.
    pub cause: Option<Cause>,
    /// The last request for a rollback: the phase that stays.
    pub requested: Option<String>,
    /// Why it was paused, and by whom, as it stands behind `paused`.
    pub paused: Option<String>,
}

/// A phase of the plan; `number` counts from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Phase {
    pub id: String,
    pub number: usize,
    pub of: usize,
}

/// A unit or a gate under way.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub title: String,
    pub what: What,
    pub unit: Option<UnitId>,
    pub since: DateTime<Utc>,
    pub ended: Option<DateTime<Utc>>,
    /// What the probe found before the deed.
    pub presence: Option<Presence>,
    pub walk: Option<Walk>,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Up,
    Undo,
    Gate,
}

/// Something is waited for.
#[derive(Debug, Clone)]
pub(super) struct Wait {
    pub why: String,
    /// The number of this attempt and how many there are, where it is counted.
    pub attempt: Option<(u32, u32)>,
    pub blockers: Vec<Blocker>,
    pub until: DateTime<Utc>,
    /// A backfill is throttled: nothing moves until that is over.
    pub throttled: bool,
}

/// How far a backfill came.
#[derive(Debug, Clone, Default)]
pub(super) struct Walk {
    pub rows_done: u64,
    /// 0 where unknown.
    pub rows_estimated: u64,
    pub percent: f64,
    pub speed: Speed,
}

/// Why a run turned round.
#[derive(Debug, Clone)]
pub(super) enum Cause {
    Unit { title: String, failure: Failure },
    Gate { title: String, findings: Vec<Finding> },
}

impl Task {
    fn new(title: &str, what: What, at: DateTime<Utc>) -> Self {
        Self { title: title.to_owned(), what, unit: None, since: at, ended: None, presence: None, walk: None }
    }

    /// How long it took, or has taken by `at`, in milliseconds.
    pub(super) fn took_ms(&self, at: DateTime<Utc>) -> i64 {
        (self.ended.unwrap_or(at) - self.since).num_milliseconds().max(0)
    }
}

impl Story {
    /// Whether something is under way.
    pub(super) fn current(&self) -> Option<&Task> {
        self.task.as_ref().filter(|task| task.ended.is_none())
    }

    /// Takes one notice into the story. It is told after it is heard.
    pub(super) fn hear(&mut self, at: DateTime<Utc>, notice: &Notice) {
        self.began.get_or_insert(at);
        self.wait = wait_of(at, notice, self.wait.take());
        match notice {
            Notice::Phase { id, number, of } => {
                self.phases.insert(*number, id.clone());
                self.phase = Some(Phase { id: id.clone(), number: *number, of: *of });
            }
            Notice::Unit { title, undo } => {
                let what = if *undo { What::Undo } else { What::Up };
                self.task = Some(Task::new(title, what, at));
            }
            Notice::Event(event) => self.happen(at, event),
            Notice::Batch { unit, rows_done, rows_estimated, walked_percent, .. } => {
                let task = self.task_of(at, &UnitId(unit.clone()), What::Up);
                let walk = task.walk.get_or_insert_default();
                walk.speed.sample(at, *rows_done, *walked_percent);
                (walk.rows_done, walk.rows_estimated) = (*rows_done, *rows_estimated);
                walk.percent = *walked_percent;
            }
            Notice::Gate { title, .. } => self.task = Some(Task::new(title, What::Gate, at)),
            Notice::Opened { .. } | Notice::LockWait { .. } | Notice::Waiting { .. } | Notice::Note { .. } => {}
            Notice::Closed { .. } => {
                self.end(at);
                self.closed = true;
            }
        }
    }

    fn happen(&mut self, at: DateTime<Utc>, event: &Event) {
        match event {
            Event::Started { unit, before } => self.task_of(at, unit, What::Up).presence = Some(before.presence),
            Event::UndoStarted { unit } => {
                self.task_of(at, unit, What::Undo);
            }
            Event::Succeeded { unit, .. } => {
                self.task_of(at, unit, What::Up);
                self.end(at);
                self.done_now += 1;
            }
            Event::Undone { unit } => {
                self.task_of(at, unit, What::Undo);
                self.end(at);
                self.undone_now += 1;
            }
            Event::Failed { unit, failure } => {
                let title = self.task_of(at, unit, What::Up).title.clone();
                self.end(at);
                self.cause.get_or_insert(Cause::Unit { title, failure: failure.clone() });
            }
            Event::UndoFailed { unit, failure } => {
                let title = self.task_of(at, unit, What::Undo).title.clone();
                self.end(at);
                self.cause = Some(Cause::Unit { title, failure: failure.clone() });
            }
            Event::GatePassed { gate, .. } => self.end_gate(at, gate),
            Event::GateFailed { gate, findings, .. } => {
                self.end_gate(at, gate);
                let title = self.task.as_ref().map_or(gate, |task| &task.title).clone();
                self.cause.get_or_insert(Cause::Gate { title, findings: findings.clone() });
            }
            Event::UndoChecked { gate, findings, .. } => {
                self.end_gate(at, gate);
                if !findings.is_empty() {
                    let title = self.task.as_ref().map_or(gate, |task| &task.title).clone();
                    self.cause.get_or_insert(Cause::Gate { title, findings: findings.clone() });
                }
            }
            Event::GuardAsked { gate, found, agreed, .. } => {
                self.end_gate(at, gate);
                if let (Some(_), None) = (found, agreed) {
                    self.paused = Some(" before what a guard forbids".to_owned());
                }
            }
            Event::RollbackRequested { keep, .. } => {
                self.turn(at);
                (self.requested, self.cause) = (Some(keep.clone()), None);
            }
            Event::GuardsPutOff { .. }
            | Event::Throttled { .. }
            | Event::Unthrottled { .. }
            | Event::DriftAccepted { .. }
            | Event::Retuned { .. }
            | Event::Repaired { .. } => {}
            Event::Drifted { .. } => self.paused = Some(": others changed what the plan touches".to_owned()),
            Event::Paused { why, asked: None } => self.paused = Some(format!(": {why}")),
            Event::Paused { why, asked: Some(asked) } => {
                self.paused = Some(format!(" by {} on {}: {why}", asked.by, asked.host));
            }
            Event::Resumed | Event::TurnedRound => {
                self.turn(at);
                (self.paused, self.cause, self.requested) = (None, None, None);
            }
        }
    }

    /// What is counted, and its time, begins anew: a cycle goes up and down several times in one story.
    fn turn(&mut self, at: DateTime<Utc>) {
        (self.done_now, self.undone_now, self.began) = (0, 0, Some(at));
    }

    /// The task of this unit: the one that was announced, or a new one that knows no better title than the unit's name.
    fn task_of(&mut self, at: DateTime<Utc>, unit: &UnitId, what: What) -> &mut Task {
        let known = self.task.take().filter(|task| {
            task.what == what && task.ended.is_none() && task.unit.as_ref().is_none_or(|known| known == unit)
        });
        let task = self.task.insert(known.unwrap_or_else(|| Task::new(&unit.0, what, at)));
        task.unit = Some(unit.clone());
        task
    }

    fn end_gate(&mut self, at: DateTime<Utc>, gate: &str) {
        if self.current().is_none_or(|task| task.what != What::Gate) {
            self.task = Some(Task::new(gate, What::Gate, at));
        }
        self.end(at);
    }

    fn end(&mut self, at: DateTime<Utc>) {
        if let Some(task) = self.task.as_mut().filter(|task| task.ended.is_none()) {
            task.ended = Some(at);
        }
    }
}

/// What is waited for after this notice: one that tells of something else ends the wait, a note does not.
fn wait_of(at: DateTime<Utc>, notice: &Notice, before: Option<Wait>) -> Option<Wait> {
    match notice {
        Notice::LockWait { attempt, attempts, blockers, again_in_ms, .. } => Some(Wait {
            why: "a lock".to_owned(),
            attempt: Some((*attempt, *attempts)),
            blockers: blockers.clone(),
            until: after(at, *again_in_ms),
            throttled: false,
        }),
        Notice::Waiting { why, again_in_ms } => {
            let throttled = before.is_some_and(|before| before.throttled);
            let until = after(at, *again_in_ms);
            Some(Wait { why: why.clone(), attempt: None, blockers: Vec::new(), until, throttled })
        }
        // The event opens the wait, whatever is told of it meanwhile.
        Notice::Event(Event::Throttled { why, .. }) => {
            Some(Wait { why: why.clone(), attempt: None, blockers: Vec::new(), until: at, throttled: true })
        }
        Notice::Note { .. } | Notice::Event(Event::Retuned { .. } | Event::Repaired { .. }) => before,
        Notice::Opened { .. }
        | Notice::Phase { .. }
        | Notice::Unit { .. }
        | Notice::Event(_)
        | Notice::Batch { .. }
        | Notice::Gate { .. }
        | Notice::Closed { .. } => None,
    }
}

fn after(at: DateTime<Utc>, ms: u64) -> DateTime<Utc> {
    let delta = i64::try_from(ms).ok().and_then(chrono::TimeDelta::try_milliseconds);
    delta.and_then(|delta| at.checked_add_signed(delta)).unwrap_or(at)
}
