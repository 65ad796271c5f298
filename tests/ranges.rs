//! The bookkeeping of ranges, explored: every order of claims, batches, crashes and lost connections that the bounds allow, and
//! whatever the application does to the rows meanwhile.
//!
//! The bookkeeping is the real one (`engine::ranges::Walk`). Around it stand a simulated table with its ledger
//! (`ranges/table.rs`) and workers that do as the driver does (`ranges/crew.rs`); what may happen is in `ranges/world.rs`, the
//! laws in `ranges/law.rs`. Small worlds are explored whole, larger ones by chance.
//!
//! # Planted bugs
//!
//! A model is worth what turns it red. Each of these was put into `src/engine/ranges.rs` for a moment; the law that it broke
//! (constant in `law.rs`):
//!
//! | Bug | Law |
//! |---|---|
//! | the frontier moves, or the number is counted, when a claim is decided, before it is recorded | CLAIMED |
//! | a restart forgets all recorded ranges that are not done, or those that were begun | DONE |
//! | a restart takes done ranges again | SPENT |
//! | a restart begins a range's stripes anew | STALE |
//! | a restart forgets the frontier | PREFIX, RESTORED |
//! | a restart counts from 1 | STALE, OPEN |
//! | a done range that is given back is queued | SPENT |
//! | an unfinished range that is given back is dropped | DONE |
//! | a range that is given back stays held | OPEN |
//! | a waiting range is handed out and still waits; a claimed range waits as well: two workers have it | STALE, OPEN |
//! | a taken range is not held; a claimed range is not held | DONE |
//! | `is_done` asks not what is held, not what waits, or not what is claimed | DONE |
//! | the frontier of a heap is kept for the next | PREFIX, CLAIMED |
//! | a heap is not left at its end | CLAIMED |
//! | a heap is left after its first range | PREFIX, DONE |
//! | the frontier stays at the beginning of a range | PREFIX |
//!
//! And these into the simulated driver or ledger, of which the real ones must keep clear:
//!
//! | Bug | Law |
//! |---|---|
//! | claims are decided side by side | STALE, DONE |
//! | the last range goes beyond its heap's end | PREFIX, CLAIMED |
//! | the ends are fixed anew at each start | MISSED, RESTORED |
//! | a sweep begins when nothing is left to claim, though batches are under way | ALONE, ONCE |
//! | a claim that the primary key refuses is decided again | OPEN |
//! | a claim that the primary key refuses is taken for recorded | PREFIX |
//! | a batch that the ledger refuses is sent again as it was | OPEN |
//! | `stripes_done` is counted up without being compared | ONCE |
//! | rows and progress commit apart | STALE, DONE |
//! | claims have no primary key | PREFIX |
//! | a restart does not wait for statements of the process before | STALE |
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "ranges/crew.rs"]
mod crew;
#[path = "ranges/law.rs"]
mod law;
#[path = "ranges/table.rs"]
mod table;
#[path = "ranges/world.rs"]
mod world;

use std::{
    cell::RefCell,
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    time::Instant,
};

use proptest::prelude::*;
use stateright::{Checker, Model, Property};
use tenantmig::engine::ranges::{Heap, Range, Walk};

use self::{
    crew::State,
    law::complete,
    table::Place,
    world::{Action, Troubles, World},
};

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(self)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.extend(state.actions(self));
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        thread_local! {
            /// Hashes of states from which the end is known to be reached.
            static OPEN: RefCell<(RandomState, HashSet<u64>)> = RefCell::default();
        }
        let mut state = last.clone();
        if !state.act(self, action) {
            return None;
        }
        let mut way = Vec::new();
        let known = |state: &State| {
            OPEN.with_borrow(|(by, open)| {
                way.push(by.hash_one(state));
                open.contains(&way[way.len() - 1])
            })
        };
        state.broken = state.broken.or(complete(self, &state, &mut { known }).err());
        if state.broken.is_none() {
            OPEN.with_borrow_mut(|(_, open)| open.extend(way));
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        law::properties()
    }
}

#[track_caller]
fn explore(world: World) {
    let (name, started) = (world.name, Instant::now());
    // One thread: breadth first then finds the shortest counterexample, and the same one each time.
    let checker = world.checker().spawn_bfs().join();
    println!(
        "{name}: {} states, {} transitions, at most {} steps deep, {:.1} s",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        started.elapsed().as_secs_f32()
    );
    let mut wrong = Vec::new();
    for property in checker.model().properties() {
        let found = checker.discovery(property.name);
        match found {
            Some(path) if property.expectation.discovery_is_failure() => {
                let last = path.last_state().clone();
                wrong.push(format!("broken: {}\n  steps: {:?}\n  {last:#?}", property.name, path.into_actions()));
            }
            None if !property.expectation.discovery_is_failure() => {
                wrong.push(format!("never seen: {}", property.name))
            }
            Some(_) | None => {}
        }
    }
    assert!(wrong.is_empty(), "{name}:\n{}", wrong.join("\n"));
}

