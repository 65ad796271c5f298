//! A throwaway PostgreSQL server of our own: for the demo, for `cycle` without a database, for the tests.
//!
//! It listens on a free port of 127.0.0.1 only, trusts every local connection, trades durability for speed,
//! and disappears with its data when dropped, or when this process is killed.

use std::fs::File;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

pub use super::cluster_error::ClusterError;
use super::cluster_home::ClusterHome;
use super::data_template;
use super::postmaster::Postmaster;
use super::server_binaries::ServerBinaries;
use super::server_install::find_or_install;
use super::server_user::ServerUser;

/// A port that is free when chosen may be taken when the server binds it; more losses than this are no accident.
const PORT_ATTEMPTS_MAX: u32 = 8;

/// The superuser that initdb creates.
const SUPERUSER: &str = "postgres";

/// Careless about power cuts, which is right for data that nobody keeps; `logical` so that publications can be tried.
///
/// synchronous_commit stays on: without fsync it costs only a write, and switched off a SIGKILL of the server
/// would lose the transactions that were acknowledged last, which tests of crashes must be able to rely on.
const SETTINGS: &[(&str, &str)] = &[
    ("listen_addresses", "127.0.0.1"),
    ("unix_socket_directories", ""),
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("wal_level", "logical"),
    ("shared_buffers", "64MB"),
    ("max_connections", "200"),
    ("max_prepared_transactions", "5"),
    ("logging_collector", "off"),
    ("log_line_prefix", "%m [%p] %q%u@%d "),
];

/// How a cluster differs from the usual one.
#[derive(Debug, Clone, Default)]
pub struct ClusterOptions {
    /// The directory of the server programs; `None` looks for them, and installs them where it can (see
    /// `find_or_install`).
    pub bindir: Option<PathBuf>,
    /// Settings for postgresql.conf, which win over the built-in ones; values are quoted here.
    pub extra_conf: Vec<(String, String)>,
    /// Lines put before initdb's in pg_hba.conf, for example `host all app all scram-sha-256`.
    pub extra_hba: Vec<String>,
    /// Pages carry checksums, which costs WAL for hint bits; `false` leaves it to initdb, which makes them from 18 on.
    pub data_checksums: bool,
}

/// The ways in which a server can be asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Waits for every client to leave (SIGTERM).
    Smart,
    /// Cancels and disconnects every client, then writes a checkpoint (SIGINT).
    Fast,
    /// Ends at once; the next start runs crash recovery (SIGQUIT).
    Immediate,
}

/// A throwaway server. Dropping it stops the server at once and removes its data.
#[derive(Debug)]
pub struct Cluster {
    server: Option<Postmaster>,
    binaries: ServerBinaries,
    user: ServerUser,
    data: PathBuf,
    log: PathBuf,
    port: u16,
    /// Removes the folder when it is dropped.
    _home: ClusterHome,
}

impl Cluster {
    /// Makes a data directory, starts a server on it and waits until it accepts connections.
    ///
    /// Takes some 0.4 s, the first time for a server version some seconds more. Blocks; from async code call
    /// it through `spawn_blocking`.
    pub fn start(options: ClusterOptions) -> Result<Self, ClusterError> {
        let binaries = match &options.bindir {
            Some(dir) => ServerBinaries::at(dir)?,
            None => find_or_install()?,
        };
        let user = ServerUser::choose()?;
        let home = ClusterHome::create(user)?;
        let data = data_template::data_directory(&home, &binaries, user, options.data_checksums)?;
        let log = home.path("server.log");
        configure(&data, &options)?;
        let mut cluster = Self { server: None, binaries, user, data, log, port: 0, _home: home };
        cluster.start_on_free_port()?;
        Ok(cluster)
    }

    /// The TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A connection URL for the superuser.
    pub fn url(&self, database: &str) -> String {
        self.url_as(SUPERUSER, database)
    }

    /// A connection URL for `role`, which needs no password; both names may hold any character.
    pub fn url_as(&self, role: &str, database: &str) -> String {
        format!("postgres://{}@127.0.0.1:{}/{}", percent_encoded(role), self.port, percent_encoded(database))
    }

    /// The directory of the server programs.
    pub fn bindir(&self) -> &Path {
        self.binaries.bindir()
    }

    /// The server programs, with their version.
    pub fn binaries(&self) -> &ServerBinaries {
        &self.binaries
    }

    /// The data directory; it belongs to the account that runs the server.
    pub fn data_dir(&self) -> &Path {
        &self.data
    }

    /// The server's log, which goes with the cluster.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// The postmaster's process id, unless stopped.
    pub fn pid(&self) -> Option<i32> {
        self.server.as_ref().map(|server| server.pid().as_raw_pid())
    }

    /// Stops the server and waits for its end; nothing to do when it is stopped already.
    pub fn stop(&mut self, mode: Mode) -> Result<(), ClusterError> {
        let signal = match mode {
            Mode::Smart => Signal::TERM,
            Mode::Fast => Signal::INT,
            Mode::Immediate => Signal::QUIT,
        };
        if let Some(server) = &mut self.server {
            server.stop(signal)?;
            self.server = None;
        }
        Ok(())
    }

