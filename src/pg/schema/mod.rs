//! Reads what `init` must know of a database: the catalogue in seven queries, whatever the number of tables, and counts of
//! rows, each within a time limit. Everything is read-only, and no lock is held from one statement to the next.

mod measure;
mod queries;
mod read;

pub use measure::{COUNT_MAX, COUNTS_MAX, count};
pub use read::facts;
