//! One attempt at one address: TCP or socket, TLS, login, the look at the server, the session's settings.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use tokio::time::timeout;
use tokio_postgres::Config;
use tokio_postgres::config::{SslMode as DriverSslMode, SslNegotiation};
use tokio_postgres::tls::MakeTlsConnect;

use super::classify::{Context, classify, network};
use super::connect_error::ConnectError;
use super::connection::{CancelMeans, Connection, SessionSettings, TlsState, drive};
use super::dial::{Place, Way, dial};
use super::identity;
use super::login_error::LoginError;
use super::pulse::Pulse;
use super::reach_error::{ReachError, SERVER_MAJOR_MIN};
use super::session_spec::SessionSpec;
use super::tls_config::{self, Tls};
use super::watched::Watched;
use crate::pg::settings::{Address, Settings, SslMode, Target, TargetSessionAttrs};

/// One attempt's inputs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt<'a> {
    pub settings: &'a Settings,
    pub spec: &'a SessionSpec,
    pub target: &'a Target,
    /// The resolved address; `None` for a socket.
    pub ip: Option<IpAddr>,
    pub wanted: TargetSessionAttrs,
}

/// What one look at a fresh session tells.
struct Look {
    backend_pid: i32,
    version_num: i32,
    in_recovery: bool,
    read_only: bool,
    pooled: bool,
    backend_start: Option<DateTime<Utc>>,
}

