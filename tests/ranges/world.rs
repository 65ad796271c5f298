//! What may happen in one exploration, and the steps it is made of.

use super::table::Place;

/// What is explored.
#[derive(Debug, Clone)]
pub struct World {
    pub name: &'static str,
    /// Blocks of each heap.
    pub blocks: Vec<u64>,
    pub slots: u32,
    pub holes: Vec<Place>,
    pub stripes: u32,
    /// Ranges may have so many blocks.
    pub sizes: Vec<u64>,
    pub workers: usize,
    pub troubles: Troubles,
}

/// How often each may still happen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Troubles {
    /// The process dies.
    pub crashes: u8,
    /// A claim is not recorded, or a batch fails and is given back.
    pub failures: u8,
    /// A batch takes too long, and one of its rows is written in a transaction of its own.
    pub splits: u8,
    /// A connection is lost around a commit.
    pub losses: u8,
    pub moves: u8,
    pub locks: u8,
}

/// One small step of anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// The process starts, and reads the ledger.
    Start,
    /// A worker goes on; a range that it claims has so many blocks.
    Step {
        worker: usize,
        blocks: u64,
    },
    Fail {
        worker: usize,
    },
    Split {
        worker: usize,
    },
    /// A worker's connection is lost while the server commits its statement.
    Lose {
        worker: usize,
        blocks: u64,
    },
    /// A statement whose connection is lost commits, or does not.
    Land(usize),
    Vanish(usize),
    /// Everything is walked: the closing proof, or the next sweep.
    Conclude,
    Crash,
    Move {
        row: usize,
        to: Place,
    },
    Lock(usize),
    Unlock(usize),
}

impl Action {
    /// Whether a run without trouble has such steps.
    pub fn is_work(&self) -> bool {
        match self {
            Self::Start | Self::Step { .. } | Self::Conclude => true,
            Self::Fail { .. }
            | Self::Split { .. }
            | Self::Lose { .. }
            | Self::Land(_)
            | Self::Vanish(_)
            | Self::Crash => false,
            Self::Move { .. } | Self::Lock(_) | Self::Unlock(_) => false,
        }
    }
}
