//! The only user of tokio-postgres: connections, sessions, statements, the catalogue.

pub mod fingerprint;
