//! `throttle`: shows the pace of a run's backfills, and asks for another one while they run.

mod command;
mod flags;
mod settings;

pub use command::run;
pub use flags::{Throttle, reason};
