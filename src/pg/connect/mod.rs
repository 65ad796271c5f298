//! Opens sessions: hosts in turn, TLS, login, the session's own settings; and tells failures apart.

mod attempt;
mod classify;
mod connect_error;
mod connection;
mod login_error;
mod open;
mod reach_error;
mod session_spec;
mod tls_config;
mod tls_error;
mod verifier;

pub use connect_error::ConnectError;
pub use connection::{Connection, SessionSettings, TlsState};
pub use login_error::LoginError;
pub use open::connect;
pub use reach_error::ReachError;
pub use session_spec::SessionSpec;
pub use tls_error::TlsError;
