//! The four legs of a cycle, with the fingerprint of each end.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use tokio_postgres::Client;

use super::compare::{Comparison, End, tables};
use crate::{
    cli::{
        consent,
        failure::CliError,
        story::{self, Goal},
    },
    driver::{DriveError, Lease, Rest, Shell, Stop, drive},
    engine::{Event, Outcome, Program},
    exit::Exit,
    ledger::{self, Recorded},
    pg::{
        connect::Connection,
        fingerprint::{ColumnName, Fingerprint, TableName, columns},
    },
    unit::{Presence, UnitId},
};

/// One way through the whole plan.
#[derive(Debug)]
pub struct Leg {
    pub name: &'static str,
    pub done: bool,
    pub units: usize,
    /// Rows that backfills wrote.
    pub rows: u64,
    pub took: Duration,
}

/// What a cycle saw.
#[derive(Debug, Default)]
pub struct Walk {
    pub legs: Vec<Leg>,
    pub comparisons: Vec<Comparison>,
    /// The rows that no comparison covers: table, end, reason.
    pub unread: Vec<(TableName, &'static str, String)>,
    /// Columns whose values are new with each up, left out when the two ups are compared.
    pub fluid: Vec<ColumnName>,
    /// Units whose deed stood there before: neither done nor undone, so not tried.
    pub adopted: Vec<String>,
    /// How the leg that failed ended.
    pub failure: Option<story::End>,
}

const LEGS: [(&str, &str, Goal); 4] = [
    ("up 1", "after up 1", Goal::Forward { until: None }),
    ("down 1", "after down 1", Goal::Back),
    ("up 2", "after up 2", Goal::Forward { until: None }),
    ("down 2", "after down 2", Goal::Back),
];
const FAILED: &str = "after the failure";

/// A walk that could not be finished, and during which leg.
#[derive(Debug)]
pub struct Stopped {
    pub during: &'static str,
    pub error: CliError,
}

/// Goes the four legs with the opened run; `admin` takes the fingerprints. The lease is given back by the caller.
pub async fn walk(admin: &Connection, shell: &mut Shell, exclude: &[String], start: Start) -> Result<Walk, Stopped> {
    let mut walk = Walk::default();
    let mut ends = vec![start.end];
    for (name, end, goal) in LEGS {
        let stopped = |error: CliError| Stopped { during: name, error };
        walk.leg(shell, name, goal).await.map_err(stopped)?;
        let failed = walk.failure.is_some();
        if name == "up 1" && !failed {
            walk.fluid = fluid(admin, exclude, &start.columns).await.map_err(stopped)?;
        }
        let ignore = if failed || goal == Goal::Back { &[] } else { walk.fluid.as_slice() };
        let print = take(admin, &shell.stop, exclude, ignore).await.map_err(stopped)?;
        ends.push(End { name: if failed { FAILED } else { end }, print });
        if failed {
            break;
        }
    }
    walk.compare(&ends);
    Ok(walk)
}

/// The database before the first leg.
#[derive(Debug)]
pub struct Start {
    end: End,
    columns: BTreeSet<ColumnName>,
}

impl Start {
    /// Takes it.
    pub async fn take(admin: &Connection, stop: &Stop, exclude: &[String]) -> Result<Self, CliError> {
        let columns = columns(&admin.client, exclude).await?.all;
        let print = take(admin, stop, exclude, &[]).await?;
        Ok(Self { end: End { name: "start", print }, columns })
    }
}

/// A fingerprint reads every row, which may take long: a signal cancels it.
async fn take(
    admin: &Connection,
    stop: &Stop,
    exclude: &[String],
    ignore: &[ColumnName],
) -> Result<Fingerprint, CliError> {
    stop.check().map_err(failed)?;
    tokio::select! {
        print = Fingerprint::take(&admin.client, exclude, ignore) => Ok(print?),
        () = stop.cancel_now() => {
            if let Err(why) = admin.cancel().await {
                tracing::warn!("the fingerprint's statement could not be cancelled: {why}");
            }
            // The session goes on to be used, out of the snapshot.
            admin.client.batch_execute("ROLLBACK").await?;
            stop.check().map_err(failed)?;
            Err(DriveError::LeaseLost("it was asked to stop".to_owned()).into())
        }
    }
}

/// The columns that the plan made with a default that gives another value each time.
async fn fluid(
    admin: &Connection,
    exclude: &[String],
    before: &BTreeSet<ColumnName>,
) -> Result<Vec<ColumnName>, CliError> {
    let columns = columns(&admin.client, exclude).await?;
    Ok(columns.fluid.difference(before).cloned().collect())
}

impl Walk {
    async fn leg(&mut self, shell: &mut Shell, name: &'static str, goal: Goal) -> Result<(), CliError> {
        let begun = Instant::now();
        let first = shell.journal.last() + 1;
        let mut rest = match goal {
            Goal::Forward { .. } => up(shell).await.map_err(failed)?,
            Goal::Back => down(shell).await?,
        };
        let done = match goal {
            Goal::Forward { .. } => rest == Rest::At(Outcome::Completed),
            Goal::Back => rest == Rest::At(Outcome::RolledBack { keep: 0 }) && !shell.journal.run.undo_is_in_doubt(),
        };
        if !done && matches!(rest, Rest::At(Outcome::RolledBack { keep: 1.. } | Outcome::Paused)) {
            // Nothing of a cycle is to stay, whatever the plan says about its failures.
            rest = down(shell).await?;
        }
        let place = &shell.journal.place;
        let read = async |client: &Client| ledger::read(client, &place.schema, place.run).await;
        let events = shell.monitor.with(read).await?.map_or(Vec::new(), |kept| kept.events);
        let program = &shell.journal.record.program;
        if !done {
            self.failure = Some(story::End::of(program, &events, first, rest, goal));
        }
        let events: Vec<Recorded> = events.into_iter().filter(|recorded| recorded.number >= first).collect();
        self.legs.push(measure(name, goal, done, &events, begun.elapsed()));
        if self.legs.len() == 1 {
            self.adopted = events.iter().filter_map(|recorded| adopted(program, &recorded.event)).collect();
        }
        Ok(())
    }

