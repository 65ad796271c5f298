//! The state machine, explored: every order of steps, crashes, failures and operator actions that the bounds allow.
//!
//! The machine is the real one (`Run::apply`, `Run::next`, `Run::fold`, `preview`); around it stand a simulated database
//! (`model/database.rs`) and a shell that performs effects as the driver does (`model/shell.rs`). The laws are in
//! `model/law.rs`, the programs in `model/program.rs`.
//!
//! # Planted bugs
//!
//! A model is worth what turns it red. Each of these was put into `src/engine` for a moment; the law that it broke:
//!
//! | Bug | Law (constant in `law.rs`) |
//! |---|---|
//! | half-done units (Started, Failed) skipped when unwinding | BACKWARDS, FINISHED, BEFORE |
//! | gates not forgotten when their phase is undone; forgotten one phase too late | ORDER, GATE, MEASURED |
//! | gates forgotten although nothing of their phase was undone when the rollback was given up | ONCE |
//! | gates forgotten one phase too early | ONCE |
//! | gates not awaited before the next phase | ORDER |
//! | undo order reversed | BACKWARDS |
//! | a second Started overwrites what was there before | BEFORE, FAILURE, FIXED |
//! | what was there before is kept although it was a conflict | the way forward is open |
//! | a second request keeps more than the first | KEEP, PREVIEW |
//! | Resumed allowed in the middle of unwinding | VERDICT |
//! | a pause forgets which way the run went; Stuck resumes forward | FINISHED, PREVIEW, ONCE |
//! | a request passes over what is irreversible | FIXED |
//! | the same for a deed outside a transaction that was started and not concluded | FIXED |
//! | a failure passes over what is irreversible; `rollback_all` undoes one phase; a failed gate is passed over | FAILURE |
//! | a full disk is a failure like any other; it pauses although the plan says rollback; the pause does not go on | FAILURE |
//! | Failed treated as Done | ORDER, GATE, COMPLETED |
//! | a failed gate counts as passed | ORDER, MEASURED |
//! | a refused rollback forgets gates | REFUSED |
//! | UndoFailed does not stop | STUCK |
//! | a failure whose rollback is held begins it all the same | FAILURE |
//! | of several phases that are undone only the last is measured | CHECKED_AGAIN |
//! | what found something is not measured again | CHECKED_AGAIN |
//! | Undone leaves the unit done | BACKWARDS, PREVIEW |
//! | unwinding one phase too little | FINISHED, BEFORE |
//! | unwinding one phase too far | KEEP, FIXED |
//! | a drift is told in the middle of a phase | VERDICT |
//! | preview: drops what stood in the way, or what was there before | FOREIGN |
//! | preview: forgets what was replaced | BEFORE |
//! | preview: forgets the rollback under way | PREVIEW |
//! | a guard that is put off is never asked; what it found lets through | ASKED |
//! | a rollback is given up while an undo is half-way; its guards stay put off | VERDICT |
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "model/action.rs"]
mod action;
#[path = "model/database.rs"]
mod database;
#[path = "model/entry.rs"]
mod entry;
#[path = "model/law.rs"]
mod law;
#[path = "model/program.rs"]
mod program;
#[path = "model/put_off.rs"]
mod put_off;
#[path = "model/shell.rs"]
mod shell;
#[path = "model/verdict.rs"]
mod verdict;

use std::time::Instant;

use self::{
    action::{Action, Request},
    law::LAWS,
    program::{Case, cases, waiting},
    shell::{State, World},
};
use stateright::{Checker, Model, Property};

/// So many units, gates and undos may fail.
const FAILURES_MAX: u8 = 2;

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(self)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.broken.is_some() {
            return;
        }
        actions.push(Action::Step);
        if state.failures < FAILURES_MAX && state.can_fail(self) {
            actions.push(Action::Fail);
        }
        if state.failures < FAILURES_MAX && state.can_be_held(self) {
            actions.push(Action::FailHeld);
        }
        if state.failures < FAILURES_MAX && state.can_fill_disk() {
            actions.push(Action::FillDisk);
        }
        if state.crashes < self.crashes_max && !state.is_idle() {
            actions.push(Action::Crash);
        }
        if state.is_blocked() {
            actions.push(Action::Clear);
        }
        let requests = Request::all(&self.program).into_iter();
        actions.extend(requests.filter(|request| !state.refuses(self, *request)).map(Action::Ask));
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        state.act(self, action).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        law::properties()
    }
}

fn explore(case: Case) -> Vec<String> {
    let (name, started) = (case.name, Instant::now());
    // One thread: breadth first then finds the shortest counterexample, and the same one each time.
    let checker = World::new(case).checker().spawn_bfs().join();
    println!(
        "{name}: {} states, {} transitions, at most {} steps deep, {:.1} s",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        started.elapsed().as_secs_f32()
    );
    let mut wrong = Vec::new();
    let mut discoveries = checker.discoveries();
    for property in checker.model().properties() {
        match discoveries.remove(property.name) {
            Some(path) if property.expectation.discovery_is_failure() => {
                let story = path.last_state().clone().story(&path.into_actions());
                wrong.push(format!("{name}: broken: {}\n{story}", property.name));
            }
            None if !property.expectation.discovery_is_failure() => {
                wrong.push(format!("{name}: never seen: {}", property.name));
            }
            Some(_) | None => {}
        }
    }
    wrong
}

/// Run with `--nocapture` to see how many states there are.
#[test]
fn no_order_of_steps_crashes_failures_and_requests_breaks_a_law() {
    let wrong: Vec<String> = std::thread::scope(|all| {
        let cases: Vec<_> = cases().into_iter().chain(waiting()).map(|case| all.spawn(|| explore(case))).collect();
        cases.into_iter().flat_map(|case| case.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{} of {} laws broken or unseen:\n{}", wrong.len(), LAWS.len(), wrong.join("\n\n"));
}
