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
    /// Also measure now what verify measures: every deed, every gate, and isolation as the application
    #[arg(long)]
    pub verify: bool,
    /// Also audit the database now, with the plan's tenancy
    #[arg(long)]
    pub audit: bool,
    /// Findings of the audit that are accepted, each with a reason and a day on which that ends
    #[arg(long, value_name = "FILE", requires = "audit")]
    pub waivers: Option<PathBuf>,
}
