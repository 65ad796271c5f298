//! Which requests of operators are granted.

use tenantmig::engine::{Effect, Event, Mode};

use super::{
    law::{FIXED, VERDICT, bars, breaks, demand, may_bar},
    put_off,
    shell::{State, World},
};

/// Whether a request was granted or refused as the table says.
pub fn check_verdict(world: &World, state: &mut State, event: &Event, granted: bool) {
    let mode = state.run.mode();
    let as_said = match event {
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
        Event::RollbackRequested { keep, .. } => {
            let asked = world.program.keep(keep).unwrap();
            let keep = state.memory.owed.map_or(asked, |owed| owed.min(asked));
            if granted && bars(world, state, keep) {
                return breaks(state, FIXED);
            }
            granted || may_bar(world, state, keep)
        }
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
    };
    demand(state, VERDICT, as_said);
}
