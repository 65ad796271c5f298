//! The laws. They look at the table, the ledger and what workers hold, and ask the walk only what it claims of itself.

use stateright::Property;
use tenantmig::engine::ranges::{Range, Walk};

use super::{
    crew::{Crew, State, Worker},
    table::Database,
    world::{Action, World},
};

/// The text of a law.
pub type Law = &'static str;

macro_rules! laws {
    ($($name:ident = $text:literal;)*) => {
        $(pub const $name: Law = $text;)*

        fn unbroken() -> Vec<Property<World>> {
            vec![$(Property::always($name, |_: &World, state: &State| state.broken != Some($name))),*]
        }
    };
}

laws! {
    ONCE = "no row is written twice";
    PREFIX = "recorded ranges have no gap and no overlap, and none goes beyond its heap's end";
    CLAIMED = "what is claimed begins where the last claim ends";
    RESTORED = "what is recorded can be read again";
    ALONE = "no two workers hold one range";
    SPENT = "nobody is given a range that is done";
    STALE = "nobody finds a range in the ledger further than he knows, unless a connection was lost";
    DONE = "done means that every range is recorded and committed, and nobody is at work";
    MISSED = "a walk writes every row that was neither moved nor locked meanwhile";
    FINISHED = "in the end every row is written exactly once";
    OPEN = "without further trouble the end is reached";
}

/// Steps to the end when nothing goes wrong any more: a few for each range, stripe and sweep; no model here needs half of it.
const STEPS_MAX: usize = 1_500;

pub fn properties() -> Vec<Property<World>> {
    let mut all = unbroken();
    all.push(Property::sometimes("finished", |_: &World, state: &State| state.finished));
    all.push(Property::sometimes("two at work", |_: &World, state: &State| {
        state.crew.as_ref().is_some_and(|crew| held(crew).count() > 1)
    }));
    all
}

fn held(crew: &Crew) -> impl Iterator<Item = u32> + '_ {
    crew.workers.iter().filter_map(|worker| match worker {
        Worker::Holding(range) => Some(range.number),
        Worker::Idle | Worker::Claiming { .. } => None,
    })
}

/// The first law that a state breaks.
pub fn broken(state: &State) -> Option<Law> {
    let db = &state.db;
    let wrong = |law: Law, holds: bool| (!holds).then_some(law);
    wrong(ONCE, db.rows.iter().all(|row| row.written <= 1))
        .or_else(|| wrong(PREFIX, is_prefix(db)))
        .or_else(|| state.crew.as_ref().and_then(|crew| broken_by(crew, db)))
        .or_else(|| wrong(FINISHED, !state.finished || db.rows.iter().all(|row| row.written == 1)))
}

fn broken_by(crew: &Crew, db: &Database) -> Option<Law> {
    let mut numbers: Vec<u32> = held(crew).collect();
    numbers.sort_unstable();
    if numbers.windows(2).any(|two| two[0] == two[1]) {
        return Some(ALONE);
    }
    if !crew.walk.as_ref().is_some_and(Walk::is_done) {
        return None;
    }
    let idle = crew.workers.iter().all(|worker| *worker == Worker::Idle);
    if !idle || !is_whole(db) {
        return Some(DONE);
    }
    let missed = db.rows.iter().any(|row| row.written == 0 && !row.moved && !row.passed);
    missed.then_some(MISSED)
}

/// Whether the ranges of the walk under way, as the ledger has them, are the beginning of a walk.
fn is_prefix(db: &Database) -> bool {
    let Some((sweep, heaps)) = &db.walk else { return db.ledger.is_empty() };
    let (mut at, mut from) = (0, 0);
    let goes_on = |(number, range): (usize, Range)| {
        let Some(heap) = heaps.get(at) else { return false };
        let fits = range.heap == heap.name && range.lo == from && range.lo < range.hi && range.hi <= heap.end;
        (at, from) = if range.hi == heap.end { (at + 1, 0) } else { (at, range.hi) };
        fits && range.number as usize == number + 1 && range.stripes_done <= range.stripes
    };
    db.recorded(*sweep).into_iter().enumerate().all(goes_on)
}

/// Whether they reach every heap's end, and all their batches are committed.
fn is_whole(db: &Database) -> bool {
    let Some((sweep, heaps)) = &db.walk else { return false };
    let ranges = db.recorded(*sweep);
    let ended = heaps.iter().all(|heap| ranges.iter().any(|range| range.heap == heap.name && range.hi == heap.end));
    is_prefix(db) && ended && ranges.iter().all(|range| range.stripes_done == range.stripes)
}

/// Goes on until the end, one thing after the other and without trouble, or until a state of which `known` says that the end
/// is reached from there. Breaks OPEN where nothing goes on.
pub fn complete(world: &World, state: &State, known: &mut dyn FnMut(&State) -> bool) -> Result<(), Law> {
    let mut state = state.clone();
    for _ in 0..STEPS_MAX {
        if let Some(law) = state.broken {
            return Err(law);
        }
        if state.finished || known(&state) {
            return Ok(());
        }
        let next = calm(world, &state).into_iter().find_map(|action| {
            let mut next = state.clone();
            next.act(world, action).then_some(next)
        });
        state = next.ok_or(OPEN)?;
    }
    Err(OPEN)
}

/// What happens by itself when nothing goes wrong.
fn calm(world: &World, state: &State) -> Vec<Action> {
    let blocks = world.sizes[0];
    let mut all: Vec<_> = (0..state.db.rows.len()).filter(|at| state.db.rows[*at].locked).map(Action::Unlock).collect();
    all.extend((!state.db.flights.is_empty()).then_some(Action::Vanish(0)));
    all.extend((0..world.workers).rev().filter(|_| state.crew.is_some()).map(|worker| Action::Step { worker, blocks }));
    all.extend([Action::Conclude, Action::Start]);
    all
}
