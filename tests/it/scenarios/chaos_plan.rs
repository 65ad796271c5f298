//! The chaos plan for row-level security: its scenarios 1 to 3, 9 to 13 and 18 to 20. 4 is in `disk`, 5 in `replica_lag`; the
//! others are about the application's middleware and its tokens, or about plans of queries, which a migration does not decide.
//!
//! Its questions of detection run as they stand, but for what is said at each; gh-ost there stands for our own backfill, which
//! pauses on lag and lost connections and goes on by itself. Alerts and HTTP codes belong to the application.

mod backfill;
mod latency;
mod pools;
mod rollback;
