//! `resume`: goes on with a run by the ledger alone.

use super::{
    args,
    failure::CliError,
    session::Context,
    story::{Goal, carry},
};
use crate::{
    driver::{DriveError, Shell, refuse_operators_pause, reopen},
    exit::Exit,
    ledger::Purpose,
};

/// Goes on: forward from a stop, a pause or a rollback; with the undo where it was stuck.
pub async fn run(context: &Context, args: &args::Resume) -> Result<Exit, CliError> {
    let (mut access, listener) = context.access()?;
    access.wait = args.patience.longest();
    let (mut shell, lease) = reopen(&access, args.run, Purpose::Resume).await?;
    drop(access);
    shell.room.unchecked = args.skip_disk_check;
    if let Err(error) = heed(&shell, lease.waited).await {
        lease.give_back().await;
        return Err(error.into());
    }
    carry(context, shell, lease, listener, Goal::Forward { until: None }).await
}

/// A pause that was asked for before this command is what it ends; one that came while it waited came after it, and counts.
async fn heed(shell: &Shell, waited: bool) -> Result<(), DriveError> {
    if waited {
        refuse_operators_pause(&shell.journal)
    } else {
        shell.pass_over_pauses("`tenantmig resume` came later").await
    }
}
