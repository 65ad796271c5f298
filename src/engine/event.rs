//! What can happen to a run. The ledger keeps these, in order, and nothing else decides where a run stands.

use serde::{Deserialize, Serialize};

use super::guard::{Agreed, Found, Given, Held, PutOff};
use crate::{
    plan::Tuning,
    unit::{Before, UnitId},
};

/// One thing that happened. Appended before it is believed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The intent: from here on the unit may have left traces. `before` is what stood there.
    Started { unit: UnitId, before: Before },
    /// The deed is done and recognised; `rows` where it wrote rows.
    Succeeded { unit: UnitId, rows: Option<u64> },
    /// It failed for good, retries included.
    Failed { unit: UnitId, failure: Failure },
    /// The intent to take the unit back.
    UndoStarted { unit: UnitId },
    /// It is as it was before.
    Undone { unit: UnitId },
    /// It could not be taken back: the run is stuck until somebody helps.
    UndoFailed { unit: UnitId, failure: Failure },
    /// A gate of the phase let the run through.
    GatePassed {
        phase: String,
        gate: String,
        /// Who approved, where the gate waits for a person. Ledgers of earlier versions do not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        approved: Option<Approved>,
    },
    /// A gate found something, or could not be measured.
    GateFailed {
        phase: String,
        gate: String,
        findings: Vec<Finding>,
        /// Why nothing is undone for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        held: Option<Held>,
    },
    /// An operator wants everything after the phase `keep` undone; `start` means everything.
    RollbackRequested {
        keep: String,
        /// What the guards found and was consented to. Ledgers of earlier versions have none.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        consents: Vec<Given>,
    },
    /// A gate was measured after its phase was undone; without findings it holds.
    UndoChecked { phase: String, gate: String, findings: Vec<Finding> },
    /// These guards are asked right before the first undo that each guards, when row-level security is off; until then nobody
    /// can. `agreed` counts for what they find then.
    GuardsPutOff { guards: Vec<PutOff>, agreed: Vec<Agreed> },
    /// A guard that was put off was asked. What it found, and nobody agreed to, pauses the run.
    GuardAsked { phase: String, gate: String, found: Option<Found>, agreed: Option<Agreed> },
    /// A rollback that waits at such a guard is given up: the run goes forward again.
    TurnedRound,
    /// The run stands still: an operator wants it, or a limit was passed.
    Paused {
        why: String,
        /// Who wants it; none where a limit, or a full disk, is the reason.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        asked: Option<Asker>,
    },
    /// Before phase `phase` was begun, others were found to have changed what the plan touches, since phase `since` was over.
    Drifted { phase: String, since: String, found: String },
    /// That was taken for the new measure. Who and when are the row's own columns.
    DriftAccepted { phase: String, since: String, found: String },
    /// A backfill waits, because of this signal.
    Throttled { unit: UnitId, signal: String, why: String },
    /// It goes on, after so long.
    Unthrottled { unit: UnitId, waited_ms: u64 },
    /// An operator changed how fast backfills go: who, from which host, when it was asked (by the server's clock) and what.
    Retuned { by: String, host: String, asked_at: String, tuning: Tuning },
    /// Somebody took the log, as it stood, for the truth, and this was wrong with it. Who and when are the row's own columns.
    Repaired { what: String },
    /// Go on: from a pause, from being stuck, or forward again after a rollback.
    Resumed,
}

/// Who asked for something, from which host, and when (by the server's clock).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Asker {
    pub by: String,
    pub host: String,
    pub at: String,
}

/// An approval that a phase waited for: its number in the ledger, who gave it, from which host, when (by the server's clock), and why.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Approved {
    pub number: i64,
    pub by: String,
    pub host: String,
    pub at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Why a unit failed, as it is kept and told.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Failure {
    /// The five characters of PostgreSQL, where the server said it.
    pub sqlstate: Option<String>,
    /// What happened, a lowercase fragment.
    pub message: String,
    /// The statement that failed.
    pub statement: Option<String>,
    /// What can be done about it.
    pub advice: Option<String>,
    /// The server's disk was full. Ledgers of earlier versions do not say so: there it was a failure like any other.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disk_full: bool,
    /// Why nothing is undone for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
}

/// One finding of a gate.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Finding {
    pub what: String,
    pub count: i64,
    pub example: Option<String>,
}

impl Failure {
    /// A failure that the server did not report.
    pub fn new(message: impl Into<String>) -> Self {
        Self { sqlstate: None, message: message.into(), statement: None, advice: None, disk_full: false, held: None }
    }

    /// With advice.
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

impl Event {
    /// The failure, with what holds the rollback that it would begin.
    pub fn held(mut self, why: Held) -> Self {
        if let Self::Failed { failure, .. } = &mut self {
            failure.held = Some(why);
        } else if let Self::GateFailed { held, .. } = &mut self {
            *held = Some(why);
        }
        self
    }

    /// The event's name in the ledger.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Started { .. } => "started",
            Self::Succeeded { .. } => "succeeded",
            Self::Failed { .. } => "failed",
            Self::UndoStarted { .. } => "undo_started",
            Self::Undone { .. } => "undone",
            Self::UndoFailed { .. } => "undo_failed",
            Self::GatePassed { .. } => "gate_passed",
            Self::GateFailed { .. } => "gate_failed",
            Self::RollbackRequested { .. } => "rollback_requested",
            Self::UndoChecked { .. } => "undo_checked",
            Self::GuardsPutOff { .. } => "guards_put_off",
            Self::GuardAsked { .. } => "guard_asked",
            Self::TurnedRound => "turned_round",
            Self::Paused { .. } => "paused",
            Self::Drifted { .. } => "drifted",
            Self::DriftAccepted { .. } => "drift_accepted",
            Self::Throttled { .. } => "throttled",
            Self::Unthrottled { .. } => "unthrottled",
            Self::Retuned { .. } => "retuned",
            Self::Repaired { .. } => "repaired",
            Self::Resumed => "resumed",
        }
    }

    /// The unit it is about, if any.
    pub fn unit(&self) -> Option<&UnitId> {
        match self {
            Self::Started { unit, .. }
            | Self::Succeeded { unit, .. }
            | Self::Failed { unit, .. }
            | Self::UndoStarted { unit }
            | Self::Undone { unit }
            | Self::Throttled { unit, .. }
            | Self::Unthrottled { unit, .. }
            | Self::UndoFailed { unit, .. } => Some(unit),
            Self::GatePassed { .. }
            | Self::GateFailed { .. }
            | Self::RollbackRequested { .. }
            | Self::UndoChecked { .. }
            | Self::GuardsPutOff { .. }
            | Self::GuardAsked { .. }
            | Self::TurnedRound
            | Self::Paused { .. }
            | Self::Drifted { .. }
            | Self::DriftAccepted { .. }
            | Self::Retuned { .. }
            | Self::Repaired { .. }
            | Self::Resumed => None,
        }
    }
}
