//! What a run waits for at a gate, and what to type where it waits for a person.

use crate::{
    engine::{Effect, Program, Run},
    report::quantity,
};

/// The gate that the run waits at, for what others do; `alive`: whether somebody works on it.
pub fn waits(program: &Program, run: &Run, alive: bool) -> Option<String> {
    if let Some(p) = run.awaits_approval(program) {
        return Some(format!("for: tenantmig approve {}", program.phases[p].id));
    }
    let Effect::Gate(p, g) = run.next(program) else { return None };
    let gate = program.phases[p].gates.get(g).filter(|_| alive)?;
    let wait = gate.wait?.duration();
    Some(format!(
        "at a gate until it passes, {} at most, then the run pauses: {}",
        quantity::duration(wait),
        gate.title
    ))
}

/// What to type, where somebody has to approve; `alive`: whether somebody works on the run.
pub fn next(program: &Program, run: &Run, alive: bool) -> Option<String> {
    let phase = &program.phases[run.awaits_approval(program)?].id;
    Some(if alive {
        format!("tenantmig approve {phase}")
    } else {
        format!("tenantmig approve {phase}, then: tenantmig resume; or tenantmig rollback --to PHASE")
    })
}
