//! One unit taken back: from the intent to its end, or to being stuck.

use super::{Illegal, Mode, Run, out_of_order};
use crate::{
    engine::{Effect, Event, Program, UnitState},
    unit::{Before, UnitId},
};

impl Run {
    pub(super) fn undo_started(&mut self, program: &Program, event: &Event, unit: &UnitId) -> Result<(), Illegal> {
        let (number, p, _) = program.find(unit).ok_or_else(|| Illegal::UnknownUnit(unit.clone()))?;
        let state = &self.units[number];
        match (self.next(program), state.before()) {
            (Effect::Undo(next), Some(before)) if next == number => {
                self.gates.iter_mut().skip(p).for_each(|gates| gates.fill(false));
                self.units.set(number, UnitState::Undoing { before: before.clone(), done: state.is_done() });
                Ok(())
            }
            (_, _) => Err(out_of_order(event.kind(), format!("`{unit}` is not the next to be undone"))),
        }
    }

    pub(super) fn undone(&mut self, program: &Program, event: &Event, unit: &UnitId) -> Result<(), Illegal> {
        let (number, _) = self.undoing(program, event, unit)?;
        self.units.set(number, UnitState::Pending);
        Ok(())
    }

    pub(super) fn undo_failed(&mut self, program: &Program, event: &Event, unit: &UnitId) -> Result<(), Illegal> {
        let (number, before) = self.undoing(program, event, unit)?;
        let keep = self.mode.keep().unwrap_or(0);
        let done = self.units[number].is_done();
        self.units.set(number, UnitState::UndoFailed { before, done });
        self.mode = Mode::Stuck { unit: number, keep };
        Ok(())
    }

    fn undoing(&self, program: &Program, event: &Event, unit: &UnitId) -> Result<(usize, Before), Illegal> {
        let (number, ..) = program.find(unit).ok_or_else(|| Illegal::UnknownUnit(unit.clone()))?;
        match (&self.mode, &self.units[number]) {
            (Mode::Unwinding { .. }, UnitState::Undoing { before, .. }) => Ok((number, before.clone())),
            (mode, state) => Err(out_of_order(
                event.kind(),
                format!("`{unit}` is {} while the run is {}", state.word(), mode.word()),
            )),
        }
    }
}
