//! The states of a run's units, in pieces that the copies of a run share: each event is tried on a copy, which changes one unit
//! of thousands.

use std::{hash::Hash, ops::Index, ops::Range, sync::Arc};

use super::unit_state::UnitState;

/// Units of a piece: a change copies so many states, and a copy of the run as many pointers as there are pieces.
const PIECE: usize = 64;

/// One state for each unit, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct States(Vec<Arc<Piece>>);

/// A few states, and how many of them are of the two kinds that are looked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Piece {
    states: Vec<UnitState>,
    done: usize,
    pending: usize,
}

fn is_done(state: &UnitState) -> bool {
    matches!(state, UnitState::Done { .. })
}

fn is_pending(state: &UnitState) -> bool {
    matches!(state, UnitState::Pending)
}

impl Piece {
    fn count(&mut self) {
        self.done = self.states.iter().filter(|state| is_done(state)).count();
        self.pending = self.states.iter().filter(|state| is_pending(state)).count();
    }
}

impl States {
    /// As before a run.
    pub fn pending(units: usize) -> Self {
        let piece = |begin: usize| {
            let states = vec![UnitState::Pending; PIECE.min(units - begin)];
            Arc::new(Piece { pending: states.len(), done: 0, states })
        };
        Self((0..units).step_by(PIECE).map(piece).collect())
    }

    /// Sets one.
    pub fn set(&mut self, number: usize, state: UnitState) {
        let piece = Arc::make_mut(&mut self.0[number / PIECE]);
        piece.states[number % PIECE] = state;
        piece.count();
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &UnitState> {
        self.0.iter().flat_map(|piece| &piece.states)
    }

    /// How many are done.
    pub fn done(&self) -> usize {
        self.0.iter().map(|piece| piece.done).sum()
    }

    /// Whether none was touched.
    pub fn all_pending(&self) -> bool {
        self.0.iter().all(|piece| piece.pending == piece.states.len())
    }

    /// The first of `units` that is not done.
    pub fn first_open(&self, units: Range<usize>) -> Option<usize> {
        let mut number = units.start;
        while number < units.end {
            let piece = &self.0[number / PIECE];
            if piece.done == piece.states.len() {
                number = (number / PIECE + 1) * PIECE;
            } else if is_done(&self[number]) {
                number += 1;
            } else {
                return Some(number);
            }
        }
        None
    }

    /// The last of `units` that was touched.
    pub fn last_touched(&self, units: Range<usize>) -> Option<usize> {
        let mut end = units.end;
        while end > units.start {
            let number = end - 1;
            let piece = &self.0[number / PIECE];
            if piece.pending == piece.states.len() {
                end = number / PIECE * PIECE;
            } else if is_pending(&self[number]) {
                end = number;
            } else {
                return Some(number);
            }
        }
        None
    }
}

impl Index<usize> for States {
    type Output = UnitState;

    fn index(&self, number: usize) -> &UnitState {
        &self.0[number / PIECE].states[number % PIECE]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::Before;

    /// Against a plain list, over ranges that begin and end anywhere.
    #[test]
    fn what_is_looked_for_is_what_a_list_has() {
        for units in [0, 1, 63, 64, 65, 200] {
            let (mut states, mut list) = (States::pending(units), vec![UnitState::Pending; units]);
            let mut seed = 7_usize;
            for _ in 0..units * 3 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let (number, before) = (seed / 8 % units, Before::absent());
                let state = match seed / 65_536 % 4 {
                    0 => UnitState::Pending,
                    1 => UnitState::Started { before },
                    _ => UnitState::Done { before },
                };
                states.set(number, state.clone());
                list[number] = state;
                let (from, to) = (number.min(seed / 1024 % units), number.max(seed / 1024 % units) + 1);
                let open = (from..to).find(|n| !is_done(&list[*n]));
                let touched = (from..to).rev().find(|n| !is_pending(&list[*n]));
                assert_eq!((states.first_open(from..to), states.last_touched(from..to)), (open, touched));
            }
            assert_eq!(states.done(), list.iter().filter(|state| is_done(state)).count());
            assert_eq!(states.all_pending(), list.iter().all(is_pending));
            assert!(states.iter().eq(&list) && (0..units).all(|n| states[n] == list[n]));
        }
    }
}
