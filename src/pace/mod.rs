//! How fast a backfill may go. Pure: what was seen comes in, what to do goes out; no clock but the time that is passed in.

mod amount;
mod decision;
mod governor;
mod judge;
mod observation;
mod rate;
mod replicas;
mod signal;
pub mod sizing;
pub mod stripes;

pub use decision::{Decision, Pace, Reading};
pub use governor::Governor;
pub use observation::{Connected, DeadRows, Named, Observation, Replica, Seen, Share};
pub use rate::Rate;
pub use signal::Signal;
