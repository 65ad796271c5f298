//! What can be wrong with the words that say where to connect. No text here quotes a value that may be part of a password.

use std::path::PathBuf;

use thiserror::Error;

/// A connection setting that cannot be used. Nothing was contacted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SettingsError {
    /// A URI or conninfo string does not parse.
    #[error("connection string from {place}: {why}")]
    Malformed {
        /// The flag or variable that holds it.
        place: String,
        /// What is wrong, without quoting it.
        why: String,
    },
    /// A key that libpq does not have.
    #[error("connection string from {place}: unknown key{}{}", quoted(key), did_you_mean(*closest))]
    UnknownKey {
        /// The flag, variable or file that holds it.
        place: String,
        /// The key; empty where it may be a piece of a password.
        key: String,
        /// The nearest known key.
        closest: Option<&'static str>,
    },
    /// A value outside what its key admits.
    #[error("{key} from {place}: {why}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// Where the value came from.
        place: String,
        /// What is wrong with it and what is admitted.
        why: String,
    },
    /// A key of libpq that tenantmig does not implement and must not silently drop.
    #[error("{key} from {place} is not supported, and dropping it would weaken the connection")]
    Unsupported {
        /// The key.
        key: &'static str,
        /// Where the value came from.
        place: String,
    },
    /// No such section in any service file.
    #[error("service \"{name}\" is defined in none of: {}", listed(searched))]
    ServiceMissing {
        /// The service's name.
        name: String,
        /// The files that were searched.
        searched: Vec<PathBuf>,
    },
    /// A service file that cannot be read or parsed.
    #[error("service file {}:{line}: {why}", file.display())]
    ServiceFile {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1; 0 when the file could not be read.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// Neither a flag, a variable nor the operating system names a user.
    #[error("no user name: the operating system has none for this process")]
    NoUser,
}

impl SettingsError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "TM0901",
            Self::UnknownKey { .. } => "TM0902",
            Self::BadValue { .. } => "TM0903",
            Self::Unsupported { .. } => "TM0904",
            Self::ServiceMissing { .. } => "TM0905",
            Self::ServiceFile { .. } => "TM0906",
            Self::NoUser => "TM0907",
        }
    }

    /// The next thing to do or type.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Malformed { .. } => {
                "write postgresql://USER@HOST:PORT/DBNAME?sslmode=verify-full, or \"host=HOST dbname=DBNAME\"; \
                 keep the password in ~/.pgpass or PGPASSWORD"
                    .to_owned()
            }
            Self::UnknownKey { closest: Some(known), .. } => format!("write {known}=…"),
            Self::UnknownKey { closest: None, .. } => {
                "remove it; the keys are those of libpq (https://www.postgresql.org/docs/current/libpq-connect.html)"
                    .to_owned()
            }
            Self::BadValue { key, .. } => {
                format!("correct {key}; `tenantmig doctor` prints each value with its origin")
            }
            Self::Unsupported { key, .. } => {
                format!("remove {key}, or connect through a server or pooler that does not need it")
            }
            Self::ServiceMissing { name, .. } => {
                format!("add a section [{name}] to ~/.pg_service.conf, or set PGSERVICEFILE to the file that has it")
            }
            Self::ServiceFile { file, .. } => {
                format!("correct {}: sections are [name], lines are key=value without quotes", file.display())
            }
            Self::NoUser => "name the user: -U NAME, or PGUSER".to_owned(),
        }
    }
}

fn quoted(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!(" \"{key}\"") }
}

fn did_you_mean(closest: Option<&'static str>) -> String {
    closest.map(|known| format!(", did you mean \"{known}\"?")).unwrap_or_default()
}

fn listed(paths: &[PathBuf]) -> String {
    if paths.is_empty() {
        return "(no service file found)".to_owned();
    }
    paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ")
}
