//! The program of the model: workers around one `Walk`, as the driver has them, in small steps, and whatever can come between
//! two of them. All but the database is lost in a crash.

use std::hash::{Hash, Hasher};

use tenantmig::engine::ranges::{Heap, Next, Range, Walk};

use super::{
    law::{self, Law},
    table::{Database, Flight},
    world::{Action, Troubles, World},
};

/// Sweeps up to this one pass locked rows by; later ones wait for them.
const SWEEPS_SKIPPING: u32 = 1;

/// What a worker is in the middle of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Worker {
    Idle,
    /// Decided on a claim. The driver lets nobody else ask meanwhile.
    Claiming {
        number: u32,
        heap: Heap,
        lo: u64,
    },
    Holding(Range),
}

/// The living process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Crew {
    /// `None` once a claim failed, which may be recorded or not. Then everybody comes to an end, and the ledger is read again.
    pub walk: Option<Walk>,
    pub sweep: u32,
    pub workers: Vec<Worker>,
}

/// Everything.
#[derive(Debug, Clone)]
pub struct State {
    pub db: Database,
    pub crew: Option<Crew>,
    pub left: Troubles,
    /// A connection was lost, so that somebody may find a range further than he knows.
    pub lost: bool,
    pub finished: bool,
    pub broken: Option<Law>,
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for State {}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.parts().hash(hasher);
    }
}

impl Worker {
    /// Workers are alike, so states in which they have only changed places are one.
    fn order(&self) -> (u8, u32) {
        match self {
            Self::Idle => (0, 0),
            Self::Claiming { number, .. } => (1, *number),
            Self::Holding(range) => (2, range.number),
        }
    }

    fn is_claiming(&self) -> bool {
        match self {
            Self::Claiming { .. } => true,
            Self::Idle | Self::Holding(_) => false,
        }
    }
}

impl Crew {
    /// Nobody is at work and nobody can be: the ledger is to be read again.
    fn is_over(&self) -> bool {
        self.walk.is_none() && self.workers.iter().all(|worker| *worker == Worker::Idle)
    }
}

impl State {
    pub fn new(world: &World) -> Self {
        let db = Database::new(&world.blocks, world.slots, &world.holes);
        Self { db, crew: None, left: world.troubles.clone(), lost: false, finished: false, broken: None }
    }

