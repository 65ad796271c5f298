//! The one next effect of a run.

use serde::Serialize;

use super::{
    Program,
    run::{Mode, Run},
};
use crate::checks::Measure;

/// What the shell is to do next. Numbers count the program's units and phases from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Carry out the unit; after a crash, recognise first how far it came.
    Do(usize),
    /// Take the unit back.
    Undo(usize),
    /// Measure this gate of this phase.
    Gate(usize, usize),
    /// Measure this gate of this phase, which is undone.
    Check(usize, usize),
    /// Ask this guard of this phase, which was put off; the first undo that it guards is next.
    Ask(usize, usize),
    /// Nothing more to do for now.
    Halt(Outcome),
}

/// Where a run came to rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every unit is done and every gate passed.
    Completed,
    /// Everything after the first `keep` phases is undone.
    RolledBack { keep: usize },
    /// This unit could not be undone.
    Stuck { unit: usize },
    /// Somebody must decide.
    Paused,
}

impl Run {
    /// The next effect. Total: every state has exactly one.
    pub fn next(&self, program: &Program) -> Effect {
        match self.mode() {
            Mode::Forward => self.next_forward(program),
            Mode::Unwinding { keep } => self.next_undo(program, *keep),
            Mode::Stuck { unit, .. } => Effect::Halt(Outcome::Stuck { unit: *unit }),
            Mode::Paused { .. } => Effect::Halt(Outcome::Paused),
        }
    }

    fn next_forward(&self, program: &Program) -> Effect {
        let mut begin = 0;
        for (p, phase) in program.phases.iter().enumerate() {
            let end = begin + phase.units.len();
            if let Some(number) = self.first_open(begin..end) {
                // Once it is begun it was let in, whatever was undone of it since.
                let begins = self.last_touched(begin..end).is_none();
                let entry = |g: &usize| phase.gates[*g].is_entry() && !self.gate_passed(p, *g);
                let entry = (0..phase.gates.len()).find(entry).filter(|_| begins);
                return entry.map_or(Effect::Do(number), |gate| Effect::Gate(p, gate));
            }
            begin = end;
            if let Some(gate) = (0..phase.gates.len()).find(|&g| !self.gate_passed(p, g)) {
                return Effect::Gate(p, gate);
            }
        }
        Effect::Halt(Outcome::Completed)
    }

    /// The phase that waits for somebody to approve it, also where the run paused over that.
    pub fn awaits_approval(&self, program: &Program) -> Option<usize> {
        let forward = match self.mode() {
            Mode::Forward => true,
            Mode::Paused { then } => **then == Mode::Forward,
            Mode::Unwinding { .. } | Mode::Stuck { .. } => false,
        };
        match self.next_forward(program) {
            Effect::Gate(p, g) if forward => {
                matches!(program.phases[p].gates[g].measure, Measure::Approval(_)).then_some(p)
            }
            Effect::Gate(..)
            | Effect::Do(_)
            | Effect::Undo(_)
            | Effect::Check(..)
            | Effect::Ask(..)
            | Effect::Halt(_) => None,
        }
    }

    pub(super) fn next_undo(&self, program: &Program, keep: usize) -> Effect {
        for p in (keep..program.phases.len()).rev() {
            let units = program.first_unit(p)..program.first_unit(p + 1);
            if let Some(unit) = self.last_touched(units) {
                return self.ask_due(program, p, unit).map_or(Effect::Undo(unit), |guard| Effect::Ask(p, guard));
            }
            if let Some(gate) = self.check_due(p) {
                return Effect::Check(p, gate);
            }
        }
        Effect::Halt(Outcome::RolledBack { keep })
    }
}
