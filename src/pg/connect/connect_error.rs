//! Why there is no connection, with a stable code, an exit code and the next thing to type.

use thiserror::Error;

use super::login_error::LoginError;
use super::reach_error::ReachError;
use super::tls_error::TlsError;
use crate::pg::settings::SettingsError;

/// Why no connection was made.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The settings cannot be used; nothing was contacted.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// No server answered, or not the right one.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// The TLS handshake was impossible or failed.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The server answered and refused the session.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// Each of several hosts or addresses failed.
    #[error("none of {} servers could be used: {}", attempts.len(), joined(attempts))]
    Several {
        /// The failures, in the order of the attempts; at least two.
        attempts: Vec<ConnectError>,
    },
}

impl ConnectError {
    /// The stable code, `TM09xx`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Settings(e) => e.code(),
            Self::Reach(e) => e.code(),
            Self::Tls(e) => e.code(),
            Self::Login(e) => e.code(),
            Self::Several { attempts } => most_telling(attempts).map_or("TM0910", Self::code),
        }
    }

    /// The process's exit code: 64 usage, 69 unreachable, 75 temporary, 77 not permitted.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Settings(_) => 64,
            Self::Reach(_) => 69,
            Self::Tls(e) => e.exit_code(),
            Self::Login(e) => e.exit_code(),
            Self::Several { attempts } => most_telling(attempts).map_or(69, Self::exit_code),
        }
    }

    /// The next thing to do or type.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Settings(e) => e.remedy(),
            Self::Reach(e) => e.remedy(),
            Self::Tls(e) => e.remedy(),
            Self::Login(e) => e.remedy(),
            Self::Several { attempts } => most_telling(attempts).map(Self::remedy).unwrap_or_default(),
        }
    }

    /// Whether no usable server answers for now: away, starting, behind a pool without a free connection, or of the wrong kind or
    /// age until another one takes over.
    #[must_use]
    pub fn is_away(&self) -> bool {
        match self {
            Self::Reach(ReachError::TooOld { .. }) | Self::Settings(_) | Self::Tls(_) => false,
            Self::Reach(_) | Self::Login(LoginError::StartingUp { .. } | LoginError::Unanswered { .. }) => true,
            Self::Login(_) => false,
            Self::Several { attempts } => attempts.iter().any(Self::is_away),
        }
    }

    /// Whether the next host of the list is worth trying, as libpq decides: not after a refused login, which would
    /// be refused there too.
    pub(super) fn try_next_host(&self) -> bool {
        match self {
            Self::Reach(_) | Self::Several { .. } => true,
            Self::Login(e) => e.is_temporary(),
            Self::Settings(_) | Self::Tls(_) => false,
        }
    }
}

/// The attempt that got furthest: a server that is starting says more than one that is not there.
fn most_telling(attempts: &[ConnectError]) -> Option<&ConnectError> {
    attempts.iter().max_by_key(|e| match e {
        ConnectError::Login(_) => 4,
        ConnectError::Tls(_) => 3,
        ConnectError::Reach(e) if e.answered() => 2,
        ConnectError::Reach(_) => 1,
        ConnectError::Settings(_) | ConnectError::Several { .. } => 0,
    })
}

fn joined(attempts: &[ConnectError]) -> String {
    attempts.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
