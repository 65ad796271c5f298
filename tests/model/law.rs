//! The laws, and what they must remember to be checked. Nothing here is taken from the machine that could be found out
//! otherwise: what stands in the database counts, not what the machine believes of it.

use std::collections::BTreeSet;

use stateright::Property;
use tenantmig::{
    engine::{Destination, Effect, Event, Illegal, Mode, Outcome, Run, preview},
    plan::{OnDiskFull, OnFailure},
    unit::Down,
};

use super::{
    database::{Database, Thing},
    entry, put_off,
    shell::{State, World},
};

macro_rules! laws {
    ($($name:ident = $text:literal;)*) => {
        $(pub const $name: &str = $text;)*
        /// Every law that a state can break.
        pub const LAWS: &[&str] = &[$($name),*];

        fn unbroken() -> Vec<Property<World>> {
            vec![$(Property::always($name, |_: &World, state: &State| state.broken != Some($name))),*]
        }
    };
}

laws! {
    FOLD = "the ledger folds to the live state";
    LEGAL = "whatever the shell appends is legal";
    REFUSED = "a refused request leaves the state untouched";
    VERDICT = "requests are refused where the table says so, and nowhere else";
    ORDER = "units are done in order, each after the gates before it";
    GATE = "a gate is measured when everything before it stands";
    ONCE = "a gate that passed is measured again only after its phase changed";
    FAILURE = "a failure does what its phase says";
    LET_IN = "a phase that somebody must let in is not begun before";
    WAITED = "a gate that waits for others pauses the run, and takes nothing back";
    STUCK = "a failed undo stops the run";
    BACKWARDS = "units are undone in the reverse order of doing";
    FIXED = "what cannot be undone is neither undone nor passed over";
    FINISHED = "a rollback is finished before anything goes forward";
    KEEP = "a rollback goes as far back as anybody asked";
    BEFORE = "after a rollback everything is as it was before";
    FOREIGN = "what was there before and what stands in the way is never touched";
    COMPLETED = "completed means that everything stands";
    MEASURED = "completed means that each gate passed since its phase was last done or undone";
    CHECKED = "what must hold after an undo is measured when its phase is undone, once";
    CHECKED_AGAIN = "nothing that is due after an undo is left out";
    ASKED = "what a guard that is put off guards is not undone before it let the rollback through";
    PREVIEW = "the preview names what is undone, in order";
}

pub fn properties() -> Vec<Property<World>> {
    let mut all = unbroken();
    all.extend([
        Property::always("the way forward is open", |world: &World, state: &State| {
            state.comes_to(world, Outcome::Completed)
        }),
        Property::always("the way back is open", |world: &World, state: &State| {
            state.comes_to(world, Outcome::RolledBack { keep: 0 })
        }),
        Property::sometimes("completed", |world: &World, state: &State| halted(world, state, Outcome::Completed)),
        Property::sometimes("rolled back to the start", |world: &World, state: &State| rolled_back(world, state, 0)),
        Property::sometimes("rolled back to the first phase", |world: &World, state: &State| {
            rolled_back(world, state, 1)
        }),
        Property::sometimes("rolled back to the second phase", |world: &World, state: &State| {
            rolled_back(world, state, 2)
        }),
        Property::sometimes("rolled back to the last phase", |world: &World, state: &State| {
            rolled_back(world, state, 3)
        }),
        Property::sometimes("stuck", |_: &World, state: &State| matches!(state.run.mode(), Mode::Stuck { .. })),
        Property::sometimes(
            "paused on the way back",
            |_: &World, state: &State| matches!(state.run.mode(), Mode::Paused { then } if **then != Mode::Forward),
        ),
    ]);
    all
}

fn halted(world: &World, state: &State, outcome: Outcome) -> bool {
    state.run.next(&world.program) == Effect::Halt(outcome)
}

fn rolled_back(world: &World, state: &State, keep: usize) -> bool {
    halted(world, state, Outcome::RolledBack { keep })
}

/// What the laws know, found out by watching the events and the database.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Memory {
    /// What stood there before; changes only when somebody clears the way.
    was: Vec<Thing>,
    /// The units that were begun and not undone, in the order of beginning.
    pub touched: Vec<usize>,
    /// The gates that passed since their phase, or one before it, last changed.
    pub fresh: Vec<Vec<bool>>,
    /// The phases of which something was undone and that were not measured since.
    unmeasured: Vec<bool>,
    /// The gates of `after_undo` that found something, and nobody asked since.
    found: Vec<usize>,
    /// How many phases the rollback under way was asked to keep.
    pub owed: Option<usize>,
    /// The guards that are put off and did not let the rollback through yet.
    pub put_off: BTreeSet<(usize, usize)>,
}

