//! An open session, and what is known of it when it is lost.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::AtomicI32;
use std::time::Duration;

use chrono::{DateTime, Utc};

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::types::Type;
use tokio_postgres::{AsyncMessage, CancelToken, Client, GenericClient};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::dial::{Place, Way, dial};
use super::identity::Identity;
use super::pulse::{Bound, Pulse};
use super::verifier::Depth;
use crate::pg::Bounds;
use crate::pg::settings::Settings;

/// A cancel request opens a connection of its own; when the server is gone the caller must not hang on it.
const CANCEL_MS_MAX: u64 = 5_000;
/// How often it is looked whether an answer is overdue.
const OVERDUE_EVERY: Duration = Duration::from_millis(500);

/// Whether and how the session is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsState {
    /// Not encrypted.
    Off,
    /// Encrypted.
    On {
        /// `TLSv1.2` or `TLSv1.3`.
        protocol: &'static str,
        /// How far the server's certificate was verified.
        verified: &'static str,
    },
}

impl TlsState {
    pub(super) fn new(negotiated: Option<rustls::ProtocolVersion>, depth: Depth) -> Self {
        let Some(version) = negotiated else {
            return Self::Off;
        };
        let protocol = if version == rustls::ProtocolVersion::TLSv1_3 { "TLSv1.3" } else { "TLSv1.2" };
        let verified = match depth {
            Depth::Nothing => "not verified",
            Depth::Chain => "issuer verified",
            Depth::ChainAndName => "issuer and name verified",
        };
        Self::On { protocol, verified }
    }
}

impl fmt::Display for TlsState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::On { protocol, verified } => write!(f, "{protocol}, certificate {verified}"),
        }
    }
}

/// The settings of a session of ours; see [`super::SessionSpec::settings`].
#[derive(Debug, Clone)]
pub struct SessionSettings {
    pub(super) names: Vec<&'static str>,
    pub(super) values: Vec<String>,
    pub(in crate::pg) role: Option<String>,
}

impl SessionSettings {
    /// Sets them on `on`: for the session, or with `local` for the open transaction only, which is what a transaction
    /// pooler needs (a session's settings would go to another client's transactions).
    ///
    /// # Errors
    /// The server's; with a role that may not be set 42501 or 22023.
    pub async fn apply(&self, on: &impl GenericClient, local: bool) -> Result<(), tokio_postgres::Error> {
        on.query_typed(
            "SELECT set_config(s.name, s.value, $3) FROM unnest($1, $2) AS s(name, value)",
            &[(&self.names, Type::TEXT_ARRAY), (&self.values, Type::TEXT_ARRAY), (&local, Type::BOOL)],
        )
        .await?;
        self.apply_role(on, local).await
    }

    /// Each with its value, the role last: it decides what may be set.
    pub(in crate::pg) fn all(&self) -> impl Iterator<Item = (&'static str, String)> {
        let role = self.role.iter().map(|role| ("role", role.clone()));
        self.names.iter().copied().zip(self.values.iter().cloned()).chain(role)
    }

    async fn apply_role(&self, on: &impl GenericClient, local: bool) -> Result<(), tokio_postgres::Error> {
        if let Some(role) = &self.role {
            on.query_typed("SELECT set_config('role', $1, $2)", &[(role, Type::TEXT), (&local, Type::BOOL)]).await?;
        }
        Ok(())
    }
}

/// An open session.
pub struct Connection {
    /// The driver's client. Only its `*_typed`, `simple_query` and `batch_execute` calls, because a prepared statement is
    /// another session's behind a pooler; and there only in a turn (`with`, `in_transaction`).
    pub client: Client,
    /// The server process, for `pg_stat_activity` and `pg_locks`; behind a pooler that of the first statement only.
    pub backend_pid: i32,
    /// When that process began: pids come again.
    pub backend_start: Option<DateTime<Utc>>,
    /// `server_version_num`, such as 150018.
    pub server_version_num: i32,
    /// Whether the server is a standby.
    pub in_recovery: bool,
    /// Which server it is.
    pub identity: Identity,
    /// Whether a pooler stands between: session settings are then *not* applied, because they would leak to other
    /// clients. Use `with` or `in_transaction` for every statement: they set them in each transaction.
    pub pooled: bool,
    /// The encryption of this client's leg.
    pub tls: TlsState,
    /// How the server is reached past a pooler, if that is known: for statements that no transaction may hold.
    pub direct: Option<Settings>,
    /// What was, or has to be, set.
    pub settings: SessionSettings,
    /// The server that was chosen: `host:port` or the socket's path.
    pub at: String,
    /// What was asked for and not done, such as an unverified certificate.
    pub warnings: Vec<String>,
    /// See [`Connection::process`].
    pub(in crate::pg) process: Arc<AtomicI32>,
    /// Whose turn it is, behind a pooler.
    pub(in crate::pg) turns: tokio::sync::Mutex<()>,
    /// The bounds that took the place of the settings', behind a pooler.
    pub(in crate::pg) bounds: std::sync::Mutex<Option<Bounds>>,
    /// What was seen of other hosts of the list, such as a stale primary.
    pub notes: Vec<String>,
    /// What is outstanding, and how long it may be.
    pub pulse: Arc<Pulse>,
    pub(super) cancel: CancelToken,
    pub(super) connector: MakeRustlsConnect,
    pub(super) means: CancelMeans,
    pub(super) lost: watch::Receiver<Option<String>>,
}

