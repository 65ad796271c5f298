//! One worker: claims a range, writes it batch by batch, claims the next.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_postgres::{error::SqlState, types::Type};

use super::crew::{Crew, Manner, ROW_LOCK_WAIT};
use crate::{
    driver::{attempt::watch_blockers, error::DriveError, shell::cancellable},
    engine::{Blocker, Notice, ranges::Range},
    ledger::{self, Batch, Written},
    pace::stripes::Change,
    pg::{
        Class, Fault,
        batch::{Growth, Part, Work},
        connect::Connection,
    },
};

/// A lost session is opened again so often in a row before the whole backfill is begun again from the ledger.
const LOSSES_MAX: u32 = 3;
/// Between two tries to open a session again; a server that restarts takes longer than all of them.
const REOPEN_PAUSE: Duration = Duration::from_millis(300);

/// Ranges that a worker writes in turn, a stripe of each. A stripe can go into the room of the one before it only once no
/// snapshot sees the old versions any more, and the other workers' statements, or the application's, that began before its
/// commit do. While the worker is at its other ranges they come to their end. (2M rows, two workers with one range each: size
/// 1.57, 66 % HOT; two each: 1.34 to 1.44; three each: 1.27 to 1.28, as one worker; four, begun apart, bear a long batch too.)
const RANGES: u32 = 4;

/// Works until nothing is to be had. What it has committed stays, whatever becomes of it or of others.
pub(super) async fn work(crew: Arc<Crew>, number: u32) -> Result<(), DriveError> {
    let mut worker = Worker { session: crew.session().await?, crew, number, target: None };
    let mut held = Vec::new();
    let result = worker.run(&mut held).await;
    for left in held {
        worker.crew.give_back(left.range).await;
    }
    result
}

/// A range and what was done of it by this worker.
struct Held {
    range: Range,
    written: Written,
    /// Its longest batch: that is what a writer may have to wait for. The first one of a range is several times as long as
    /// the others, since it writes the pages' images to the WAL and has no room in them.
    longest: Duration,
}

/// Whether a further range may be begun: the youngest one in hand is far enough that at most one first batch, which is long,
/// falls into each turn.
fn has_room(held: &[Held]) -> bool {
    let under_way = |at: &Held| at.range.stripes_done >= at.range.stripes.div_ceil(RANGES);
    held.len() < RANGES as usize && held.iter().all(under_way)
}

pub(super) struct Worker {
    pub session: Connection,
    pub crew: Arc<Crew>,
    number: u32,
    /// The target that the session's deadline was set for.
    target: Option<Duration>,
}

impl Worker {
    async fn run(&mut self, held: &mut Vec<Held>) -> Result<(), DriveError> {
        loop {
            if has_room(held)
                && self.crew.leave(self.number).await?
                && let Some(range) = self.claim().await?
            {
                held.push(Held { range, written: Written::default(), longest: Duration::ZERO });
            }
            if held.is_empty() {
                return Ok(());
            }
            for at in held.iter_mut() {
                if !self.crew.leave(self.number).await? {
                    return Ok(());
                }
                self.one_batch(at).await?;
            }
            for done in held.extract_if(.., |at| at.range.stripes_done >= at.range.stripes) {
                let change = self.crew.finished(&done.range, done.longest, done.written);
                if let Some(change) = change {
                    self.tell_change(change).await;
                }
                self.crew.give_back(done.range).await;
            }
        }
    }

    /// The next range; asked for again while somebody keeps the ledger's rows.
    async fn claim(&self) -> Result<Option<Range>, DriveError> {
        let mut number = 0;
        loop {
            match self.crew.claim(&self.session).await {
                Ok(range) => return Ok(range),
                Err(error) => {
                    number += 1;
                    self.try_again(error, number, Vec::new()).await?;
                }
            }
        }
    }

