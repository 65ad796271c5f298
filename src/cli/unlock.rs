//! `unlock`: takes the lease from a holder that is gone for good. The epoch moves on, so nothing of it commits any more.

use serde_json::json;
use tokio_postgres::Client;

use super::{args, console::Answer, failure::CliError, session::Context};
use crate::{driver, exit::Exit, ledger, report::quantity::counted};

/// Ends the lease. Refused for another run than the newest, and without confirmation.
pub async fn run(context: &Context, args: &args::Unlock) -> Result<Exit, CliError> {
    let schema = context.schema()?;
    let session = context.look().await?;
    let holder = session
        .with(async |client: &Client| {
            ledger::require(client, &schema).await?;
            ledger::holder(client, &schema).await
        })
        .await?;
    let Some(holder) = holder else {
        let text = "nobody holds the lease; nothing to do";
        context.console.result(text, json!({ "outcome": "unchanged", "message": text }))?;
        return Ok(Exit::Done);
    };
    // The log is read only where it must be, so that a lease can be had from a holder that worked on a ledger now damaged.
    let run = match holder.run {
        Some(run) => run,
        // One that has not chosen its run yet is known by the run that is worked on.
        None => session.with(async |client: &Client| driver::current(client, &schema, None).await).await?.record.id,
    };
    if run != args.force {
        let message = format!("the lease is held for run {run}, not for {}; nothing was changed", args.force);
        return Err(CliError::new(Exit::Refused, message, "tenantmig status"));
    }
    let state = if holder.alive { "it is ALIVE: what it does will fail from now on" } else { "its session is gone" };
    match context.console.confirm(&format!("Take the lease from: {holder}\n({state})?")) {
        Answer::Yes => {}
        Answer::No => return Err(CliError::new(Exit::Refused, "nothing was changed", "tenantmig status")),
        Answer::Nobody => {
            let again = format!("tenantmig unlock --force {} --yes", args.force);
            return Err(CliError::new(
                Exit::Refused,
                format!("nobody is there to confirm; the holder is {holder} ({state})"),
                again,
            ));
        }
    }
    let ended = ledger::force_release(&session, &schema).await?;
    for line in driver::left(&ended) {
        context.console.note(&format!("note: {line}"));
    }
    let sessions = counted(u64::try_from(ended.ended).unwrap_or(0), "session", "sessions");
    let text = format!("the lease is free; it was held for: {holder}; {sessions} of it ended");
    let left: Vec<i32> = ended.left.iter().map(|left| left.pid).collect();
    context.console.result(
        &text,
        json!({ "outcome": "unlocked", "message": text, "sessions_ended": ended.ended, "sessions_left": left }),
    )?;
    context.console.note(" next: tenantmig resume");
    Ok(Exit::Done)
}
