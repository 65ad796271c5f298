//! The shell of the model: performs effects as the driver does, one small step at a time, so that a crash fits between.
//!
//! The driver holds the lease, so nobody else appends while it lives. A request of an operator therefore comes between two
//! steps: whatever the driver held in memory is given up, the request is appended, and `next` is asked anew.

use std::{
    collections::HashSet,
    hash::{Hash, Hasher},
    sync::{Arc, Mutex},
};

use tenantmig::{
    engine::{Destination, Effect, Event, Failure, Finding, Held, Outcome, Program, Run, preview},
    unit::{Op, Presence},
};

use super::{
    action::{Action, Request},
    database::{Database, Thing},
    law,
    program::{Case, id},
    put_off::asked,
    verdict,
};

/// What does not change, and what was found out about states on the way.
pub struct World {
    pub program: Program,
    pub was: Vec<Thing>,
    pub crashes_max: u8,
    /// Hashes of states from which the ways forward and back are known to be open.
    pub open: [Mutex<HashSet<u64>>; 2],
}

/// What the driver is in the middle of. Lost in a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Hand {
    Idle,
    Doing(usize),
    Undoing(usize),
}

/// The ledger, newest first: states share their past.
#[derive(Debug, Clone, Default)]
pub struct Log(Option<Arc<(Event, Log)>>);

impl Log {
    fn push(&mut self, event: Event) {
        self.0 = Some(Arc::new((event, self.clone())));
    }

    pub fn events(&self) -> Vec<&Event> {
        self.since(&Log(None))
    }

    /// The events that came after `past`, a log that this one continues.
    pub fn since(&self, past: &Log) -> Vec<&Event> {
        let at = |log: &Log| log.0.as_ref().map(Arc::as_ptr);
        let newest_first = std::iter::successors(Some(self), |log| log.0.as_deref().map(|(_, past)| past));
        let newer = newest_first.take_while(|log| at(log) != at(past));
        let mut events: Vec<_> = newer.filter_map(|log| log.0.as_deref()).map(|(event, _)| event).collect();
        events.reverse();
        events
    }
}

/// The machine, the database, the driver, and what the laws remember by themselves.
#[derive(Debug, Clone)]
pub struct State {
    pub run: Run,
    pub log: Log,
    pub db: Database,
    hand: Hand,
    pub crashes: u8,
    pub failures: u8,
    pub memory: law::Memory,
    pub broken: Option<&'static str>,
}

/// Without the log: whatever happened, the future hangs on its fold alone, and that is `run` (a law says so). Two histories
/// that lead to the same place are one state, which keeps their number finite although operators never tire.
impl State {
    fn place(&self) -> impl Hash + PartialEq + '_ {
        (&self.run, &self.db, self.hand, self.crashes, self.failures, &self.memory, self.broken)
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.place().hash(hasher);
    }
}

impl World {
    pub fn new(case: Case) -> Self {
        Self { program: case.program, was: case.was, crashes_max: case.crashes_max, open: Default::default() }
    }
}

impl State {
    pub fn new(world: &World) -> Self {
        Self {
            run: Run::new(&world.program),
            log: Log::default(),
            db: Database(world.was.clone()),
            hand: Hand::Idle,
            crashes: 0,
            failures: 0,
            memory: law::Memory::new(world),
            broken: None,
        }
    }

    pub fn is_idle(&self) -> bool {
        self.hand == Hand::Idle
    }

    pub fn is_blocked(&self) -> bool {
        self.db.0.contains(&Thing::Blocking)
    }

    /// Whether the driver is about to write something that a full disk could refuse.
    pub fn can_fill_disk(&self) -> bool {
        matches!(self.hand, Hand::Doing(unit) if !matches!(self.db.0[unit], Thing::Made | Thing::Blocking))
    }

    /// Whether the driver is about to do something that can fail.
    pub fn can_fail(&self, world: &World) -> bool {
        match self.hand {
            Hand::Idle => {
                matches!(self.run.next(&world.program), Effect::Gate(..) | Effect::Check(..) | Effect::Ask(..))
            }
            Hand::Doing(unit) => self.db.0[unit] != Thing::Made,
            Hand::Undoing(_) => true,
        }
    }

    /// Whether it is a failure that a rollback may answer.
    pub fn can_be_held(&self, world: &World) -> bool {
        let undoes = matches!(self.hand, Hand::Undoing(_))
            || matches!(self.run.next(&world.program), Effect::Check(..) | Effect::Ask(..));
        self.can_fail(world) && !undoes
    }

