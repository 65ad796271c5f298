//! The only user of tokio-postgres: connections, sessions, statements, the catalogue.

pub mod connect;
pub mod settings;