impl Connection {
    /// Why the session ended, once it has. After a `kill -9` of the server a query's error says only "connection
    /// closed" and has no SQLSTATE; the reason is here, and is here before that query returns. Last words that
    /// answer a waiting query (57P01) are in that query's error instead.
    #[must_use]
    pub fn lost_because(&self) -> Option<String> {
        self.lost.borrow().clone()
    }

    /// Returns when the session has ended, with the reason.
    pub async fn lost(&self) -> String {
        let mut lost = self.lost.clone();
        match lost.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            // Whoever drives it is gone.
            Err(_) => "closed".to_owned(),
        }
    }

    /// From now on the server ends statements of this session after `statement`, and an answer is expected soon after that.
    pub fn bound(&self, statement: Duration) {
        self.pulse.bound(statement);
    }

    /// As [`Connection::bound`], until the guard is dropped.
    #[must_use = "the bound holds as long as the guard"]
    pub fn bound_for_now(&self, statement: Duration) -> Bound {
        self.pulse.bound_for_now(statement)
    }

    /// Whether the server runs on this machine, as far as its address tells.
    #[must_use]
    pub fn is_local(&self) -> bool {
        ["/", "localhost:", "127.", "[::1]:"].iter().any(|start| self.at.starts_with(start))
    }

    /// The settings that it was opened with: for another session of the same kind.
    #[must_use]
    pub fn origin(&self) -> &Settings {
        &self.means.settings
    }

    /// Asks the server to cancel the running statement, over TLS where the session is. `Ok` means that the request was
    /// delivered, not that something was cancelled.
    ///
    /// # Errors
    /// A text without secrets: the server cannot be reached, or not within 5 s.
    pub async fn cancel(&self) -> Result<(), String> {
        let request = async {
            let means = &self.means;
            let way = dial(&means.place, &means.settings).await.map_err(|e| e.to_string())?;
            let mut connector = self.connector.clone();
            let Ok(tls) = MakeTlsConnect::<Way>::make_tls_connect(&mut connector, &means.host);
            self.cancel.cancel_query_raw(way, tls).await.map_err(|e| chain(&e))
        };
        match timeout(Duration::from_millis(CANCEL_MS_MAX), request).await {
            Ok(sent) => sent,
            Err(_) => Err(format!("cancel request to {} not delivered within {CANCEL_MS_MAX} ms", self.at)),
        }
    }
}

/// What it takes to send a cancel request to the same server.
#[derive(Debug)]
pub(super) struct CancelMeans {
    pub place: Place,
    pub settings: Settings,
    /// The name that the certificate is compared with.
    pub host: String,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("at", &self.at)
            .field("backend_pid", &self.backend_pid)
            .field("server_version_num", &self.server_version_num)
            .field("pooled", &self.pooled)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// Runs the connection's protocol until it ends, keeping the reason. The reason is stored while the driver's own half
/// still exists, so before any waiting query is told "connection closed". An answer that is overdue ends it as well: a proxy or
/// firewall that has lost its state acknowledges what is sent, so that neither keepalives nor tcp_user_timeout notice.
pub(super) fn drive<S, T>(
    mut connection: tokio_postgres::Connection<S, T>,
    at: String,
    pulse: Arc<Pulse>,
) -> watch::Receiver<Option<String>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, lost) = watch::channel(None);
    tokio::spawn(async move {
        let mut ticks = interval(OVERDUE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let severed = pulse.severed();
        tokio::pin!(severed);
        let reason = loop {
            let message = tokio::select! {
                why = &mut severed => break why,
                message = poll_fn(|cx| connection.poll_message(cx)) => message,
                _ = ticks.tick() => match pulse.overdue() {
                    Some(why) => break why,
                    None => continue,
                },
            };
            match message {
                Some(Ok(AsyncMessage::Notice(notice))) => {
                    tracing::debug!(server = %at, "{}: {}", notice.severity(), notice.message())
                }
                // Notifications: nothing here listens.
                Some(Ok(_)) => {}
                Some(Err(error)) => break chain(&error),
                None => break "closed by this side".to_owned(),
            }
        };
        sender.send_replace(Some(reason));
        drop(connection);
    });
    lost
}

/// The error with its causes; the driver's own text is only the outermost.
fn chain(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
