//! Opens sessions: hosts in turn, TLS, login, the session's own settings; and tells failures apart.

mod attempt;
mod classify;
mod connect_error;
mod connection;
mod dial;
mod fleet;
mod identity;
mod login_error;
mod open;
mod pulse;
mod reach_error;
mod session_spec;
mod tls_config;
mod tls_error;
mod verifier;
mod watched;

pub use connect_error::ConnectError;
pub use connection::{Connection, SessionSettings, TlsState};
pub use fleet::{Fleet, Former};
pub use identity::{Difference, Identity};
pub use login_error::LoginError;
pub use open::connect;
pub use pulse::{Awaited, Bound, Pulse};
pub use reach_error::ReachError;
pub use session_spec::SessionSpec;
pub use tls_error::TlsError;