    /// Without the ranges of earlier walks, which nobody reads again.
    fn parts(&self) -> impl Hash + PartialEq + '_ {
        let db = &self.db;
        let sweep = db.walk.as_ref().map_or(0, |(sweep, _)| *sweep);
        let durable = (&db.rows, &db.blocks, &db.walk, db.recorded(sweep), &db.flights);
        (durable, &self.crew, &self.left, self.lost, self.finished, self.broken)
    }

    fn worker(&self, at: usize) -> Option<&Worker> {
        self.crew.as_ref().and_then(|crew| crew.workers.get(at))
    }

    /// Does it, and checks the laws; false where it cannot be done, or changes nothing.
    pub fn act(&mut self, world: &World, action: Action) -> bool {
        let done = match action {
            Action::Start => self.start(world),
            Action::Step { worker, blocks } => self.step(world, worker, blocks),
            Action::Fail { worker } => spend(&mut self.left.failures) && self.fail(worker),
            Action::Split { worker } => spend(&mut self.left.splits) && self.split(worker),
            Action::Lose { worker, blocks } => spend(&mut self.left.losses) && self.lose(world, worker, blocks),
            Action::Land(flight) => {
                self.db.land(flight);
                true
            }
            Action::Vanish(flight) => {
                self.db.flights.remove(flight);
                true
            }
            Action::Conclude => self.conclude(),
            Action::Crash => {
                self.crew = None;
                spend(&mut self.left.crashes)
            }
            Action::Move { row, to } => {
                self.db.update(row, to);
                spend(&mut self.left.moves)
            }
            Action::Lock(row) => {
                self.db.rows[row].locked = true;
                spend(&mut self.left.locks)
            }
            Action::Unlock(row) => {
                self.db.rows[row].locked = false;
                true
            }
        };
        if let Some(crew) = self.crew.as_mut() {
            crew.workers.sort_by_key(Worker::order);
        }
        self.broken = self.broken.or_else(|| law::broken(self));
        done
    }

    /// Reads the ledger. A process that begins has taken the lease over, which waits for statements of the one before.
    fn start(&mut self, world: &World) -> bool {
        let again = self.crew.as_ref().map(Crew::is_over);
        if self.finished || !again.unwrap_or(self.db.flights.is_empty()) {
            return false;
        }
        self.lost &= again.is_some();
        if self.db.walk.is_none() {
            self.db.begin(0);
        }
        let (sweep, heaps) = self.db.walk.clone().unwrap();
        match Walk::new(sweep, heaps, self.db.recorded(sweep)) {
            Ok(walk) => self.crew = Some(Crew { walk: Some(walk), sweep, workers: vec![Worker::Idle; world.workers] }),
            Err(_) => self.broken = Some(law::RESTORED),
        }
        true
    }

    fn step(&mut self, world: &World, at: usize, blocks: u64) -> bool {
        let Some(crew) = self.crew.as_mut() else { return false };
        let next = match crew.workers[at].clone() {
            Worker::Idle => {
                let busy = crew.workers.iter().any(Worker::is_claiming);
                match crew.walk.as_mut().filter(|_| !busy).map_or(Next::Nothing, Walk::next_range) {
                    Next::Take(range) => {
                        self.broken = (range.stripes_done >= range.stripes).then_some(law::SPENT);
                        Worker::Holding(range)
                    }
                    Next::Claim { number, heap, lo } => Worker::Claiming { number, heap, lo },
                    Next::Nothing => return false,
                }
            }
            Worker::Claiming { number, heap, lo } => {
                let range = claim(world, crew.sweep, (number, &heap, lo), blocks);
                if self.db.insert(&range) {
                    let claimed = crew.walk.as_mut().map(|walk| walk.claimed(&range));
                    self.broken = claimed.is_some_and(|claimed| claimed.is_err()).then_some(law::CLAIMED);
                    Worker::Holding(range)
                } else {
                    self.broken = (!self.lost).then_some(law::STALE);
                    crew.walk = None;
                    Worker::Idle
                }
            }
            Worker::Holding(range) if range.stripes_done >= range.stripes => {
                give_back(crew, range);
                Worker::Idle
            }
            Worker::Holding(range) => match self.batch(range) {
                Some(range) => Worker::Holding(range),
                None => return false,
            },
        };
        if let Some(crew) = self.crew.as_mut() {
            crew.workers[at] = next;
        }
        true
    }

    /// The range's next batch; `None` while it waits for a row.
    fn batch(&mut self, mut range: Range) -> Option<Range> {
        if !range.skipping && self.db.is_contended(&range) {
            range.skipping = range.sweep <= SWEEPS_SKIPPING;
            return range.skipping.then_some(range);
        }
        if self.db.commit(&range) {
            range.stripes_done += 1;
            return Some(range);
        }
        // The ledger knows how far the range is.
        let now = self.db.range(range.sweep, range.number).cloned();
        let further = now.filter(|now| self.lost && now.stripes_done > range.stripes_done);
        self.broken = further.is_none().then_some(law::STALE);
        Some(further.unwrap_or(range))
    }

    /// A claim that the server refuses, or a range that is given back unfinished.
    fn fail(&mut self, at: usize) -> bool {
        let Some(crew) = self.crew.as_mut() else { return false };
        match crew.workers[at].clone() {
            Worker::Claiming { .. } => crew.walk = None,
            Worker::Holding(range) => give_back(crew, range),
            Worker::Idle => return false,
        }
        crew.workers[at] = Worker::Idle;
        true
    }

    fn split(&mut self, at: usize) -> bool {
        match self.worker(at).cloned() {
            Some(Worker::Holding(range)) => self.db.write_one(&range),
            Some(Worker::Idle | Worker::Claiming { .. }) | None => false,
        }
    }

    /// A batch is sent again on another connection; after a claim nobody knows what is claimed.
    fn lose(&mut self, world: &World, at: usize, blocks: u64) -> bool {
        let Some(crew) = self.crew.as_mut() else { return false };
        let flight = match crew.workers[at].clone() {
            Worker::Claiming { number, heap, lo } => {
                crew.walk = None;
                crew.workers[at] = Worker::Idle;
                Flight::Claim(claim(world, crew.sweep, (number, &heap, lo), blocks))
            }
            Worker::Holding(range) if range.stripes_done < range.stripes => Flight::Batch(range),
            Worker::Idle | Worker::Holding(_) => return false,
        };
        self.db.flights.push(flight);
        self.lost = true;
        true
    }

    fn conclude(&mut self) -> bool {
        let Some(crew) = self.crew.as_mut() else { return false };
        if !crew.walk.as_ref().is_some_and(Walk::is_done) {
            return false;
        }
        if self.db.due() == 0 {
            self.finished = true;
            self.crew = None;
            return true;
        }
        crew.sweep += 1;
        self.db.begin(crew.sweep);
        let (_, heaps) = self.db.walk.clone().unwrap();
        crew.walk = Walk::new(crew.sweep, heaps, Vec::new()).ok();
        true
    }

    /// Everything that may come next.
    pub fn actions(&self, world: &World) -> Vec<Action> {
        if self.finished || self.broken.is_some() {
            return Vec::new();
        }
        let mut all = vec![Action::Start, Action::Conclude];
        all.extend((0..self.db.flights.len()).flat_map(|at| [Action::Land(at), Action::Vanish(at)]));
        for at in 0..self.crew.as_ref().map_or(0, |crew| crew.workers.len()) {
            let same = at > 0 && self.worker(at) == self.worker(at - 1);
            if !same {
                all.extend(self.actions_of(world, at));
            }
        }
        if self.left.crashes > 0 && self.crew.is_some() {
            all.push(Action::Crash);
        }
        for (row, is) in self.db.rows.iter().enumerate() {
            if is.locked {
                all.push(Action::Unlock(row));
            } else if is.written == 0 {
                all.extend((self.left.locks > 0).then_some(Action::Lock(row)));
                let places = if self.left.moves > 0 { self.db.free() } else { Vec::new() };
                all.extend(places.into_iter().map(|to| Action::Move { row, to }));
            }
        }
        all
    }

    fn actions_of(&self, world: &World, worker: usize) -> Vec<Action> {
        let claims = matches!(self.worker(worker), Some(Worker::Claiming { .. }));
        let sizes = if claims { world.sizes.as_slice() } else { &world.sizes[..1] };
        let mut all: Vec<_> = sizes.iter().map(|blocks| Action::Step { worker, blocks: *blocks }).collect();
        if self.left.failures > 0 {
            all.push(Action::Fail { worker });
        }
        if self.left.splits > 0 {
            all.push(Action::Split { worker });
        }
        if self.left.losses > 0 {
            all.extend(sizes.iter().map(|blocks| Action::Lose { worker, blocks: *blocks }));
        }
        all
    }
}

/// The range that a worker makes of a claim: so many blocks, and not beyond the heap's end.
fn claim(world: &World, sweep: u32, (number, heap, lo): (u32, &Heap, u64), blocks: u64) -> Range {
    let hi = (lo + blocks).min(heap.end);
    let (heap, stripes) = (heap.name.clone(), world.stripes);
    Range { sweep, number, heap, lo, hi, stripes, stripes_done: 0, skipping: false }
}

fn give_back(crew: &mut Crew, range: Range) {
    if let Some(walk) = crew.walk.as_mut() {
        walk.give_back(range);
    }
}

fn spend(left: &mut u8) -> bool {
    let some = *left > 0;
    *left = left.saturating_sub(1);
    some
}
