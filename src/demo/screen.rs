//! What the demo prints: headings, command lines, and proofs with what was measured.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

/// The demo's standard output.
#[derive(Debug)]
pub struct Screen {
    begun: Instant,
    color: bool,
    held: u32,
    failed: Vec<String>,
}

impl Screen {
    /// Standard output; the clock starts.
    pub fn new() -> Self {
        let color = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        Self { begun: Instant::now(), color, held: 0, failed: Vec::new() }
    }

    /// A heading, with the time since the start.
    pub fn act(&self, title: &str) -> io::Result<()> {
        let seconds = self.begun.elapsed().as_secs();
        self.write(&format!(
            "\n{}  {}\n",
            self.tint("1;36", &format!("━━ {title} ━━")),
            self.tint("2", &format!("{seconds} s"))
        ))
    }

    /// A sentence.
    pub fn say(&self, text: &str) -> io::Result<()> {
        self.write(&format!("{text}\n"))
    }

    /// A command as a user would type it.
    pub fn command(&self, line: &str) -> io::Result<()> {
        self.write(&format!("\n{}\n", self.tint("1", &format!("$ {line}"))))
    }

    /// A claim and what was measured. One that does not hold makes the demo fail.
    pub fn proof(&mut self, holds: bool, claim: &str) -> io::Result<()> {
        if holds {
            self.held += 1;
            return self.write(&format!("  {} {claim}\n", self.tint("32", "✓")));
        }
        self.failed.push(claim.to_owned());
        self.write(&format!("  {} {claim}\n", self.tint("1;31", "✗")))
    }

    /// The claims that did not hold.
    pub fn failed(&self) -> &[String] {
        &self.failed
    }

    /// How many claims held.
    pub fn held(&self) -> u32 {
        self.held
    }

    /// Since the start.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    fn tint(&self, code: &str, text: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}
