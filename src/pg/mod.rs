//! The only user of tokio-postgres: connections, sessions, statements, the catalogue.

mod fault;
pub mod fingerprint;

pub use fault::{Class, Fault};
