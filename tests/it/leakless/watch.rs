//! What readers see of tables while row-level security comes or goes, each answer judged as it is given.
//!
//! An answer shows everything, or a tenant's own rows; anything between is wrong, and so is a reader with a context whose own
//! rows are missing. Once any session has seen a table's protection, the transaction that made it has committed: a statement that is
//! sent after that, by whomever, must not see more. The other way round where the protection goes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};

/// The tables, each with those that are protected in the same transaction: its partitions.
pub const RELATIONS: [(&str, usize); 6] =
    [("tenants", 0), ("orders", 1), ("lines", 2), ("events", 3), ("events_1", 3), ("events_2", 3)];
const FAMILIES: usize = 4;
pub const TENANTS: usize = 3;

/// Findings are told up to so many; their number is counted further.
const TOLD_MAX: usize = 20;

/// Where the run goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Enforcing,
    Lifting,
}

/// Whom a session is: one of the tenants, or nobody.
pub type Who = Option<usize>;

/// How many rows of each tenant a session saw in a table.
pub type Rows = [i64; TENANTS];

/// What an answer shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shows {
    All,
    Own,
}

/// All that was seen, and what of it was wrong.
#[derive(Debug)]
pub struct Watch {
    pub way: Way,
    /// What was in each table when it began; rows are only added.
    seeds: [Rows; RELATIONS.len()],
    /// Whether somebody has seen the end of the way.
    arrived: [AtomicBool; FAMILIES],
    /// Answers that showed all, and those that showed what is one's own, by family.
    all: [AtomicU64; FAMILIES],
    own: [AtomicU64; FAMILIES],
    /// Sent after the protection was seen (or gone), and not according to it.
    pub late: Findings,
    /// Neither everything nor one's own.
    pub torn: Findings,
    /// What the server refused.
    pub errors: Findings,
}

/// Their number, and the first of them.
#[derive(Debug, Default)]
pub struct Findings {
    number: AtomicU64,
    first: Mutex<Vec<String>>,
}

impl Findings {
    pub fn add(&self, what: String) {
        self.number.fetch_add(1, SeqCst);
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        if first.len() < TOLD_MAX {
            first.push(what);
        }
    }

    pub fn number(&self) -> u64 {
        self.number.load(SeqCst)
    }

    pub fn told(&self) -> String {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }
}

/// What was known when a statement was sent.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    relation: usize,
    arrived: bool,
}

impl Watch {
    pub fn new(way: Way, seeds: [Rows; RELATIONS.len()]) -> Self {
        let (late, torn, errors) = Default::default();
        Self {
            way,
            seeds,
            arrived: Default::default(),
            all: Default::default(),
            own: Default::default(),
            late,
            torn,
            errors,
        }
    }

    /// To be called right before a statement is sent.
    pub fn sends(&self, relation: usize) -> Sent {
        Sent { relation, arrived: self.arrived[RELATIONS[relation].1].load(SeqCst) }
    }

    /// Judges an answer.
    pub fn answered(&self, sent: Sent, who: Who, rows: Rows, how: &str) {
        let (name, family) = RELATIONS[sent.relation];
        let Some(shows) = shows(who, &rows, &self.seeds[sent.relation]) else {
            let seed = self.seeds[sent.relation];
            self.torn.add(format!("{name} as {who:?} {how}: {rows:?} of {seed:?}"));
            return;
        };
        let counter = match shows {
            Shows::All => &self.all,
            Shows::Own => &self.own,
        };
        counter[family].fetch_add(1, SeqCst);
        let at_the_end = matches!((self.way, shows), (Way::Enforcing, Shows::Own) | (Way::Lifting, Shows::All));
        if at_the_end {
            self.arrived[family].store(true, SeqCst);
        } else if sent.arrived {
            self.late.add(format!("{name} as {who:?} {how}: {rows:?} after {:?} was seen done", self.way));
        }
    }

    /// How many answers were judged.
    pub fn checked(&self) -> u64 {
        let sum = |of: &[AtomicU64]| of.iter().map(|n| n.load(SeqCst)).sum::<u64>();
        sum(&self.all) + sum(&self.own) + self.torn.number()
    }

    /// Whether each table was seen open and closed so many times at least.
    pub fn both(&self, at_least: u64) -> bool {
        self.all.iter().chain(&self.own).all(|n| n.load(SeqCst) >= at_least)
    }

    /// Whether each table was seen as it is where the way begins.
    pub fn begun(&self, at_least: u64) -> bool {
        let begin = match self.way {
            Way::Enforcing => &self.all,
            Way::Lifting => &self.own,
        };
        begin.iter().all(|n| n.load(SeqCst) >= at_least)
    }

    /// Every answer was right.
    #[track_caller]
    pub fn flawless(&self) {
        for (what, findings) in [("late", &self.late), ("torn", &self.torn), ("errors", &self.errors)] {
            assert!(findings.number() == 0, "{} {what}, among them\n{}", findings.number(), findings.told());
        }
    }
}

/// `None`: neither.
fn shows(who: Who, rows: &Rows, seed: &Rows) -> Option<Shows> {
    let complete = |tenant: usize| rows[tenant] >= seed[tenant];
    let others = |tenant: &usize| Some(*tenant) != who;
    if who.is_some_and(|tenant| !complete(tenant)) {
        return None;
    }
    if (0..TENANTS).filter(others).all(|tenant| rows[tenant] == 0) {
        return Some(Shows::Own);
    }
    (0..TENANTS).filter(others).all(complete).then_some(Shows::All)
}

#[test]
fn answers_between_all_and_own_are_torn() {
    let seed = [3, 3, 3];
    for (who, rows, expect) in [
        (Some(0), [3, 0, 0], Some(Shows::Own)),
        (Some(0), [4, 3, 9], Some(Shows::All)),
        (Some(0), [0, 0, 0], None),
        (Some(0), [2, 0, 0], None),
        (Some(0), [3, 1, 0], None),
        (Some(0), [3, 3, 0], None),
        (None, [0, 0, 0], Some(Shows::Own)),
        (None, [3, 3, 4], Some(Shows::All)),
        (None, [3, 0, 0], None),
    ] {
        assert_eq!(shows(who, &rows, &seed), expect, "{who:?} {rows:?}");
    }
}