    /// The next batch of a range.
    async fn one_batch(&mut self, at: &mut Held) -> Result<(), DriveError> {
        self.keep_to_target().await?;
        let begun = Instant::now();
        let batch = match self.crew.means.manner {
            Manner::RowByRow => self.row_by_row(&mut at.range).await?,
            Manner::Striped | Manner::Skipping => self.batch(&mut at.range).await?,
        };
        at.longest = at.longest.max(begun.elapsed());
        (at.written.rows, at.written.hot) = (at.written.rows + batch.rows, at.written.hot + batch.hot);
        self.crew.told(batch, begun.elapsed());
        Ok(())
    }

    /// An operator may have changed the target, which the deadline follows.
    async fn keep_to_target(&mut self) -> Result<(), DriveError> {
        let target = self.crew.means.orders.borrow().target_batch;
        if self.target.replace(target).is_some_and(|known| known != target) {
            self.crew.bound(&self.session, false).await?;
        }
        Ok(())
    }

    /// The range's next batch. A row that somebody has locked makes it begin again, passing such rows by.
    async fn batch(&mut self, range: &mut Range) -> Result<Written, DriveError> {
        let (mut number, mut losses) = (0, 0);
        loop {
            let work = self.crew.means.batches.work(range, &Part::Stripe);
            let (watch, sampled) = self.watch(ROW_LOCK_WAIT);
            let done = self.send(range, &work, true).await;
            watch.abort();
            match done {
                Ok(Batch::Done(written)) => {
                    range.stripes_done += 1;
                    return Ok(written);
                }
                Ok(Batch::Elsewhere) => return self.reload(range).await,
                Err(error) => match what_now(&error, range.skipping) {
                    Course::PassBy => range.skipping = true,
                    Course::LookForHeap => {
                        if self.heap_is_there(range).await? {
                            return Err(error);
                        }
                        return self.abandon(range).await;
                    }
                    Course::InPieces => {
                        self.crew.timed_out();
                        return self.in_pieces(range, &error).await;
                    }
                    Course::Reopen if losses < LOSSES_MAX => {
                        losses += 1;
                        self.reopen(error).await?;
                    }
                    Course::Reopen | Course::TryAgain => {
                        number += 1;
                        self.try_again(error, number, sampled.take()).await?;
                    }
                },
            }
        }
    }

    async fn heap_is_there(&self, range: &Range) -> Result<bool, DriveError> {
        let query = "SELECT to_regclass($1) IS NOT NULL";
        let turn = self.session.turn().await?;
        let there = turn.client().query_typed_one(query, &[(&range.heap, Type::TEXT)]).await;
        Ok(turn.end(there.map_err(Fault::from)).await?.try_get(0)?)
    }

    /// The partition was dropped while it was walked, and its rows with it.
    async fn abandon(&self, range: &mut Range) -> Result<Written, DriveError> {
        let means = &self.crew.means;
        let turn = self.session.turn().await?;
        let ended = ledger::abandon(turn.client(), &means.place, &means.unit, range).await;
        turn.end(ended).await?;
        range.stripes_done = range.stripes;
        Ok(Written::default())
    }

    /// Sends one batch, or with `whole = false` a piece of it.
    pub(super) async fn send(&self, range: &Range, work: &Work, whole: bool) -> Result<Batch, DriveError> {
        let means = &self.crew.means;
        let sent = async {
            let turn = self.session.turn().await?;
            let client = turn.client();
            let done = match whole {
                true => ledger::batch(client, &means.place, &means.unit, range, work).await,
                false => ledger::piece(client, &means.place, &means.unit, range, work).await,
            };
            Ok(turn.end(done).await?)
        };
        cancellable(&self.session, &means.stop, sent).await
    }

    pub(super) async fn try_again(
        &self,
        error: DriveError,
        number: u32,
        blockers: Vec<Blocker>,
    ) -> Result<(), DriveError> {
        self.crew.means.patience.try_again(error, number, blockers, "the backfill").await
    }

    pub(super) fn watch(
        &self,
        lock_timeout: Duration,
    ) -> (tokio::task::JoinHandle<()>, crate::driver::attempt::Sample) {
        let means = &self.crew.means;
        watch_blockers(&means.monitor, &means.tell, self.session.process(), lock_timeout)
    }

