//! The levels of the chaos testing specification, as far as they apply to a migration: its component that gets slow, fails, is
//! corrupted or fails together with another is, for us, the server, the way to it, and the ledger. There is no fallback: the work
//! stands still, says so, and goes on by itself.
//!
//! Its Redis, tokens and rate limits are an application's; what an edited log of events does is in `corrupted`.

mod down;
mod exhausted;
mod slow;
mod state;
