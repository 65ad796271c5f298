//! The options of `report`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::args::run_id;

/// `report`.
#[derive(Debug, Args)]
pub struct Report {
    /// The run; the newest by default
    #[arg(long, value_name = "RUN", value_parser = run_id)]
    pub run: Option<uuid::Uuid>,
    /// Where to write it; standard output where it is left out
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Replace a file that is there
    #[arg(long, requires = "out")]
    pub force: bool,
    /// Also measure now what verify measures: every deed and every gate
    #[arg(long)]
    pub verify: bool,
}
