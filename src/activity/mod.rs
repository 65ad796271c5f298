//! Activity: how busy tables are, and whether a change is seen in it. Pure; `pg::activity` counts.
//!
//! The server counts rows that are written (`pg_stat_all_tables`) and transactions that end (`pg_stat_database`) for everybody to
//! read. Two counts with a time between them are a [`Seen`]; one from before a change and one from after it are compared by
//! [`judge`]. Rows count as they are written, also those of a transaction that is rolled back later; what a policy refuses
//! (42501) is refused before, and its transaction counts as rolled back. A session hands its numbers on after about a second, or
//! when its transaction ends, so that a few seconds tell nothing yet.

mod judge;
mod seen;

pub use judge::{Judgement, judge};
pub use seen::{Counts, Seen, Written};
