//! What status shows of a run whose log cannot be believed: the damage first, then what the ledger's tables say by themselves.

use serde_json::json;
use tokio_postgres::Client;

use super::{args::Format, failure::CliError, session::Context};
use crate::{
    exit::Exit,
    ledger::{self, LedgerError},
    pg::connect::Connection,
    report::Tone,
    sql::Ident,
};

/// Entries of the log that are shown: enough to see what was done last.
const ENTRIES: u32 = 5;

/// Shows what there is of the run that `error` is about, and refuses. An error of another kind is given back.
pub async fn show(
    context: &Context,
    session: &Connection,
    schema: &Ident,
    error: LedgerError,
    json: bool,
) -> Result<Exit, CliError> {
    let (LedgerError::Damaged { run, .. } | LedgerError::Unknown { run, .. }) = &error else {
        return Err(error.into());
    };
    let look = async |client: &Client| {
        let Some(name) = ledger::runs(client, schema).await?.into_iter().find(|name| name.id.to_string() == *run)
        else {
            return Ok(None);
        };
        let progress = ledger::progress(client, schema, name.id).await?;
        let holder = ledger::holder(client, schema).await?;
        let entries = ledger::entries(client, schema, name.id, ENTRIES).await?;
        Ok::<_, LedgerError>(Some((name, progress, holder, entries)))
    };
    let Some((name, progress, holder, entries)) = session.with(look).await? else {
        return Err(error.into());
    };
    let next = error.advice().unwrap_or_default();
    if json || context.console.format != Format::Text {
        let value = json!({
            "v": 1, "state": "damaged", "damage": error.to_string(), "run": name.id, "plan": name.plan,
            "fingerprint": name.fingerprint, "created_at": name.created_at, "created_by": name.created_by, "host": name.host,
            "units": progress, "last_events": entries, "lease": holder.map(|holder| holder.to_string()), "next": next,
        });
        context.console.print(&value.to_string())?;
        return Ok(Exit::Refused);
    }
    let look = context.console.out;
    let when = |at: chrono::DateTime<chrono::Utc>| at.format("%Y-%m-%d %H:%M:%S UTC").to_string();
    // Which run it is stands two lines further down.
    let what = if let LedgerError::Damaged { what, .. } = &error { what.clone() } else { error.to_string() };
    let mut out = format!("{} {what}\n\n", look.paint(Tone::Bad, "DAMAGED"));
    out.push_str(&format!("plan    {} (fingerprint {})\n", name.plan, name.fingerprint.get(..12).unwrap_or_default()));
    out.push_str(&format!(
        "run     {}, begun {} by {} on {}\n",
        name.id,
        when(name.created_at),
        name.created_by,
        name.host
    ));
    out.push_str(&format!("lease   {}\n", holder.map_or_else(|| "free".to_owned(), |holder| holder.to_string())));
    out.push_str("\nunits, as migration_progress shows them; nothing is decided by it:\n");
    for row in &progress {
        out.push_str(&format!("  {:<8} [{}] {}\n", row.status, row.phase, row.title));
    }
    out.push_str("\nlast entries of the log, newest first:\n");
    for entry in &entries {
        let unit = entry.unit.as_deref().unwrap_or("");
        let (at, actor, host) = (when(entry.at), &entry.actor, &entry.host);
        out.push_str(&format!("  {} {at}  {} {unit}  ({actor} on {host})\n", entry.number, entry.kind));
    }
    out.push_str(&format!("\nnext    {next}\n"));
    context.console.show(&out)?;
    Ok(Exit::Refused)
}
