//! Fills a column in batches: rows and progress commit together, fenced; sweeps for what was locked or moved; a proof at the end.

mod control;
mod crew;
mod pieces;
mod told;
mod vacuum;
mod worker;

use std::time::Duration;

use tokio_postgres::Client;

use self::{
    control::End,
    crew::{Manner, Start},
};
use super::{error::DriveError, shell::Shell};
use crate::{
    engine::{Event, Notice, ranges::Walk},
    ledger::{self, Cursor},
    pg::{Class, Fault, batch::Batches, rows_estimated},
    unit::{BackfillSpec, CopySpec, OnOrphan, Unit},
};

/// Walks over the table after the main one. Rows that are still due then are written faster than they are filled.
const SWEEPS_MAX: u32 = 10;
/// Sweeps that pass by locked rows; later ones wait for each.
const SWEEPS_SKIPPING: u32 = 3;
/// Between two sweeps, for whoever holds the rows.
const SWEEP_PAUSE: Duration = Duration::from_millis(500);

/// The walk that was begun last.
enum Last {
    /// None was, or its heaps are no longer what they were.
    None,
    UnderWay {
        start: Start,
        striped: bool,
    },
    /// Everything was walked; the proof is due.
    Finished,
}

impl Shell {
    /// Goes from wherever the ledger says the walk stands to the proof that nothing is left.
    pub async fn backfill(&mut self, unit: &Unit, spec: &BackfillSpec) -> Result<(), DriveError> {
        let version = self.work.server_version_num;
        // The server locks a partitioned table to say by what it is divided.
        let batches = self.patiently(async |client: &Client| Ok(Batches::new(client, spec, version).await?)).await?;
        let estimated = self.estimate(unit, spec).await?;
        let (mut due, mut kept) = (0, None);
        for sweep in 0..=SWEEPS_MAX {
            let (start, manner) = match (sweep, self.last_walk(unit, &batches, estimated).await?) {
                (0, Last::Finished) => (None, Manner::Skipping),
                (0, Last::UnderWay { start, striped: true }) => (Some(start), Manner::Striped),
                (0, Last::UnderWay { start, striped: false }) => (Some(start), Manner::Skipping),
                (0, Last::None) => (self.begin_walk(unit, &batches, estimated).await?, Manner::Striped),
                (1..=SWEEPS_SKIPPING, _) => (self.begin_walk(unit, &batches, estimated).await?, Manner::Skipping),
                (_, _) => (self.begin_walk(unit, &batches, estimated).await?, Manner::RowByRow),
            };
            if let Some(start) = start {
                match self.walk(unit, spec, &batches, manner, start).await? {
                    End::Done { kept: why } => kept = why,
                    End::Paused => return Ok(()),
                }
            }
            due = self.conclude(unit, spec, &batches).await?;
            if due == 0 {
                return Ok(());
            }
            if sweep < SWEEPS_MAX {
                self.say(Notice::Note { text: format!("{due} rows were locked, moved or new: sweep {}", sweep + 1) });
                self.stop.sleep(SWEEP_PAUSE).await?;
            }
        }
        Err(left_over(spec, due, kept).into())
    }

    /// Runs `work` in a fenced transaction, again and again while its locks are not had.
    pub(super) async fn patiently<T>(
        &self,
        work: impl AsyncFn(&Client) -> Result<T, DriveError>,
    ) -> Result<T, DriveError> {
        let mut number = 0;
        loop {
            number += 1;
            let (watch, sampled) = self.watch_blockers(self.bounds().lock);
            let done = self.fenced(self.bounds(), async |client: &Client| work(client).await).await;
            watch.abort();
            match done {
                Ok(value) => return Ok(value),
                Err(error) => self.try_again(error, number, sampled.take(), "the backfill").await?,
            }
        }
    }

    /// The walk that the ledger has.
    async fn last_walk(&self, unit: &Unit, batches: &Batches, estimated: u64) -> Result<Last, DriveError> {
        let place = &self.journal.place;
        let (cursor, ranges, (heaps, fill), written) = self
            .patiently(async |client: &Client| {
                let cursor = ledger::cursor(client, place, &unit.id).await?;
                let ranges = ledger::ranges(client, place, &unit.id).await?;
                let written = ledger::written(client, &place.schema, place.run, &unit.id).await?;
                Ok((cursor, ranges, batches.heaps(client).await?, written))
            })
            .await?;
        let Some(cursor) = cursor else { return Ok(Last::None) };
        // A range of a later walk than the cursor's: one of the two was written by hand.
        if ranges.iter().any(|range| range.sweep > cursor.sweep) {
            tracing::warn!("the ranges of {} are of another walk than its cursor, so it begins anew", unit.id);
            return Ok(Last::None);
        }
        let ranges: Vec<_> = ranges.into_iter().filter(|range| range.sweep == cursor.sweep).collect();
        let there = |name: &str| heaps.iter().any(|heap| heap.name == name);
        if !cursor.heaps.iter().all(|heap| there(&heap.name)) {
            return Ok(Last::None);
        }
        let blocks_all = cursor.heaps.iter().map(|heap| heap.end).sum();
        let striped = ranges.is_empty() || ranges.iter().any(|range| range.stripes > 1);
        let blocks = ranges.iter().filter(|r| r.stripes_done == r.stripes).map(|r| r.hi - r.lo).sum();
        // Ranges that are no prefix of a walk say nothing of what is done; the proof and a new walk do.
        let walk = match Walk::new(cursor.sweep, cursor.heaps, ranges) {
            Ok(walk) => walk,
            Err(gap) => {
                tracing::warn!("{gap}: the walk of {} begins anew", unit.id);
                return Ok(Last::None);
            }
        };
        if walk.is_done() {
            return Ok(Last::Finished);
        }
        let start = Start { walk, fill, rows: written.rows, rows_estimated: estimated, blocks, blocks_all };
        Ok(Last::UnderWay { start, striped })
    }

