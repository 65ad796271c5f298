//! `unlock`: takes the lease from a holder that is gone for good. The epoch moves on, so nothing of it commits any more.

use serde_json::json;
use tokio_postgres::Client;

use super::{args, console::Answer, failure::CliError, session::Context};
use crate::{driver, exit::Exit, ledger};

/// Ends the lease. Refused for another run than the newest, and without confirmation.
pub async fn run(context: &Context, args: &args::Unlock) -> Result<Exit, CliError> {
    let schema = context.schema()?;
    let session = context.look().await?;
    let (record, holder) = session
        .with(async |client: &Client| {
            let record = driver::current(client, &schema, None).await?.record;
            let holder = ledger::holder(client, &schema).await?;
            Ok::<_, CliError>((record, holder))
        })
        .await?;
    if record.id != args.force {
        let message = format!("the run that holds the lease is {}, not {}", record.id, args.force);
        return Err(CliError::new(Exit::Refused, message, "tenantmig status"));
    }
    let Some(holder) = holder else {
        let text = "nobody holds the lease; nothing to do";
        context.console.result(text, json!({ "outcome": "unchanged", "message": text }))?;
        return Ok(Exit::Done);
    };
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
    ledger::force_release(&session, &schema).await?;
    let text = format!("the lease is free; it was held for: {holder}");
    context.console.result(&text, json!({ "outcome": "unlocked", "message": text }))?;
    context.console.note(" next: tenantmig resume");
    Ok(Exit::Done)
}
