//! From what the catalogue says to a plan: which table the tenants are in, how each row gets to one, what is shared. Pure:
//! facts and measured counts come in, a draft goes out, and the draft becomes text.

mod composite;
mod draft;
mod edge;
mod facts;
mod gather;
mod graph;
mod implied;
mod keys;
mod measure;
mod names;
mod root;
mod session;
mod single;
mod upward;
mod ways;
mod write;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod sample;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use draft::{Draft, Entry, Gate, Made, Root, Shared, Way};
pub use facts::{Column, Facts, Index, Other, OtherKind, Reference, Role, Shape, Table};
pub use measure::{Answers, Counted, Measure};
pub use root::Candidate;
pub use session::{Next, ROUNDS_MAX, Wishes, infer};
pub use write::{Header, write};
