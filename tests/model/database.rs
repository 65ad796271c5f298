//! The simulated database: one thing for each unit, and statements that change them.

use tenantmig::{
    engine::Program,
    sql::Stmt,
    unit::{Before, Down, Op, Presence, Probe},
};

/// What stands where a unit makes its thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Thing {
    Nothing,
    /// Half made or half dropped: an invalid index, a table half filled.
    Wreck,
    /// As the unit makes it.
    Made,
    /// Somebody's own, which the unit replaces and a rollback brings back.
    Theirs,
    /// Somebody's own, which nobody may touch.
    Blocking,
}

/// The things, numbered like the units.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Database(pub Vec<Thing>);

impl Database {
    /// What the probe of a unit finds. A unit that only the ledger knows looks absent.
    pub fn probe(&self, program: &Program, number: usize) -> Before {
        let (_, unit) = program.units().nth(number).unwrap();
        let thing = self.0[number];
        let (presence, restore) = match (&unit.probe, thing) {
            (Probe::Ledger, _) | (_, Thing::Nothing) => (Presence::Absent, vec![]),
            (_, Thing::Wreck) => (Presence::Partial, vec![]),
            (_, Thing::Made) => (Presence::Present, vec![]),
            (_, Thing::Theirs) => (Presence::Partial, vec![Stmt::raw(format!("RESTORE {number}"))]),
            (_, Thing::Blocking) => (Presence::Conflict, vec![]),
        };
        let found = (presence != Presence::Absent).then(|| format!("{thing:?}"));
        Before { presence, found, restore }
    }

    /// Runs one statement. As in PostgreSQL, a DROP does not ask whose it is, and takes along what is stored in it.
    pub fn run(&mut self, program: &Program, stmt: &Stmt) {
        let (verb, number) = stmt.as_str().split_once(' ').unwrap();
        let number: usize = number.parse().unwrap();
        match verb {
            "MAKE" => self.0[number] = Thing::Made,
            "RESTORE" => self.0[number] = Thing::Theirs,
            "REPAIR" if self.0[number] == Thing::Wreck => self.0[number] = Thing::Nothing,
            "REPAIR" => {}
            "DROP" => {
                let of = &program.units().nth(number).unwrap().1.id;
                for (other, (_, unit)) in program.units().enumerate() {
                    if other == number || unit.down == Down::CoveredBy(of.clone()) {
                        self.0[other] = Thing::Nothing;
                    }
                }
            }
            verb => panic!("the simulated database has no {verb}"),
        }
    }

    /// Whether this thing is as the unit makes it.
    pub fn is_made(&self, program: &Program, number: usize) -> bool {
        let (_, unit) = program.units().nth(number).unwrap();
        self.0[number] == Thing::Made || matches!(unit.up, Op::Assert(_) | Op::Restore(_))
    }
}
