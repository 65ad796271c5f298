//! `report`: the evidence of a run for somebody who was not there, as one HTML page or as JSON. Reads only.

mod command;
mod gather;
mod isolation;
mod measured;
pub mod options;

pub use command::run;
