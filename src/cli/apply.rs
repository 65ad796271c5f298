//! `apply`: carries a plan out, from wherever an earlier apply of the same plan stopped.

use super::{
    args,
    console::Answer,
    failure::CliError,
    plan, plan_file,
    preview::{facts, known, look_ahead},
    session::Context,
    story::{Goal, carry},
};
use crate::{
    driver::{Request, begin},
    engine::{Program, lower},
    exit::Exit,
    ledger::Purpose,
    pg::connect::Connection,
};

/// Applies the plan, after looking at everything that can be looked at and asking.
pub async fn run(context: &Context, args: &args::Apply) -> Result<Exit, CliError> {
    let file = plan_file::load(context, &args.file.path())?;
    let session = context.look().await?;
    let program = lower(&file.plan, facts(&session));
    let until = until(&program, args.to.as_deref())?;
    if args.dry_run {
        return plan::show(context, &file, &program, &session).await;
    }
    if known(context, &session, &file).await?.is_none() {
        look_ahead(context, &file, &program, &session).await?;
        ask(context, &program, &session)?;
    }
    drop(session);
    let (mut access, listener) = context.access()?;
    access.wait = args.patience.longest();
    access.accept_server = args.accept_server;
    let path = file.path.display().to_string();
    let request = Request {
        path: Some(&path),
        text: &file.text,
        fingerprint: &file.fingerprint.0,
        program: &program,
        purpose: Purpose::Apply,
    };
    let (mut shell, lease) = begin(&access, &request).await?;
    drop(access);
    shell.room.unchecked = args.skip_disk_check;
    shell.drift.accept = args.accept_drift;
    shell.room.command = program.disk.free.clone();
    carry(context, shell, lease, listener, Goal::Forward { until }).await
}

fn until(program: &Program, to: Option<&str>) -> Result<Option<usize>, CliError> {
    let Some(to) = to else { return Ok(None) };
    let keep = program.keep(to).filter(|keep| *keep > 0);
    keep.map(Some).ok_or_else(|| CliError::no_phase(program, to, "--to", false))
}

fn ask(context: &Context, program: &Program, session: &Connection) -> Result<(), CliError> {
    let units = program.units().count();
    let question =
        format!("Apply plan `{}` ({} phases, {units} units) to {}?", program.plan, program.phases.len(), session.at);
    match context.console.confirm(&question) {
        Answer::Yes => Ok(()),
        Answer::No => Err(CliError::new(Exit::Refused, "nothing was changed", "look first with: tenantmig plan PLAN")),
        Answer::Nobody => Err(CliError::new(
            Exit::Refused,
            "nobody is there to confirm; nothing was changed",
            "add --yes when this is a job; look first with: tenantmig plan PLAN",
        )),
    }
}
