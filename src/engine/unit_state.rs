//! Where one unit of a run stands.

use crate::unit::{Before, Op};

/// Where one unit stands. All but Pending carry what was there before.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum UnitState {
    Pending,
    Started {
        before: Before,
    },
    Done {
        before: Before,
    },
    Failed {
        before: Before,
    },
    /// `done`: the deed had been completed, so that its undo has something to take back for certain.
    Undoing {
        before: Before,
        done: bool,
    },
    UndoFailed {
        before: Before,
        done: bool,
    },
}

impl UnitState {
    /// What was there before, once the unit was touched.
    pub fn before(&self) -> Option<&Before> {
        match self {
            Self::Pending => None,
            Self::Started { before }
            | Self::Done { before }
            | Self::Failed { before }
            | Self::Undoing { before, .. }
            | Self::UndoFailed { before, .. } => Some(before),
        }
    }

    /// Whether the deed was completed and not yet taken back.
    pub fn is_done(&self) -> bool {
        match self {
            Self::Done { .. } => true,
            Self::Undoing { done, .. } | Self::UndoFailed { done, .. } => *done,
            Self::Pending | Self::Started { .. } | Self::Failed { .. } => false,
        }
    }

    /// Whether the deed may stand in the database, and by us. What was started and not concluded may have happened, unless
    /// the outcome commits with it.
    pub(super) fn may_be_done(&self, up: &Op) -> bool {
        match self {
            Self::Done { before } => before.hands_off().is_none(),
            Self::Started { before } => {
                before.hands_off().is_none() && matches!(up, Op::Autocommit { .. } | Op::Backfill(_))
            }
            Self::Pending | Self::Failed { .. } | Self::Undoing { .. } | Self::UndoFailed { .. } => false,
        }
    }

    /// The word in `migration_progress.status`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Started { .. } => "running",
            Self::Done { .. } => "done",
            Self::Failed { .. } => "failed",
            Self::Undoing { .. } => "undoing",
            Self::UndoFailed { .. } => "stuck",
        }
    }
}
