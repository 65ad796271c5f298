//! Standard output for results, standard error for messages, and questions only where somebody can answer.

use std::io::{self, IsTerminal, Write};

use super::args::{Color, Format, Output};
use crate::report::{Look, Tone};

/// How this process talks.
#[derive(Debug, Clone)]
pub struct Console {
    pub out: Look,
    pub err: Look,
    pub format: Format,
    pub quiet: bool,
    pub no_progress: bool,
    pub yes: bool,
    ask: bool,
}

/// What an unanswered question means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Yes,
    No,
    /// Nobody is there to answer.
    Nobody,
}

impl Console {
    /// From the flags, the environment and the streams.
    pub fn new(output: &Output) -> Self {
        let utf8 = ["LC_ALL", "LC_CTYPE", "LANG"]
            .iter()
            .find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()))
            .is_some_and(|v| v.to_ascii_lowercase().replace('-', "").contains("utf8"));
        let look = |terminal: bool| Look { color: colored(output.color, terminal), unicode: utf8 };
        Self {
            out: look(io::stdout().is_terminal()),
            err: look(io::stderr().is_terminal()),
            format: output.format,
            quiet: output.quiet,
            no_progress: output.no_progress,
            yes: output.yes,
            ask: !output.no_input && io::stdin().is_terminal() && io::stderr().is_terminal(),
        }
    }

    /// A result, on standard output.
    pub fn print(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        if !text.ends_with('\n') {
            out.write_all(b"\n")?;
        }
        out.flush()
    }

    /// A message, on standard error. When even that is closed there is nobody left to tell.
    pub fn tell(&self, text: &str) {
        let mut err = io::stderr().lock();
        if writeln!(err, "{}", text.trim_end()).is_err() {
            tracing::debug!("standard error is closed");
        }
    }

    /// A message that `--quiet` silences.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            self.tell(text);
        }
    }

    /// Asks a yes-or-no question; no is the default.
    pub fn confirm(&self, question: &str) -> Answer {
        if self.yes {
            return Answer::Yes;
        }
        match self.line(&format!("{question} [y/N] ")) {
            Some(line) if ["y", "yes"].contains(&line.to_ascii_lowercase().as_str()) => Answer::Yes,
            Some(_) => Answer::No,
            None => Answer::Nobody,
        }
    }

    /// Asks for a text; `None` when nobody is there to answer.
    pub fn line(&self, question: &str) -> Option<String> {
        if !self.ask {
            return None;
        }
        let mut err = io::stderr().lock();
        err.write_all(question.as_bytes()).ok()?;
        err.flush().ok()?;
        let mut line = String::new();
        io::stdin().read_line(&mut line).ok()?;
        Some(line.trim().to_owned())
    }

    /// An error with the next thing to do, on standard error.
    pub fn error(&self, code: Option<&str>, message: &str, advice: Option<&str>) {
        let code = code.map_or(String::new(), |code| format!("[{code}]"));
        let head = self.err.paint(Tone::Bad, &format!("error{code}:"));
        self.tell(&format!("{head} {message}"));
        if let Some(advice) = advice {
            self.tell(&format!("{} {advice}", self.err.paint(Tone::Strong, " next:")));
        }
    }
}

/// NO_COLOR and FORCE_COLOR as their sites ask for: set and not empty.
fn colored(asked: Color, terminal: bool) -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty());
    match asked {
        Color::Always => true,
        Color::Never => false,
        Color::Auto if set("NO_COLOR") => false,
        Color::Auto if set("FORCE_COLOR") => true,
        Color::Auto => terminal && std::env::var_os("TERM").is_none_or(|term| term != "dumb"),
    }
}
