//! A copy of the database before something is destroyed: pg_dump's custom format, which is believed when pg_restore has read it.
//!
//! pg_dump takes ACCESS SHARE on every table while it runs, so that readers and writers go on and DDL waits. It reads with
//! row_security off, so that under FORCE a role without BYPASSRLS is told so instead of copying no rows.

use std::{
    fmt,
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{io::AsyncReadExt, process::Command};

use crate::pg::settings::{LIBPQ_VARIABLES, Settings};

/// What of a program's complaint is told.
const ERROR_CHARS_MAX: usize = 600;
/// What of it is read.
const ERROR_BYTES_MAX: u64 = 16_384;
/// Only the owner reads the copy: it has every tenant's rows.
const FILE_MODE: u32 = 0o600;

/// A copy that can be restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    pub file: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
}

/// Why there is no copy.
#[derive(Debug)]
pub enum BackupError {
    Folder { path: PathBuf, error: std::io::Error },
    Program { name: &'static str, error: std::io::Error },
    Failed { name: &'static str, said: String },
    Late { name: &'static str, after: Duration },
    Empty { file: PathBuf },
}

impl fmt::Display for BackupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder { path, error } => write!(f, "{} cannot be written: {error}", path.display()),
            Self::Program { name, error } => write!(f, "{name} cannot be run: {error}"),
            Self::Failed { name, said } => write!(f, "{name} failed: {said}"),
            Self::Late { name, after } => {
                write!(f, "{name} had not ended after {}", humantime::format_duration(*after))
            }
            Self::Empty { file } => write!(f, "{} has no rows of any table", file.display()),
        }
    }
}

impl BackupError {
    /// What can be done about it.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Folder { .. } => "name a folder that this user may write to, with --backup FOLDER",
            Self::Program { .. } => "install PostgreSQL's client programs, as new as the server",
            Self::Failed { said, .. } if said.contains("row-level security") => {
                "copy as a role with BYPASSRLS: log in as it, or name it with --role"
            }
            Self::Failed { said, .. } if said.contains("version mismatch") => {
                "install client programs as new as the server"
            }
            Self::Failed { .. } => "mend what it says",
            Self::Late { .. } => "make the copy beforehand, at its own pace; [safety] statement_deadline is the bound",
            Self::Empty { .. } => "look at the copy with pg_restore --list",
        }
    }
}

/// Copies the database that `settings` lead to into `folder`, past a pooler where that way is known.
///
/// The file is `DATABASE-YYYYMMDDTHHMMSSZ.dump`; until it has been read back its name ends with `.part`.
///
/// # Errors
/// When the folder cannot be written, a program is missing or fails, or `deadline` passes.
pub async fn backup(
    settings: &Settings,
    folder: &Path,
    database: &str,
    deadline: Duration,
) -> Result<Copy, BackupError> {
    let direct = settings.past_pooler();
    let settings = direct.as_ref().unwrap_or(settings);
    let name: String =
        database.chars().map(|c| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect();
    let at = chrono::Utc::now().format("%Y%m%dT%H%M%S%3fZ");
    let file = folder.join(format!("{name}-{at}.dump"));
    let part = folder.join(format!("{name}-{at}.dump.part"));
    let into = new_file(folder, &part)?;
    let made = copy(settings, into, &part, deadline).await;
    let done = made.and_then(|bytes| {
        std::fs::rename(&part, &file).map_err(|error| BackupError::Folder { path: file.clone(), error })?;
        Ok(Copy { file, bytes })
    });
    if done.is_err() {
        // What cannot be restored must not be taken for a copy; where it stays, its name says what it is.
        let _ = std::fs::remove_file(&part);
    }
    done
}

fn new_file(folder: &Path, path: &Path) -> Result<File, BackupError> {
    let cannot = |path: &Path, error| BackupError::Folder { path: path.to_owned(), error };
    std::fs::create_dir_all(folder).map_err(|error| cannot(folder, error))?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(FILE_MODE).open(path).map_err(|error| cannot(path, error))
}

async fn copy(settings: &Settings, into: File, part: &Path, deadline: Duration) -> Result<u64, BackupError> {
    let mut dump = program("pg_dump", settings);
    dump.args(["--format=custom", "--no-password"]).stdout(into);
    if let Some(role) = &settings.role {
        dump.arg("--role").arg(&role.value);
    }
    run("pg_dump", dump, deadline).await?;
    let mut list = program("pg_restore", settings);
    list.arg("--list").arg(part).stdout(Stdio::piped());
    let contents = run("pg_restore", list, deadline).await?;
    // Reading the list proves the head of the file; that its rows can be read too is proven by reading them all.
    let mut read = program("pg_restore", settings);
    read.args(["--file=/dev/null", "--data-only"]).arg(part).stdout(Stdio::null());
    run("pg_restore", read, deadline).await?;
    if !contents.contains(" TABLE DATA ") {
        return Err(BackupError::Empty { file: part.to_owned() });
    }
    std::fs::metadata(part).map(|meta| meta.len()).map_err(|error| BackupError::Folder { path: part.to_owned(), error })
}

/// A program of PostgreSQL's in the connection's environment alone.
fn program(name: &'static str, settings: &Settings) -> Command {
    let mut command = Command::new(name);
    for variable in LIBPQ_VARIABLES {
        command.env_remove(variable);
    }
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().ends_with("_URL")) {
        command.env_remove(name);
    }
    command.envs(settings.libpq_environment()).env("PGAPPNAME", "tenantmig backup");
    command.stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Runs it to its end; what it printed, where that is piped.
async fn run(name: &'static str, mut command: Command, deadline: Duration) -> Result<String, BackupError> {
    let cannot = |error| BackupError::Program { name, error };
    let mut child = command.spawn().map_err(cannot)?;
    let (mut said, mut complained) = (Vec::new(), Vec::new());
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let listen = async {
        if let Some(mut out) = out {
            out.read_to_end(&mut said).await?;
        }
        Ok::<_, std::io::Error>(())
    };
    let complaints = async {
        if let Some(mut err) = err {
            (&mut err).take(ERROR_BYTES_MAX).read_to_end(&mut complained).await?;
            // Beyond that it is read and let go: a full pipe would stop the program.
            tokio::io::copy(&mut err, &mut tokio::io::sink()).await?;
        }
        Ok::<_, std::io::Error>(())
    };
    let both = async { tokio::try_join!(listen, complaints, child.wait()) };
    let (.., status) = match tokio::time::timeout(deadline, both).await {
        Err(_) => return Err(BackupError::Late { name, after: deadline }),
        Ok(ended) => ended.map_err(cannot)?,
    };
    if !status.success() {
        let text = String::from_utf8_lossy(&complained).trim().replace(['\n', '\r'], " ");
        let said = if text.is_empty() { status.to_string() } else { text.chars().take(ERROR_CHARS_MAX).collect() };
        return Err(BackupError::Failed { name, said });
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
}
