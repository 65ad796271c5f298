//! A child process with a deadline, and what it used.

use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::figures::Usage;
use crate::process::{Stat, peak_rss_bytes};

/// How often a child is looked at: its peak of memory is only known while it lives.
const POLL_MS: u64 = 5;

/// How much of what a failed child said is passed on, in bytes from its end.
const SAID_BYTES_MAX: usize = 2_000;

/// A child that has ended.
#[derive(Debug)]
pub struct Ended {
    /// `None`: killed at its deadline.
    pub status: Option<ExitStatus>,
    pub stdout: String,
    pub stderr: String,
    pub seconds: f64,
    /// `None` where the kernel does not tell.
    pub usage: Option<Usage>,
}

impl Ended {
    /// Exit code 0.
    pub fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// Why it did not succeed: its status and the end of what it said.
    pub fn complaint(&self) -> String {
        let status = self.status.map_or("killed at its deadline".to_owned(), |status| status.to_string());
        let text = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        let mut from = text.len().saturating_sub(SAID_BYTES_MAX);
        while !text.is_char_boundary(from) {
            from += 1;
        }
        format!("{status}\n{}", text[from..].trim())
    }
}

/// A command without the caller's connection settings, at home in `home`.
pub fn command(program: impl AsRef<Path>, home: &Path) -> Command {
    let mut command = Command::new(program.as_ref());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("PG") || text.starts_with("TENANTMIG_") || text.ends_with("DATABASE_URL") {
            command.env_remove(&name);
        }
    }
    command.env("HOME", home).stdin(Stdio::null());
    command
}

/// Runs it to its end, or kills it at the deadline.
pub fn run(command: &mut Command, deadline: Duration) -> Result<Ended> {
    let began = Instant::now();
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("run {}", command.get_program().display()))?;
    // Read beside: a child that fills a pipe waits for its reader.
    let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let (mut usage, mut peak) = (None, 0);
    let status = loop {
        // The last look at a child that has ended is exact: until it is collected, the kernel keeps its times.
        let stat = Stat::read(child.id());
        usage = stat.map(|stat| stat.cpu_seconds()).or(usage);
        peak = peak_rss_bytes(child.id()).unwrap_or(0).max(peak);
        let status = child.try_wait().context("wait for a child")?;
        if status.is_some() {
            break status;
        }
        if began.elapsed() >= deadline {
            child.kill().context("kill a child")?;
            child.wait().context("wait for a child")?;
            break None;
        }
        thread::sleep(Duration::from_millis(POLL_MS));
    };
    Ok(Ended {
        status,
        seconds: began.elapsed().as_secs_f64(),
        stdout: collect(stdout),
        stderr: collect(stderr),
        usage: usage.map(|cpu_seconds| Usage { cpu_seconds, peak_rss_bytes: peak }),
    })
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> Option<thread::JoinHandle<io::Result<Vec<u8>>>> {
    pipe.map(|mut pipe| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            pipe.read_to_end(&mut bytes).map(|_| bytes)
        })
    })
}

fn collect(reader: Option<thread::JoinHandle<io::Result<Vec<u8>>>>) -> String {
    let bytes = reader.and_then(|reader| reader.join().ok()).and_then(Result::ok).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
