//! `rollback`: undoes everything after a phase, by the ledger alone.

pub mod options;

use std::path::PathBuf;

use tokio_postgres::Client;

use super::{
    args,
    args::Format,
    consent,
    console::{Answer, Console},
    failure::CliError,
    session::Context,
    story::{Goal, carry},
};
use crate::{
    driver::{self, DriveError, Journal, Said, found, outside, reopen},
    engine::{Agreed, Destination, Event, Given, Preview, Program, PutOff, Run, preview, script},
    exit::Exit,
    ledger::{Kept, Purpose},
    plan::Bytes,
    unit::UnitId,
};

/// Shows what would be undone, asks, and undoes it.
pub async fn run(context: &Context, args: &args::Rollback) -> Result<Exit, CliError> {
    let schema = context.schema()?;
    let session = context.look().await?;
    let (kept, newest, database, by) = session
        .with(async |client: &Client| {
            let kept = driver::find(client, &schema, args.run).await?;
            let newest = driver::find(client, &schema, None).await?.record;
            let who = client.query_typed_one("SELECT current_database()::text, session_user::text", &[]).await?;
            Ok::<_, CliError>((kept, newest, who.try_get::<_, String>(0)?, who.try_get::<_, String>(1)?))
        })
        .await?;
    let Kept { record, run, .. } = kept;
    if newest.id != record.id && newest.created_at > record.created_at {
        let message =
            format!("the plan `{}` was applied on top of it and comes first; nothing was changed", newest.plan);
        return Err(CliError::new(
            Exit::Refused,
            message,
            format!("tenantmig rollback --run {} --to start", newest.id),
        ));
    }
    let plan = destination(&record.program, &run, &args.to)?;
    let speaks = found(&session, &record, &run, plan.keep, !args.dry_run).await?;
    if args.dry_run {
        show(context, &record.program, &plan, &speaks, args.sql)?;
        let agreed = consent::agreed(speaks.found, args, &by);
        // One document for whoever reads it by a program: the guards stand in it.
        return match (agreed, context.console.format) {
            (Ok(_), _) => Ok(Exit::Done),
            (Err(refused), Format::Text) => Err(refused),
            (Err(refused), Format::Json | Format::Ndjson) => Ok(refused.exit),
        };
    }
    if plan.undos.is_empty() && run.mode().keep().is_none() {
        let text = format!("nothing to undo: nothing after `{}` is applied", args.to);
        context.console.result(&text, serde_json::json!({ "outcome": "unchanged", "exit": 0, "message": text }))?;
        return Ok(Exit::Done);
    }
    if let Some(note) = outside::way(&session, &outside::backward(&record.program, &plan)).await?.note() {
        context.console.note(&format!("note: {note}"));
    }
    drop(session);
    let told = consent::agreed(speaks.found, args, &by).map(|_| tell(&context.console, &speaks.put_off, &[]))?;
    confirm(&context.console, &record.program, &plan, args, &database)?;
    back_up(context, &record.program, &plan, args, &database).await?;
    let (mut access, listener) = context.access()?;
    access.wait = args.patience.longest();
    access.accept_server = args.accept_server;
    let (mut shell, lease) = reopen(&access, Some(record.id), Purpose::Rollback).await?;
    drop(access);
    let begun = async {
        // The run may have gone on since it was asked about: what is undone is what somebody agreed to.
        let now = destination(&shell.journal.record.program, &shell.journal.run, &args.to)?;
        if now != plan {
            confirm(&context.console, &record.program, &now, args, &database)?;
        }
        let speaks = shell.outlive(async |shell: &mut driver::Shell| shell.guards_found(now.keep).await).await?;
        let consents = consent::agreed(speaks.found, args, &by)?;
        let _ = tell(&context.console, &speaks.put_off, &told);
        shell.pass_over_pauses("`tenantmig rollback` came later").await?;
        let put_off = (speaks.put_off, consent::beforehand(args, &by));
        request(&mut shell, now.keep, consents, put_off).await?;
        Ok::<_, CliError>(())
    };
    if let Err(error) = begun.await {
        lease.give_back().await;
        return Err(error);
    }
    carry(context, shell, lease, listener, Goal::Back).await
}

/// Says which guards are put off, before anything is touched, unless it was said.
fn tell(console: &Console, put_off: &[PutOff], told: &[String]) -> Vec<String> {
    let all = consent::later(put_off);
    let new = all.iter().filter(|text| !told.contains(text));
    new.for_each(|text| console.note(&format!("note: {text}")));
    all
}

/// Copies the database first, where the rollback destroys something and a folder for the copy is named.
async fn back_up(
    context: &Context,
    program: &Program,
    plan: &Preview,
    args: &args::Rollback,
    database: &str,
) -> Result<(), CliError> {
    let named = args.backup.clone().or_else(|| program.backup.directory.as_ref().map(PathBuf::from));
    let Some(folder) = named.filter(|_| !args.no_backup && plan.undos.iter().any(|undo| undo.loses.is_some())) else {
        return Ok(());
    };
    let settings = context.settings()?;
    context.console.note(&format!("copying {database} into {} by pg_dump …", folder.display()));
    let made = driver::backup(&settings, &folder, database, program.safety.statement_deadline.duration());
    // Nothing is begun yet, so after a signal there is nothing to wait for: pg_dump ends with its future.
    let stopped = context.stop.signalled();
    let made = tokio::select! {
        made = made => made,
        () = stopped => return context.stop.check().map_err(CliError::from),
    };
    match made {
        Ok(copy) => {
            let size = Bytes(copy.bytes);
            context.console.note(&format!("the copy is {} ({size}), and pg_restore reads it", copy.file.display()));
            Ok(())
        }
        Err(error) => Err(CliError::new(
            Exit::Refused,
            format!("no copy of the database could be made, and nothing was changed: {error}"),
            format!("{}; or go on without one: tenantmig rollback --to {} --no-backup", error.advice(), args.to),
        )),
    }
}

