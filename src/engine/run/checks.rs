//! What is measured between phases: the gates of `after_undo`, and whether others changed what the plan touches.

use super::{Illegal, Run, out_of_order};
use crate::engine::{Effect, Event, Finding, Program, UnitState};

/// Where a gate of `after_undo` stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Check {
    /// Nothing of its phase is being undone, or it holds.
    Rests,
    Due,
    Found,
}

impl Run {
    /// The first gate of `after_undo` of phase `p` that is to be measured.
    pub(in crate::engine) fn check_due(&self, p: usize) -> Option<usize> {
        self.checks[p].iter().position(|check| *check == Check::Due)
    }

    /// Whether a phase that is undone is not as its `after_undo` says.
    pub fn undo_is_in_doubt(&self) -> bool {
        self.checks.iter().flatten().any(|check| *check == Check::Found)
    }

    /// Entering Unwinding: what is to be measured when these phases are undone.
    pub(super) fn make_checks_due(&mut self, program: &Program, keep: usize) {
        for p in keep..program.phases.len() {
            let touched = self.last_touched(program.first_unit(p)..program.first_unit(p + 1)).is_some();
            for check in &mut self.checks[p] {
                if touched || *check == Check::Found {
                    *check = Check::Due;
                }
            }
        }
    }

    /// Forward again: what did not hold after the undo is over.
    pub(super) fn forget_checks(&mut self) {
        self.checks.iter_mut().flatten().for_each(|check| *check = Check::Rests);
    }

    /// What is measured before a phase is begun: its first unit is next, and nothing of it was touched.
    pub(super) fn before_phase(&self, program: &Program, event: &Event, phase: &str) -> Result<(), Illegal> {
        let p =
            program.phases.iter().position(|x| x.id == phase).ok_or_else(|| Illegal::UnknownPhase(phase.to_owned()))?;
        let first = program.first_unit(p);
        let begins = !program.phases[p].units.is_empty()
            && self.next(program) == Effect::Do(first)
            && matches!(self.unit(first), UnitState::Pending);
        if begins { Ok(()) } else { Err(out_of_order(event.kind(), format!("phase `{phase}` is not about to begin"))) }
    }

    pub(super) fn checked(
        &mut self,
        program: &Program,
        event: &Event,
        phase: &str,
        gate: &str,
        findings: &[Finding],
    ) -> Result<(), Illegal> {
        let p =
            program.phases.iter().position(|x| x.id == phase).ok_or_else(|| Illegal::UnknownPhase(phase.to_owned()))?;
        match program.phases[p].after_undo.iter().position(|x| x.id == gate) {
            Some(g) if self.next(program) == Effect::Check(p, g) => {
                self.checks[p][g] = if findings.is_empty() { Check::Rests } else { Check::Found };
                Ok(())
            }
            Some(_) | None => Err(out_of_order(event.kind(), format!("gate `{gate}` of phase `{phase}` is not next"))),
        }
    }
}
