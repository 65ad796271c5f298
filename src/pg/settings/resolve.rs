//! Resolves flags, environment and files to the settings of a connection.

use std::time::Duration;

use super::environment::Environment;
use super::layers::Layers;
use super::origin::Origin;
use super::settings_error::SettingsError;
use super::target::{self, Target};
use super::value::{self, Setting, TargetSessionAttrs, TlsSettings};
use crate::pg::connect::Fleet;

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

/// Holds a connection string for the server behind the pooler.
const DIRECT_VARIABLE: &str = "TENANTMIG_DIRECT_URL";
/// Holds the application's own connection string.
const APP_VARIABLE: &str = "TENANTMIG_APP_URL";
/// Holds the application's way through its pooler, where that is another one.
const POOLER_VARIABLE: &str = "TENANTMIG_POOLER_URL";

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
    /// `--direct-url`: a connection string for the server behind the pooler.
    pub direct_url: Option<String>,
    /// `--app-url`: the application's connection string.
    pub app_url: Option<String>,
    /// `--pooler-url`: the application's way through its pooler.
    pub pooler_url: Option<String>,
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
    /// What tells this process's sessions from another's, behind tenantmig's own name.
    pub tag: Option<String>,
    /// Server settings for the startup packet (`-c name=value`).
    pub options: Option<Setting<String>>,
    /// SCRAM channel binding.
    pub channel_binding: Setting<tokio_postgres::config::ChannelBinding>,
    /// Probing of silent peers; `None` when switched off.
    pub keepalives: Option<Keepalives>,
    /// How long sent data may stay unacknowledged; `None` leaves it to the kernel.
    pub tcp_user_timeout: Setting<Option<Duration>>,
    /// The server behind the pooler.
    pub direct: Option<Box<Settings>>,
    /// How the application connects.
    pub app: Option<Box<Settings>>,
    /// How it does through its pooler.
    pub pooler: Option<Box<Settings>>,
    /// What was ignored, and why.
    pub warnings: Vec<String>,
    /// What the sessions opened with these settings, and with their clones, have in common.
    pub fleet: Fleet,
}

impl Settings {
    /// How the server is reached past a pooler, as the same role: one of this process's sessions, known by its tag and given up
    /// with the others.
    #[must_use]
    pub fn past_pooler(&self) -> Option<Self> {
        let ours = |direct: &Self| Self {
            role: self.role.clone(),
            tag: self.tag.clone(),
            fleet: self.fleet.clone(),
            ..direct.clone()
        };
        self.direct.as_deref().map(ours)
    }
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
    let mut settings = settle(&Layers::gather(flags, env)?, flags, env)?;
    let mut further = |flag: &Option<String>, name, variable| {
        let flag = flag.as_deref().filter(|url| !url.is_empty()).map(|url| (url, Origin::Flag(name)));
        let given = flag.or_else(|| env.set_var(variable).map(|url| (url, Origin::Env(variable))));
        let Some((url, origin)) = given else { return Ok(None) };
        let mut other = settle(&Layers::of_string(url, &origin, env)?, flags, env)?;
        settings.warnings.append(&mut other.warnings);
        Ok(Some(Box::new(other)))
    };
    let direct = further(&flags.direct_url, "--direct-url", DIRECT_VARIABLE)?;
    let mut app = further(&flags.app_url, "--app-url", APP_VARIABLE)?;
    let mut pooler = further(&flags.pooler_url, "--pooler-url", POOLER_VARIABLE)?;
    for application in [&mut app, &mut pooler].into_iter().flatten() {
        // It logs in as itself.
        application.role = None;
        // A read or write pool of the application's: whichever it gets is where it works.
        application.fleet = settings.fleet.clone();
    }
    (settings.direct, settings.app, settings.pooler) = (direct, app, pooler);
    Ok(settings)
}

