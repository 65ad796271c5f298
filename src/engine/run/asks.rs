//! Guards that are put off: each is asked before the first undo that it guards, and nothing that it guards is undone before.

use std::collections::BTreeSet;

use super::{Illegal, Mode, Run, out_of_order};
use crate::engine::{Agreed, Effect, Event, Program, PutOff, UnitState};

/// The guards, by phase and place in its `before_undo`, and who agreed beforehand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Asks {
    put_off: BTreeSet<(usize, usize)>,
    agreed: Vec<Agreed>,
}

impl Run {
    /// Whether the guard `g` of phase `p` is asked only when what it guards is next.
    pub fn is_put_off(&self, p: usize, g: usize) -> bool {
        self.asks.put_off.contains(&(p, g))
    }

    /// Whether any guard is.
    pub fn puts_off(&self) -> bool {
        !self.asks.put_off.is_empty()
    }

    /// Who agreed beforehand to what such guards may find.
    pub fn agreed(&self) -> &[Agreed] {
        &self.asks.agreed
    }

    /// The first guard of phase `p` that must be asked before this unit of it is undone.
    pub(in crate::engine) fn ask_due(&self, program: &Program, p: usize, unit: usize) -> Option<usize> {
        // A phase of many tables has as many guards, and this is asked before every undo: few are put off, and no unit is looked up.
        let id = program.unit(unit).map(|(_, unit)| &unit.id);
        let put_off = self.asks.put_off.range((p, 0)..(p + 1, 0)).map(|(_, g)| *g);
        let mut due = put_off.filter(|g| {
            let guard = program.phases[p].before_undo.get(*g);
            guard.is_some_and(|guard| guard.of.is_none() || guard.of.as_ref() == id)
        });
        due.next()
    }

    pub(super) fn put_off(&mut self, program: &Program, guards: &[PutOff], agreed: &[Agreed]) -> Result<(), Illegal> {
        let at = |one: &PutOff| guard_at(program, &one.phase, &one.gate);
        let all = guards.iter().map(at).collect::<Result<Vec<_>, _>>()?;
        // What somebody agreed to for another rollback says nothing about this one.
        if self.mode.keep().is_none() {
            self.asks.agreed.clear();
        }
        self.asks.put_off.extend(all);
        for one in agreed {
            if !self.asks.agreed.contains(one) {
                self.asks.agreed.push(one.clone());
            }
        }
        Ok(())
    }

    /// A rollback begins by itself.
    pub(super) fn nobody_agreed(&mut self) {
        self.asks.agreed.clear();
    }

    pub(super) fn asked(
        &mut self,
        program: &Program,
        event: &Event,
        phase: &str,
        gate: &str,
        lets: bool,
    ) -> Result<(), Illegal> {
        let (p, g) = guard_at(program, phase, gate)?;
        if self.next(program) != Effect::Ask(p, g) {
            return Err(out_of_order(event.kind(), format!("guard `{gate}` of phase `{phase}` is not next")));
        }
        if !lets {
            return self.pause(event);
        }
        self.asks.put_off.remove(&(p, g));
        Ok(())
    }

    /// Whether a rollback waits at a guard, and nothing is half undone: it may be given up.
    pub fn may_turn_round(&self, program: &Program) -> bool {
        let unwinding = match &self.mode {
            Mode::Paused { then } => then.as_ref(),
            Mode::Forward | Mode::Unwinding { .. } | Mode::Stuck { .. } => &self.mode,
        };
        let Mode::Unwinding { keep } = unwinding else { return false };
        let half = |state: &UnitState| matches!(state, UnitState::Undoing { .. } | UnitState::UndoFailed { .. });
        matches!(self.next_undo(program, *keep), Effect::Ask(..)) && !self.units.iter().any(half)
    }

    pub(super) fn turn_round(&mut self, program: &Program, event: &Event) -> Result<(), Illegal> {
        if !self.may_turn_round(program) {
            return Err(out_of_order(event.kind(), "no rollback waits at a guard that was put off".to_owned()));
        }
        self.mode = Mode::Forward;
        self.asks = Asks::default();
        self.forget_checks();
        Ok(())
    }
}

fn guard_at(program: &Program, phase: &str, gate: &str) -> Result<(usize, usize), Illegal> {
    let p = program.phases.iter().position(|x| x.id == phase).ok_or_else(|| Illegal::UnknownPhase(phase.to_owned()))?;
    let g = program.phases[p].before_undo.iter().position(|guard| guard.gate.id == gate);
    g.map(|g| (p, g)).ok_or_else(|| out_of_order("guards_put_off", format!("phase `{phase}` has no guard `{gate}`")))
}
