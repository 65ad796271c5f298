//! `resume`: goes on with a run by the ledger alone.

use super::{
    args,
    failure::CliError,
    session::Context,
    story::{Goal, carry},
};
use crate::{driver::reopen, exit::Exit, ledger::Purpose};

/// Goes on: forward from a stop, a pause or a rollback; with the undo where it was stuck.
pub async fn run(context: &Context, args: &args::Resume) -> Result<Exit, CliError> {
    let (access, listener) = context.access()?;
    let (mut shell, lease) = reopen(&access, args.run, Purpose::Apply).await?;
    drop(access);
    shell.room.unchecked = args.skip_disk_check;
    carry(context, shell, lease, listener, Goal::Forward { until: None }).await
}