impl Memory {
    pub fn new(world: &World) -> Self {
        let fresh: Vec<Vec<bool>> = world.program.phases.iter().map(|phase| vec![false; phase.gates.len()]).collect();
        let unmeasured = vec![false; fresh.len()];
        Self {
            was: world.was.clone(),
            touched: Vec::new(),
            fresh,
            unmeasured,
            found: vec![],
            owed: None,
            put_off: BTreeSet::new(),
        }
    }

    /// Somebody removes what stood in the way.
    pub fn clear_the_way(&mut self, db: &mut Database) {
        for (thing, was) in db.0.iter_mut().zip(&mut self.was) {
            if *thing == Thing::Blocking {
                (*thing, *was) = (Thing::Nothing, Thing::Nothing);
            }
        }
    }

    pub fn last_touched(&self) -> Option<usize> {
        self.touched.last().copied()
    }

    pub fn is_measured(&self, world: &World, p: usize) -> bool {
        world.program.phases[p].after_undo.is_empty() || !self.unmeasured[p]
    }

    fn forward_again(&mut self) {
        self.owed = None;
        self.found.clear();
        self.put_off.clear();
    }

    fn changed(&mut self, phase: usize) {
        self.fresh.iter_mut().skip(phase).for_each(|gates| gates.fill(false));
    }
}

/// Notes the first law that a state breaks.
pub fn breaks(state: &mut State, law: &'static str) {
    state.broken.get_or_insert(law);
}

pub fn demand(state: &mut State, law: &'static str, holds: bool) {
    if !holds {
        breaks(state, law);
    }
}

pub fn fold(world: &World, state: &State) -> Result<Run, Illegal> {
    Run::fold(&world.program, state.log.events())
}

/// What an event asks of the state before it.
pub fn check_event(world: &World, state: &mut State, event: &Event) {
    let program = &world.program;
    let at = event.unit().and_then(|unit| program.find(unit)).map(|(number, phase, _)| (number, phase));
    match (event, at) {
        (Event::Started { .. }, Some((number, phase))) => {
            let gates = state.memory.fresh[..phase].iter().flatten().all(|passed| *passed);
            let order = (0..number).all(|before| state.db.is_made(program, before));
            demand(state, ORDER, gates && order);
            let mut entries = program.phases[phase].gates.iter().zip(&state.memory.fresh[phase]);
            let let_in = entries.all(|(gate, fresh)| *fresh || !gate.is_entry());
            demand(state, LET_IN, let_in || entry::is_begun(world, state, phase));
            demand(state, FINISHED, state.memory.owed.is_none());
        }
        (Event::UndoStarted { .. }, Some((number, phase))) => {
            demand(state, ASKED, !put_off::guarded(world, state, number, phase));
            demand(state, BACKWARDS, state.memory.touched.last() == Some(&number));
            demand(state, FIXED, !stands_for_good(world, state, number));
            demand(state, KEEP, state.memory.owed.is_some_and(|keep| keep <= phase));
            let keep = state.run.mode().keep().unwrap_or_default();
            check_preview(world, state, Destination(keep));
        }
        (Event::UndoChecked { phase, .. }, _) => {
            let p = program.keep(phase).unwrap() - 1;
            let undone = state.memory.touched.iter().all(|unit| *unit < program.first_unit(p));
            demand(state, CHECKED, undone && state.memory.unmeasured[p]);
        }
        (Event::GatePassed { phase, gate, .. } | Event::GateFailed { phase, gate, .. }, _) => {
            let p = program.phases.iter().position(|x| &x.id == phase).unwrap();
            let g = program.phases[p].gates.iter().position(|x| &x.id == gate).unwrap();
            let due =
                if program.phases[p].gates[g].is_entry() && !entry::is_begun(world, state, p) { p } else { p + 1 };
            let units = (0..program.first_unit(due)).all(|unit| state.db.is_made(program, unit));
            let fresh = &state.memory.fresh;
            let gates = fresh[..p].iter().flatten().all(|x| *x) && fresh[p][..g].iter().all(|x| *x);
            demand(state, GATE, units && gates);
            let again = state.memory.fresh[p][g];
            demand(state, ONCE, !again);
            demand(state, FINISHED, state.memory.owed.is_none());
        }
        (_, _) => {}
    }
}

