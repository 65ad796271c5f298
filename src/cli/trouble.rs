//! The last failure of a run, as `status` tells it.

use super::kept::minute;
use crate::{
    engine::{Event, Program},
    ledger::Recorded,
};

/// The last failure that the run has not overcome.
pub fn trouble(program: &Program, events: &[Recorded]) -> Option<String> {
    for recorded in events.iter().rev() {
        let at = minute(recorded.at);
        match &recorded.event {
            Event::Failed { unit, failure } | Event::UndoFailed { unit, failure } => {
                let title = program.find(unit).map_or(unit.to_string(), |(_, _, unit)| unit.title.clone());
                return Some(format!("{at}: {title}: {}", failure.message));
            }
            Event::GateFailed { phase, findings, .. } => {
                let what: Vec<&str> = findings.iter().map(|f| f.what.as_str()).collect();
                return Some(format!("{at}: gate of phase {phase}: {}", what.join("; ")));
            }
            Event::UndoChecked { phase, findings, .. } if !findings.is_empty() => {
                let what: Vec<&str> = findings.iter().map(|f| f.what.as_str()).collect();
                return Some(format!("{at}: after the undo of phase {phase}: {}", what.join("; ")));
            }
            // Whoever resumed, or asked for the rollback, has seen it.
            Event::Resumed | Event::RollbackRequested { .. } | Event::TurnedRound => return None,
            Event::Started { .. }
            | Event::Succeeded { .. }
            | Event::UndoStarted { .. }
            | Event::Undone { .. }
            | Event::GatePassed { .. }
            | Event::Paused { .. }
            | Event::Drifted { .. }
            | Event::DriftAccepted { .. }
            | Event::Throttled { .. }
            | Event::Unthrottled { .. }
            | Event::Repaired { .. }
            | Event::UndoChecked { .. }
            | Event::GuardsPutOff { .. }
            | Event::GuardAsked { .. }
            | Event::Retuned { .. } => {}
        }
    }
    None
}