    /// Kills the postmaster and its children with SIGKILL, as a power cut would. `restart` then recovers.
    pub fn kill_9(&mut self) -> Result<(), ClusterError> {
        let Some(server) = &mut self.server else {
            return Err(ClusterError::NotRunning);
        };
        server.kill_9()?;
        self.server = None;
        Ok(())
    }

    /// Starts the server again on the same port and data, after a fast stop if it runs.
    pub fn restart(&mut self) -> Result<(), ClusterError> {
        self.stop(Mode::Fast)?;
        self.server = Some(Postmaster::start(&self.binaries, self.user, &self.data, &self.log)?);
        Ok(())
    }

    fn start_on_free_port(&mut self) -> Result<(), ClusterError> {
        let mut attempt = 1;
        loop {
            self.port = free_port()?;
            // The last line on a setting wins.
            append(&self.data.join("postgresql.conf"), &format!("port = {}\n", self.port))?;
            match self.restart() {
                Err(ClusterError::Died { log, .. })
                    if log.contains("could not bind") && attempt < PORT_ATTEMPTS_MAX =>
                {
                    attempt += 1;
                }
                result => return result,
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.stop(Mode::Immediate).is_err() {
            // A drop cannot report; the next start's sweep ends what even this leaves.
            let _swept_later = self.kill_9();
        }
    }
}

/// Writes the settings and the access rules into the fresh data directory.
fn configure(data: &Path, options: &ClusterOptions) -> Result<(), ClusterError> {
    let builtin = SETTINGS.iter().map(|(name, value)| (*name, *value));
    let extra = options.extra_conf.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let lines: String = builtin.chain(extra).map(|(name, value)| setting_line(name, value)).collect();
    append(&data.join("postgresql.conf"), &lines)?;
    if options.extra_hba.is_empty() {
        return Ok(());
    }
    // The first rule that fits a connection decides, so ours come before initdb's. Rewritten in place: the
    // file must stay the server account's.
    let path = data.join("pg_hba.conf");
    let rules = std::fs::read_to_string(&path).map_err(ClusterError::io("read", &path))?;
    let text = format!("{}\n{rules}", options.extra_hba.join("\n"));
    std::fs::write(&path, text).map_err(ClusterError::io("write", &path))
}

/// A line of postgresql.conf, in which a quote is doubled and a backslash escapes.
fn setting_line(name: &str, value: &str) -> String {
    format!("{name} = '{}'\n", value.replace('\\', "\\\\").replace('\'', "''"))
}

fn append(path: &Path, text: &str) -> Result<(), ClusterError> {
    let mut file = File::options().append(true).open(path).map_err(ClusterError::io("open", path))?;
    file.write_all(text.as_bytes()).map_err(ClusterError::io("write", path))
}

/// A port that the system says is free now.
fn free_port() -> Result<u16, ClusterError> {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(ClusterError::io("find a free port on", Path::new("127.0.0.1")))
}

/// RFC 3986: all but unreserved characters as %XX of their UTF-8 bytes.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use std::process::Command;

    fn ask(cluster: &Cluster, sql: &str) -> String {
        let out = Command::new(cluster.binaries().program("psql"))
            .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", &cluster.url("postgres"), "-c", sql])
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    }

    #[test]
    fn starts_survives_a_crash_and_leaves_nothing() {
        let options = ClusterOptions {
            extra_conf: vec![("tenantmig.sample".to_owned(), r"it's \ here".to_owned())],
            extra_hba: vec!["host all nobody_in all reject".to_owned()],
            data_checksums: true,
            ..ClusterOptions::default()
        };
        // Started by a thread that ends: the server must not end with it.
        let mut cluster = std::thread::spawn(|| Cluster::start(options).unwrap()).join().unwrap();
        let port = cluster.port();
        assert_eq!(ask(&cluster, "SHOW tenantmig.sample"), r"it's \ here");
        assert_eq!(ask(&cluster, "SHOW wal_level"), "logical");
        assert_eq!(ask(&cluster, "SHOW data_checksums"), "on");
        ask(&cluster, "CREATE TABLE kept AS SELECT 1 AS n");
        cluster.kill_9().unwrap();
        assert!(matches!(cluster.kill_9(), Err(ClusterError::NotRunning)));
        cluster.restart().unwrap();
        assert_eq!((cluster.port(), ask(&cluster, "SELECT n FROM kept").as_str()), (port, "1"));
        cluster.stop(Mode::Fast).unwrap();
        assert_eq!(cluster.pid(), None);
        cluster.restart().unwrap();
        let (data, log) = (cluster.data_dir().to_owned(), cluster.log_path().to_owned());
        assert!(std::fs::read_to_string(&log).unwrap().contains("automatic recovery in progress"));
        drop(cluster);
        assert!(!data.exists() && !log.exists());
    }

    #[test]
    fn a_bad_setting_is_told_with_the_log() {
        let extra_conf = vec![("shared_buffers".to_owned(), "lots".to_owned())];
        let error = Cluster::start(ClusterOptions { extra_conf, ..ClusterOptions::default() }).unwrap_err();
        assert!(error.to_string().contains("\"shared_buffers\": \"lots\""), "{error}");
    }

    #[test]
    fn names_are_percent_encoded() {
        let check = |text, expect: &str| assert_eq!(percent_encoded(text), expect);
        check("app_rw-1.x~", "app_rw-1.x~");
        check("a b/é@:%", "a%20b%2F%C3%A9%40%3A%25");
    }
}
