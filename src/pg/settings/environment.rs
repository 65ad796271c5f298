//! A snapshot of the process's surroundings, so that resolving settings is testable.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// Directories in which a local server's socket is looked for, in this order: Debian's and Red Hat's, then PostgreSQL's own.
pub(super) const SOCKET_DIRECTORIES: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// Environment variables, home directory, user and socket directory at one moment.
///
/// `Debug` prints the variables' names only: any of them may hold a password.
#[derive(Clone)]
pub struct Environment {
    vars: BTreeMap<String, String>,
    home: Option<PathBuf>,
    os_user: Option<String>,
    socket_directory: Option<PathBuf>,
}

impl Environment {
    /// Takes the snapshot of this process. Variables that are not UTF-8 are left out.
    #[must_use]
    pub fn from_process() -> Self {
        let vars =
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect();
        Self {
            vars,
            home: std::env::home_dir(),
            os_user: whoami::username().ok(),
            socket_directory: SOCKET_DIRECTORIES.iter().map(PathBuf::from).find(|d| holds_socket(d)),
        }
    }

    /// An environment of just these variables. `HOME` and `USER` also set the home directory and the user;
    /// no local socket is assumed.
    #[must_use]
    pub fn of(vars: &[(&str, &str)]) -> Self {
        let vars: BTreeMap<String, String> = vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Self {
            home: vars.get("HOME").map(PathBuf::from),
            os_user: vars.get("USER").cloned(),
            socket_directory: None,
            vars,
        }
    }

    /// The same environment, with a local server's socket in `directory`.
    #[must_use]
    pub fn with_socket_directory(mut self, directory: &Path) -> Self {
        self.socket_directory = Some(directory.to_owned());
        self
    }

    /// The variable's value; `None` when it is unset.
    #[must_use]
    pub fn var(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str)
    }

    /// The variable's value, an empty one counting as unset.
    pub(super) fn set_var(&self, name: &str) -> Option<&str> {
        self.var(name).filter(|v| !v.is_empty())
    }

    pub(super) fn home(&self) -> Option<&Path> {
        self.home.as_deref()
    }

    pub(super) fn os_user(&self) -> Option<&str> {
        self.os_user.as_deref()
    }

    pub(super) fn socket_directory(&self) -> Option<&Path> {
        self.socket_directory.as_deref()
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("names", &self.vars.keys().collect::<Vec<_>>())
            .field("home", &self.home)
            .field("os_user", &self.os_user)
            .field("socket_directory", &self.socket_directory)
            .finish()
    }
}

/// Whether some server listens (or listened) in this directory: psql's built-in directory depends on how it was compiled,
/// ours on what is there.
fn holds_socket(directory: &Path) -> bool {
    std::fs::read_dir(directory).is_ok_and(|entries| {
        entries
            .flatten()
            .any(|e| e.file_name().to_str().is_some_and(|n| n.starts_with(".s.PGSQL.") && !n.ends_with(".lock")))
    })
}
