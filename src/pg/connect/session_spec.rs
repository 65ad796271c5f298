//! What every session of ours is set to, whatever the database's or role's defaults are.

use std::time::Duration;

/// An open transaction in which nothing happens is ended by the server after this: a frozen client must not hold
/// locks and the vacuum horizon for ever.
const IDLE_IN_TRANSACTION_MS_MAX: u64 = 60_000;
/// The server looks this often whether the client is still there (14+): without it, the statement of a killed client
/// runs on and may commit.
const CLIENT_CHECK_INTERVAL_MS: u64 = 500;
/// PostgreSQL cuts names at NAMEDATALEN - 1 bytes.
const NAME_BYTES_MAX: usize = 63;

/// What a session is for and how long it may wait.
#[derive(Debug, Clone)]
pub struct SessionSpec {
    /// What `pg_stat_activity` shows, such as `tenantmig worker 1`.
    pub application_name: String,
    /// The longest wait for a lock; the queue behind a waiting lock is an outage.
    pub lock_timeout: Duration,
    /// The longest statement; `None` removes the limit, also one set for the role or database.
    pub statement_timeout: Option<Duration>,
    /// The longest pause inside a transaction.
    pub idle_in_transaction_timeout: Duration,
    /// What only sessions of this kind set, such as `jit`.
    pub further: Vec<(&'static str, String)>,
    /// Whether every host of the list is looked at, and the writable one with the newest timeline taken. Otherwise the first
    /// that is no older than what this process has seen.
    pub survey: bool,
}

impl SessionSpec {
    /// A session with this name and lock timeout, no statement timeout and the usual bound on idling in a transaction.
    #[must_use]
    pub fn new(application_name: &str, lock_timeout: Duration) -> Self {
        Self {
            application_name: application_name.to_owned(),
            lock_timeout,
            statement_timeout: None,
            idle_in_transaction_timeout: Duration::from_millis(IDLE_IN_TRANSACTION_MS_MAX),
            further: Vec::new(),
            survey: false,
        }
    }

    /// The server settings, by name and value, for a server of this `server_version_num`. `search_path` and `TimeZone`
    /// are left alone: the plan's own SQL may depend on them.
    #[must_use]
    pub fn settings(&self, server_version_num: i32) -> Vec<(&'static str, String)> {
        let mut settings = vec![
            // A policy that would hide rows raises an error instead: a backfill must never see a part only.
            ("row_security", "off".to_owned()),
            ("lock_timeout", milliseconds(self.lock_timeout)),
            ("statement_timeout", self.statement_timeout.map_or_else(|| "0".to_owned(), milliseconds)),
            ("idle_in_transaction_session_timeout", milliseconds(self.idle_in_transaction_timeout)),
            // Values are compared as text in fingerprints.
            ("datestyle", "ISO, YMD".to_owned()),
            ("intervalstyle", "postgres".to_owned()),
            ("extra_float_digits", "3".to_owned()),
            ("bytea_output", "hex".to_owned()),
            // Our literals are written for the standard's rules.
            ("standard_conforming_strings", "on".to_owned()),
        ];
        if server_version_num >= 140_000 {
            settings.push(("client_connection_check_interval", CLIENT_CHECK_INTERVAL_MS.to_string()));
            settings.push(("idle_session_timeout", "0".to_owned()));
        }
        if server_version_num >= 170_000 {
            settings.push(("transaction_timeout", "0".to_owned()));
        }
        settings.extend(self.further.iter().cloned());
        settings
    }

    /// Our name with the process's tag and the user's own name behind it, cut to what PostgreSQL keeps: of the user's.
    pub(super) fn full_application_name(&self, tag: Option<&str>, users: Option<&str>) -> String {
        let mut name = self.application_name.clone();
        if let Some(tag) = tag {
            name.push_str(&format!(" {tag}"));
        }
        if let Some(users) = users {
            name.push_str(&format!(" ({users})"));
        }
        let end = name.floor_char_boundary(NAME_BYTES_MAX);
        name.truncate(end);
        name
    }
}

/// Whole milliseconds, at least 1: 0 would mean "no limit".
fn milliseconds(duration: Duration) -> String {
    duration.as_millis().max(1).to_string()
}
