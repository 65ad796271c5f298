//! Runs the built `tenantmig` as a user would, cut off from the machine's own settings.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use super::database::Db;
use super::output::Output;
use super::running::Running;

/// No single run in a test takes longer, even on a loaded machine; one that does hangs.
const RUN_SECONDS_MAX: u64 = 120;

/// Variables that would change what the program does, besides all whose names start with PG or TENANTMIG_
/// or end in DATABASE_URL.
const CLEARED: &[&str] =
    &["NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "RUST_LOG", "COLUMNS", "CI", "TERM"];

/// A path below the repository's root, for example `plans/alphapulse.toml`.
pub fn repo_path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// A run of the program in preparation. Its home and, unless `dir` says otherwise, its working directory
/// are one empty temporary folder.
#[derive(Debug)]
pub struct Tool {
    program: OsString,
    arguments: Vec<OsString>,
    variables: Vec<(OsString, Option<OsString>)>,
    dir: Option<PathBuf>,
    stdin: Option<String>,
    bound: Duration,
    home: Arc<tempfile::TempDir>,
}

impl Tool {
    /// The program with TENANTMIG_DATABASE_URL set to `db`, as the superuser.
    pub fn new(db: &Db) -> Self {
        Self::without_database().url(&db.url())
    }

    /// The program without any connection setting.
    pub fn without_database() -> Self {
        Self {
            program: env!("CARGO_BIN_EXE_tenantmig").into(),
            arguments: Vec::new(),
            variables: Vec::new(),
            dir: None,
            stdin: None,
            bound: Duration::from_secs(RUN_SECONDS_MAX),
            home: Arc::new(tempfile::tempdir().unwrap()),
        }
    }

    /// Runs another program in the same surroundings, for example `script` to give ours a terminal.
    pub fn program(mut self, program: impl AsRef<OsStr>) -> Self {
        self.program = program.as_ref().to_owned();
        self
    }

    /// Sets TENANTMIG_DATABASE_URL, for example to `db.url_as(&role)`.
    pub fn url(self, url: &str) -> Self {
        self.env("TENANTMIG_DATABASE_URL", url)
    }

    /// Adds arguments.
    pub fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(mut self, arguments: I) -> Self {
        self.arguments.extend(arguments.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Sets the working directory.
    pub fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.dir = Some(dir.as_ref().to_owned());
        self
    }

    /// Sets a variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.variables.push((name.as_ref().to_owned(), Some(value.as_ref().to_owned())));
        self
    }

    /// Removes a variable, for example TENANTMIG_DATABASE_URL.
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.variables.push((name.as_ref().to_owned(), None));
        self
    }

    /// Feeds standard input, which is empty otherwise.
    pub fn stdin(mut self, text: &str) -> Self {
        self.stdin = Some(text.to_owned());
        self
    }

    /// Changes the bound on waits and on the whole run, 120 s otherwise.
    pub fn timeout(mut self, bound: Duration) -> Self {
        self.bound = bound;
        self
    }

    /// Writes a file into the run's folder and returns its path, for example a plan.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Runs the program to its end.
    #[track_caller]
    #[must_use = "a run proves nothing until its exit code is asserted"]
    pub fn run(self) -> Output {
        self.spawn().wait()
    }

    /// Starts the program.
    #[track_caller]
    pub fn spawn(self) -> Running {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("PG")
                || text.starts_with("TENANTMIG_")
                || text.ends_with("DATABASE_URL")
                || CLEARED.contains(&text.as_ref())
            {
                command.env_remove(&name);
            }
        }
        // No ~/.pgpass, ~/.pg_service.conf or ~/.postgresql of whoever runs the tests.
        command.env("HOME", self.home.path()).current_dir(self.dir.as_deref().unwrap_or(self.home.path()));
        for (name, value) in &self.variables {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let stdin = if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() };
        command.args(&self.arguments).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", self.program.display()));
        if let (Some(mut pipe), Some(text)) = (child.stdin.take(), self.stdin) {
            // A program that ends without reading its input breaks the pipe, as it may.
            std::thread::spawn(move || pipe.write_all(text.as_bytes()));
        }
        let arguments: Vec<_> = self.arguments.iter().map(|a| a.to_string_lossy()).collect();
        let program = Path::new(&self.program).file_name().unwrap_or_default().display();
        Running::new(child, format!("{program} {}", arguments.join(" ")), self.bound, self.home)
    }
}
