//! Carries out a deed of many statements outside one transaction, the indexes of a partitioned table: asks what is due, runs
//! the first of it, and asks again, until nothing is. So it goes on from wherever it was left, and sees what others change.

use std::collections::{HashMap, HashSet};

use tokio_postgres::{Client, error::SqlState};

use super::{
    attempt::execute,
    error::DriveError,
    perform::in_statement,
    shell::{Shell, cancellable},
};
use crate::{
    engine::Notice,
    pg::{self, Bounds, Class, Errand, ErrandKind, Fault, InTheWay, in_transaction},
    sql::{QName, Stmt},
    unit::{Before, Due, Unit},
};

/// How often the same statement may be due again after it succeeded: a partition that comes and goes meanwhile. Beyond this
/// it does not do what it is for.
const SAME_MAX: u32 = 3;

impl Shell {
    /// Runs what is due until nothing is.
    pub(super) async fn run_errands(
        &self,
        unit: &Unit,
        due: &Due,
        before: &Before,
        way: Errands,
    ) -> Result<(), DriveError> {
        let bounds = Bounds { lock: self.safety().index_wait.duration(), ..self.bounds() };
        let (mut ran, mut met, mut number, mut begun) = (HashMap::new(), HashSet::new(), 0, false);
        loop {
            let all = self.due(due, before).await?;
            let Some(errand) = all.first() else { return Ok(()) };
            number += 1;
            let first = !begun && (way == Errands::Undo || errand.kind != ErrandKind::Clear);
            if first {
                begun = true;
                self.wait_before(&all, way).await?;
            }
            if errand.kind == ErrandKind::Build && !(first && way == Errands::Deed) {
                self.wait_before(std::slice::from_ref(errand), Errands::Deed).await?;
            }
            if number == 1 && (all.len() > 1 || !ran.is_empty()) {
                self.say(Notice::Note {
                    text: format!("{}: now {}; after it: {}", unit.title, errand.stmt, all.len() - 1),
                });
            }
            let (watch, sampled) = self.watch_blockers(self.errand_bounds(errand, bounds).lock);
            let run = self.errand(errand, bounds, number).await;
            watch.abort();
            let Err(error) = run else {
                number = 0;
                let times = ran.entry(errand.stmt.clone()).or_insert(0_u32);
                *times += 1;
                if *times > SAME_MAX {
                    let what = format!("succeeded {times} times, and is due again");
                    return Err(Fault::new(Class::Fatal, what).in_statement(errand.stmt.as_str()).into());
                }
                continue;
            };
            // A former holder's build came between the look and ours: it met no fence, and is waited for like any of ours.
            if errand.kind == ErrandKind::Build && is_there(&error) && met.insert(errand.stmt.clone()) {
                self.look_when_quiet(unit, true).await?;
                number = 0;
                continue;
            }
            let error =
                self.cleared(in_statement(error, &errand.stmt), errand, Wreck::Due(due, before), bounds).await?;
            self.try_again(error, number, sampled.take(), "CONCURRENTLY").await?;
        }
    }

    /// What is due now, first things first.
    async fn due(&self, due: &Due, before: &Before) -> Result<Vec<Errand>, DriveError> {
        let asked = in_transaction(&self.work, self.bounds(), async |client: &Client| {
            Ok::<_, DriveError>(pg::due(client, due, &before.restore).await?)
        });
        cancellable(&self.work, &self.stop, asked).await
    }

    fn errand_bounds(&self, errand: &Errand, alone: Bounds) -> Bounds {
        match errand.kind {
            ErrandKind::Clear | ErrandKind::Build => alone,
            ErrandKind::Change(_) => self.bounds(),
        }
    }

    async fn errand(&self, errand: &Errand, alone: Bounds, number: u32) -> Result<(), DriveError> {
        match errand.kind {
            ErrandKind::Clear | ErrandKind::Build => self.autocommit(alone, errand.stmt.as_str()).await,
            ErrandKind::Change(_) => {
                self.wait_for_old_transactions(&errand.lock(), number).await?;
                let stmts = std::slice::from_ref(&errand.stmt);
                self.fenced(self.bounds(), async |client: &Client| execute(client, stmts).await).await
            }
        }
    }

