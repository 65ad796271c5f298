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
    #[error("{0}")]
    LeaseLost(String),
    #[error(transparent)]
    Ledger(LedgerError),
    #[error("{0}")]
    Server(Fault),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the ledger contradicts itself: {0}")]
    Illegal(#[from] Illegal),
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
    /// The class of the server's fault behind it, if there is one.
    pub fn class(&self) -> Option<Class> {
        match self {
            Self::Server(fault) => Some(fault.class),
            Self::Interrupted(_)
            | Self::LeaseLost(_)
            | Self::Ledger(_)
            | Self::Connect(_)
            | Self::Illegal(_)
            | Self::Refused { .. } => None,
        }
    }
}
