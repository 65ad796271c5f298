//! The loop: the machine names the next effect, the shell performs it, until the machine rests.

use tokio_postgres::Client;

use super::{error::DriveError, reconnect::LOSSES_MAX, shell::Shell, stop::Until};
use crate::{
    engine::{Effect, Notice, Outcome},
    ledger,
};

/// Where the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// The machine came to rest.
    At(Outcome),
    /// The phases that were asked for are done; more of the plan is left.
    Reached { phases: usize },
}

/// Drives the run until it rests, or until the first `until` phases are done; after a signal, until the time for that is over,
/// whatever is waited for.
pub async fn drive(shell: &mut Shell, until: Option<usize>) -> Result<Rest, DriveError> {
    let stop = shell.stop.clone();
    stop.bounded(Until::Ended, go(shell, until)).await
}

async fn go(shell: &mut Shell, until: Option<usize>) -> Result<Rest, DriveError> {
    let mut phase = None;
    let (mut losses, mut rows) = (0, 0);
    loop {
        let effect = shell.journal.next();
        if let Some(rest) = rest(shell, effect, until) {
            if let Rest::At(_) = rest
                && let Err(error) = shell.pass_over_pauses("the run had come to rest by itself").await
            {
                tracing::warn!("a request was not answered: {error}");
            }
            return Ok(rest);
        }
        enter(shell, effect, &mut phase);
        match perform(shell, effect).await {
            Ok(()) => (losses, rows) = (0, 0),
            Err(DriveError::Yield) => {}
            // Whether the last transaction committed is not known here; the ledger knows.
            Err(error) if error.is_loss() && losses < LOSSES_MAX => {
                losses += 1;
                shell.reconnect(&error).await?;
                // A backfill may take days: losses with rows written between them are not in a row.
                let written = rows_written(shell, effect).await;
                if written > rows {
                    (losses, rows) = (0, written);
                }
            }
            // A cancel that comes late may hit any statement, also one of the ledger.
            Err(error) => return Err(shell.not_the_units(&error).err().unwrap_or(error)),
        }
    }
}

/// How many rows the effect's ranges have. 0 where that cannot be asked: then the loss counts.
async fn rows_written(shell: &Shell, effect: Effect) -> u64 {
    let Effect::Do(number) = effect else { return 0 };
    let Some(unit) = shell.unit(number) else { return 0 };
    let place = &shell.journal.place;
    let ask = async |client: &Client| ledger::written(client, &place.schema, place.run, &unit.id).await;
    shell.work.with(ask).await.map_or(0, |written| written.rows)
}

/// Performs the effect; before it, takes what operators asked for meanwhile, which may have made another effect the next.
async fn perform(shell: &mut Shell, effect: Effect) -> Result<(), DriveError> {
    shell.stop.check()?;
    if shell.take_requests().await? && shell.journal.next() != effect {
        return Ok(());
    }
    if !Box::pin(shell.is_undrifted(effect)).await? {
        return Ok(());
    }
    match effect {
        // On the heap: unoptimised, these futures together are larger than a thread's stack.
        Effect::Do(unit) => Box::pin(shell.up(unit)).await?,
        Effect::Undo(unit) => Box::pin(shell.down(unit)).await?,
        Effect::Gate(p, gate) => Box::pin(shell.gate(p, gate)).await?,
        Effect::Check(p, gate) => Box::pin(shell.check_undo(p, gate)).await?,
        Effect::Ask(p, guard) => Box::pin(shell.ask(p, guard)).await?,
        Effect::Halt(_) => {}
    }
    Box::pin(shell.note_print(effect)).await
}

fn rest(shell: &Shell, effect: Effect, until: Option<usize>) -> Option<Rest> {
    let beyond = |p: usize| until.is_some_and(|phases| p >= phases);
    match effect {
        Effect::Halt(outcome) => {
            shell.say(Notice::Closed { outcome });
            Some(Rest::At(outcome))
        }
        Effect::Do(unit) => shell
            .journal
            .record
            .program
            .unit(unit)
            .filter(|(p, _)| beyond(*p))
            .and(until)
            .map(|phases| Rest::Reached { phases }),
        Effect::Gate(p, _) => until.filter(|_| beyond(p)).map(|phases| Rest::Reached { phases }),
        Effect::Undo(_) | Effect::Check(..) | Effect::Ask(..) => None,
    }
}

/// Tells when another phase is entered.
fn enter(shell: &Shell, effect: Effect, current: &mut Option<usize>) {
    let program = &shell.journal.record.program;
    let phase = match effect {
        Effect::Do(unit) | Effect::Undo(unit) => program.unit(unit).map(|(p, _)| p),
        Effect::Gate(p, _) | Effect::Check(p, _) | Effect::Ask(p, _) => Some(p),
        Effect::Halt(_) => None,
    };
    if let Some(p) = phase.filter(|p| *current != Some(*p)) {
        shell.say(Notice::Phase { id: program.phases[p].id.clone(), number: p + 1, of: program.phases.len() });
        *current = phase;
    }
}
