//! `completions`: a script for the shell.

use clap::CommandFactory;

use super::{args::Cli, failure::CliError, session::Context};
use crate::exit::Exit;

/// Prints the script on standard output.
pub fn run(context: &Context, shell: clap_complete::Shell) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tenantmig", &mut script);
    context.console.print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
