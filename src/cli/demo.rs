//! demo
use super::{args, failure::CliError, session::Context};
use crate::exit::Exit;
pub async fn run(_context: &Context, _args: &args::Demo) -> Result<Exit, CliError> {
    Err(CliError::new(Exit::Failed, "not built", "wait"))
}
