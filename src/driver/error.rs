//! Why the driver stopped before the machine came to rest. In each case the ledger holds everything to go on.

use crate::{
    engine::Illegal,
    ledger::LedgerError,
    pg::{Class, Fault, connect::ConnectError},
};

use super::signal::Signal;

/// Not an outcome of the run: the run can go on from here, by `resume` or by a repeated command.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    #[error("stopped by {0}")]
    Interrupted(Signal),
    /// Somebody else has it: final.
    #[error("{0}")]
    LeaseLost(String),
    /// The server is silent: the lease is taken again once it answers.
    #[error("the lease could not be renewed: {0}")]
    Silence(String),
    #[error(
        "{} for {} s, longer than reconnect_max: {why}",
        if *full { "no connection was to be had" } else { "the server stayed away" },
        after.as_secs()
    )]
    Away {
        after: std::time::Duration,
        why: String,
        /// Something answered, and had no connection to give: the server, or a pooler before it.
        full: bool,
    },
    #[error(transparent)]
    Ledger(LedgerError),
    #[error("{0}")]
    Server(Fault),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the ledger contradicts itself: {0}")]
    Illegal(#[from] Illegal),
    /// An operator asked for a pause during a wait: the loop takes it, and asks the machine what comes next.
    #[error("an operator's request comes first")]
    Yield,
    #[error("{what}")]
    Refused { what: String, advice: String, exit: u8 },
}

impl From<Fault> for DriveError {
    fn from(fault: Fault) -> Self {
        Self::Server(fault)
    }
}

impl From<LedgerError> for DriveError {
    /// A server's fault is the same wherever it was met, so that it is handled by its class in one place.
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Server(fault) => Self::Server(fault),
            other @ (LedgerError::Missing
            | LedgerError::Install(_)
            | LedgerError::Newer { .. }
            | LedgerError::Older { .. }
            | LedgerError::Damaged { .. }
            | LedgerError::Unknown { .. }
            | LedgerError::Broken { .. }
            | LedgerError::Held(_)
            | LedgerError::Moved(_)
            | LedgerError::InTheWay { .. }
            | LedgerError::Fenced { .. }) => Self::Ledger(other),
        }
    }
}

impl From<tokio_postgres::Error> for DriveError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Server(Fault::from(error))
    }
}

impl DriveError {
    /// Whether the session was lost, or there is none to be had for now: what was under way may have happened or not.
    pub fn is_loss(&self) -> bool {
        match self {
            Self::Server(fault) => fault.class == Class::Ambiguous,
            Self::Silence(_) => true,
            Self::Connect(error) => error.is_away(),
            Self::Interrupted(_)
            | Self::LeaseLost(_)
            | Self::Away { .. }
            | Self::Ledger(_)
            | Self::Illegal(_)
            | Self::Yield
            | Self::Refused { .. } => false,
        }
    }

    /// Whether something answered and had no connection free: that passes by itself.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Server(fault) => fault.is_pool_exhausted() || fault.class == Class::Transient,
            Self::Connect(error) => error.exit_code() == 75,
            Self::Away { full, .. } => *full,
            Self::Interrupted(_)
            | Self::LeaseLost(_)
            | Self::Silence(_)
            | Self::Ledger(_)
            | Self::Illegal(_)
            | Self::Yield
            | Self::Refused { .. } => false,
        }
    }

    /// With the server's fault behind it changed, if there is one.
    pub(super) fn map_fault(self, change: impl FnOnce(Fault) -> Fault) -> Self {
        match self {
            Self::Server(fault) => Self::Server(change(fault)),
            other @ (Self::Interrupted(_)
            | Self::LeaseLost(_)
            | Self::Silence(_)
            | Self::Away { .. }
            | Self::Ledger(_)
            | Self::Connect(_)
            | Self::Illegal(_)
            | Self::Yield
            | Self::Refused { .. }) => other,
        }
    }

    /// The class of the server's fault behind it, if there is one.
    pub fn class(&self) -> Option<Class> {
        match self {
            Self::Server(fault) => Some(fault.class),
            Self::Interrupted(_)
            | Self::LeaseLost(_)
            | Self::Silence(_)
            | Self::Away { .. }
            | Self::Ledger(_)
            | Self::Connect(_)
            | Self::Illegal(_)
            | Self::Yield
            | Self::Refused { .. } => None,
        }
    }
}
