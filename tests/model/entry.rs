//! Phases that somebody lets begin.

use super::shell::{State, World};

/// What was let in and not begun is not taken for let in when the way back went past it.
pub fn let_in_again(world: &World, state: &mut State, keep: usize) {
    for p in (keep..world.program.phases.len()).filter(|p| !is_begun(world, state, *p)).collect::<Vec<_>>() {
        state.memory.fresh[p].fill(false);
    }
}

pub fn is_begun(world: &World, state: &State, p: usize) -> bool {
    state.memory.touched.iter().any(|unit| world.program.unit(*unit).is_some_and(|(of, _)| of == p))
}
