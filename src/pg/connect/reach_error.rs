//! No server answered at the address, or one that cannot be worked with.

use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::pg::settings::TargetSessionAttrs;

/// The oldest major version of PostgreSQL that is worked with.
pub(super) const SERVER_MAJOR_MIN: i32 = 13;

/// Why no usable server was reached.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReachError {
    /// The host's name does not resolve.
    #[error("could not resolve host \"{host}\": {why}")]
    Unresolved {
        /// The name.
        host: String,
        /// The resolver's words.
        why: String,
    },
    /// Nobody listens on the port.
    #[error("connection to {at} refused: no server listens there")]
    Refused {
        /// `host:port`.
        at: String,
    },
    /// No answer in time.
    #[error("connection to {at} timed out after {}", humantime::format_duration(*after))]
    Timeout {
        /// `host:port`.
        at: String,
        /// The limit.
        after: Duration,
    },
    /// The socket's file is missing or may not be opened.
    #[error("no server at the socket {}: {why}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
    /// The network failed.
    #[error("connection to {at} failed: {why}")]
    Network {
        /// `host:port`.
        at: String,
        /// What the system says.
        why: String,
    },
    /// The peer closed the connection during the login, or does not speak PostgreSQL's protocol.
    #[error("{at} hung up during the login: {why}")]
    HungUp {
        /// `host:port`.
        at: String,
        /// What is known of it.
        why: String,
    },
    /// The server is a standby where a primary is wanted, or the like.
    #[error("server {at} {found}, but target_session_attrs={wanted}")]
    WrongKind {
        /// `host:port`.
        at: String,
        /// What was asked for.
        wanted: TargetSessionAttrs,
        /// What it is.
        found: &'static str,
    },
    /// Another server than the one that this process has worked with.
    #[error("server {at} is another one (system identifier {found}) than the one that was worked with ({known})")]
    OtherServer {
        /// `host:port`.
        at: String,
        /// Its system identifier.
        found: i64,
        /// The one that was worked with.
        known: i64,
    },
    /// A primary from before a failover.
    #[error(
        "server {at} is a stale primary: it is on timeline {found}, and its rows have gone on on timeline {known} elsewhere"
    )]
    StalePrimary {
        /// `host:port`.
        at: String,
        /// Its timeline.
        found: i64,
        /// The newest one that was seen.
        known: i64,
    },
    /// The server's version is below the supported ones.
    #[error("server {at} runs PostgreSQL {version}; tenantmig needs {SERVER_MAJOR_MIN} or newer")]
    TooOld {
        /// `host:port`.
        at: String,
        /// The server's own words for its version.
        version: String,
    },
}

impl ReachError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unresolved { .. } => "TM0910",
            Self::Refused { .. } => "TM0911",
            Self::Timeout { .. } => "TM0912",
            Self::Socket { .. } => "TM0913",
            Self::Network { .. } => "TM0914",
            Self::HungUp { .. } => "TM0915",
            Self::WrongKind { .. } => "TM0916",
            Self::TooOld { .. } => "TM0917",
            Self::OtherServer { .. } => "TM0918",
            Self::StalePrimary { .. } => "TM0919",
        }
    }

    /// The next thing to do or type.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Unresolved { host, .. } => format!("check the name: getent hosts {host}; `tenantmig doctor` shows where it came from"),
            Self::Refused { .. } => "check host and port with `tenantmig doctor`; is the server running, and does listen_addresses include this address?".to_owned(),
            Self::Timeout { .. } => "check firewall and route to the port; a slow login may need PGCONNECT_TIMEOUT=30".to_owned(),
            Self::Socket { .. } => "start the server, or give --host with its socket directory (SHOW unix_socket_directories) or name".to_owned(),
            Self::Network { .. } => "check the network to the server, then run the command again: it resumes".to_owned(),
            Self::HungUp { .. } => "check that the port is PostgreSQL's and read the server's log, then run the command again: it resumes".to_owned(),
            Self::WrongKind { .. } => "name the primary with --host, or list all servers: --host a,b,c".to_owned(),
            Self::OtherServer { .. } => "list only hosts of one cluster, the primary and its replicas, then: tenantmig resume".to_owned(),
            Self::StalePrimary { at, .. } => format!("take {at} out of service or make it a replica of the new primary (pg_rewind), and name the new primary with --host"),
            Self::TooOld { .. } => format!("upgrade the server to PostgreSQL {SERVER_MAJOR_MIN} or newer"),
        }
    }

    /// Whether something answered at the address.
    pub(super) fn answered(&self) -> bool {
        match self {
            Self::HungUp { .. }
            | Self::WrongKind { .. }
            | Self::TooOld { .. }
            | Self::OtherServer { .. }
            | Self::StalePrimary { .. } => true,
            Self::Unresolved { .. }
            | Self::Refused { .. }
            | Self::Timeout { .. }
            | Self::Socket { .. }
            | Self::Network { .. } => false,
        }
    }
}
