//! `init`: reads a live database and writes a plan for it.

mod command;
mod hazards;
pub(super) mod options;

pub use command::run;