impl Attempt<'_> {
    /// Connects within the time limit. With sslmode=prefer a failed handshake, or a login that pg_hba.conf admits only
    /// without TLS, is tried once more without, as libpq does.
    pub async fn run(self) -> Result<Connection, ConnectError> {
        let asked = self.settings.tls.mode.value;
        let mode = match self.target.address {
            // libpq too leaves sockets unencrypted whatever sslmode says.
            Address::Socket(_) => SslMode::Disable,
            Address::Tcp { .. } => asked,
        };
        let tls = tls_config::build(&self.settings.tls, mode)?;
        let first = self.with_mode(mode, &tls).await;
        let Err(error) = first else { return first };
        let optional = mode == SslMode::Prefer || mode == SslMode::Allow;
        let worth_another = match &error {
            ConnectError::Tls(_) => true,
            ConnectError::Login(LoginError::NotAdmitted { .. }) => tls.negotiated.get().is_some(),
            ConnectError::Login(_)
            | ConnectError::Reach(_)
            | ConnectError::Settings(_)
            | ConnectError::Several { .. } => false,
        };
        if !(optional && worth_another) {
            return Err(error);
        }
        let plain = Tls { negotiated: Arc::default(), ..tls };
        match self.with_mode(SslMode::Disable, &plain).await {
            Ok(mut connection) => {
                connection.warnings.push(format!("not encrypted, as sslmode={mode} allows: {error}"));
                Ok(connection)
            }
            Err(ConnectError::Login(LoginError::NotAdmitted { .. })) => Err(error),
            Err(second) => Err(second),
        }
    }

    async fn with_mode(&self, mode: SslMode, tls: &Tls) -> Result<Connection, ConnectError> {
        let context = self.context(tls);
        let limit = self.settings.connect_timeout.value;
        match timeout(limit, self.open(mode, tls, &context)).await {
            Ok(result) => result,
            Err(_) if context.admitted.load(Ordering::Relaxed) => {
                Err(LoginError::Unanswered { at: context.login, after: limit }.into())
            }
            Err(_) => Err(ReachError::Timeout { at: context.at, after: limit }.into()),
        }
    }

    /// Logs in with a private setting in the startup packet: a pooler refuses it (08P01) or drops it, a server keeps it.
    async fn open(&self, mode: SslMode, tls: &Tls, context: &Context) -> Result<Connection, ConnectError> {
        let nonce = format!("{:016x}", rand::random::<u64>());
        let users = self.settings.options.as_ref().map(|o| o.value.as_str());
        let probe = format!("{} -c tenantmig.probe={nonce}", users.unwrap_or_default());
        match self.login(mode, Some(&probe), &nonce, tls, context).await {
            Err(ConnectError::Login(LoginError::StartupOption { .. })) if users.is_none() => {
                self.login(mode, None, &nonce, tls, context).await
            }
            other => other,
        }
    }

    async fn login(
        &self,
        mode: SslMode,
        options: Option<&str>,
        nonce: &str,
        tls: &Tls,
        context: &Context,
    ) -> Result<Connection, ConnectError> {
        let failed = |e: tokio_postgres::Error| classify(&e, context);
        let config = self.config(mode, options);
        let place = Place::of(self.target, self.ip);
        let way = dial(&place, self.settings).await.map_err(|e| network(&e, context))?;
        let pulse = Pulse::new(self.spec.statement_timeout);
        let stream = Watched::new(way, pulse.clone());
        let mut connector = tls.connector.clone();
        let Ok(handshake) = MakeTlsConnect::<Watched<Way>>::make_tls_connect(&mut connector, &context.host);
        let covering = stream.covering(handshake);
        let (client, connection) = config.connect_raw(stream, covering).await.map_err(failed)?;
        pulse.arm();
        context.admitted.store(true, Ordering::Relaxed);
        let version = connection.parameter("server_version").unwrap_or("unknown").to_owned();
        let lost = drive(connection, context.at.clone(), pulse.clone());
        if is_too_old(&version) {
            return Err(ReachError::TooOld { at: context.at.clone(), version }.into());
        }
        let look = look(&client, nonce).await.map_err(failed)?;
        self.check_kind(&look, context)?;
        let identity = identity::ask(&client, look.in_recovery).await.map_err(failed)?;
        let (names, values) = self.spec.settings(look.version_num).into_iter().unzip();
        let settings = SessionSettings { names, values, role: self.settings.role.as_ref().map(|r| r.value.clone()) };
        if !look.pooled {
            settings.apply(&client, false).await.map_err(|e| self.setup_failed(&e, context))?;
        }
        Ok(Connection {
            cancel: client.cancel_token(),
            connector: tls.connector.clone(),
            means: CancelMeans { place, settings: self.settings.clone(), host: context.host.clone() },
            pulse,
            identity,
            backend_pid: look.backend_pid,
            process: Arc::new(AtomicI32::new(if look.pooled { 0 } else { look.backend_pid })),
            turns: tokio::sync::Mutex::default(),
            bounds: std::sync::Mutex::default(),
            backend_start: look.backend_start,
            server_version_num: look.version_num,
            in_recovery: look.in_recovery,
            pooled: look.pooled,
            direct: self.settings.past_pooler(),
            tls: TlsState::new(tls.negotiated.get().copied(), tls.depth),
            settings,
            at: context.at.clone(),
            warnings: tls.warning.iter().cloned().collect(),
            notes: Vec::new(),
            lost,
            client,
        })
    }

    fn setup_failed(&self, error: &tokio_postgres::Error, context: &Context) -> ConnectError {
        match (error.as_db_error(), &self.settings.role) {
            (Some(refusal), Some(role)) if ["42501", "22023"].contains(&refusal.code().code()) => LoginError::SetRole {
                at: context.login.clone(),
                role: role.value.clone(),
                message: refusal.message().to_owned(),
            }
            .into(),
            _ => classify(error, context),
        }
    }

    fn config(&self, mode: SslMode, options: Option<&str>) -> Config {
        let settings = self.settings;
        let mut config = Config::new();
        config.user(&settings.user.value).dbname(&settings.dbname.value);
        if let Some(password) = &self.target.password {
            config.password(password.value.expose_secret());
        }
        let users_name = settings.application_name.as_ref().map(|a| a.value.as_str());
        config.application_name(self.spec.full_application_name(settings.tag.as_deref(), users_name));
        if let Some(options) = options {
            config.options(options);
        }
        config.ssl_mode(match mode {
            SslMode::Disable => DriverSslMode::Disable,
            SslMode::Allow | SslMode::Prefer => DriverSslMode::Prefer,
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => DriverSslMode::Require,
        });
        if settings.tls.direct && mode != SslMode::Disable {
            config.ssl_negotiation(SslNegotiation::Direct);
        }
        config.channel_binding(settings.channel_binding.value);
        config
    }

    fn context(&self, tls: &Tls) -> Context {
        let settings = self.settings;
        let (host, socket) = match &self.target.address {
            Address::Tcp { host, .. } => (host.clone(), None),
            Address::Socket(_) => (String::new(), Some(Path::new(&self.target.to_string()).to_owned())),
        };
        Context {
            at: self.target.to_string(),
            login: format!("{}@{}/{}", settings.user.value, self.target, settings.dbname.value),
            host,
            dbname: settings.dbname.value.clone(),
            password_origin: self.target.password.as_ref().map(|p| p.origin.to_string()),
            mode: settings.tls.mode.value,
            roots: tls.roots.clone(),
            presented: settings.tls.client.as_ref().map(|_| Arc::clone(&tls.negotiated)),
            admitted: Arc::new(AtomicBool::new(false)),
            socket,
        }
    }

    fn check_kind(&self, look: &Look, context: &Context) -> Result<(), ReachError> {
        let found = match self.wanted {
            TargetSessionAttrs::Any => None,
            TargetSessionAttrs::ReadWrite => look.read_only.then_some("is read-only"),
            TargetSessionAttrs::ReadOnly => (!look.read_only).then_some("takes writes"),
            TargetSessionAttrs::Primary => look.in_recovery.then_some("is a standby"),
            TargetSessionAttrs::Standby | TargetSessionAttrs::PreferStandby => {
                (!look.in_recovery).then_some("is a primary")
            }
        };
        match found {
            None => Ok(()),
            Some(found) => Err(ReachError::WrongKind { at: context.at.clone(), wanted: self.wanted, found }),
        }
    }
}

