//! `repair`: says what is wrong with the ledger; with --accept-ledger, takes a damaged log as it stands for the truth.

use serde_json::json;
use tokio_postgres::Client;
use uuid::Uuid;

use super::{args, failure::CliError, session::Context};
use crate::{
    driver::{self, Access, DriveError, Health, health},
    exit::Exit,
    ledger::{self, LedgerError},
    pg::connect::Connection,
    sql::Ident,
};

/// Looks at every run, or accepts the log of one.
pub async fn run(context: &Context, args: &args::Repair) -> Result<Exit, CliError> {
    let schema = context.schema()?;
    let session = context.look().await?;
    session.with(async |client: &Client| ledger::require(client, &schema).await).await?;
    match args.accept_ledger {
        Some(run) => accept(context, session, &schema, run, args.confirm.as_deref()).await,
        None => look(context, &session, &schema).await,
    }
}

async fn look(context: &Context, session: &Connection, schema: &Ident) -> Result<Exit, CliError> {
    let (mut lines, mut values, mut next) = (Vec::new(), Vec::new(), None);
    for name in session.with(async |client: &Client| ledger::runs(client, schema).await).await? {
        let look = async |client: &Client| health(client, schema, name.id).await;
        let what = match session.with(look).await {
            Ok(Health::Whole) => None,
            Ok(Health::Damaged(what)) => {
                let advice = LedgerError::Damaged { run: name.id.to_string(), what: what.clone() }.advice();
                next = next.or(advice);
                Some(what)
            }
            Ok(Health::Disagrees(what)) => {
                next.get_or_insert(format!("tenantmig repair --accept-ledger {}", name.id));
                Some(what)
            }
            Err(DriveError::Ledger(error)) => {
                next = next.or(error.advice());
                Some(error.to_string())
            }
            Err(error) => return Err(error.into()),
        };
        lines.push(format!("{}  {}  {}", name.id, name.plan, what.as_deref().unwrap_or("whole")));
        values.push(json!({ "run": name.id, "plan": name.plan, "damage": what }));
    }
    context.console.result(&lines.join("\n"), json!({ "runs": values, "next": next }))?;
    if let Some(next) = &next {
        context.console.note(&format!(" next: {next}"));
        return Ok(Exit::Findings);
    }
    Ok(Exit::Done)
}

async fn accept(
    context: &Context,
    session: Connection,
    schema: &Ident,
    run: Uuid,
    confirm: Option<&str>,
) -> Result<Exit, CliError> {
    let what = match session.with(async |client: &Client| health(client, schema, run).await).await? {
        Health::Whole => {
            let text = format!("the ledger of run {run} is whole; nothing was changed");
            context.console.result(&text, json!({ "outcome": "unchanged", "message": text }))?;
            return Ok(Exit::Done);
        }
        Health::Damaged(what) | Health::Disagrees(what) => what,
    };
    let read = async |client: &Client| ledger::read_as_it_stands(client, schema, run).await;
    let kept = match session.with(read).await {
        Ok(kept) => kept.ok_or(LedgerError::Missing)?,
        Err(LedgerError::Damaged { what, .. } | LedgerError::Unknown { what, .. }) => {
            return Err(CliError::new(
                Exit::Refused,
                format!("this log cannot be accepted: {what}; nothing was changed"),
                "restore the ledger's tables from a backup",
            ));
        }
        Err(error) => return Err(error.into()),
    };
    let name = "SELECT current_database()::text";
    let name = session.with(async |client: &Client| Ok::<_, CliError>(client.query_typed_one(name, &[]).await?));
    let database: String = name.await?.try_get(0)?;
    drop(session);
    let units = kept.record.program.units().count();
    let means = format!(
        "run {run} of plan `{}`: {what}. Accepted as it stands it has {} events and {} of {units} units done; \
         what was done and is no longer in it will not be undone by a rollback",
        kept.record.plan,
        kept.events.len(),
        kept.run.units_done(),
    );
    let again = format!("tenantmig repair --accept-ledger {run} --confirm {database}");
    let given = confirm
        .map(str::to_owned)
        .or_else(|| context.console.line(&format!("{means}. Type the database's name to accept it: ")));
    match given {
        Some(name) if name == database => {}
        Some(name) => {
            let message = format!("`{name}` is not the database's name; nothing was changed");
            return Err(CliError::new(Exit::Refused, message, again));
        }
        None => return Err(CliError::new(Exit::Refused, format!("{means}; nothing was changed"), again)),
    }
    // Who types the name of this very database means this one.
    let access = Access { accept_server: true, ..context.access_quietly()? };
    driver::accept(&access, run, &what).await?;
    let text = format!("the log of run {run} is accepted as it stands; event {} says so", kept.events.len() + 1);
    context.console.result(&text, json!({ "outcome": "repaired", "message": text }))?;
    context.console.note(" next: tenantmig verify, then tenantmig status");
    Ok(Exit::Done)
}