    /// Takes one step; false when nothing comes of it.
    pub fn act(&mut self, world: &World, action: Action) -> bool {
        let was = self.clone();
        match action {
            Action::Step => self.step(world),
            Action::Fail => self.fail(world, false),
            Action::FailHeld => self.fail(world, true),
            Action::FillDisk => self.fill_disk(world),
            Action::Crash => {
                self.crashes += 1;
                self.hand = Hand::Idle;
                self.run = law::fold(world, self).unwrap_or_else(|_| Run::new(&world.program));
            }
            Action::Clear => self.memory.clear_the_way(&mut self.db),
            Action::Ask(request) => {
                if let Request::Rollback(to) = request {
                    law::check_preview(world, self, to);
                }
                self.request(world, request.event(world));
            }
        }
        law::check(world, &was, self);
        *self != was
    }

    fn step(&mut self, world: &World) {
        match self.hand {
            Hand::Idle => self.begin(world),
            Hand::Doing(unit) => self.doing(world, unit),
            Hand::Undoing(unit) => self.undoing(world, unit),
        }
    }

    fn begin(&mut self, world: &World) {
        match self.run.next(&world.program) {
            Effect::Do(unit) => {
                self.append(world, Event::Started { unit: id(unit), before: self.db.probe(&world.program, unit) });
                self.hand = Hand::Doing(unit);
            }
            Effect::Undo(unit) => {
                self.append(world, Event::UndoStarted { unit: id(unit) });
                self.hand = Hand::Undoing(unit);
            }
            Effect::Gate(p, g) => {
                let (phase, gate) = gate_names(world, p, g);
                self.append(world, Event::GatePassed { phase, gate, approved: None });
            }
            Effect::Check(p, g) => self.checked(world, p, g, vec![]),
            Effect::Ask(p, g) => self.append(world, asked(world, p, g, None)),
            Effect::Halt(_) => {}
        }
    }

    fn doing(&mut self, world: &World, number: usize) {
        let (_, unit) = world.program.units().nth(number).unwrap();
        // What was recorded decides, not what stands there a moment later: an undo will go by it too.
        let adopted = match self.run.unit(number).before().map(|before| before.presence) {
            Some(Presence::Conflict) | None => return self.give_up(world, number, false),
            Some(Presence::Present) => true,
            Some(Presence::Absent | Presence::Partial) => false,
        };
        let thing = self.db.0[number];
        match &unit.up {
            _ if adopted || thing == Thing::Made => {}
            // All of it and the outcome are one transaction.
            Op::Tx(stmts) => stmts.iter().for_each(|stmt| self.db.run(&world.program, stmt)),
            Op::Autocommit { stmt, .. } if thing == Thing::Wreck => return self.db.run(&world.program, stmt),
            // The last batch and the outcome are one transaction.
            Op::Backfill(_) if thing == Thing::Wreck => self.db.0[number] = Thing::Made,
            Op::Autocommit { .. } | Op::Backfill(_) => {
                self.db.0[number] = Thing::Wreck;
                return;
            }
            Op::Assert(_) | Op::Watch(_) | Op::Keep(_) | Op::Restore(_) => {}
        }
        self.append(world, Event::Succeeded { unit: unit.id.clone(), rows: None });
        self.hand = Hand::Idle;
    }

    fn undoing(&mut self, world: &World, number: usize) {
        let keep = self.run.mode().keep().unwrap_or_default();
        let (_, unit) = world.program.units().nth(number).unwrap();
        let untouched = self.run.unit(number).before().is_some_and(|before| before.is_untouched());
        if let (Op::Autocommit { repair, .. }, Thing::Wreck, false) = (&unit.up, self.db.0[number], untouched) {
            return repair.iter().for_each(|stmt| self.db.run(&world.program, stmt));
        }
        let shown = preview(&world.program, &self.run, Destination(keep)).ok();
        let Some(undo) = shown.and_then(|shown| shown.undos.into_iter().find(|undo| undo.unit == unit.id)) else {
            return law::breaks(self, law::PREVIEW);
        };
        if undo.nothing.is_none() && !(undo.autocommit && self.db.0[number] == Thing::Nothing) {
            undo.sql.iter().for_each(|stmt| self.db.run(&world.program, stmt));
            if undo.autocommit {
                return;
            }
        }
        self.append(world, Event::Undone { unit: unit.id.clone() });
        self.hand = Hand::Idle;
    }

    fn checked(&mut self, world: &World, p: usize, g: usize, findings: Vec<Finding>) {
        let phase = &world.program.phases[p];
        let (phase, gate) = (phase.id.clone(), phase.after_undo[g].id.clone());
        self.append(world, Event::UndoChecked { phase, gate, findings });
    }

    fn fail(&mut self, world: &World, held: bool) {
        self.failures += 1;
        match self.hand {
            Hand::Idle => {
                if let Effect::Gate(p, g) = self.run.next(&world.program) {
                    let (phase, gate) = gate_names(world, p, g);
                    let failed = Event::GateFailed { phase, gate, findings: vec![], held: None };
                    self.append(world, if held { failed.held(hold()) } else { failed });
                } else if let Effect::Check(p, g) = self.run.next(&world.program) {
                    let finding = Finding { what: "found".to_owned(), count: 1, example: None };
                    self.checked(world, p, g, vec![finding]);
                } else if let Effect::Ask(p, g) = self.run.next(&world.program) {
                    self.append(world, asked(world, p, g, Some(&self.run)));
                }
            }
            Hand::Doing(unit) => self.give_up(world, unit, held),
            Hand::Undoing(unit) => {
                self.append(world, Event::UndoFailed { unit: id(unit), failure: Failure::new("it failed") });
                self.hand = Hand::Idle;
            }
        }
    }

