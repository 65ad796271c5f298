//! The chaos plan for row-level security: its scenarios 1 to 3 and 6 to 20. 4 is in `disk`, 5 in `replica_lag`. Where one is
//! about the application's middleware, tokens or keys, the test shows what the database does once those have failed.
//!
//! Its questions of detection run as they stand, but for what is said at each; gh-ost there stands for our own backfill, which
//! pauses on lag and lost connections and goes on by itself. Alerts and HTTP codes belong to the application.

mod backfill;
pub mod client;
mod context;
mod fooled;
mod hostile;
mod latency;
mod people;
mod pools;
mod rollback;
