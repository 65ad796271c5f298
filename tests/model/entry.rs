//! Phases that somebody lets begin.

use super::shell::{State, World};

/// What was let in and not begun is not taken for let in when the way back went past it.
pub fn let_in_again(world: &World, state: &mut State, keep: usize) {
    for p in (keep..world.program.phases.len()).filter(|p| !is_begun(world, state, *p)).collect::<Vec<_>>() {
        state.memory.fresh[p].fill(false);
    }
}

/// What is done after it, or is being undone, says nothing about the word by which a phase was let in; that it is undone does.
pub fn stays_let_in(world: &World, state: &mut State, p: usize, let_in: &[bool]) {
    for (g, _) in world.program.phases[p].gates.iter().enumerate().filter(|(_, gate)| gate.is_entry()) {
        state.memory.fresh[p][g] = let_in[g];
    }
}

pub fn is_begun(world: &World, state: &State, p: usize) -> bool {
    state.memory.touched.iter().any(|unit| world.program.unit(*unit).is_some_and(|(of, _)| of == p))
}