    /// The driver clears what it can before it records the failure, since a wreck holds the disk.
    fn fill_disk(&mut self, world: &World) {
        let Hand::Doing(number) = self.hand else { return };
        self.failures += 1;
        if let (Op::Autocommit { repair, .. }, Thing::Wreck) =
            (&world.program.units().nth(number).unwrap().1.up, self.db.0[number])
        {
            repair.iter().for_each(|stmt| self.db.run(&world.program, stmt));
        }
        let failure = Failure { disk_full: true, ..Failure::new("the disk is full") };
        self.append(world, Event::Failed { unit: id(number), failure });
        self.hand = Hand::Idle;
    }

    fn give_up(&mut self, world: &World, unit: usize, held: bool) {
        let failed = Event::Failed { unit: id(unit), failure: Failure::new("it failed") };
        self.append(world, if held { failed.held(hold()) } else { failed });
        self.hand = Hand::Idle;
    }

    /// Whether this is refused, rightly and without a trace. Most requests are, and need no copy of the state to say so.
    pub fn refuses(&self, world: &World, request: Request) -> bool {
        let event = request.event(world);
        let mut asked = self.run.clone();
        let refused = asked.apply(&world.program, &event).is_err() && asked == self.run;
        refused
            && verdict::as_said(world, self, &event, false)
            && !matches!(request, Request::Rollback(to) if !law::preview_holds(world, self, to))
    }

    /// What an operator asks for. A refusal is told and leaves no trace.
    fn request(&mut self, world: &World, event: Event) {
        let mut asked = self.run.clone();
        let verdict = asked.apply(&world.program, &event);
        verdict::check(world, self, &event, verdict.is_ok());
        if verdict.is_ok() {
            self.hand = Hand::Idle;
            self.append(world, event);
        } else if asked != self.run {
            law::breaks(self, law::REFUSED);
        }
    }

    fn append(&mut self, world: &World, event: Event) {
        law::check_event(world, self, &event);
        let mode = self.run.mode().clone();
        if self.run.apply(&world.program, &event).is_err() {
            law::breaks(self, law::LEGAL);
        }
        law::remember(world, self, &event, &mode);
        self.log.push(event);
    }

    /// Whether the run, left alone from here, comes to the end (or, when asked, back to the start): no step leads into a
    /// place without a way out, however often it is resumed.
    pub fn comes_to(&self, world: &World, end: Outcome) -> bool {
        let known = &world.open[usize::from(end != Outcome::Completed)];
        let mut state = self.clone();
        let mut passed = HashSet::new();
        if end != Outcome::Completed && state.run.irreversible(&world.program, 0).is_some() {
            return true;
        }
        while state.broken.is_none() && state.run.next(&world.program) != Effect::Halt(end) {
            let place = {
                let mut hasher = std::hash::DefaultHasher::new();
                state.hash(&mut hasher);
                hasher.finish()
            };
            if known.lock().unwrap().contains(&place) {
                break;
            }
            if !passed.insert(place) {
                return false;
            }
            let action = match state.run.next(&world.program) {
                _ if end != Outcome::Completed && state.run.mode().keep() != Some(0) => {
                    Action::Ask(Request::Rollback(Destination(0)))
                }
                Effect::Halt(Outcome::Paused) if state.is_blocked() => Action::Clear,
                Effect::Halt(_) => Action::Ask(Request::Resume),
                Effect::Do(_) | Effect::Undo(_) | Effect::Gate(..) | Effect::Check(..) | Effect::Ask(..) => {
                    Action::Step
                }
            };
            state.act(world, action);
        }
        known.lock().unwrap().extend(passed);
        true
    }

    /// A counterexample, readable.
    pub fn story(&self, actions: &[Action]) -> String {
        let events: Vec<_> = self.log.events().into_iter().map(|event| format!("{event:?}")).collect();
        format!(
            "  steps: {actions:?}\n  ledger:\n    {}\n  run: {:?}\n  database: {:?}\n  broken: {:?}",
            events.join("\n    "),
            self.run,
            self.db,
            self.broken
        )
    }
}

/// What the driver adds to a failure where a guard finds something.
fn hold() -> Held {
    Held { keep: "start".to_owned(), found: vec![] }
}

fn gate_names(world: &World, p: usize, g: usize) -> (String, String) {
    let phase = &world.program.phases[p];
    (phase.id.clone(), phase.gates[g].id.clone())
}
