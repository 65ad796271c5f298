//! Whose turn it is. Runs are interleaved, so that a machine that gets slower gets slower for all.

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

/// Every contestant once a round: in an order by the seed, which each round begins one place further.
pub fn turns<T: Copy>(all: &[T], rounds: u32, seed: u32) -> Vec<(u32, T)> {
    let mut order = all.to_vec();
    order.shuffle(&mut StdRng::seed_from_u64(u64::from(seed)));
    let mut turns = Vec::new();
    for round in 1..=rounds {
        turns.extend(order.iter().map(|who| (round, *who)));
        if !order.is_empty() {
            order.rotate_left(1);
        }
    }
    turns
}