    /// Waits for the old transactions that CONCURRENTLY would wait for, before it has made anything.
    async fn wait_before(&self, all: &[Errand], way: Errands) -> Result<(), DriveError> {
        let tables = |kind: ErrandKind| {
            let of = all.iter().filter(|errand| errand.kind == kind);
            of.flat_map(|errand| errand.tables.clone()).collect::<Vec<QName>>()
        };
        match way {
            Errands::Deed => self.wait_for_those_in_the_way(&tables(ErrandKind::Build), InTheWay::OfBuild, true).await,
            // A drop that waits is in nobody's way, so it is begun when they are still there after the wait.
            Errands::Undo => self.wait_for_those_in_the_way(&tables(ErrandKind::Clear), InTheWay::OfDrop, false).await,
        }
    }

    /// The build failed: clears what it left at once, since the wreck of a unique index goes on rejecting the application's
    /// rows. Gives back the error to answer for, which tells also when the wreck could not be cleared.
    async fn cleared(
        &self,
        error: DriveError,
        errand: &Errand,
        wreck: Wreck<'_>,
        bounds: Bounds,
    ) -> Result<DriveError, DriveError> {
        match error.class() {
            Some(Class::Ambiguous) => return Err(error),
            None => {
                self.clear_in_haste(wreck).await;
                return Err(error);
            }
            Some(Class::Transient | Class::Privilege | Class::Cancelled | Class::Resources | Class::Fatal) => {}
        }
        if errand.kind != ErrandKind::Build {
            return Ok(error);
        }
        let clearing = async {
            let left = in_transaction(&self.work, self.bounds(), async |client: &Client| {
                Ok::<_, DriveError>(wreck.stmts(client).await?)
            });
            self.clear(&cancellable(&self.work, &self.stop, left).await?, bounds).await
        };
        both(error, clearing.await)
    }
}

/// Whether something of that name is there already.
fn is_there(error: &DriveError) -> bool {
    matches!(error, DriveError::Server(fault) if fault.is(&SqlState::DUPLICATE_TABLE))
}

/// Which way the errands go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Errands {
    Deed,
    Undo,
}

/// What clears what a failed attempt left.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wreck<'a> {
    Known(&'a [Stmt]),
    Due(&'a Due, &'a Before),
}

impl Wreck<'_> {
    /// The statements that clear it.
    pub(super) async fn stmts(self, client: &Client) -> Result<Vec<Stmt>, Fault> {
        match self {
            Self::Known(stmts) => Ok(stmts.to_vec()),
            Self::Due(due, before) => {
                let all = pg::due(client, due, &before.restore).await?;
                Ok(all
                    .into_iter()
                    .take_while(|errand| errand.kind == ErrandKind::Clear)
                    .map(|errand| errand.stmt)
                    .collect())
            }
        }
    }
}

/// The error of a deed, with that of clearing up after it: one must not hide the other. A lost connection or a stop while
/// clearing is itself the error, since then nothing can be recorded.
pub(super) fn both(error: DriveError, cleared: Result<(), DriveError>) -> Result<DriveError, DriveError> {
    match (error, cleared) {
        (error, Ok(())) => Ok(error),
        (DriveError::Server(mut fault), Err(DriveError::Server(other))) if other.class != Class::Ambiguous => {
            let statement = other.statement.clone().unwrap_or_default();
            let left = format!("what it left could not be cleared: {other}; {statement}");
            fault.detail = Some(fault.detail.map_or(left.clone(), |detail| format!("{detail}; {left}")));
            // Another attempt would meet the wreck.
            fault.class = if fault.class == Class::Transient { other.class } else { fault.class };
            Ok(DriveError::Server(fault))
        }
        (_, Err(other)) => Err(other),
    }
}
