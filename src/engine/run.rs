//! The state of a run, and the only function that changes it.
//!
//! # Transitions
//!
//! `p` is the unit's phase, `keep` the number of phases that stay. An event that finds no row here is [`Illegal`].
//!
//! | Mode | Event | Condition | Becomes |
//! |---|---|---|---|
//! | Forward | Started u | u is next, not done | u: Started (the first `before` that was acted on is kept) |
//! | Forward | Succeeded u | u Started | u: Done |
//! | Forward | Failed u | u Started, the disk was full, `on_disk_full = pause` | u: Failed; Paused, then Forward |
//! | Forward | Failed u | u Started, otherwise | u: Failed; then as *failure of p* |
//! | Forward | GatePassed | the gate is next | gate: passed |
//! | Forward | GateFailed | the gate is next | then as *failure of p* |
//! | Forward | GateFailed of a gate that waits, but for one that confirms | the gate is next | Paused, then Forward |
//! | *failure of p* | | `on_failure = rollback` | Unwinding, keep = p |
//! | *failure of p* | | `on_failure = rollback_all` | Unwinding, keep = 0 |
//! | *failure of p* | | `pause`, or a done unit to be undone is irreversible, or the event says what held the undo | Paused |
//! | Forward, Paused, Stuck | RollbackRequested keep | no done unit after keep is irreversible | Unwinding, keep (the smaller, when unwinding before) |
//! | Unwinding | RollbackRequested keep | the same | Unwinding, the smaller keep |
//! | Unwinding | UndoStarted u | u is next | u: Undoing |
//! | Unwinding | Undone u | u Undoing | u: Pending |
//! | Unwinding | UndoFailed u | u Undoing | u: UndoFailed; Stuck |
//! | Unwinding | UndoChecked | the gate of `after_undo` is next | measured: holds, or does not |
//! | Unwinding | Resumed | nothing is left to undo | Forward |
//! | any | GuardsPutOff | each is a guard of `before_undo` | they are due before the first undo that each guards; who agreed before counts as long as this rollback is under way |
//! | Unwinding | GuardAsked | the guard is put off, what it guards is next | it is no longer put off; Paused instead, and it stays so, where something was found and nobody agreed |
//! | Unwinding, Paused from it | TurnedRound | a guard that was put off is next, its unit not half undone | Forward |
//! | Forward, Unwinding | Paused | | Paused, remembering the mode |
//! | Forward | Drifted p | the first unit of p is next, nothing of p is begun | Paused, then Forward |
//! | Forward | DriftAccepted p | the same | nothing |
//! | Forward | Throttled u, Unthrottled u | u Started | nothing |
//! | any | Repaired | | nothing |
//! | any | Retuned | | its words are laid over the earlier ones |
//! | Paused | Resumed | | the remembered mode |
//! | Stuck | Resumed | | Unwinding with the same keep: the undo is tried again |
//!
//! The gates of a phase are forgotten with its first undo, or by entering Unwinding where it does not stay and has nothing to
//! undo, so that they are measured anew next time; what stood all along, when a rollback is given up, is not. Entering Unwinding makes
//! due the `after_undo` gates of every phase of which something was touched, and those that found something the last time.
//! Forward again after unwinding, no guard is put off any more.
//!
//! In front of an irreversible unit, "done" includes "started" where the deed is not one transaction: a process that died
//! between the deed and its outcome leaves the deed behind. Going forward finds out; undoing could only look away.
//! Nothing was touched where a conflict was found, so what is found when the unit is started again counts.

mod asks;
mod checks;
mod undo;

use self::{asks::Asks, checks::Check};
use super::{Effect, Event, Held, Outcome, Program, states::States, unit_state::UnitState};
use crate::{
    plan::{OnDiskFull, OnFailure, Tuning},
    unit::{Before, Down, UnitId},
};

/// Which way the run goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Mode {
    Forward,
    Unwinding { keep: usize },
    Stuck { unit: usize, keep: usize },
    Paused { then: Box<Mode> },
}

/// The fold of a run's events.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Run {
    mode: Mode,
    units: States,
    gates: Vec<Vec<bool>>,
    checks: Vec<Vec<Check>>,
    asks: Asks,
    tuning: Tuning,
}

