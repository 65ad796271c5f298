//! `demo`: the whole story on a throwaway server.

use super::{args, failure::CliError, session::Context};
use crate::{
    demo::{DemoOptions, run as play},
    exit::Exit,
};

/// Plays the demo. The commands in it are processes of their own, which print as they always do.
pub async fn run(_context: &Context, args: &args::Demo) -> Result<Exit, CliError> {
    let options = match DemoOptions::new(args.keep, args.plan.as_deref(), args.fail_at.as_deref()) {
        Ok(options) => options,
        Err(error) => {
            return Err(CliError::new(Exit::Usage, format!("{error:#}"), "tenantmig demo --plan NAME --fail-at STEP"));
        }
    };
    match play(options).await {
        Ok(code) => Ok(Exit::of(code)),
        Err(error) => Err(CliError::new(
            Exit::Failed,
            format!("the demo stopped: {error:#}"),
            "nothing outside of it was touched; tenantmig demo --keep leaves its server for a look",
        )),
    }
}