/// Two heaps, five places, two stripes, ranges of one block or two, two workers.
fn small(name: &'static str, troubles: Troubles) -> World {
    let holes = vec![Place { heap: 0, block: 1, slot: 1 }];
    World { name, blocks: vec![2, 1], slots: 2, holes, stripes: 2, sizes: vec![1, 2], workers: 2, troubles }
}

#[test]
fn crashes_and_failures_break_no_law() {
    let troubles = Troubles { crashes: 2, failures: 1, splits: 1, ..Troubles::default() };
    explore(World { workers: 3, ..small("crashes", troubles) });
}
#[test]
fn lost_connections_break_no_law() {
    explore(small("lost", Troubles { crashes: 1, losses: 2, ..Troubles::default() }));
}
#[test]
fn moved_rows_break_no_law() {
    explore(World { sizes: vec![1], ..small("moves", Troubles { crashes: 1, moves: 1, ..Troubles::default() }) });
}

#[test]
fn locked_rows_break_no_law() {
    explore(World { sizes: vec![1], ..small("locks", Troubles { crashes: 1, locks: 1, ..Troubles::default() }) });
}

#[test]
fn rows_that_are_moved_and_locked_break_no_law() {
    let troubles = Troubles { moves: 1, locks: 1, ..Troubles::default() };
    explore(World { sizes: vec![1], blocks: vec![1, 1], holes: Vec::new(), ..small("moves and locks", troubles) });
}

/// What no driver records, and a hand in the ledger may: refused, since nobody knows what is walked then.
#[test]
fn a_ledger_that_is_no_beginning_of_a_walk_is_refused() {
    let heaps = || ["h0", "h1"].map(|name| Heap { name: name.to_owned(), end: 4 }).to_vec();
    let range = |number: u32, heap: &str, lo: u64, hi: u64| {
        let heap = heap.to_owned();
        Range { sweep: 0, number, heap, lo, hi, stripes: 2, stripes_done: 2, skipping: false }
    };
    let check = |recorded: &[Range], fits: bool| {
        assert_eq!(Walk::new(0, heaps(), recorded.to_vec()).is_ok(), fits, "{recorded:?}");
    };
    check(&[], true);
    check(&[range(1, "h0", 0, 2), range(2, "h0", 2, 4), range(3, "h1", 0, 1)], true);
    check(&[range(1, "h0", 1, 2)], false);
    check(&[range(2, "h0", 0, 2)], false);
    check(&[range(1, "h1", 0, 2)], false);
    check(&[range(1, "h0", 0, 5)], false);
    check(&[range(1, "h0", 0, 0)], false);
    check(&[range(1, "h0", 0, 2), range(2, "h0", 3, 4)], false);
    check(&[range(1, "h0", 0, 2), range(2, "h0", 1, 4)], false);
    check(&[range(1, "h0", 0, 2), range(3, "h0", 2, 4)], false);
    check(&[range(1, "h0", 0, 2), range(2, "h1", 0, 4)], false);
    check(&[range(1, "h0", 0, 4), range(2, "h1", 0, 4), range(3, "h1", 0, 4)], false);
}

/// A larger world.
fn worlds() -> impl Strategy<Value = World> {
    let troubles = (0..4_u8, 0..6_u8, 0..6_u8, 0..6_u8, 0..8_u8, 0..8_u8);
    let troubles = troubles.prop_map(|(crashes, failures, splits, losses, moves, locks)| Troubles {
        crashes,
        failures,
        splits,
        losses,
        moves,
        locks,
    });
    (prop::collection::vec(0..8_u64, 1..5), 1..4_u32, 1..5_u32, 1..5_usize, troubles).prop_map(
        |(blocks, slots, stripes, workers, troubles)| World {
            name: "large",
            blocks,
            slots,
            holes: Vec::new(),
            stripes,
            sizes: vec![1, 2, 5],
            workers,
            troubles,
        },
    )
}

/// Of a hundred steps that are nobody's work: crashes, moves, locks …
const TROUBLE_PERCENT: u32 = 20;

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_course_of_many_workers_breaks_no_law(world in worlds(), dice in prop::collection::vec(any::<u32>(), 0..300)) {
        let mut state = State::new(&world);
        for die in dice {
            let (work, trouble): (Vec<_>, Vec<_>) = state.actions(&world).into_iter().partition(Action::is_work);
            let from = if die % 100 < TROUBLE_PERCENT && !trouble.is_empty() { trouble } else { work };
            let mut next = state.clone();
            if !from.is_empty() && next.act(&world, from[(die / 100) as usize % from.len()]) {
                state = next;
            }
            prop_assert_eq!(state.broken, None);
        }
        prop_assert_eq!(complete(&world, &state, &mut |_| false), Ok(()));
    }
}