    /// Fixes the upper bounds of the next walk and records them; `None` for an empty table.
    async fn begin_walk(&self, unit: &Unit, batches: &Batches, estimated: u64) -> Result<Option<Start>, DriveError> {
        let place = &self.journal.place;
        let (cursor, fill, rows) = self
            .patiently(async |client: &Client| {
                let last = ledger::cursor(client, place, &unit.id).await?;
                // Beyond whatever is recorded: an earlier walk's ranges keep their numbers.
                let recorded = ledger::newest_sweep(client, place, &unit.id).await?;
                let sweep = last.map(|last| last.sweep).max(recorded).map_or(0, |sweep| sweep + 1);
                let (heaps, fill) = batches.heaps(client).await?;
                let cursor = Cursor { sweep, heaps };
                ledger::begin_walk(client, place, &unit.id, &cursor).await?;
                Ok((cursor, fill, ledger::written(client, &place.schema, place.run, &unit.id).await?.rows))
            })
            .await?;
        if cursor.heaps.is_empty() {
            return Ok(None);
        }
        let blocks_all = cursor.heaps.iter().map(|heap| heap.end).sum();
        let walk = Walk::new(cursor.sweep, cursor.heaps, Vec::new())
            .map_err(|gap| Fault::new(Class::Fatal, gap.to_string()))?;
        Ok(Some(Start { walk, fill, rows, rows_estimated: estimated, blocks: 0, blocks_all }))
    }

    async fn estimate(&self, unit: &Unit, spec: &BackfillSpec) -> Result<u64, DriveError> {
        let place = &self.journal.place;
        self.patiently(async |client: &Client| {
            let rows = rows_estimated(client, std::slice::from_ref(&spec.table)).await?;
            let kept = i64::try_from(rows).unwrap_or(i64::MAX);
            ledger::estimate(client, place, &unit.id, kept).await?;
            Ok(rows)
        })
        .await
    }

    /// The closing proof; the outcome commits with it. Gives the number of rows that are still due.
    async fn conclude(&mut self, unit: &Unit, spec: &BackfillSpec, batches: &Batches) -> Result<i64, DriveError> {
        let place = self.journal.place.clone();
        let (proof, written) = self
            .patiently(async |client: &Client| {
                let proof = batches.prove(client).await?;
                Ok((proof, ledger::written(client, &place.schema, place.run, &unit.id).await?))
            })
            .await?;
        if proof.due > 0 {
            return Ok(proof.due);
        }
        match spec.on_orphan {
            OnOrphan::Stop if proof.orphans > 0 => {
                return Err(unproven(spec, proof.orphans, proof.example).into());
            }
            OnOrphan::Skip | OnOrphan::Quarantine if proof.orphans > 0 => {
                self.say(Notice::Note {
                    text: format!("{} rows of {} have no value and stay NULL", proof.orphans, spec.table),
                });
            }
            OnOrphan::Stop | OnOrphan::Skip | OnOrphan::Quarantine => {}
        }
        self.record(Event::Succeeded { unit: unit.id.clone(), rows: Some(written.rows) }).await?;
        Ok(0)
    }
}

/// What the closing proof found that no further walk mends.
fn unproven(spec: &BackfillSpec, rows: i64, example: Option<String>) -> Fault {
    let example = example.map_or(String::new(), |row| format!("; e.g. {row}"));
    let (message, hint) = match CopySpec::of(spec) {
        Some(copy) => (
            format!("{rows} rows of {} do not stand in {} as they are{example}", spec.table, copy.into),
            "another row has their key there, or somebody changed or deleted the copy: compare the two, then: tenantmig resume",
        ),
        None => (
            format!("{rows} rows of {} have no value for {}{example}", spec.table, spec.column),
            "give these rows a parent, or set on_orphan = \"skip\" and decide at the gate",
        ),
    };
    let mut fault = Fault::new(Class::Fatal, message);
    fault.hint = Some(hint.to_owned());
    fault
}

/// Why rows are left after all sweeps.
fn left_over(spec: &BackfillSpec, due: i64, kept: Option<Fault>) -> Fault {
    let message = format!("{due} rows of {} are still due after {SWEEPS_MAX} sweeps", spec.table);
    match kept {
        Some(fault) => Fault { message: format!("{message}: {}", fault.message), ..fault },
        None => {
            let mut fault = Fault::new(Class::Fatal, message);
            let hint = match CopySpec::of(spec) {
                Some(_) => "a trigger or a rule of the target turns the rows away",
                None => {
                    "the application goes on writing NULL: give the column a default or a trigger first; or a trigger of the table turns the update away"
                }
            };
            fault.hint = Some(hint.to_owned());
            fault
        }
    }
}
