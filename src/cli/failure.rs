//! From what went wrong to what is told and the exit code. Every error of the program ends here.

use std::io;

use tokio_postgres::error::SqlState;

use crate::{
    driver::DriveError,
    engine::Program,
    exit::Exit,
    ledger::LedgerError,
    pg::{Class, Fault, connect::ConnectError, fingerprint::FingerprintError, settings::SettingsError},
};

/// A command that did not do what it was asked for.
#[derive(Debug)]
pub struct CliError {
    pub exit: Exit,
    pub code: Option<&'static str>,
    pub message: String,
    pub advice: Option<String>,
}

impl CliError {
    /// With the next thing to do.
    pub fn new(exit: Exit, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { exit, code: None, message: message.into(), advice: Some(advice.into()) }
    }
}

impl CliError {
    /// With a code that `explain` knows.
    pub fn coded(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }
}

const POOL_EXHAUSTED: &str =
    "the checkpoint is kept; when the pool or the server has a connection free: tenantmig resume";

/// Names less alike than this are not meant (Jaro-Winkler, as elsewhere).
const MEANT_MIN: f64 = 0.8;

impl CliError {
    /// For a phase that the plan has not: the closest, and all that `flag` takes, `start` among them where it does.
    pub fn no_phase(program: &Program, asked: &str, flag: &str, start: bool) -> Self {
        let mut known: Vec<&str> = program.phases.iter().map(|phase| phase.id.as_str()).collect();
        if start {
            known.insert(0, "start");
        }
        let scored = known.iter().map(|name| (strsim::jaro_winkler(name, asked), name));
        let near = scored.filter(|(score, _)| *score >= MEANT_MIN).max_by(|a, b| a.0.total_cmp(&b.0));
        let near = near.map_or(String::new(), |(_, near)| format!("did you mean `{near}`? "));
        Self::new(
            Exit::Usage,
            format!("the plan `{}` has no phase `{asked}`; nothing was changed", program.plan),
            format!("{near}{flag} takes one of: {}", known.join(", ")),
        )
    }
}

impl From<ConnectError> for CliError {
    fn from(error: ConnectError) -> Self {
        Self {
            exit: Exit::of(error.exit_code()),
            code: Some(error.code()),
            advice: Some(error.remedy()),
            message: error.to_string(),
        }
    }
}

impl From<SettingsError> for CliError {
    fn from(error: SettingsError) -> Self {
        Self::from(ConnectError::from(error))
    }
}

impl From<Fault> for CliError {
    fn from(fault: Fault) -> Self {
        let (exit, advice) = match fault.class {
            _ if fault.is(&SqlState::READ_ONLY_SQL_TRANSACTION) => (
                Exit::Refused,
                "connect to the primary (target_session_attrs=read-write), or see: SHOW default_transaction_read_only",
            ),
            _ if fault.is_disk_full() => {
                let message = format!("the server's disk is full, and the ledger can record nothing: {fault}");
                let advice =
                    "everything recorded so far is kept; make room on the server's disk, then: tenantmig resume";
                return Self::new(Exit::Temporary, message, advice);
            }
            Class::Transient | Class::Resources => {
                (Exit::Temporary, "try again later; the checkpoint is kept: tenantmig resume")
            }
            Class::Ambiguous if fault.is_pool_exhausted() => (Exit::Temporary, POOL_EXHAUSTED),
            Class::Ambiguous => {
                (Exit::Unreachable, "the checkpoint is kept; when the server is back: tenantmig resume")
            }
            Class::Privilege => (Exit::Privilege, "grant what is missing, or connect as another role (-U, --role)"),
            Class::Cancelled | Class::Fatal => (Exit::Failed, "look with: tenantmig status"),
        };
        let advice = fault.hint.clone().unwrap_or_else(|| advice.to_owned());
        Self { exit, code: None, message: fault.to_string(), advice: Some(advice) }
    }
}

impl From<LedgerError> for CliError {
    fn from(error: LedgerError) -> Self {
        let exit = match &error {
            LedgerError::Server(fault) => return Self::from(fault.clone()),
            LedgerError::Install(what) if what.contains("42501") => Exit::Privilege,
            LedgerError::Install(_) => Exit::Failed,
            LedgerError::Missing
            | LedgerError::Newer { .. }
            | LedgerError::Older { .. }
            | LedgerError::Moved(_)
            | LedgerError::Damaged { .. }
            | LedgerError::Unknown { .. }
            | LedgerError::Broken { .. } => Exit::Refused,
            LedgerError::Held(_) | LedgerError::InTheWay { .. } | LedgerError::Fenced { .. } => Exit::Temporary,
        };
        Self { exit, code: None, message: error.to_string(), advice: error.advice() }
    }
}

impl From<DriveError> for CliError {
    fn from(error: DriveError) -> Self {
        let message = error.to_string();
        match error {
            DriveError::Away { full: true, .. } => Self::new(Exit::Temporary, message, POOL_EXHAUSTED),
            DriveError::Interrupted(signal) => Self::new(
                Exit::of(signal.exit_code()),
                format!("{message}; everything done so far is kept"),
                "tenantmig resume, or tenantmig rollback --to PHASE",
            ),
            DriveError::LeaseLost(_) => Self::new(Exit::Temporary, message, "tenantmig status"),
            DriveError::Silence(_) | DriveError::Away { .. } => Self::new(
                Exit::Unreachable,
                message,
                "the checkpoint is kept; when the server is back: tenantmig resume",
            ),
            DriveError::Ledger(error) => Self::from(error),
            DriveError::Server(fault) => Self::from(fault),
            DriveError::Connect(error) => Self::from(error),
            DriveError::Illegal(_) => {
                Self::new(Exit::Refused, message, "nothing was changed; restore the ledger's tables from a backup")
            }
            DriveError::Yield => Self::new(Exit::Temporary, message, "tenantmig status"),
            DriveError::Refused { what, advice, exit } => Self::new(Exit::of(exit), what, advice),
        }
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        let unread = error.kind() == io::ErrorKind::BrokenPipe;
        let what =
            if unread { "nobody reads standard output any more".to_owned() } else { format!("cannot write: {error}") };
        Self { exit: Exit::Failed, code: None, message: what, advice: None }
    }
}

impl From<tokio_postgres::Error> for CliError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::from(Fault::from(error))
    }
}

impl From<FingerprintError> for CliError {
    fn from(error: FingerprintError) -> Self {
        Self::new(Exit::Failed, error.to_string(), "try again when nobody else changes the schema")
    }
}

impl From<serde_json::Error> for CliError {
    fn from(error: serde_json::Error) -> Self {
        Self { exit: Exit::Failed, code: None, message: error.to_string(), advice: None }
    }
}
