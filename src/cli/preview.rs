//! Looks at the live database before a plan is applied: what would fail is found before anything is touched.

use std::time::Duration;

use tokio_postgres::Client;

use super::{failure::CliError, plan_file, plan_file::PlanFile, session::Context};
use crate::{
    driver::{self, DriveError, outside, preflight},
    engine::{Program, Run},
    exit::Exit,
    ledger,
    pace::Seen,
    pg::{Bounds, Unfillable, connect::Connection, in_transaction, signals::Signals, unfillable, without_identity},
    plan::ServerFacts,
    unit::{BackfillValue, CopySpec, Op},
};

/// As in a backfill, which looks twice a second.
const LOOK_BOUNDS: Bounds = Bounds { lock: Duration::from_secs(2), statement: Duration::from_secs(2) };

/// What lowering must know of the server.
pub fn facts(session: &Connection) -> ServerFacts {
    ServerFacts { version_num: u32::try_from(session.server_version_num).unwrap_or(0) }
}

/// What would fail is found before anything is touched.
pub async fn look_ahead(
    context: &Context,
    file: &PlanFile,
    program: &Program,
    session: &Connection,
) -> Result<(), CliError> {
    let diags = session.with(async |client: &Client| preflight(client, &file.plan).await).await?;
    plan_file::show(context, &file.path, &file.text, &diags);
    if diags.has_errors() {
        let owner_only = diags.0.iter().all(|d| ["TM0303", "TM0305"].contains(&d.code));
        // `validate` asks no database, so it would find nothing of this.
        let again = format!("tenantmig plan {}", file.path.display());
        let mut error = plan_file::invalid(&file.path, &diags);
        error.advice =
            Some(format!("mend the places above, or connect to the database that the plan is for, then: {again}"));
        if owner_only {
            error.exit = Exit::Privilege;
            error.message = format!("this role may not do all that {} asks; nothing was touched", file.path.display());
            error.advice = Some(format!("connect as the owner, or have its role granted, then: {again}"));
        }
        return Err(error);
    }
    if let Some(note) = outside::way(session, &outside::forward(program)).await?.note() {
        context.console.note(&format!("note: {note}"));
    }
    tell_blind(context, program, session).await?;
    refuse_unfillable(program, session).await?;
    refuse_unidentified(program, session).await?;
    refuse_unasked(program, session, None).await?;
    let hidden = session.with(async |client: &Client| driver::hidden(client, program).await).await?;
    if !hidden.is_empty() {
        let message = format!(
            "row-level security hides rows of {} from this role: a backfill would change a part of them, silently; nothing was touched",
            hidden.join(", ")
        );
        let advice = "connect as a role with BYPASSRLS (-U or --role), or take FORCE off these tables first";
        return Err(CliError::new(Exit::Privilege, message, advice).coded("TM0308"));
    }
    Ok(())
}

/// What the server would refuse to fill is better found now than at its backfill.
async fn refuse_unfillable(program: &Program, session: &Connection) -> Result<(), CliError> {
    for (_, unit) in program.units() {
        let Op::Backfill(spec) = &unit.up else { continue };
        // Of rows that are copied nothing is written where they come from.
        if matches!(spec.value, BackfillValue::Copy(_)) {
            continue;
        }
        let found = session.with(async |client: &Client| unfillable(client, spec).await).await;
        if let Some(Unfillable { what, advice }) = found.map_err(DriveError::from)? {
            return Err(CliError::new(Exit::Refused, format!("{what}; nothing was touched"), advice).coded("TM0309"));
        }
    }
    Ok(())
}

/// A gate that can only fail is better known before the first phase than after the last.
pub async fn refuse_unasked(program: &Program, session: &Connection, run: Option<&Run>) -> Result<(), CliError> {
    let Some(why) = driver::unaskable(session, program, run).await? else { return Ok(()) };
    let message = format!("{why}; nothing was {}", if run.is_some() { "changed" } else { "touched" });
    let advice = "grant the membership as above, or give the application's own connection string: TENANTMIG_APP_URL";
    Err(CliError::new(Exit::Privilege, message, advice).coded("TM0307"))
}

/// A published table without a replica identity takes no UPDATE: better found now than at its backfill.
async fn refuse_unidentified(program: &Program, session: &Connection) -> Result<(), CliError> {
    for (_, unit) in program.units() {
        let Op::Backfill(spec) = &unit.up else { continue };
        // A copy inserts into the other table, which needs none.
        if CopySpec::of(spec).is_some() {
            continue;
        }
        let tables = session.with(async |client: &Client| without_identity(client, &spec.table).await);
        let tables = tables.await.map_err(DriveError::from)?;
        if let Some(table) = tables.first() {
            let message = format!(
                "{} is published and has no replica identity, so the server refuses to fill it; nothing was touched",
                tables.join(", ")
            );
            let advice = format!("give it a primary key, or: ALTER TABLE {table} REPLICA IDENTITY FULL");
            return Err(CliError::new(Exit::Refused, message, advice).coded("TM0312"));
        }
    }
    Ok(())
}

/// Says before the start what backfills cannot wait for, since this role cannot see it; refuses a query that does not work.
async fn tell_blind(context: &Context, program: &Program, session: &Connection) -> Result<(), CliError> {
    let first = program.units().find_map(|(_, unit)| match &unit.up {
        Op::Backfill(spec) => Some(spec),
        Op::Tx(_) | Op::Autocommit { .. } | Op::Assert(_) | Op::Watch(_) | Op::Keep(_) | Op::Restore(_) => None,
    });
    if let Some(spec) = first {
        let begin = async |client: &Client| Signals::new(client, &spec.table, &program.pacing.throttle).await;
        let mut signals = session.with(begin).await.map_err(DriveError::from)?;
        for blind in signals.blind() {
            context.console.note(&format!("note: {blind}"));
        }
        let observe = async |client: &Client| signals.observe(client, &program.pacing).await;
        let seen = in_transaction(session, LOOK_BOUNDS, observe).await.map_err(DriveError::from)?;
        // Later it would be waited for, like any signal that is unknown, until max_wait is over.
        if let Seen::Unknown(why) = seen.query {
            let message = format!("the query of [throttle] gives no number: {why}; nothing was touched");
            let advice = "mend sql in [throttle] query; it is one expression, run by this role";
            return Err(CliError::new(Exit::PlanInvalid, message, advice).coded("TM0313"));
        }
    }
    Ok(())
}

/// The newest run of this very plan, with its program (of the server as it was), when something of it stands here. Then
/// there is nothing to look at or to ask again: what was found before it began need not be there any more (rows that its
/// own FORCE hides, say).
pub async fn known(
    context: &Context,
    session: &Connection,
    file: &PlanFile,
) -> Result<Option<(Program, Run)>, CliError> {
    let schema = context.schema()?;
    session
        .with(async |client: &Client| {
            if !ledger::exists(client, &schema).await? {
                return Ok(None);
            }
            for name in ledger::runs(client, &schema).await? {
                if name.fingerprint == file.fingerprint.0 && name.plan == file.plan.name {
                    let kept = ledger::read(client, &schema, name.id).await?;
                    return Ok(kept.filter(|k| !k.run.is_untouched()).map(|kept| (kept.record.program, kept.run)));
                }
            }
            Ok(None)
        })
        .await
}
