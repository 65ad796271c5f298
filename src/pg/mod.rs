//! The only user of tokio-postgres: connections, sessions, statements, the catalogue.

pub mod connect;
mod fault;
pub mod fingerprint;
pub mod settings;

pub use fault::{Class, Fault};
