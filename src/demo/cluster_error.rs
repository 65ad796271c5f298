//! What can go wrong between "no server" and "a server that answers".

use std::path::{Path, PathBuf};

/// A throwaway cluster could not be found, made, started or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No directory on this machine holds `postgres` and `initdb`.
    #[error("no PostgreSQL server binaries found in {searched}; {hint}")]
    NoBinaries {
        /// The places that were looked at, comma-separated.
        searched: String,
        /// What to install, from `install_hint()`.
        hint: String,
    },
    /// The installation was refused before anything was changed.
    #[error("cannot install PostgreSQL: {why}; {hint}")]
    CannotInstall {
        /// What is missing.
        why: String,
        /// What to install by hand, from `install_hint()`.
        hint: String,
    },
    /// A program that was run to its end failed.
    #[error("{program} failed ({status}): {output}")]
    Program {
        /// The program's name.
        program: String,
        /// Its exit status, or the bound that it exceeded.
        status: String,
        /// The end of what it wrote.
        output: String,
    },
    /// PostgreSQL refuses to run as root, and there is nobody else to run it as.
    #[error(
        "PostgreSQL refuses to run as root and /etc/passwd has neither `postgres` nor `nobody`; create one with `useradd --system postgres`, or run this as another user"
    )]
    NoServerUser,
    /// The directory that all throwaway clusters share cannot be trusted.
    #[error(
        "{} belongs to another user or is open to others; remove it, or set TMPDIR to another directory", path.display()
    )]
    Untrusted {
        /// The directory.
        path: PathBuf,
    },
    /// The server ended before it was ready.
    #[error("the throwaway PostgreSQL ended before it was ready ({status}); its log ends:\n{log}")]
    Died {
        /// Its exit status.
        status: String,
        /// The last lines of its log.
        log: String,
    },
    /// The server did not reach a state within the bound.
    #[error("the throwaway PostgreSQL was not {state} after {seconds} s; its log ends:\n{log}")]
    TimedOut {
        /// `ready` or `stopped`.
        state: &'static str,
        /// The bound, in seconds.
        seconds: u64,
        /// The last lines of its log.
        log: String,
    },
    /// The call needs a running server.
    #[error("the throwaway PostgreSQL is not running; call restart() first")]
    NotRunning,
    /// The operating system refused a file or process operation.
    #[error("cannot {what}: {source}")]
    Io {
        /// The operation and its object.
        what: String,
        /// The system's reason.
        source: std::io::Error,
    },
}

impl ClusterError {
    /// For `map_err`: names the operation and the path that it was about.
    pub(super) fn io(verb: &str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let what = format!("{verb} {}", path.display());
        move |source| Self::Io { what, source }
    }
}
