//! `throttle`: shows the pace of a run's backfills, and asks for another one while they run.

mod command;
pub mod options;
mod settings;

pub use command::run;
