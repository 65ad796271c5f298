//! Fills a column in batches: rows and cursor commit together, fenced; a sweep for what was locked; a proof at the end.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::{
    error::DriveError,
    shell::{Shell, millis},
};
use crate::{
    engine::{Blocker, Event, Notice},
    ledger::{self, Cursor},
    pg::{
        Bounds, Class, Fault,
        batch::{Batches, Walk},
        rows_estimated,
    },
    sql::Ident,
    unit::{BackfillSpec, OnOrphan, Unit},
};

/// Walks over the table after the main one. Rows that are still due then are written faster than they are filled.
const SWEEPS_MAX: u32 = 10;
/// Sweeps that pass by locked rows; later ones wait for them.
const SWEEPS_SKIPPING: u32 = 3;
/// A waiting batch gives up before the server looks for deadlocks (deadlock_timeout is 1 s by default), so that the
/// application is never the victim.
const ROW_LOCK_WAIT: Duration = Duration::from_millis(500);
/// Between two sweeps, for whoever holds the rows.
const SWEEP_PAUSE: Duration = Duration::from_millis(500);

/// What became of one try.
#[derive(Debug, Default)]
struct Course {
    /// A batch committed.
    moved: bool,
    /// Who held the rows of the last batch, when it waited.
    blockers: Vec<Blocker>,
}

impl Shell {
    /// Fills what is due, and tries again where a lock was not had. The budget is for one place: it is whole again once
    /// a batch has committed.
    pub async fn backfill(&mut self, unit: &Unit, spec: &BackfillSpec) -> Result<(), DriveError> {
        let mut number = 0;
        loop {
            let mut course = Course::default();
            let Err(error) = self.fill(unit, spec, &mut course).await else { return Ok(()) };
            number = if course.moved { 1 } else { number + 1 };
            self.try_again(error, number, course.blockers, "the backfill").await?;
        }
    }

    /// Goes from wherever the cursor stands to the proof that nothing is left.
    async fn fill(&mut self, unit: &Unit, spec: &BackfillSpec, course: &mut Course) -> Result<(), DriveError> {
        let batches = Batches::new(&self.work.client, spec).await?;
        let place = self.journal.place.clone();
        let (kept, mut rows) = ledger::cursor(&self.work.client, &place, &unit.id).await?;
        let mut cursor = kept.filter(|at| goes_on(at, &batches));
        let estimated = self.estimate(unit, spec).await?;
        loop {
            if cursor.is_none() {
                cursor = self.first_cursor(unit, &batches, 0).await?;
            }
            if let Some(at) = cursor.as_mut() {
                self.walk(unit, spec, &batches, at, (&mut rows, estimated), course).await?;
            }
            let sweep = cursor.as_ref().map_or(0, |at| at.sweep);
            let due = self.conclude(unit, spec, &batches, rows).await?;
            if due == 0 {
                return Ok(());
            }
            if sweep >= SWEEPS_MAX {
                let message = format!("{due} rows of {} are still due after {SWEEPS_MAX} sweeps", spec.table);
                let mut fault = Fault::new(Class::Fatal, message);
                fault.hint = Some(
                    "the application goes on writing NULL: give the column a default or a trigger first; or a trigger of the table turns the update away".to_owned(),
                );
                return Err(fault.into());
            }
            self.say(Notice::Note { text: format!("{due} rows were locked or new: sweep {}", sweep + 1) });
            self.stop.sleep(SWEEP_PAUSE).await?;
            cursor = self.first_cursor(unit, &batches, sweep + 1).await?;
        }
    }

    /// Fixes the upper bound and keeps the cursor; `None` for an empty table.
    async fn first_cursor(&self, unit: &Unit, batches: &Batches, sweep: u32) -> Result<Option<Cursor>, DriveError> {
        let key = key(batches);
        let place = &self.journal.place;
        self.fenced(self.bounds(), async |client: &Client| {
            let Some(end) = batches.end(client).await? else { return Ok(None) };
            let cursor = Cursor { key, end, walked: None, sweep };
            ledger::advance(client, place, &unit.id, &cursor, 0).await?;
            Ok(Some(cursor))
        })
        .await
    }

    async fn estimate(&self, unit: &Unit, spec: &BackfillSpec) -> Result<u64, DriveError> {
        let place = &self.journal.place;
        self.fenced(self.bounds(), async |client: &Client| {
            let rows = rows_estimated(client, std::slice::from_ref(&spec.table)).await?;
            let kept = i64::try_from(rows).unwrap_or(i64::MAX);
            ledger::estimate(client, place, &unit.id, kept).await?;
            Ok(rows)
        })
        .await
    }

