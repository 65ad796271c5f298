//! The subscribers of a run: a bar for terminals, plain lines, and JSON lines for programs. They know the engine's notices only.

mod bar;
mod excerpt;
mod fan_out;
mod live;
mod look;
mod ndjson;
mod ndjson_line;
mod outlet;
mod plain;
pub mod quantity;
mod reporter;
#[cfg(test)]
mod script;
mod speed;
mod story;
mod teller;
mod words;
mod wrap;

pub use bar::Bar;
pub use excerpt::{excerpt, one_line};
pub use fan_out::FanOut;
pub use look::{Look, Mark, Tone};
pub use ndjson::Ndjson;
pub use plain::Plain;
pub use reporter::Reporter;
pub use teller::{Ending, Listener, Teller, channel};
pub use words::blocker;
pub use wrap::wrap;
