//! What `rollback` is told.

use std::path::PathBuf;

use clap::Args;

use crate::cli::args::{Patience, run_id};

/// `rollback`.
#[derive(Debug, Args)]
pub struct Rollback {
    /// The phase that stays, with everything before it; `start` undoes all
    #[arg(long, value_name = "PHASE|start")]
    pub to: String,
    /// The run; the newest by default
    #[arg(long, value_name = "RUN", value_parser = run_id)]
    pub run: Option<uuid::Uuid>,
    /// Show what would be undone and do nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// With --dry-run: print it as a psql script
    #[arg(long, requires = "dry_run")]
    pub sql: bool,
    /// Copy the database into this folder by pg_dump first, where something is lost (by default the plan's [backup] directory)
    #[arg(long, value_name = "FOLDER", conflicts_with = "no_backup")]
    pub backup: Option<PathBuf>,
    /// Make no copy, whatever the plan's [backup] says
    #[arg(long)]
    pub no_backup: bool,
    /// The database's name, where taking row-level security back asks for it
    #[arg(long, value_name = "NAME")]
    pub confirm: Option<String>,
    /// Go on although values are lost that nothing keeps; the guards say which
    #[arg(long)]
    pub allow_data_loss: bool,
    /// Go on although rows become visible to sessions that they are hidden from; the guards say which
    #[arg(long)]
    pub accept_exposure: bool,
    /// Take this server for the one of the ledger: a restored copy that is meant, or the same after pg_upgrade
    #[arg(long)]
    pub accept_server: bool,
    #[command(flatten)]
    pub patience: Patience,
}
