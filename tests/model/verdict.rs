//! Which requests of operators are granted.

use tenantmig::engine::{Effect, Event, Mode};

use super::{
    law::{FIXED, VERDICT, bars, breaks, demand, may_bar},
    put_off,
    shell::{State, World},
};

/// Demands it of a request; and that none passes over what stands for good.
pub fn check(world: &World, state: &mut State, event: &Event, granted: bool) {
    if let Event::RollbackRequested { keep, .. } = event
        && granted
        && bars(world, state, owed(world, state, keep))
    {
        return breaks(state, FIXED);
    }
    let holds = as_said(world, state, event, granted);
    demand(state, VERDICT, holds);
}

/// How many phases would stay.
fn owed(world: &World, state: &State, keep: &str) -> usize {
    let asked = world.program.keep(keep).unwrap();
    state.memory.owed.map_or(asked, |owed| owed.min(asked))
}

/// Whether a request was granted or refused as the table says.
pub fn as_said(world: &World, state: &State, event: &Event, granted: bool) -> bool {
    let mode = state.run.mode();
    match event {
        Event::Paused { .. } => granted == matches!(mode, Mode::Forward | Mode::Unwinding { .. }),
        Event::Resumed => {
            let halted = matches!(state.run.next(&world.program), Effect::Halt(_));
            granted == (halted && *mode != Mode::Forward)
        }
        // Only between phases: nothing of the phase is begun, and everything before it stands.
        Event::Drifted { phase, .. } | Event::DriftAccepted { phase, .. } => {
            let first = world.program.phases.iter().position(|x| &x.id == phase).map(|p| world.program.first_unit(p));
            let begun = |first: &usize| state.memory.touched.iter().any(|unit| unit >= first);
            let between =
                first.is_some_and(|first| state.run.next(&world.program) == Effect::Do(first) && !begun(&first));
            granted == (between && *mode == Mode::Forward)
        }
        Event::RollbackRequested { keep, .. } => granted || may_bar(world, state, owed(world, state, keep)),
        Event::GuardsPutOff { .. } => granted,
        Event::TurnedRound => granted == put_off::waits_whole(world, state),
        Event::Started { .. }
        | Event::GuardAsked { .. }
        | Event::Succeeded { .. }
        | Event::Failed { .. }
        | Event::UndoStarted { .. }
        | Event::Undone { .. }
        | Event::UndoFailed { .. }
        | Event::GatePassed { .. }
        | Event::GateFailed { .. }
        | Event::UndoChecked { .. }
        | Event::Throttled { .. }
        | Event::Unthrottled { .. }
        | Event::Repaired { .. }
        | Event::Retuned { .. } => false,
    }
}
