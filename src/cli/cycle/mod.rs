//! `cycle`: up, down, up, down on a database, and proof at each end.

mod command;
mod compare;
mod ground;
mod legs;
mod report;
mod role;
mod throwaway;

pub use command::run;