/// Whether this unit's thing was made by us and cannot be taken back.
fn stands_for_good(world: &World, state: &State, number: usize) -> bool {
    let (_, unit) = world.program.units().nth(number).unwrap();
    let ours = state.db.0[number] == Thing::Made && state.memory.was[number] != Thing::Made;
    ours && matches!(unit.down, Down::Irreversible { .. })
}

/// What the memory learns from an event; `mode` is how the run went before it.
pub fn remember(world: &World, state: &mut State, event: &Event, mode: &Mode) {
    let at = event.unit().and_then(|unit| world.program.find(unit)).map(|(number, phase, _)| (number, phase));
    match (event, at) {
        (Event::Started { .. }, Some((number, _))) if !state.memory.touched.contains(&number) => {
            state.memory.touched.push(number);
        }
        (Event::Undone { .. }, Some((_, phase))) => {
            state.memory.touched.pop();
            state.memory.unmeasured[phase] = true;
            state.memory.changed(phase);
        }
        (Event::UndoFailed { .. }, Some((number, _))) => {
            let stuck = matches!(state.run.mode(), Mode::Stuck { unit, .. } if *unit == number);
            demand(state, STUCK, stuck);
        }
        (Event::Failed { failure, .. }, Some(_))
            if failure.disk_full && world.program.safety.on_disk_full == OnDiskFull::Pause =>
        {
            let waits = matches!(state.run.mode(), Mode::Paused { then } if **then == Mode::Forward);
            demand(state, FAILURE, waits);
        }
        (Event::UndoChecked { phase, findings, .. }, _) => {
            let p = world.program.keep(phase).unwrap() - 1;
            state.memory.unmeasured[p] = false;
            if !findings.is_empty() {
                state.memory.found.push(p);
            }
        }
        (Event::Failed { failure, .. }, Some((_, phase))) => failed(world, state, phase, failure.held.is_some()),
        (Event::GateFailed { phase, gate, .. }, _) if waits(world, phase, gate) => {
            let waits = matches!(state.run.mode(), Mode::Paused { then } if **then == Mode::Forward);
            demand(state, WAITED, waits);
        }
        (Event::GateFailed { phase, held, .. }, _) => {
            let phase = world.program.keep(phase).unwrap() - 1;
            failed(world, state, phase, held.is_some());
        }
        (Event::GatePassed { phase, gate, .. }, _) => {
            let p = world.program.keep(phase).unwrap() - 1;
            let g = world.program.phases[p].gates.iter().position(|x| &x.id == gate).unwrap();
            state.memory.fresh[p][g] = true;
        }
        (Event::RollbackRequested { keep, .. }, _) => {
            let asked = world.program.keep(keep).unwrap();
            let owed = state.memory.owed.map_or(asked, |owed| owed.min(asked));
            state.memory.owed = Some(owed);
            entry::let_in_again(world, state, owed);
            for p in std::mem::take(&mut state.memory.found) {
                if p >= owed { state.memory.unmeasured[p] = true } else { state.memory.found.push(p) }
            }
        }
        (Event::Resumed, _) if matches!(mode, Mode::Unwinding { .. }) => {
            let first = state.memory.owed.map_or(0, |keep| world.program.first_unit(keep));
            demand(state, FINISHED, state.memory.touched.iter().all(|unit| *unit < first));
            state.memory.forward_again();
        }
        (Event::GuardsPutOff { .. } | Event::GuardAsked { .. }, _) => put_off::remember(world, state, event),
        (Event::TurnedRound, _) => state.memory.forward_again(),
        (_, _) => {}
    }
}

fn failed(world: &World, state: &mut State, phase: usize, held: bool) {
    let waits = matches!(state.run.mode(), Mode::Paused { then } if **then == Mode::Forward);
    if held {
        return demand(state, FAILURE, waits);
    }
    let keep = match world.program.phases[phase].on_failure {
        OnFailure::Rollback => Some(phase),
        OnFailure::RollbackAll => Some(0),
        OnFailure::Pause => None,
    };
    let barred = keep.is_some_and(|keep| bars(world, state, keep));
    let as_said = match (state.run.mode(), keep) {
        (Mode::Unwinding { keep }, Some(said)) => keep == &said && !barred,
        (Mode::Paused { then }, None) => **then == Mode::Forward,
        (Mode::Paused { then }, Some(said)) => **then == Mode::Forward && may_bar(world, state, said),
        (Mode::Forward | Mode::Stuck { .. } | Mode::Unwinding { .. }, _) => false,
    };
    demand(state, FAILURE, as_said);
    if matches!(state.run.mode(), Mode::Unwinding { .. }) {
        state.memory.owed = keep;
        entry::let_in_again(world, state, keep.unwrap_or_default());
    }
}

