//! Looks at the live database before a plan is applied: what would fail is found before anything is touched.

use super::{failure::CliError, plan_file, plan_file::PlanFile, session::Context};
use crate::{
    driver::{self, DriveError, preflight},
    engine::{Program, Run},
    exit::Exit,
    ledger,
    pg::{connect::Connection, signals},
    plan::ServerFacts,
    unit::Op,
};

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
    let diags = preflight(&session.client, &file.plan).await?;
    plan_file::show(context, &file.path, &file.text, &diags);
    if diags.has_errors() {
        let owner_only = diags.0.iter().all(|d| d.code == "TM0303");
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
    if program.units().any(|(_, unit)| matches!(unit.up, Op::Backfill(_)))
        && signals::hides_from_role(&session.client).await.map_err(DriveError::from)?
    {
        context.console.note(
            "note: this role cannot see all that a backfill waits for (replica lag, archive, sessions); what it cannot see it does not wait for. To let it: GRANT pg_monitor TO it",
        );
    }
    let hidden = driver::hidden(&session.client, program).await?;
    if !hidden.is_empty() {
        let message = format!(
            "row-level security hides rows of {} from this role: a backfill would change a part of them, silently; nothing was touched",
            hidden.join(", ")
        );
        return Err(CliError::new(
            Exit::Privilege,
            message,
            "connect as a role with BYPASSRLS (-U or --role), or take FORCE off these tables first",
        ));
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
    if !ledger::exists(&session.client, &schema).await? {
        return Ok(None);
    }
    for record in ledger::runs(&session.client, &schema).await?.iter().rev() {
        if record.fingerprint == file.fingerprint.0 && record.plan == file.plan.name {
            let events = ledger::events(&session.client, &schema, record.id).await?;
            let run = Run::fold(&record.program, events.iter().map(|r| &r.event)).map_err(DriveError::from)?;
            return Ok((!run.is_untouched()).then(|| (record.program.clone(), run)));
        }
    }
    Ok(None)
}