/// An event that cannot follow: the ledger was changed by hand, or this program is wrong. Never guessed around.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Illegal {
    #[error("the program has no unit `{0}`")]
    UnknownUnit(UnitId),
    #[error("the program has no phase `{0}`")]
    UnknownPhase(String),
    #[error("`{event}` cannot follow here: {why}")]
    OutOfOrder { event: &'static str, why: String },
    #[error("`{unit}` cannot be undone: {why}")]
    Irreversible { unit: UnitId, why: String },
}

impl Run {
    /// A run to which nothing happened yet.
    pub fn new(program: &Program) -> Self {
        let units = States::pending(program.units().count());
        let gates = program.phases.iter().map(|phase| vec![false; phase.gates.len()]).collect();
        let checks = program.phases.iter().map(|phase| vec![Check::Rests; phase.after_undo.len()]).collect();
        Self { mode: Mode::Forward, units, gates, checks, asks: Asks::default(), tuning: Tuning::default() }
    }

    /// The state after `events`.
    pub fn fold<'a>(program: &Program, events: impl IntoIterator<Item = &'a Event>) -> Result<Self, Illegal> {
        let mut run = Self::new(program);
        for event in events {
            run.apply(program, event)?;
        }
        Ok(run)
    }

    /// Which way the run goes.
    pub fn mode(&self) -> &Mode {
        &self.mode
    }

    /// The state of the unit with this number.
    pub fn unit(&self, number: usize) -> &UnitState {
        &self.units[number]
    }

    /// The first of these units that is not done.
    pub(super) fn first_open(&self, units: std::ops::Range<usize>) -> Option<usize> {
        self.units.first_open(units)
    }

    /// The last of these units that was touched.
    pub(super) fn last_touched(&self, units: std::ops::Range<usize>) -> Option<usize> {
        self.units.last_touched(units)
    }

    /// Whether gate `g` of phase `p` let the run through.
    pub fn gate_passed(&self, p: usize, g: usize) -> bool {
        self.gates[p][g]
    }

    /// Whether phase `p` is done, and all its gates let the run through.
    pub fn is_over(&self, program: &Program, p: usize) -> bool {
        let mut units = program.first_unit(p)..program.first_unit(p + 1);
        units.all(|unit| matches!(self.units[unit], UnitState::Done { .. }))
            && self.gates[p].iter().all(|passed| *passed)
    }

    /// What operators changed of the plan's pacing.
    pub fn tuning(&self) -> &Tuning {
        &self.tuning
    }

    /// Whether nothing of the run stands in the database.
    pub fn is_untouched(&self) -> bool {
        self.units.all_pending()
    }

    /// How many units are done.
    pub fn units_done(&self) -> usize {
        self.units.done()
    }

    /// Changes the state as the table above says, or leaves it untouched and says why the event cannot be.
    pub fn apply(&mut self, program: &Program, event: &Event) -> Result<(), Illegal> {
        match event {
            Event::Started { unit, before } => self.started(program, unit, before),
            Event::Succeeded { unit, .. } => {
                self.finished(program, event, unit, |before| UnitState::Done { before }).map(drop)
            }
            Event::Failed { unit, failure } => {
                let phase = self.finished(program, event, unit, |before| UnitState::Failed { before })?;
                if failure.disk_full && program.safety.on_disk_full == OnDiskFull::Pause {
                    self.mode = Mode::Paused { then: Box::new(Mode::Forward) };
                } else {
                    self.fail(program, phase, failure.held.as_ref());
                }
                Ok(())
            }
            Event::GatePassed { phase, gate, .. } => {
                let (p, g) = self.gate_at(program, event, phase, gate)?;
                self.gates[p][g] = true;
                Ok(())
            }
            Event::GateFailed { phase, gate, held, .. } => {
                let (p, g) = self.gate_at(program, event, phase, gate)?;
                if program.phases[p].gates[g].pauses() {
                    self.mode = Mode::Paused { then: Box::new(Mode::Forward) };
                } else {
                    self.fail(program, p, held.as_ref());
                }
                Ok(())
            }
            Event::RollbackRequested { keep, .. } => self.request_rollback(program, keep),
            Event::UndoChecked { phase, gate, findings } => self.checked(program, event, phase, gate, findings),
            Event::GuardsPutOff { guards, agreed } => self.put_off(program, guards, agreed),
            Event::GuardAsked { phase, gate, found, agreed } => {
                let lets = found.is_none() || agreed.is_some();
                self.asked(program, event, phase, gate, lets)
            }
            Event::TurnedRound => self.turn_round(program, event),
            Event::UndoStarted { unit } => self.undo_started(program, event, unit),
            Event::Undone { unit } => self.undone(program, event, unit),
            Event::UndoFailed { unit, .. } => self.undo_failed(program, event, unit),
            Event::Paused { .. } => self.pause(event),
            Event::Resumed => self.resume(program, event),
            Event::Throttled { unit, .. } | Event::Unthrottled { unit, .. } => {
                self.under_way(program, event, unit).map(drop)
            }
            Event::Drifted { phase, .. } => {
                self.before_phase(program, event, phase)?;
                self.pause(event)
            }
            Event::DriftAccepted { phase, .. } => self.before_phase(program, event, phase),
            Event::Repaired { .. } => Ok(()),
            Event::Retuned { tuning, .. } => {
                self.tuning.merge(tuning);
                Ok(())
            }
        }
    }

    fn started(&mut self, program: &Program, unit: &UnitId, before: &Before) -> Result<(), Illegal> {
        let (number, ..) = program.find(unit).ok_or_else(|| Illegal::UnknownUnit(unit.clone()))?;
        if self.mode != Mode::Forward || self.next(program) != Effect::Do(number) {
            return Err(out_of_order("started", format!("`{unit}` is not the next unit")));
        }
        // What was found first counts, unless nothing was touched on that occasion.
        let first = self.units[number].before().filter(|first| !first.is_untouched()).unwrap_or(before).clone();
        self.units.set(number, UnitState::Started { before: first });
        Ok(())
    }

    fn finished(
        &mut self,
        program: &Program,
        event: &Event,
        unit: &UnitId,
        state: impl Fn(Before) -> UnitState,
    ) -> Result<usize, Illegal> {
        let (number, phase, before) = self.under_way(program, event, unit)?;
        self.units.set(number, state(before));
        Ok(phase)
    }

    /// The unit that was started and has no outcome yet: its number, its phase and what was there before.
    fn under_way(&self, program: &Program, event: &Event, unit: &UnitId) -> Result<(usize, usize, Before), Illegal> {
        let (number, phase, _) = program.find(unit).ok_or_else(|| Illegal::UnknownUnit(unit.clone()))?;
        match (&self.mode, &self.units[number]) {
            (Mode::Forward, UnitState::Started { before }) => Ok((number, phase, before.clone())),
            (mode, state) => Err(out_of_order(
                event.kind(),
                format!("`{unit}` is {} while the run is {}", state.word(), mode.word()),
            )),
        }
    }

    fn gate_at(&self, program: &Program, event: &Event, phase: &str, gate: &str) -> Result<(usize, usize), Illegal> {
        let p =
            program.phases.iter().position(|x| x.id == phase).ok_or_else(|| Illegal::UnknownPhase(phase.to_owned()))?;
        let g = program.phases[p].gates.iter().position(|x| x.id == gate);
        match g {
            Some(g) if self.next(program) == Effect::Gate(p, g) => Ok((p, g)),
            Some(_) | None => Err(out_of_order(event.kind(), format!("gate `{gate}` of phase `{phase}` is not next"))),
        }
    }

    /// A step or gate of phase `p` failed: the matching rollback begins, or the run waits for somebody.
    fn fail(&mut self, program: &Program, p: usize, held: Option<&Held>) {
        match self.would_keep(program, p).filter(|_| held.is_none()) {
            Some(keep) => {
                self.nobody_agreed();
                self.unwind(program, keep);
            }
            None => self.mode = Mode::Paused { then: Box::new(Mode::Forward) },
        }
    }

    /// How many phases stay when a step or gate of phase `p` fails now; `None` where nothing is undone for it.
    pub fn would_keep(&self, program: &Program, p: usize) -> Option<usize> {
        let keep = match program.phases[p].on_failure {
            OnFailure::Rollback => p,
            OnFailure::RollbackAll => 0,
            OnFailure::Pause => return None,
        };
        self.irreversible(program, keep).is_none().then_some(keep)
    }

    fn request_rollback(&mut self, program: &Program, keep: &str) -> Result<(), Illegal> {
        let asked = program.keep(keep).ok_or_else(|| Illegal::UnknownPhase(keep.to_owned()))?;
        let keep = self.mode.reaches(asked);
        match self.irreversible(program, keep) {
            Some(illegal) => Err(illegal),
            None => {
                self.unwind(program, keep);
                Ok(())
            }
        }
    }

    fn unwind(&mut self, program: &Program, keep: usize) {
        self.mode = Mode::Unwinding { keep };
        // With something to undo a phase forgets them at its first undo: until then a rollback may be given up at a guard.
        for p in keep..program.phases.len() {
            let mut units = program.first_unit(p)..program.first_unit(p + 1);
            if units.all(|unit| matches!(self.units[unit], UnitState::Pending)) {
                self.gates[p].fill(false);
            }
        }
        self.make_checks_due(program, keep);
    }

    /// Whether what this unit makes was there before it, so that no undo takes it away.
    pub fn was_there(&self, program: &Program, unit: &UnitId) -> bool {
        program.find(unit).is_some_and(|(number, ..)| self.unit(number).before().is_some_and(Before::is_untouched))
    }

    /// The last unit after the phases that stay that is done, or may be, and cannot be taken back.
    pub fn irreversible(&self, program: &Program, keep: usize) -> Option<Illegal> {
        let touched = program.units().zip(self.units.iter()).filter(|((p, _), _)| *p >= keep);
        let done = touched.filter(|((_, unit), state)| state.may_be_done(&unit.up));
        let fixed = done.filter_map(|((_, unit), _)| match &unit.down {
            Down::Irreversible { why } => Some(Illegal::Irreversible { unit: unit.id.clone(), why: why.clone() }),
            Down::Op(_) | Down::CoveredBy(_) | Down::With { .. } | Down::Nothing { .. } => None,
        });
        fixed.last()
    }

    fn pause(&mut self, event: &Event) -> Result<(), Illegal> {
        match &self.mode {
            Mode::Forward | Mode::Unwinding { .. } => {
                self.mode = Mode::Paused { then: Box::new(self.mode.clone()) };
                Ok(())
            }
            Mode::Stuck { .. } | Mode::Paused { .. } => {
                Err(out_of_order(event.kind(), format!("the run is {} already", self.mode.word())))
            }
        }
    }

    fn resume(&mut self, program: &Program, event: &Event) -> Result<(), Illegal> {
        self.mode = match &self.mode {
            Mode::Paused { then } => then.as_ref().clone(),
            Mode::Stuck { keep, .. } => Mode::Unwinding { keep: *keep },
            Mode::Unwinding { .. } if matches!(self.next(program), Effect::Halt(Outcome::RolledBack { .. })) => {
                self.forget_checks();
                self.asks = Asks::default();
                Mode::Forward
            }
            Mode::Unwinding { .. } | Mode::Forward => {
                return Err(out_of_order(
                    event.kind(),
                    format!("the run is {} and can simply go on", self.mode.word()),
                ));
            }
        };
        Ok(())
    }
}

impl Mode {
    /// How many phases stay, when the run is on its way back.
    pub fn keep(&self) -> Option<usize> {
        match self {
            Self::Unwinding { keep } | Self::Stuck { keep, .. } => Some(*keep),
            Self::Paused { then } => then.keep(),
            Self::Forward => None,
        }
    }

    /// How many phases stay when somebody asks to keep `asked`: a rollback under way goes at least as far as it was to.
    pub fn reaches(&self, asked: usize) -> usize {
        self.keep().map_or(asked, |keep| keep.min(asked))
    }

    /// The word for people.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Forward => "going forward",
            Self::Unwinding { .. } => "rolling back",
            Self::Stuck { .. } => "stuck",
            Self::Paused { .. } => "paused",
        }
    }
}

fn out_of_order(event: &'static str, why: String) -> Illegal {
    Illegal::OutOfOrder { event, why }
}