/// Whether something after the phases that stay stands for good.
pub fn bars(world: &World, state: &State, keep: usize) -> bool {
    let first = world.program.first_unit(keep);
    (first..state.db.0.len()).any(|unit| stands_for_good(world, state, unit))
}

/// Whether something there may stand for good, as far as the ledger can know.
pub fn may_bar(world: &World, state: &State, keep: usize) -> bool {
    let first = world.program.first_unit(keep);
    let units: Vec<_> = world.program.units().map(|(_, unit)| &unit.down).collect();
    let ours = |unit: &usize| state.memory.was[*unit] != Thing::Made;
    let begun = state.memory.touched.iter().filter(|unit| **unit >= first && ours(unit));
    begun.into_iter().any(|unit| matches!(units[*unit], Down::Irreversible { .. }))
}

/// Whether what a rollback is said to undo is what it would undo.
pub fn check_preview(world: &World, state: &mut State, to: Destination) {
    let holds = preview_holds(world, state, to);
    demand(state, PREVIEW, holds);
}

pub fn preview_holds(world: &World, state: &State, to: Destination) -> bool {
    let keep = state.memory.owed.map_or(to.0, |owed| owed.min(to.0));
    match preview(&world.program, &state.run, to) {
        Ok(shown) => {
            let first = world.program.first_unit(keep);
            let undone = state.memory.touched.iter().rev().filter(|unit| **unit >= first);
            let shown_units = shown.undos.iter().map(|undo| world.program.find(&undo.unit).unwrap().0);
            shown.keep == keep && shown_units.eq(undone.copied())
        }
        Err(_) => may_bar(world, state, keep),
    }
}

/// What every state must be, whatever led there; `last` is the state one step before.
pub fn check(world: &World, last: &State, state: &mut State) {
    let program = &world.program;
    for (number, (phase, _)) in program.units().enumerate() {
        if state.db.0[number] != last.db.0[number] && state.memory.was == last.memory.was {
            let let_in = state.memory.fresh[phase].clone();
            state.memory.changed(phase);
            entry::stays_let_in(world, state, phase, &let_in);
        }
    }
    let foreign = |was: &Thing| matches!(was, Thing::Made | Thing::Blocking);
    let kept = state.db.0.iter().zip(&state.memory.was).all(|(is, was)| !foreign(was) || is == was);
    demand(state, FOREIGN, kept);
    // The log before this step folds to the state before it: so much was demanded then. A crash folds all of it.
    let mut folded = last.run.clone();
    let folds = state.log.since(&last.log).into_iter().all(|event| folded.apply(program, event).is_ok());
    let folds = folds && folded == state.run;
    demand(state, FOLD, folds);
    match state.run.next(program) {
        Effect::Halt(Outcome::Completed) => {
            let made = (0..state.db.0.len()).all(|unit| state.db.is_made(program, unit));
            demand(state, COMPLETED, made);
            let measured = state.memory.fresh.iter().flatten().all(|fresh| *fresh);
            demand(state, MEASURED, measured);
        }
        Effect::Halt(Outcome::RolledBack { keep }) => {
            demand(state, KEEP, state.memory.owed == Some(keep));
            let first = program.first_unit(keep);
            let as_before = (first..state.db.0.len()).all(|unit| as_before(world, state, unit));
            demand(state, BEFORE, as_before);
            let all = (keep..program.phases.len()).all(|p| state.memory.is_measured(world, p));
            demand(state, CHECKED_AGAIN, all);
        }
        Effect::Halt(Outcome::Stuck { .. } | Outcome::Paused)
        | Effect::Do(_)
        | Effect::Undo(_)
        | Effect::Gate(..)
        | Effect::Check(..)
        | Effect::Ask(..) => {}
    }
}

/// What was filled into a column that was there before stays: only the column could take it along.
fn as_before(world: &World, state: &State, number: usize) -> bool {
    let (_, unit) = world.program.units().nth(number).unwrap();
    let stays = match &unit.down {
        Down::CoveredBy(by) => world.program.find(by).is_some_and(|(by, ..)| state.memory.was[by] == Thing::Made),
        Down::Op(_) | Down::With { .. } | Down::Nothing { .. } | Down::Irreversible { .. } => false,
    };
    stays || state.db.0[number] == state.memory.was[number]
}

/// Whether a gate waits for what others do.
fn waits(world: &World, phase: &str, gate: &str) -> bool {
    let p = world.program.keep(phase).unwrap() - 1;
    world.program.phases[p].gates.iter().any(|g| g.id == gate && g.pauses())
}
