//! Resolves flags, environment and files to the settings of a connection.

use std::time::Duration;

use super::environment::Environment;
use super::layers::Layers;
use super::origin::Origin;
use super::settings_error::SettingsError;
use super::target::{self, Target};
use super::value::{self, Setting, TargetSessionAttrs, TlsSettings};

/// One server is given this long to take the connection and the login; libpq would wait for ever, a migration must not.
const CONNECT_TIMEOUT_S_DEFAULT: u64 = 10;
/// libpq's floor: one second is too short for a login over TLS.
const CONNECT_TIMEOUT_S_MIN: u64 = 2;
/// A `connect_timeout` of 0 means "for ever" in libpq; here this long.
const CONNECT_TIMEOUT_S_MAX: u64 = 3600;
/// A dead peer is probed after this much silence; the kernel's default is two hours.
const KEEPALIVES_IDLE_S: u64 = 5;
const KEEPALIVES_INTERVAL_S: u64 = 2;
const KEEPALIVES_COUNT: u32 = 3;
/// Data that nobody acknowledges for this long means the path is dead; keepalives do not run while data is outstanding.
const TCP_USER_TIMEOUT_MS: u64 = 15_000;

/// The connection flags, as psql has them.
#[derive(Clone, Default)]
pub struct ConnectFlags {
    /// `-d`: a database's name, a URI or a conninfo string.
    pub dbname: Option<String>,
    /// `--host`: names, addresses or socket directories, separated by commas.
    pub host: Option<String>,
    /// `-p`: ports, separated by commas.
    pub port: Option<String>,
    /// `-U`.
    pub username: Option<String>,
    /// `--role`: the role that every session takes by `SET ROLE`, as `pg_dump --role` does.
    pub role: Option<String>,
}

impl std::fmt::Debug for ConnectFlags {
    /// Leaves out `dbname`, which may be a URI with a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectFlags")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("username", &self.username)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// Everything needed to connect, each value with its origin. Passwords are wrapped, so `Debug` is safe.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The servers to try, in order; at least one.
    pub targets: Vec<Target>,
    /// Whether to try them in random order.
    pub shuffle: bool,
    /// The user to log in as.
    pub user: Setting<String>,
    /// The database.
    pub dbname: Setting<String>,
    /// The role for `SET ROLE`, if any.
    pub role: Option<Setting<String>>,
    /// TLS.
    pub tls: TlsSettings,
    /// The time for one address, from resolving its name to the end of the login.
    pub connect_timeout: Setting<Duration>,
    /// Which kind of session is acceptable.
    pub target_session_attrs: Setting<TargetSessionAttrs>,
    /// The user's own name for the sessions, shown after tenantmig's.
    pub application_name: Option<Setting<String>>,
    /// Server settings for the startup packet (`-c name=value`).
    pub options: Option<Setting<String>>,
    /// SCRAM channel binding.
    pub channel_binding: Setting<tokio_postgres::config::ChannelBinding>,
    /// Probing of silent peers; `None` when switched off.
    pub keepalives: Option<Keepalives>,
    /// How long sent data may stay unacknowledged; `None` leaves it to the kernel.
    pub tcp_user_timeout: Setting<Option<Duration>>,
    /// What was ignored, and why.
    pub warnings: Vec<String>,
}

/// TCP keepalives.
#[derive(Debug, Clone)]
pub struct Keepalives {
    /// Silence before the first probe.
    pub idle: Setting<Option<Duration>>,
    /// Time between probes.
    pub interval: Setting<Option<Duration>>,
    /// Probes without an answer before the connection counts as dead.
    pub count: u32,
}

/// Resolves the settings. Precedence: connection string in `-d`, flags, TENANTMIG_DATABASE_URL or else DATABASE_URL,
/// service file, PG* variables, libpq's default files, built-in.
///
/// # Errors
/// [`SettingsError`] when a string, value or service file cannot be used. Reads the files that are named; contacts nobody.
pub fn resolve(flags: &ConnectFlags, env: &Environment) -> Result<Settings, SettingsError> {
    let layers = Layers::gather(flags, env)?;
    let mut warnings = layers.check_usage()?;
    let text = |key: &str| layers.get(key).map(|(v, o)| Setting::new(v.to_owned(), o.clone()));
    let user = match (text("user"), env.os_user()) {
        (Some(user), _) => user,
        (None, Some(name)) => Setting::new(name.to_owned(), Origin::Default),
        (None, None) => return Err(SettingsError::NoUser),
    };
    let dbname = text("dbname").unwrap_or_else(|| Setting::new(user.value.clone(), Origin::Default));
    let mut targets = target::read(&layers, env)?;
    warnings.extend(target::add_passwords(&mut targets, &layers, env, &user.value, &dbname.value));
    let target_session_attrs = value::session_attrs(&layers, targets.len())?;
    let second = Duration::from_secs(1);
    let shuffle = value::word(&layers, "load_balance_hosts", &[("disable", false), ("random", true)])?.is_some_and(|s| s.value);
    let tcp_user_timeout =
        value::duration(&layers, "tcp_user_timeout", Duration::from_millis(1), Duration::from_millis(TCP_USER_TIMEOUT_MS))?;
    Ok(Settings {
        shuffle,
        tls: value::tls(&layers, env)?,
        connect_timeout: {
            let given = value::duration(&layers, "connect_timeout", second, Duration::from_secs(CONNECT_TIMEOUT_S_DEFAULT))?;
            let (min, max) = (Duration::from_secs(CONNECT_TIMEOUT_S_MIN), Duration::from_secs(CONNECT_TIMEOUT_S_MAX));
            Setting::new(given.value.unwrap_or(max).clamp(min, max), given.origin)
        },
        target_session_attrs,
        application_name: text("application_name"),
        options: text("options"),
        channel_binding: channel_binding(&layers)?,
        keepalives: keepalives(&layers)?,
        tcp_user_timeout,
        role: flags.role.clone().filter(|r| !r.is_empty()).map(|r| Setting::new(r, Origin::Flag("--role"))),
        targets,
        user,
        dbname,
        warnings,
    })
}

fn channel_binding(layers: &Layers) -> Result<Setting<tokio_postgres::config::ChannelBinding>, SettingsError> {
    use tokio_postgres::config::ChannelBinding::{Disable, Prefer, Require};
    let words = [("disable", Disable), ("prefer", Prefer), ("require", Require)];
    Ok(value::word(layers, "channel_binding", &words)?.unwrap_or(Setting::new(Prefer, Origin::Default)))
}

fn keepalives(layers: &Layers) -> Result<Option<Keepalives>, SettingsError> {
    if value::integer(layers, "keepalives")?.is_some_and(|s| s.value == 0) {
        return Ok(None);
    }
    let second = Duration::from_secs(1);
    let count = value::integer(layers, "keepalives_count")?.and_then(|s| u32::try_from(s.value).ok()).filter(|n| *n > 0);
    Ok(Some(Keepalives {
        idle: value::duration(layers, "keepalives_idle", second, Duration::from_secs(KEEPALIVES_IDLE_S))?,
        interval: value::duration(layers, "keepalives_interval", second, Duration::from_secs(KEEPALIVES_INTERVAL_S))?,
        count: count.unwrap_or(KEEPALIVES_COUNT),
    }))
}