    /// The batch was committed and its answer was lost: the ledger knows how far the range is.
    pub(super) async fn reload(&self, range: &mut Range) -> Result<Written, DriveError> {
        let means = &self.crew.means;
        let turn = self.session.turn().await?;
        let now = ledger::range_now(turn.client(), &means.place, &means.unit, range).await;
        let now = turn.end(now).await?;
        match now.filter(|now| now.stripes_done > range.stripes_done) {
            Some(now) => {
                *range = now;
                Ok(Written::default())
            }
            None => Err(DriveError::Ledger(ledger::LedgerError::Damaged {
                run: means.place.run.to_string(),
                what: format!("range {} of {} is gone or went back", range.number, means.unit),
            })),
        }
    }

    async fn reopen(&mut self, error: DriveError) -> Result<(), DriveError> {
        let why = self.session.lost_because().unwrap_or_else(|| error.to_string());
        self.crew.means.stop.sleep(REOPEN_PAUSE).await?;
        let session = match self.crew.session().await {
            Ok(session) => session,
            Err(again) => {
                tracing::debug!("no new session for batches: {again}");
                return Err(error);
            }
        };
        // The server may still be at the lost batch, its commit waiting for a replica: until it has ended it holds its range
        // and its rows, and none of the few tries for a lock would have them.
        if !session.pooled {
            let fleet = &self.crew.means.settings.fleet;
            if !fleet.end(&session, &fleet.only(&self.session)).await? {
                return Err(error);
            }
        }
        (self.session, self.target) = (session, None);
        let text = format!("worker {} lost its session ({why}) and goes on with a new one", self.number + 1);
        (self.crew.means.tell)(Notice::Note { text });
        Ok(())
    }

    async fn growth(&self) -> Result<Growth, Fault> {
        let turn = self.session.turn().await?;
        let growth = self.crew.means.batches.growth(turn.client()).await;
        turn.end(growth).await
    }

    async fn tell_change(&self, change: Change) {
        let text = match change {
            Change::GaveUp { hot_percent } => {
                let why = match self.growth().await {
                    Ok(growth) if !growth.causes.is_empty() => growth.causes.join("; "),
                    Ok(_) => "no cause is to be seen".to_owned(),
                    Err(fault) => fault.to_string(),
                };
                format!(
                    "only {hot_percent} % of the new versions fit into their pages ({why}): plain ranges from here on"
                )
            }
            Change::TookUp { hot_percent } => {
                format!("{hot_percent} % of the new versions fit into their pages again: stripes from here on")
            }
        };
        (self.crew.means.tell)(Notice::Note { text });
    }
}

/// What follows a batch's failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Course {
    /// Somebody has a row: once more, without the locked ones.
    PassBy,
    /// One of its rows cannot be written, or not in time.
    InPieces,
    /// A table is not there: the partition itself may have been dropped.
    LookForHeap,
    /// The session is gone.
    Reopen,
    /// By its class, as everything else.
    TryAgain,
}

/// SQLSTATE classes of errors that one row causes: data, integrity, a trigger's own, WITH CHECK OPTION.
const OF_A_ROW: [&str; 4] = ["22", "23", "P0", "44"];

/// What follows a failure, by its class.
pub(super) fn what_now(error: &DriveError, skipping: bool) -> Course {
    let DriveError::Server(fault) = error else { return Course::TryAgain };
    let of_a_row = |fault: &Fault| {
        let state = fault.sqlstate.as_deref().and_then(|state| state.get(..2));
        state.is_some_and(|state| OF_A_ROW.contains(&state))
    };
    match fault.class {
        Class::Transient if !skipping => Course::PassBy,
        Class::Cancelled => Course::InPieces,
        Class::Ambiguous => Course::Reopen,
        Class::Fatal if of_a_row(fault) => Course::InPieces,
        Class::Fatal if fault.is(&SqlState::UNDEFINED_TABLE) => Course::LookForHeap,
        Class::Transient | Class::Privilege | Class::Resources | Class::Fatal => Course::TryAgain,
    }
}
