//! Takes one unit back: the same care as forward, and the catalogue must afterwards say what it said before.

use tokio_postgres::Client;

use super::{attempt::execute, errands::Errands, error::DriveError, perform::failure, shell::Shell};
use crate::{
    engine::{Event, Notice},
    pg::{Bounds, Class, Fault, probe},
    sql::Stmt,
    unit::{Before, Down, Op, Presence, Probe, Unit},
};

impl Shell {
    /// Undoes the unit with this number. A failure leaves the run stuck at it, and says so.
    pub async fn down(&mut self, number: usize) -> Result<(), DriveError> {
        let Some(unit) = self.unit(number) else { return Ok(()) };
        let state = self.journal.run.unit(number);
        let Some(before) = state.before().cloned() else { return Ok(()) };
        let done = state.is_done();
        if let Down::Op(Op::Keep(spec)) = &unit.down
            && !before.is_untouched()
            && !self.has_room_to_keep(&unit, spec).await?
        {
            return Ok(());
        }
        self.say(Notice::Unit { title: unit.undo_title(), undo: true });
        self.record(Event::UndoStarted { unit: unit.id.clone() }).await?;
        match self.take_back(&unit, &before, done).await {
            Ok(()) => Ok(()),
            Err(error) => {
                self.not_the_units(&error)?;
                let failure = failure(error)?;
                self.record(Event::UndoFailed { unit: unit.id, failure }).await
            }
        }
    }

    async fn take_back(&mut self, unit: &Unit, before: &Before, done: bool) -> Result<(), DriveError> {
        let undone = Event::Undone { unit: unit.id.clone() };
        if before.is_untouched() {
            return self.record(undone).await;
        }
        match unit.down.in_effect(|by| self.journal.run.was_there(&self.journal.record.program, by)) {
            Down::CoveredBy(_) | Down::With { .. } | Down::Nothing { .. } => self.record(undone).await,
            Down::Irreversible { .. } if !done && self.left_nothing(unit).await? => self.record(undone).await,
            Down::Irreversible { why } => Err(Fault::new(Class::Fatal, format!("it cannot be undone: {why}")).into()),
            Down::Op(_) if self.is_gone(unit, before, done).await? => self.record(undone).await,
            Down::Op(Op::Tx(stmts)) => self.undo_transaction(unit, stmts, before).await,
            Down::Op(Op::Autocommit { due: Some(due), .. }) => {
                Box::pin(self.run_errands(unit, due, before, Errands::Undo)).await?;
                let was = if due.restores { before.clone() } else { Before::absent() };
                self.conclude_undo(unit, &was).await
            }
            Down::Op(Op::Autocommit { stmt, due: None, .. }) => self.undo_autocommit(unit, stmt).await,
            Down::Op(Op::Keep(spec)) => Box::pin(self.keep_values(unit, spec)).await,
            Down::Op(Op::Restore(spec)) => Box::pin(self.write_back(unit, spec, undone)).await,
            Down::Op(Op::Backfill(_) | Op::Assert(_) | Op::Watch(_)) => {
                Err(Fault::new(Class::Fatal, "the program's undo is no statement").into())
            }
        }
    }

    /// Whether there is nothing to take back: the deed never completed and left no trace, or is gone already.
    async fn is_gone(&self, unit: &Unit, before: &Before, done: bool) -> Result<bool, DriveError> {
        match &unit.probe {
            // The outcome commits with the deed, so a deed without outcome did not happen; outside a transaction it may have.
            Probe::Ledger => Ok(!done && !matches!(unit.up, Op::Autocommit { .. })),
            Probe::Catalog { .. } => {
                let now = self.look_when_quiet(unit, true).await?;
                // What stands in its place and is not ours was made by somebody else meanwhile.
                let theirs = now.presence == Presence::Conflict && !done;
                // What comes back in several statements may be there and lack the last of them: what is due tells.
                let whole = !matches!(&unit.down, Down::Op(Op::Autocommit { due: Some(due), .. }) if due.restores);
                Ok(theirs || whole && now.presence == Presence::Absent && before.presence == Presence::Absent)
            }
        }
    }

    async fn left_nothing(&self, unit: &Unit) -> Result<bool, DriveError> {
        match &unit.probe {
            Probe::Ledger => Ok(true),
            Probe::Catalog { .. } => Ok(self.look_when_quiet(unit, true).await?.presence == Presence::Absent),
        }
    }

    async fn undo_transaction(&mut self, unit: &Unit, stmts: &[Stmt], before: &Before) -> Result<(), DriveError> {
        let bounds = self.bounds();
        self.attempt(&unit.lock, bounds, async |client: &Client| {
            execute(client, stmts).await?;
            execute(client, &before.restore).await?;
            let now = probe(client, &unit.probe).await?;
            as_before(unit, before, &now)?;
            Ok(Event::Undone { unit: unit.id.clone() })
        })
        .await
    }

    async fn undo_autocommit(&mut self, unit: &Unit, stmt: &Stmt) -> Result<(), DriveError> {
        let bounds = Bounds { lock: self.safety().index_wait.duration(), ..self.bounds() };
        let mut number = 0;
        loop {
            number += 1;
            let (watch, sampled) = self.watch_blockers(bounds.lock);
            let done = self.clear(std::slice::from_ref(stmt), bounds).await;
            watch.abort();
            let Err(error) = done else { break };
            self.try_again(error, number, sampled.take(), "CONCURRENTLY").await?;
        }
        self.conclude_undo(unit, &Before::absent()).await
    }

    async fn conclude_undo(&mut self, unit: &Unit, before: &Before) -> Result<(), DriveError> {
        let now = self.look(&unit.probe).await?;
        as_before(unit, before, &now)?;
        self.record(Event::Undone { unit: unit.id.clone() }).await
    }
}

/// The catalogue says again what it said before. A wreck that stood there is not brought back.
fn as_before(unit: &Unit, before: &Before, now: &Before) -> Result<(), DriveError> {
    let wreck_is_gone =
        before.presence == Presence::Partial && before.restore.is_empty() && now.presence == Presence::Absent;
    if matches!(unit.probe, Probe::Ledger) || now.presence == before.presence || wreck_is_gone {
        return Ok(());
    }
    let found = now.found.as_deref().unwrap_or("nothing");
    let was = before.found.as_deref().unwrap_or("nothing");
    Err(Fault::new(
        Class::Fatal,
        format!(
            "the server reported success, but \"{}\" is not taken back: found {found}, before it was {was}",
            unit.title
        ),
    )
    .into())
}
