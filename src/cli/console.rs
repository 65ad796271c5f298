//! Standard output for results, standard error for messages, and questions only where somebody can answer.

use std::io::{self, IsTerminal, Write};

use super::args::{Color, Form, Format, Output};
use serde_json::{Value, json};

use super::failure::CliError;
use crate::report::{Look, Tone, wrap};

/// How this process talks.
#[derive(Debug, Clone)]
pub struct Console {
    pub out: Look,
    pub err: Look,
    pub format: Format,
    /// As it was asked for: one of audit's reports is Text for everything else.
    pub form: Form,
    pub quiet: bool,
    pub no_progress: bool,
    pub yes: bool,
    ask: bool,
    /// Columns of the terminals behind the two streams; `None` where there is none.
    out_width: Option<usize>,
    err_width: Option<usize>,
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
            format: match output.format {
                Form::Text | Form::Html | Form::Sarif | Form::Junit | Form::Markdown => Format::Text,
                Form::Json => Format::Json,
                Form::Ndjson => Format::Ndjson,
            },
            form: output.format,
            quiet: output.quiet,
            no_progress: output.no_progress,
            yes: output.yes,
            ask: !output.no_input && io::stdin().is_terminal() && io::stderr().is_terminal(),
            out_width: columns(&console::Term::stdout()),
            err_width: columns(&console::Term::stderr()),
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

    /// A result for people: on a terminal no line is wider than it.
    pub fn show(&self, text: &str) -> io::Result<()> {
        self.print(&fit(text, self.out_width))
    }

    /// A short result, in the form that was asked for. `value` has no `v` yet.
    pub fn result(&self, text: &str, mut value: Value) -> io::Result<()> {
        match self.format {
            Format::Text => self.show(text),
            Format::Json | Format::Ndjson => {
                value["v"] = json!(1);
                self.print(&value.to_string())
            }
        }
    }

    /// Columns of the terminal that shows the results.
    pub fn width(&self) -> Option<usize> {
        self.out_width
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
            self.tell(&fit(text, self.err_width));
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

    /// Ends the line of a question that is not answered any more.
    pub fn break_line(&self) {
        if self.ask {
            self.tell("");
        }
    }

    /// Asks for a text; `None` when nobody is there to answer.
    pub fn line(&self, question: &str) -> Option<String> {
        if !self.ask {
            return None;
        }
        let mut err = io::stderr().lock();
        err.write_all(fit(question, self.err_width).as_bytes()).ok()?;
        err.flush().ok()?;
        // Whoever is told of a signal meanwhile needs it.
        drop(err);
        let mut line = String::new();
        io::stdin().read_line(&mut line).ok()?;
        Some(line.trim().to_owned())
    }

    /// An error with the next thing to do: on standard error for people, and on standard output for programs where they
    /// wait for a result.
    pub fn error(&self, error: &CliError) {
        let CliError { exit, code, message, advice } = error;
        let bracketed = code.map_or(String::new(), |code| format!("[{code}]"));
        let head = self.err.paint(Tone::Bad, &format!("error{bracketed}:"));
        self.tell(&fit(&format!("{head} {message}"), self.err_width));
        if let Some(advice) = advice {
            let head = self.err.paint(Tone::Strong, " next:");
            self.tell(&fit(&format!("{head} {advice}"), self.err_width));
        }
        let mut value =
            json!({ "outcome": "error", "exit": *exit as u8, "code": code, "message": message, "next": advice });
        if self.format == Format::Ndjson {
            value["kind"] = json!("error");
        }
        if self.format != Format::Text
            && let Err(closed) = self.result(message, value)
        {
            tracing::debug!("standard output is closed: {closed}");
        }
    }
}

fn columns(terminal: &console::Term) -> Option<usize> {
    terminal.size_checked().map(|(_, columns)| usize::from(columns)).filter(|columns| *columns > 0)
}

/// Breaks lines that are wider than the terminal; what follows hangs below where the line's text begins.
fn fit(text: &str, width: Option<usize>) -> String {
    let Some(width) = width else { return text.to_owned() };
    let one = |line: &str| {
        let bare = console::strip_ansi_codes(line);
        let indent = bare.len() - bare.trim_start().len();
        // A label and its text are two spaces or more apart.
        let label = bare.trim_start().find("  ").map(|end| indent + end);
        let hang = label.map_or(indent + 2, |end| bare.len() - bare.get(end..).unwrap_or_default().trim_start().len());
        wrap("", line, hang, width).join("\n")
    };
    text.split('\n').map(one).collect::<Vec<_>>().join("\n")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_the_terminal() {
        let check = |text: &str, width, expect: &str| assert_eq!(fit(text, width), expect);
        check("one two three four", None, "one two three four");
        check("one two three four", Some(12), "one two\n  three four");
        check("  what      add column tenant_id", Some(26), "  what      add column\n            tenant_id");
        check("short\n\n  next", Some(12), "short\n\n  next");
        check("\u{1b}[31mone two three\u{1b}[0m", Some(10), "\u{1b}[31mone two\n  three\u{1b}[0m");
    }
}
