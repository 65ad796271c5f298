//! How fast a backfill may go. Pure: what was seen comes in, what to do goes out; no clock but the time that is passed in.

pub mod sizing;
pub mod stripes;
