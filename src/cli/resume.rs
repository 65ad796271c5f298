//! `resume`: goes on with a run by the ledger alone.

use tokio_postgres::Client;

use super::{
    args,
    failure::CliError,
    preview::refuse_unasked,
    session::Context,
    story::{Goal, carry},
};
use crate::{
    driver::{DriveError, Journal, Shell, refuse_operators_pause, reopen},
    engine::{Effect, Event, Mode, Outcome, taken_back},
    exit::Exit,
    ledger::{self, LedgerError, Purpose},
};

/// Goes on: forward from a stop, a pause or a rollback that answered a failure; with the undo where it was stuck. A rollback
/// that somebody asked for is finished and not turned round, also when it had just come to its end as it was killed.
pub async fn run(context: &Context, args: &args::Resume) -> Result<Exit, CliError> {
    let (mut access, listener) = context.access()?;
    access.wait = args.patience.longest();
    access.accept_server = args.accept_server;
    let (mut shell, lease) = reopen(&access, args.run, Purpose::Resume).await?;
    drop(access);
    shell.room.unchecked = args.skip_disk_check;
    shell.drift.accept = args.accept_drift;
    let ready = async {
        // First what may refuse, then what is written.
        if goes_forward(&shell, args.forward).await? {
            let Journal { record, run, .. } = &shell.journal;
            refuse_unasked(&record.program, &shell.work, Some(run)).await?;
        }
        heed(&shell, lease.waited).await?;
        if args.forward {
            turn_round(&mut shell).await?;
        }
        Ok::<_, CliError>(goal(&shell).await?)
    };
    match ready.await {
        Ok(goal) => carry(context, shell, lease, listener, goal).await,
        Err(error) => {
            lease.give_back().await;
            Err(error)
        }
    }
}

/// Whether gates are to come: not while a rollback is under way, nor where somebody wanted it.
async fn goes_forward(shell: &Shell, forward: bool) -> Result<bool, DriveError> {
    let Journal { run, record, .. } = &shell.journal;
    if forward && run.may_turn_round(&record.program) {
        return Ok(true);
    }
    Ok(match run.mode() {
        Mode::Forward => true,
        Mode::Paused { then } => **then == Mode::Forward,
        Mode::Unwinding { .. } => {
            let halted = matches!(shell.journal.next(), Effect::Halt(Outcome::RolledBack { .. }));
            halted && matches!(goal(shell).await?, Goal::Forward { .. })
        }
        Mode::Stuck { .. } => false,
    })
}

/// Gives up the rollback that waits at a guard.
async fn turn_round(shell: &mut Shell) -> Result<(), DriveError> {
    let Journal { run, record, .. } = &shell.journal;
    if !run.may_turn_round(&record.program) {
        return Err(DriveError::Refused {
            what: "no rollback waits at a guard that was put off; nothing was changed".to_owned(),
            advice: "look with: tenantmig status; or go on as it is: tenantmig resume".to_owned(),
            exit: 4,
        });
    }
    shell.outlive(async |shell: &mut Shell| shell.record(Event::TurnedRound).await).await
}

/// Forward, unless the run rests where somebody wanted it.
async fn goal(shell: &Shell) -> Result<Goal, DriveError> {
    let place = &shell.journal.place;
    if !matches!(shell.journal.next(), Effect::Halt(Outcome::RolledBack { .. })) {
        return Ok(Goal::Forward { until: None });
    }
    let read = async |client: &Client| ledger::read(client, &place.schema, place.run).await;
    let kept = shell.work.with(read).await?.ok_or(LedgerError::Missing)?;
    let wished = taken_back(kept.events.iter().map(|recorded| &recorded.event));
    Ok(if wished { Goal::Back } else { Goal::Forward { until: None } })
}

/// A pause that was asked for before this command is what it ends; one that came while it waited came after it, and counts.
async fn heed(shell: &Shell, waited: bool) -> Result<(), DriveError> {
    if waited {
        refuse_operators_pause(&shell.journal)
    } else {
        shell.pass_over_pauses("`tenantmig resume` came later").await
    }
}
