//! What can go wrong with the ledger.

use super::holder::Holder;
use crate::pg::{Fault, connect::Difference};

/// Each variant says what is wrong; the command that follows is `advice`.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error("{0}")]
    Server(#[from] Fault),
    #[error("the database has no ledger: no plan was applied here")]
    Missing,
    #[error("the ledger cannot be installed: {0}")]
    Install(String),
    #[error("the ledger has version {found}, newer than the {known} that this program knows")]
    Newer { found: i32, known: i32 },
    #[error("the ledger has version {found}; this program works with version {known}")]
    Older { found: i32, known: i32 },
    #[error("the ledger of run {run} is damaged: {what}; nothing was changed")]
    Damaged { run: String, what: String },
    #[error("this version of tenantmig cannot read the ledger of run {run}: {what}; nothing was changed")]
    Unknown { run: String, what: String },
    #[error("the ledger is damaged: {what}")]
    Broken { what: String, advice: String },
    #[error("another tenantmig holds the lease: {0}")]
    Held(Box<Holder>),
    #[error("{}", moved(*.0))]
    Moved(Difference),
    #[error("the last holder is gone, but a transaction of it is still under way: {holder}")]
    InTheWay { holder: Box<Holder>, pids: Vec<i32> },
    #[error("the lease was taken over by another tenantmig (epoch {ours} is over)")]
    Fenced { ours: i64 },
}

impl LedgerError {
    /// What to type next.
    pub fn advice(&self) -> Option<String> {
        match self {
            Self::Server(fault) => fault.hint.clone(),
            Self::Missing => Some("tenantmig apply PLAN".to_owned()),
            Self::Install(_) => None,
            Self::Newer { .. } => Some("use the tenantmig that last wrote it, or a newer one".to_owned()),
            Self::Older { .. } => {
                Some("apply, resume and rollback bring it up to date by themselves; until then use the tenantmig that wrote it".to_owned())
            }
            Self::Damaged { run, .. } => Some(format!(
                "restore the ledger's tables from a backup; or, if the log is right as it stands: tenantmig repair --accept-ledger {run}"
            )),
            Self::Unknown { .. } => Some(
                "if a newer tenantmig wrote it, use that one; otherwise restore the ledger's tables from a backup"
                    .to_owned(),
            ),
            Self::Broken { advice, .. } => Some(advice.clone()),
            Self::Held(holder) => Some(format!(
                "wait (--wait TIME), or look with: tenantmig status; to let it end in good order: tenantmig pause; if that process is gone for good: tenantmig unlock --force {}",
                holder.run.map_or_else(|| "RUN".to_owned(), |run| run.to_string())
            )),
            Self::Moved(Difference::Other { .. }) => Some(
                "connect to the server on which the run was begun; if this one is meant (a restored copy, or the same after pg_upgrade): --accept-server"
                    .to_owned(),
            ),
            Self::Moved(Difference::Stale { .. }) => Some(
                "connect to the new primary (--host); if the database was really taken back to this one: --accept-server".to_owned(),
            ),
            Self::InTheWay { pids, .. } => Some(match pids.as_slice() {
                [] => "try again in a moment".to_owned(),
                pids => format!(
                    "this role may not end it; as a superuser or a member of pg_signal_backend: {}",
                    pids.iter().map(|pid| format!("pg_terminate_backend({pid})")).collect::<Vec<_>>().join(", ")
                ),
            }),
            Self::Fenced { .. } => Some("tenantmig status".to_owned()),
        }
    }
}

fn moved(difference: Difference) -> String {
    match difference {
        Difference::Other { found, known } => format!(
            "this is another server than the one that the ledger was last written on (system identifier {found}, then {known}): a copy of its database; nothing was changed"
        ),
        Difference::Stale { found, known } => format!(
            "this server is on timeline {found}, and the ledger was last written on timeline {known}: a stale primary; nothing was changed"
        ),
    }
}

impl From<tokio_postgres::Error> for LedgerError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Server(Fault::from(error))
    }
}