fn settle(layers: &Layers, flags: &ConnectFlags, env: &Environment) -> Result<Settings, SettingsError> {
    let mut warnings = layers.check_usage()?;
    let text = |key: &str| layers.get(key).map(|(v, o)| Setting::new(v.to_owned(), o.clone()));
    let user = match (text("user"), env.os_user()) {
        (Some(user), _) => user,
        (None, Some(name)) => Setting::new(name.to_owned(), Origin::Default),
        (None, None) => return Err(SettingsError::NoUser),
    };
    let dbname = text("dbname").unwrap_or_else(|| Setting::new(user.value.clone(), Origin::Default));
    let mut targets = target::read(layers, env)?;
    warnings.extend(target::add_passwords(&mut targets, layers, env, &user.value, &dbname.value));
    let target_session_attrs = value::session_attrs(layers, targets.len())?;
    let second = Duration::from_secs(1);
    let shuffle =
        value::word(layers, "load_balance_hosts", &[("disable", false), ("random", true)])?.is_some_and(|s| s.value);
    let tcp_user_timeout = value::duration(
        layers,
        "tcp_user_timeout",
        Duration::from_millis(1),
        Duration::from_millis(TCP_USER_TIMEOUT_MS),
    )?;
    Ok(Settings {
        shuffle,
        tls: value::tls(layers, env)?,
        connect_timeout: {
            let given =
                value::duration(layers, "connect_timeout", second, Duration::from_secs(CONNECT_TIMEOUT_S_DEFAULT))?;
            let (min, max) = (Duration::from_secs(CONNECT_TIMEOUT_S_MIN), Duration::from_secs(CONNECT_TIMEOUT_S_MAX));
            Setting::new(given.value.unwrap_or(max).clamp(min, max), given.origin)
        },
        target_session_attrs,
        application_name: text("application_name"),
        tag: None,
        options: text("options"),
        channel_binding: channel_binding(layers)?,
        keepalives: keepalives(layers)?,
        tcp_user_timeout,
        role: flags.role.clone().filter(|r| !r.is_empty()).map(|r| Setting::new(r, Origin::Flag("--role"))),
        targets,
        user,
        dbname,
        direct: None,
        app: None,
        pooler: None,
        warnings,
        fleet: Fleet::default(),
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
    let count =
        value::integer(layers, "keepalives_count")?.and_then(|s| u32::try_from(s.value).ok()).filter(|n| *n > 0);
    Ok(Some(Keepalives {
        idle: value::duration(layers, "keepalives_idle", second, Duration::from_secs(KEEPALIVES_IDLE_S))?,
        interval: value::duration(layers, "keepalives_interval", second, Duration::from_secs(KEEPALIVES_INTERVAL_S))?,
        count: count.unwrap_or(KEEPALIVES_COUNT),
    }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;

    fn flags(dbname: &str, host: &str) -> ConnectFlags {
        let some = |text: &str| Some(text.to_owned()).filter(|t| !t.is_empty());
        ConnectFlags { dbname: some(dbname), host: some(host), ..ConnectFlags::default() }
    }

    /// `key=value <origin>` for each expected row.
    fn check(flags: &ConnectFlags, vars: &[(&str, &str)], expect: &[&str]) {
        let vars: Vec<(&str, &str)> = [("USER", "me")].into_iter().chain(vars.iter().copied()).collect();
        let settings = resolve(flags, &Environment::of(&vars)).unwrap();
        let rows: Vec<String> =
            settings.rows().iter().map(|r| format!("{}={} <{}>", r.key, r.value, r.origin)).collect();
        for expected in expect {
            assert!(rows.iter().any(|r| r == expected), "{expected} not in {rows:#?}");
        }
        let debug = format!("{settings:?} {rows:?} {}", settings.display_target());
        assert!(!debug.contains("hunter2"), "{debug}");
    }

    #[test]
    fn the_nearest_source_wins() {
        let url = ("DATABASE_URL", "postgres://u:hunter2@uh:6000/ud?sslmode=require");
        check(
            &flags("", ""),
            &[],
            &["host=localhost <default>", "port=5432 <default>", "user=me <default>", "dbname=me <default>"],
        );
        check(&flags("", ""), &[("PGUSER", "x")], &["user=x <environment PGUSER>", "dbname=x <default>"]);
        check(
            &flags("", ""),
            &[url, ("PGHOST", "no"), ("PGSSLMODE", "disable"), ("PGAPPNAME", "job")],
            &[
                "host=uh <environment DATABASE_URL>",
                "password=******** <environment DATABASE_URL>",
                "sslmode=require <environment DATABASE_URL>",
                "application_name=job <environment PGAPPNAME>",
            ],
        );
        let ours = ("TENANTMIG_DATABASE_URL", "host=th dbname=td");
        // A string is used whole or not at all: the other one's password belongs to another server.
        check(
            &flags("", ""),
            &[url, ours],
            &["host=th <environment TENANTMIG_DATABASE_URL>", "password=(none) <default>", "port=5432 <default>"],
        );
        check(
            &flags("fd", "fh"),
            &[url],
            &["dbname=fd <-d>", "host=fh <--host>", "port=6000 <environment DATABASE_URL>"],
        );
        // As in psql, a connection string in -d wins over the other flags.
        check(&flags("host=sh dbname=sd", "fh"), &[url], &["host=sh <-d>", "dbname=sd <-d>", "user=me <default>"]);
        // An empty value blocks what stands below it.
        check(&flags("host='' user=u", ""), &[("PGHOST", "no")], &["host=localhost <default>"]);
        check(&flags("host=a host=b", ""), &[], &["host=b <-d>"]);
        check(
            &flags("host=a hostaddr=10.0.0.1 password=hunter2", ""),
            &[],
            &["hostaddr=10.0.0.1 <-d>", "password=******** <-d>"],
        );
    }

    #[test]
    fn several_hosts_pair_with_their_ports() {
        check(
            &flags("postgres://a:1,[::1]:2/d", ""),
            &[],
            &[
                "host[1]=a <-d>",
                "port[1]=1 <-d>",
                "host[2]=::1 <-d>",
                "port[2]=2 <-d>",
                "target_session_attrs=read-write <default>",
            ],
        );
        check(&flags("host=a,/tmp port=7", ""), &[], &["port[1]=7 <-d>", "port[2]=7 <-d>", "host[2]=/tmp <-d>"]);
        check(&flags("host=a,b target_session_attrs=any", ""), &[], &["target_session_attrs=any <-d>"]);
        let settings = resolve(&flags("host=a,::1,/tmp port=1 user=u dbname=d", ""), &Environment::of(&[])).unwrap();
        assert_eq!(settings.display_target(), "u@a:1,[::1]:1,/tmp/.s.PGSQL.1/d");
    }

    #[test]
    fn what_cannot_be_used_is_refused_without_quoting_a_secret() {
        for (text, code, says) in [
            ("hots=a", "TM0902", "\"hots\", did you mean \"host\""),
            ("password=hunter2 hunter3=x", "TM0902", "unknown key"),
            ("postgres://u:hunter2@h?schema=x", "TM0902", "unknown key"),
            ("postgres://u:hunter2@h?sslmod=x", "TM0902", "did you mean \"sslmode\""),
            ("mysql://u:hunter2@h/d", "TM0901", "mysql://"),
            ("postgresql+psycopg2://u:hunter2@h/d", "TM0901", "write postgresql://"),
            ("host=a sslmode=verify", "TM0903", "verify-ca, verify-full"),
            ("port=70000", "TM0903", "between 1 and 65535"),
            ("host=a,b port=1,2,3", "TM0903", "3 ports do not match 2 hosts"),
            ("host=a,b hostaddr=::1", "TM0903", "2 hosts do not match 1 hostaddr"),
            ("hostaddr=x", "TM0903", "not an IP address"),
            ("connect_timeout=x", "TM0903", "not an integer"),
            ("sslrootcert=system sslmode=require", "TM0903", "weak sslmode"),
            ("sslnegotiation=direct", "TM0903", "sslmode=require or stronger"),
            ("ssl_max_protocol_version=TLSv1.1", "TM0903", "no version of TLS"),
            ("sslcrl=x", "TM0904", "sslcrl"),
            ("gssencmode=require", "TM0904", "gssencmode"),
            ("service=none", "TM0905", "\"none\""),
        ] {
            let env = Environment::of(&[("USER", "me"), ("PGSYSCONFDIR", "/nonexistent")]);
            let error = resolve(&flags(text, ""), &env).expect_err(text);
            assert_eq!(error.code(), code, "{text}: {error}");
            let shown = format!("{error} {error:?} {}", error.remedy());
            assert!(shown.contains(says) && !shown.contains("hunter"), "{text}: {shown}");
        }
        assert_eq!(resolve(&ConnectFlags::default(), &Environment::of(&[])).unwrap_err().code(), "TM0907");
    }

    #[test]
    fn files_give_what_is_not_given() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let write = |name: &str, text: &str, mode: u32| {
            std::fs::write(path(name), text).unwrap();
            std::fs::set_permissions(path(name), std::fs::Permissions::from_mode(mode)).unwrap();
        };
        write(".pg_service.conf", "[prod]\nhost=sh\nport=7\nuser=su\n", 0o644);
        write(".pgpass", "sh:7:*:su:hunter2\nlocalhost:*:*:*:hunter2", 0o600);
        let home = ("HOME", dir.path().to_str().unwrap());
        let service = format!("service prod in {}", path(".pg_service.conf"));
        let host = format!("host=sh <{service}>");
        let password = format!("password=******** <password file {}:1>", path(".pgpass"));
        check(&flags("service=prod", ""), &[home, ("PGHOST", "no")], &[&host, &password]);
        check(&flags("", "fh"), &[home, ("PGSERVICE", "prod")], &["host=fh <--host>", &format!("port=7 <{service}>")]);
        let local = format!("password=******** <password file {}:2>", path(".pgpass"));
        check(&flags("host=/tmp", ""), &[home], &[&local]);
        check(&flags("host=/elsewhere", ""), &[home], &["password=(none) <default>"]);
        let env = Environment::of(&[home, ("USER", "me")]).with_socket_directory(Path::new("/var/run/postgresql"));
        let found = resolve(&ConnectFlags::default(), &env).unwrap();
        assert_eq!(found.display_target(), "me@/var/run/postgresql/.s.PGSQL.5432/me");
        assert!(found.targets[0].password.is_some() && found.warnings.is_empty());
        write(".pgpass", "*:*:*:*:hunter2", 0o644);
        let ignored = resolve(&ConnectFlags::default(), &env).unwrap();
        assert!(ignored.targets[0].password.is_none() && ignored.warnings[0].contains("chmod 0600"));
        std::fs::create_dir(path(".postgresql")).unwrap();
        write(".postgresql/root.crt", "", 0o644);
        check(&flags("", ""), &[home], &[&format!("sslrootcert={} <default file>", path(".postgresql/root.crt"))]);
    }

    #[test]
    fn times_are_read_in_libpqs_units() {
        let text = "host=a tcp_user_timeout=4000 keepalives_idle=7 connect_timeout=1";
        let expect = ["tcp_user_timeout=4s <-d>", "keepalives_idle=7s <-d>", "connect_timeout=2s <-d>"];
        check(&flags(text, ""), &[], &expect);
        check(&flags("connect_timeout=0", ""), &[], &["connect_timeout=1h <-d>"]);
        assert!(resolve(&flags("keepalives=0 user=u", ""), &Environment::of(&[])).unwrap().keepalives.is_none());
    }
}
