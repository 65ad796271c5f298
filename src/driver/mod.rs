//! The shell around the machine: asks it for the next effect, performs it, records what happened, tells the reporters.

mod attempt;
mod backfill;
mod drive;
mod errands;
mod error;
mod free_space;
mod gate;
mod heartbeat;
mod journal;
mod open;
pub mod outside;
mod perform;
mod preflight;
mod repair;
mod retune;
mod room;
mod shell;
mod signal;
mod stop;
mod successor;
mod undo;
mod verify;

pub use drive::{Rest, drive};
pub use error::DriveError;
pub use free_space::free_space;
pub use gate::{Measured, measure};
pub use heartbeat::{Lease, left};
pub use journal::Journal;
pub use open::{Access, Request, begin, current, find, reopen};
pub use preflight::{hidden, preflight};
pub use repair::{Health, accept, health};
pub use room::Room;
pub use shell::{Shell, Tell};
pub use signal::Signal;
pub use stop::{Stop, Until};
pub use verify::{Verdict, Verified, verify};