async fn look(client: &tokio_postgres::Client, nonce: &str) -> Result<Look, tokio_postgres::Error> {
    let row = client
        .query_typed(
            "SELECT pg_backend_pid(), current_setting('server_version_num')::int4, pg_is_in_recovery(), \
             current_setting('transaction_read_only') = 'on', current_setting('tenantmig.probe', true), \
             (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid())",
            &[],
        )
        .await?;
    let Some(row) = row.first() else {
        // A SELECT without FROM has one row; a server without it is no PostgreSQL.
        return Ok(Look {
            backend_pid: 0,
            version_num: 0,
            in_recovery: false,
            read_only: true,
            pooled: true,
            backend_start: None,
        });
    };
    let probe: Option<&str> = row.try_get(4)?;
    Ok(Look {
        backend_pid: row.try_get(0)?,
        version_num: row.try_get(1)?,
        in_recovery: row.try_get(2)?,
        read_only: row.try_get(3)?,
        pooled: probe != Some(nonce),
        backend_start: row.try_get(5)?,
    })
}

/// Whether `server_version` (`15.18 (Debian …)`, `9.6.24`, `18beta1`) names a version below the supported ones. Unknown forms pass:
/// the look at the server that follows fails by itself where it must.
fn is_too_old(version: &str) -> bool {
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse::<i32>().is_ok_and(|major| major < SERVER_MAJOR_MIN)
}

/// The time that the resolver gets is the connection's own.
pub(super) async fn resolve_host(host: &str, port: u16, limit: Duration) -> Result<Vec<IpAddr>, ReachError> {
    let unresolved = |why: String| ReachError::Unresolved { host: host.to_owned(), why };
    let found = timeout(limit, tokio::net::lookup_host((host, port))).await;
    let mut addresses: Vec<IpAddr> = match found {
        Ok(Ok(addresses)) => addresses.map(|a| a.ip()).collect(),
        Ok(Err(e)) => {
            return Err(unresolved(
                e.to_string().trim_start_matches("failed to lookup address information: ").to_owned(),
            ));
        }
        Err(_) => return Err(unresolved(format!("no answer within {}", humantime::format_duration(limit)))),
    };
    addresses.dedup();
    if addresses.is_empty() { Err(unresolved("it has no address".to_owned())) } else { Ok(addresses) }
}

#[cfg(test)]
mod tests {
    use super::is_too_old;

    #[test]
    fn versions_below_13_are_refused() {
        for (version, too_old) in [
            ("9.6.24", true),
            ("12.22 (Debian 12.22-1)", true),
            ("13.0", false),
            ("15.18 (Debian 15.18-0+deb12u1)", false),
            ("18beta1", false),
            ("unknown", false),
        ] {
            assert_eq!(is_too_old(version), too_old, "{version}");
        }
    }
}