    /// Batches up to the cursor's end. The order of the walk is by range and never by rows written, so that rows that
    /// cannot be filled neither stop nor loop it.
    async fn walk(
        &self,
        unit: &Unit,
        spec: &BackfillSpec,
        batches: &Batches,
        cursor: &mut Cursor,
        (rows, estimated): (&mut u64, u64),
        course: &mut Course,
    ) -> Result<(), DriveError> {
        while cursor.walked.as_ref() != Some(&cursor.end) {
            self.stop.check()?;
            let begun = Instant::now();
            let (watch, sampled) = self.watch_blockers(ROW_LOCK_WAIT);
            let batch = self.batch(unit, spec, batches, cursor).await;
            watch.abort();
            course.blockers = sampled.take();
            let (next, done) = batch?;
            (*cursor, course.moved) = (next, true);
            *rows += done;
            let walked_percent = if cursor.walked.as_ref() == Some(&cursor.end) { 100.0 } else { walked(cursor) };
            self.say(Notice::Batch {
                unit: unit.id.0.clone(),
                rows: done,
                rows_done: *rows,
                rows_estimated: estimated,
                walked_percent,
                millis: millis(begun.elapsed()),
            });
        }
        Ok(())
    }

    async fn batch(
        &self,
        unit: &Unit,
        spec: &BackfillSpec,
        batches: &Batches,
        cursor: &Cursor,
    ) -> Result<(Cursor, u64), DriveError> {
        let place = &self.journal.place;
        let patient = cursor.sweep > SWEEPS_SKIPPING;
        let bounds = Bounds { lock: ROW_LOCK_WAIT, ..self.bounds() };
        self.fenced(bounds, async |client: &Client| {
            let batch = batches.next(client, cursor.walked.as_ref(), &cursor.end, spec.batch_rows, patient).await?;
            let walked = Some(batch.walked.unwrap_or_else(|| cursor.end.clone()));
            let next = Cursor { walked, ..cursor.clone() };
            ledger::advance(client, place, &unit.id, &next, batch.rows).await?;
            Ok((next, batch.rows))
        })
        .await
    }

    /// The closing proof; the outcome commits with it. Gives the number of rows that are still due.
    async fn conclude(
        &mut self,
        unit: &Unit,
        spec: &BackfillSpec,
        batches: &Batches,
        rows: u64,
    ) -> Result<i64, DriveError> {
        let bounds = self.bounds();
        let proof = self.fenced(bounds, async |client: &Client| Ok(batches.prove(client).await?)).await?;
        if proof.due > 0 {
            return Ok(proof.due);
        }
        match spec.on_orphan {
            OnOrphan::Stop if proof.orphans > 0 => {
                let example = proof.example.map_or(String::new(), |row| format!("; e.g. {row}"));
                let message =
                    format!("{} rows of {} have no value for {}{example}", proof.orphans, spec.table, spec.column);
                let mut fault = Fault::new(Class::Fatal, message);
                fault.hint =
                    Some("give these rows a parent, or set on_orphan = \"skip\" and decide at the gate".to_owned());
                return Err(fault.into());
            }
            OnOrphan::Skip if proof.orphans > 0 => {
                self.say(Notice::Note {
                    text: format!("{} rows of {} have no value and stay NULL", proof.orphans, spec.table),
                });
            }
            OnOrphan::Stop | OnOrphan::Skip => {}
        }
        self.record(Event::Succeeded { unit: unit.id.clone(), rows: Some(rows) }).await?;
        Ok(0)
    }
}

/// The columns that are walked along; `None` for blocks.
fn key(batches: &Batches) -> Option<Vec<Ident>> {
    match &batches.walk {
        Walk::Key { columns, .. } => Some(columns.clone()),
        Walk::Blocks => None,
    }
}

/// Whether a kept cursor still leads on. Its values mean nothing along another key, which the table may have got or lost
/// since; and after the last sweep only a new walk finds what somebody has mended meanwhile.
fn goes_on(kept: &Cursor, batches: &Batches) -> bool {
    let spent = kept.sweep >= SWEEPS_MAX && kept.walked.as_ref() == Some(&kept.end);
    kept.key == key(batches) && !spent
}

/// How much of the range is walked, in percent, where the key is one number; 0 where it cannot be told.
fn walked(cursor: &Cursor) -> f64 {
    let number = |values: &[String]| values.first().and_then(|v| v.parse::<f64>().ok());
    match (cursor.walked.as_deref().and_then(number), number(&cursor.end)) {
        (Some(at), Some(end)) if end > 0.0 => (at / end * 100.0).clamp(0.0, 100.0),
        (_, _) => 0.0,
    }
}