    fn compare(&mut self, ends: &[End]) {
        let at = |name: &str| ends.iter().find(|end| end.name == name);
        let [start, failed] = ["start", FAILED].map(at);
        let there = start.map(tables).unwrap_or_default();
        let [up1, down1, up2, down2] = LEGS.map(|(_, end, _)| at(end));
        for (before, after, scope) in [
            (start, down1, Some(&there)),
            (up1, up2, None),
            (start, down2, Some(&there)),
            (start, failed, Some(&there)),
        ] {
            if let (Some(before), Some(after)) = (before, after) {
                self.comparisons.push(Comparison::of(before, after, scope));
            }
        }
        for end in ends {
            let unread = end.print.data.unreadable().map(|(table, why)| (table.clone(), end.name, why.to_owned()));
            self.unread.extend(unread);
        }
    }
}

/// A signal's end without the words about a run that is kept: what stands is told by whoever knows.
fn failed(error: DriveError) -> CliError {
    match &error {
        DriveError::Interrupted(signal) => {
            CliError::new(Exit::of(signal.exit_code()), error.to_string(), "tenantmig cycle PLAN")
        }
        DriveError::LeaseLost(_)
        | DriveError::Silence(_)
        | DriveError::Away { .. }
        | DriveError::Ledger(_)
        | DriveError::Server(_)
        | DriveError::Connect(_)
        | DriveError::Illegal(_)
        | DriveError::Yield
        | DriveError::Refused { .. } => CliError::from(error),
    }
}

async fn up(shell: &mut Shell) -> Result<Rest, DriveError> {
    shell.wake().await?;
    drive(shell, None).await
}

async fn down(shell: &mut Shell) -> Result<Rest, CliError> {
    let said = shell.guards_found(0).await.map_err(failed)?;
    let consents = consent::of_a_cycle(said.found)?;
    shell.put_off(said.put_off, consent::of_a_cycle_beforehand()).await.map_err(failed)?;
    shell.record(Event::RollbackRequested { keep: "start".to_owned(), consents }).await.map_err(failed)?;
    drive(shell, None).await.map_err(failed)
}

fn measure(name: &'static str, goal: Goal, done: bool, events: &[Recorded], took: Duration) -> Leg {
    let (mut up, mut back, mut rows) = (0, 0, 0);
    for recorded in events {
        match &recorded.event {
            Event::Succeeded { rows: written, .. } => (up, rows) = (up + 1, rows + written.unwrap_or(0)),
            Event::Undone { .. } => back += 1,
            Event::Started { .. }
            | Event::Failed { .. }
            | Event::UndoStarted { .. }
            | Event::UndoFailed { .. }
            | Event::GatePassed { .. }
            | Event::GateFailed { .. }
            | Event::RollbackRequested { .. }
            | Event::UndoChecked { .. }
            | Event::GuardsPutOff { .. }
            | Event::GuardAsked { .. }
            | Event::TurnedRound
            | Event::Paused { .. }
            | Event::Drifted { .. }
            | Event::DriftAccepted { .. }
            | Event::Throttled { .. }
            | Event::Unthrottled { .. }
            | Event::Retuned { .. }
            | Event::Repaired { .. }
            | Event::Resumed => {}
        }
    }
    Leg { name, done, units: if goal == Goal::Back { back } else { up }, rows, took }
}

fn adopted(program: &Program, event: &Event) -> Option<String> {
    let title = |unit: &UnitId| program.find(unit).map(|(_, _, unit)| unit.title.clone());
    match event {
        Event::Started { unit, before } if before.presence == Presence::Present => title(unit),
        Event::Started { .. }
        | Event::Succeeded { .. }
        | Event::Failed { .. }
        | Event::UndoStarted { .. }
        | Event::Undone { .. }
        | Event::UndoFailed { .. }
        | Event::GatePassed { .. }
        | Event::GateFailed { .. }
        | Event::RollbackRequested { .. }
        | Event::UndoChecked { .. }
        | Event::GuardsPutOff { .. }
        | Event::GuardAsked { .. }
        | Event::TurnedRound
        | Event::Paused { .. }
        | Event::Drifted { .. }
        | Event::DriftAccepted { .. }
        | Event::Throttled { .. }
        | Event::Unthrottled { .. }
        | Event::Retuned { .. }
        | Event::Repaired { .. }
        | Event::Resumed => None,
    }
}

/// Gives the lease back and says how far the run stands: how many units are done.
pub async fn leave(shell: Shell, lease: Lease) -> (usize, usize) {
    lease.give_back().await;
    (shell.journal.run.units_done(), shell.journal.record.program.units().count())
}
