//! What anybody can do next.

use tenantmig::engine::{Destination, Event, Program};

use super::{put_off::put_off, shell::World};

/// One small step of anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// The driver goes on, and nothing goes wrong.
    Step,
    /// What the driver is about to do fails for good.
    Fail,
    /// The same, and a guard holds the rollback that would follow.
    FailHeld,
    /// The unit that the driver is about to do fails because the disk is full.
    FillDisk,
    /// The driver's process dies.
    Crash,
    /// Somebody removes by hand what stood in the way.
    Clear,
    /// An operator asks for something.
    Ask(Request),
}

/// What an operator, or the driver before it touches anything, asks the machine for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Request {
    Pause,
    Resume,
    Rollback(Destination),
    /// Before this phase others are found to have changed what the plan touches; and that is accepted.
    Drift(usize),
    AcceptDrift(usize),
    /// Every guard is put off, and somebody agrees beforehand to what they find, or does not.
    PutOff(bool),
    /// Somebody gives up a rollback that waits at such a guard.
    TurnRound,
}

impl Request {
    /// Every request that makes a difference to this program.
    pub fn all(program: &Program) -> Vec<Self> {
        let mut all = vec![Self::Pause, Self::Resume];
        if program.phases.iter().any(|phase| !phase.before_undo.is_empty()) {
            all.extend([Self::PutOff(false), Self::PutOff(true), Self::TurnRound]);
        }
        all.extend((0..program.phases.len()).flat_map(|p| [Self::Drift(p), Self::AcceptDrift(p)]));
        all.extend((0..=program.phases.len()).map(|keep| Self::Rollback(Destination(keep))));
        all
    }

    /// The event that it becomes where it is granted.
    pub fn event(self, world: &World) -> Event {
        let phase = |p: usize| world.program.phases[p].id.clone();
        match self {
            Self::Pause => Event::Paused { why: "asked to".to_owned(), asked: None },
            Self::Resume => Event::Resumed,
            Self::Rollback(to) => {
                Event::RollbackRequested { keep: world.program.keep_name(to.0).to_owned(), consents: vec![] }
            }
            Self::Drift(p) => Event::Drifted { phase: phase(p), since: String::new(), found: String::new() },
            Self::AcceptDrift(p) => {
                Event::DriftAccepted { phase: phase(p), since: String::new(), found: String::new() }
            }
            Self::PutOff(agreed) => put_off(world, agreed),
            Self::TurnRound => Event::TurnedRound,
        }
    }
}
