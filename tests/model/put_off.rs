//! Guards that are put off: who puts them off, what they find, and what must be remembered of them.

use tenantmig::{
    checks::Consent,
    engine::{Agreed, Event, Found, PutOff, Run},
};

use super::shell::{State, World};

fn agreed() -> Agreed {
    Agreed { consent: Consent::DataLoss, by: "somebody".to_owned(), host: "here".to_owned() }
}

/// All guards of the program.
pub fn put_off(world: &World, agrees: bool) -> Event {
    let mut guards = Vec::new();
    for phase in &world.program.phases {
        guards.extend(phase.before_undo.iter().map(|guard| PutOff {
            phase: phase.id.clone(),
            gate: guard.gate.id.clone(),
            title: guard.gate.title.clone(),
            consent: guard.consent,
            hidden: vec![],
            aside: false,
        }));
    }
    Event::GuardsPutOff { guards, agreed: if agrees { vec![agreed()] } else { vec![] } }
}

/// A guard was asked; where it finds something, what was agreed to in `finds` counts.
pub fn asked(world: &World, p: usize, g: usize, finds: Option<&Run>) -> Event {
    let phase = &world.program.phases[p];
    let guard = &phase.before_undo[g];
    let (id, title) = (phase.id.clone(), guard.gate.title.clone());
    let found = finds.map(|_| Found { phase: id.clone(), title, consent: guard.consent, findings: vec![] });
    let agreed =
        finds.and_then(|run| run.agreed().iter().find(|agreed| Some(agreed.consent) == guard.consent).cloned());
    Event::GuardAsked { phase: id, gate: guard.gate.id.clone(), found, agreed }
}

/// Whether this unit is guarded by what did not let the rollback through.
pub fn guarded(world: &World, state: &State, number: usize, phase: usize) -> bool {
    let (_, unit) = world.program.units().nth(number).unwrap();
    let guards = world.program.phases[phase].before_undo.iter().enumerate();
    let mut ours = guards.filter(|(_, guard)| guard.of.as_ref().is_none_or(|of| of == &unit.id));
    ours.any(|(g, _)| state.memory.put_off.contains(&(phase, g)))
}

/// What the memory learns.
pub fn remember(world: &World, state: &mut State, event: &Event) {
    let place = |phase: &str, gate: &str| {
        let p = world.program.keep(phase).unwrap() - 1;
        (p, world.program.phases[p].before_undo.iter().position(|guard| guard.gate.id == gate).unwrap())
    };
    if let Event::GuardsPutOff { guards, .. } = event {
        state.memory.put_off.extend(guards.iter().map(|one| place(&one.phase, &one.gate)));
    }
    if let Event::GuardAsked { phase, gate, found, agreed } = event
        && (found.is_none() || agreed.is_some())
    {
        state.memory.put_off.remove(&place(phase, gate));
    }
}

/// Whether a rollback waits at such a guard, and no undo is half-way: what the machine says of the unit is taken for that.
pub fn waits_whole(world: &World, state: &State) -> bool {
    use tenantmig::engine::{Mode, UnitState};
    let Some(keep) = state.memory.owed else { return false };
    let Some(last) = state.memory.last_touched() else { return false };
    let (phase, _) = world.program.units().nth(last).unwrap();
    let half = matches!(state.run.unit(last), UnitState::Undoing { .. } | UnitState::UndoFailed { .. });
    let back = match state.run.mode() {
        Mode::Unwinding { .. } => true,
        Mode::Paused { then } => matches!(then.as_ref(), Mode::Unwinding { .. }),
        Mode::Forward | Mode::Stuck { .. } => false,
    };
    let measured = (phase + 1..world.program.phases.len()).all(|p| state.memory.is_measured(world, p));
    back && phase >= keep && !half && measured && guarded(world, state, last, phase)
}