/// Asks the machine for the rollback, unless it is on that way already.
async fn request(
    shell: &mut driver::Shell,
    keep: usize,
    consents: Vec<Given>,
    (put_off, agreed): (Vec<PutOff>, Vec<Agreed>),
) -> Result<(), DriveError> {
    shell
        .outlive(async |shell: &mut driver::Shell| {
            shell.put_off(put_off.clone(), agreed.clone()).await?;
            let Journal { run, record, .. } = &shell.journal;
            let stuck = matches!(run.mode(), crate::engine::Mode::Stuck { .. } | crate::engine::Mode::Paused { .. });
            if run.mode().keep() == Some(keep) && !stuck && !run.undo_is_in_doubt() {
                return Ok(());
            }
            let name = record.program.keep_name(keep).to_owned();
            shell.record(Event::RollbackRequested { keep: name, consents: consents.clone() }).await
        })
        .await
}

fn destination(program: &Program, run: &Run, to: &str) -> Result<Preview, CliError> {
    let keep = program.keep(to).ok_or_else(|| CliError::no_phase(program, to, "--to", true))?;
    preview(program, run, Destination(keep)).map_err(|illegal| {
        CliError::new(
            Exit::Refused,
            format!("{illegal}; nothing was changed"),
            "roll back to its phase or a later one, with --to",
        )
    })
}

fn show(context: &Context, program: &Program, plan: &Preview, speaks: &Said, sql: bool) -> Result<(), CliError> {
    if sql {
        return Ok(context.console.print(&script::backward(program, plan))?);
    }
    match context.console.format {
        Format::Text => {
            let mut text = format!(
                "rollback to `{}` would undo {} units, last done first:\n",
                program.keep_name(plan.keep),
                plan.undos.len()
            );
            for undo in &plan.undos {
                let note = undo.nothing.as_ref().map_or(String::new(), |why| format!(" — nothing to run: {why}"));
                let loses = undo.loses.as_ref().map_or(String::new(), |what| format!(" — LOSES {what}"));
                text.push_str(&format!("  [{}] {}{note}{loses}\n", program.phases[undo.phase].id, undo.title));
            }
            for found in &speaks.found {
                text.push_str(&format!("a guard speaks: {found} ({})\n", consent::needs(found)));
            }
            consent::later(&speaks.put_off).iter().for_each(|line| text.push_str(&format!("{line}\n")));
            context.console.show(&text)?;
        }
        Format::Json | Format::Ndjson => {
            let value = serde_json::json!({
                "v": 1, "keep": program.keep_name(plan.keep), "undos": plan.undos, "guards": speaks.found,
                "guards_put_off": speaks.put_off,
            });
            context.console.print(&value.to_string())?;
        }
    }
    Ok(())
}

/// Taking row-level security back opens every tenant's rows to every session: that asks for the database's name.
fn confirm(
    console: &Console,
    program: &Program,
    plan: &Preview,
    args: &args::Rollback,
    database: &str,
) -> Result<(), CliError> {
    let enforced = |unit: &UnitId| program.find(unit).is_some_and(|(_, _, unit)| unit.guards_rows);
    let refused = |why: &str, next: String| Err(CliError::new(Exit::Refused, why, next));
    let again = format!("tenantmig rollback --to {}", args.to);
    let losses: Vec<&str> = plan.undos.iter().filter_map(|undo| undo.loses.as_deref()).collect();
    let loses = if losses.is_empty() { String::new() } else { format!("; lost: {}", losses.join(", ")) };
    let guarded = plan.undos.iter().any(|undo| undo.nothing.is_none() && enforced(&undo.unit));
    // Whoever names the database means it, also where an earlier attempt has undone what asks for the name.
    let given = args.confirm.clone().or_else(|| {
        let question = format!(
            "This takes row-level security off tables of {database}{loses}. Type the database's name to go on: "
        );
        if guarded { console.line(&question) } else { None }
    });
    match given {
        Some(name) if name == database => return Ok(()),
        Some(name) => {
            return refused(
                &format!("`{name}` is not the database's name; nothing was changed"),
                format!("{again} --confirm {database}"),
            );
        }
        None if guarded => {
            return refused(
                &format!(
                    "this takes row-level security off{loses}; it asks for the database's name, and nothing was changed"
                ),
                format!("{again} --confirm {database}"),
            );
        }
        None => {}
    }
    match console.confirm(&format!("Undo {} units{loses}?", plan.undos.len())) {
        Answer::Yes => Ok(()),
        Answer::No => refused("nothing was changed", format!("{again} --dry-run")),
        Answer::Nobody => refused("nobody is there to confirm; nothing was changed", format!("{again} --yes")),
    }
}
