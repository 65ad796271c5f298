//! Where a connection value came from, as `doctor` prints it.

use std::fmt;
use std::path::PathBuf;

/// The place that supplied a connection value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A command-line flag, by its name (`--host`); also the parts of a connection string given to `-d`.
    Flag(&'static str),
    /// An environment variable, by its name; also the parts of a connection string that it holds.
    Env(&'static str),
    /// A section of the connection service file.
    Service {
        /// The section's name.
        name: String,
        /// The file it stands in.
        file: PathBuf,
    },
    /// A line of the password file.
    Passfile {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// A file found in the place where libpq looks for it (`~/.postgresql/root.crt`).
    DefaultFile,
    /// Built in.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => f.write_str(name),
            Self::Env(name) => write!(f, "environment {name}"),
            Self::Service { name, file } => write!(f, "service {name} in {}", file.display()),
            Self::Passfile { file, line } => write!(f, "password file {}:{line}", file.display()),
            Self::DefaultFile => f.write_str("default file"),
            Self::Default => f.write_str("default"),
        }
    }
}
