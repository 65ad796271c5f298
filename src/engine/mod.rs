//! The state machine: a program, the events that happened to it, and the one next effect. Pure: no clock, no I/O, no chance.

mod approval;
mod away;
mod event;
mod guard;
mod next;
mod notice;
mod pauses;
mod program;
pub mod ranges;
mod rollback;
mod run;
pub mod script;
mod states;
mod tunings;
mod unit_state;

pub use away::put_aside;
pub use event::{Approved, Asker, Event, Failure, Finding};
pub use guard::{Agreed, Found, Given, Held, PutOff, guards, is_lifted, named, not_there, option, options, unenforced};
pub use next::{Effect, Outcome};
pub use notice::{Blocker, Notice};
pub use pauses::operators_pause;
pub use program::{Program, ProgramPhase, lower};
pub use rollback::{Destination, Preview, Undo, nothing_to_run, preview, taken_back};
pub use run::{Illegal, Mode, Run};
pub use tunings::{InForce, in_force};
pub use unit_state::UnitState;
