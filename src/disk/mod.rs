//! About how much room a step needs, and whether it is there. Pure: facts come in, figures go out.

mod heap;
mod index;
mod room;

pub use heap::{Copying, Heap, Rewriting, backfill, copy, keep, rewrite};
pub use index::{Column, Index, Sort, index, sort_bytes};
pub use room::{Free, Need, Place, Shortage, shortage};
