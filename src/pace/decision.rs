//! What a backfill is to do next, and because of what.

use serde::{Deserialize, Serialize};

use super::Signal;

/// A signal beside its limit, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    pub signal: Signal,
    /// `12.3 s`, or `unknown`.
    pub measured: String,
    /// `10 s`.
    pub limit: String,
    /// Of the limit: above 100 it is beyond.
    pub percent: u32,
}

/// Whether the next batch may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pace {
    Go,
    /// Not now. `why` is a sentence for whoever looks at it at night.
    Sleep {
        signal: Signal,
        why: String,
        look_again_ms: u64,
    },
    /// Not any more: beyond a critical limit, or waited for too long. What becomes of the run, the plan's `on_critical` says.
    Stop {
        signal: Signal,
        why: String,
    },
}

/// The pace, and the signal that is nearest to its limit or furthest beyond.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub pace: Pace,
    /// None where no signal is looked at.
    pub governing: Option<Reading>,
}
