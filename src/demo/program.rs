//! Runs this very program as a user would: a process of its own, which can be killed.

use std::{
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::process::{Child, Command};

use super::screen::Screen;

/// No command of the demo takes longer; one that does hangs.
const COMMAND_SECONDS_MAX: u64 = 120;

/// This program, a folder to run it in, and the database that it finds in its environment.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    dir: PathBuf,
    url: String,
}

impl Program {
    /// Runs in `dir`, against the database at `url`.
    pub fn new(dir: &Path, url: String) -> anyhow::Result<Self> {
        let path = std::env::current_exe().context("the demo runs its own program, and cannot find it")?;
        Ok(Self { path, dir: dir.to_owned(), url })
    }

    /// Shows the command line and starts it; what it prints is printed as it is.
    pub fn start(&self, screen: &Screen, arguments: &[&str]) -> anyhow::Result<Child> {
        screen.command(&format!("tenantmig {}", arguments.join(" ")))?;
        let mut command = self.command(arguments);
        command.spawn().with_context(|| format!("cannot run {}", self.path.display()))
    }

    /// Runs a command to its end and returns its exit code.
    pub async fn run(&self, screen: &Screen, arguments: &[&str]) -> anyhow::Result<i32> {
        code(wait(self.start(screen, arguments)?).await?)
    }

    /// As `run`, but of what it prints as its result only the first lines are shown, and how many more there are.
    pub async fn run_brief(&self, screen: &Screen, arguments: &[&str], lines_max: usize) -> anyhow::Result<i32> {
        screen.command(&format!("tenantmig {}", arguments.join(" ")))?;
        let mut command = self.command(arguments);
        command.stderr(Stdio::inherit());
        let bound = Duration::from_secs(COMMAND_SECONDS_MAX);
        let Ok(output) = tokio::time::timeout(bound, command.output()).await else {
            bail!("the command had not ended after {COMMAND_SECONDS_MAX} s and was killed")
        };
        let output = output.with_context(|| format!("cannot run {}", self.path.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        for line in text.lines().take(lines_max) {
            screen.say(line)?;
        }
        let more = text.lines().count().saturating_sub(lines_max);
        if more > 0 {
            screen.say(&format!("  … ({more} more lines)"))?;
        }
        code(output.status)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.path);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            // Nothing of the caller's own connection may lead these commands anywhere else.
            if text.starts_with("PG") || text.starts_with("TENANTMIG_") || text == "DATABASE_URL" {
                command.env_remove(&name);
            }
        }
        command.args(arguments).current_dir(&self.dir).env("TENANTMIG_DATABASE_URL", &self.url);
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }
}

/// Waits for the end, within a bound.
pub async fn wait(mut child: Child) -> anyhow::Result<ExitStatus> {
    match tokio::time::timeout(Duration::from_secs(COMMAND_SECONDS_MAX), child.wait()).await {
        Ok(status) => Ok(status?),
        Err(_) => {
            child.kill().await?;
            bail!("the command had not ended after {COMMAND_SECONDS_MAX} s and was killed")
        }
    }
}

fn code(status: ExitStatus) -> anyhow::Result<i32> {
    status.code().with_context(|| format!("the command was ended by a signal ({status})"))
}
