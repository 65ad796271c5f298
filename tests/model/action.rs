//! What anybody can do next.

use tenantmig::engine::Destination;

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
    /// Somebody removes by hand what stood in the way.
    Clear,
}
