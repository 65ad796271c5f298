//! What the workers of one walk share: the ranges, how large they are, whether they may go on, and what is done.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Mutex as AsyncMutex, watch};

use crate::{
    driver::{
        attempt::Patience,
        error::DriveError,
        shell::{Tell, millis},
        stop::Stop,
    },
    engine::{
        Notice,
        ranges::{Next, Range, Walk},
    },
    ledger::{self, Place, Written},
    pace::{
        sizing::{self, Sizing},
        stripes::{Change, Stripes},
    },
    pg::{
        Bounds, Class, Fault,
        batch::{Batches, Fill},
        connect::{Connection, SessionSpec, connect},
        settings::Settings,
    },
    plan::SynchronousCommit,
    unit::UnitId,
};

/// A batch gives a row lock up after so long: a writer that waits for another row of the batch waits for this as well. It is
/// far below the usual deadlock_timeout (1 s), and never more than half of the server's, so that the batch always yields
/// before the server looks for a victim.
pub(super) const LOCK_WAIT: Duration = Duration::from_millis(25);
/// One row by itself holds nothing that others wait for, so it may wait longer.
pub(super) const ROW_LOCK_WAIT: Duration = Duration::from_millis(500);
/// A batch that takes so many times its target is ended and done in pieces; between one second and the longest a writer may
/// be kept waiting by a server that stalls.
const DEADLINE_TARGETS: u32 = 20;
const DEADLINE_MIN: Duration = Duration::from_secs(1);
const DEADLINE_MAX: Duration = Duration::from_secs(10);
/// One row that takes longer than this cannot be written.
const ROW_DEADLINE: Duration = Duration::from_secs(5);
/// Orders are looked at again so often even if nobody changed them.
const ORDERS_WAIT: Duration = Duration::from_secs(1);
/// Rows of a page where nothing is known: 8 kB of middling rows.
const ROWS_A_BLOCK: f64 = 60.0;

/// How rows are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// The main walk: stripes, and a wait of a moment for a locked row.
    Striped,
    /// A sweep: plain ranges, locked rows are passed by.
    Skipping,
    /// A late sweep: each row by itself, waiting for whoever has it.
    RowByRow,
}

/// What the control tells the workers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Orders {
    /// Whether batches may begin.
    pub go: bool,
    /// Come to an end: something failed, or the run pauses.
    pub closing: bool,
    pub workers: u32,
    pub target_batch: Duration,
}

/// What a crew works with.
pub(super) struct Means {
    pub settings: Settings,
    pub place: Place,
    pub unit: UnitId,
    pub batches: Batches,
    pub manner: Manner,
    pub orders: watch::Receiver<Orders>,
    pub tell: Tell,
    pub stop: Stop,
    pub patience: Patience,
    pub monitor: Arc<Connection>,
    pub synchronous_commit: Option<SynchronousCommit>,
    /// The most rows that a batch may walk over.
    pub batch_rows: u32,
    /// How long a batch waits for a row.
    pub lock_wait: Duration,
}

/// Where a walk stands when its crew begins.
pub(super) struct Start {
    pub walk: Walk,
    pub fill: Fill,
    pub rows: u64,
    pub rows_estimated: u64,
    pub blocks: u64,
    pub blocks_all: u64,
}

/// The shared state of one walk.
pub(super) struct Crew {
    pub means: Means,
    /// `None` once a claim failed: what is claimed is then known to the ledger alone.
    walk: AsyncMutex<Option<Walk>>,
    size: Mutex<(Sizing, Stripes)>,
    rows_a_block: f64,
    /// Why a row was left to the next sweep.
    kept: Mutex<Option<Fault>>,
    rows: AtomicU64,
    rows_estimated: u64,
    blocks: AtomicU64,
    blocks_all: u64,
}

impl fmt::Debug for Crew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crew")
            .field("unit", &self.means.unit)
            .field("manner", &self.means.manner)
            .finish_non_exhaustive()
    }
}

impl Crew {
    /// A crew for the walk.
    pub(super) fn new(means: Means, start: Start) -> Self {
        let workers = means.orders.borrow().workers;
        let size = match means.manner {
            Manner::Striped if !means.batches.takes_stripes() => (Sizing::new(), Stripes::none()),
            Manner::Striped => (Sizing::new(), Stripes::new(start.fill.rows_a_block, workers)),
            Manner::Skipping | Manner::RowByRow => (Sizing::sweeping(), Stripes::none()),
        };
        Self {
            means,
            walk: AsyncMutex::new(Some(start.walk)),
            size: Mutex::new(size),
            rows_a_block: start.fill.rows_a_block.unwrap_or(ROWS_A_BLOCK).max(1.0),
            kept: Mutex::new(None),
            rows: AtomicU64::new(start.rows),
            rows_estimated: start.rows_estimated,
            blocks: AtomicU64::new(start.blocks),
            blocks_all: start.blocks_all,
        }
    }

    /// A session for batches.
    pub(super) async fn session(&self) -> Result<Connection, DriveError> {
        let mut spec = SessionSpec::new("tenantmig batch", self.means.lock_wait);
        spec.statement_timeout = Some(self.deadline());
        spec.survey = true;
        // Compiling a statement takes longer than most batches.
        spec.further.push(("jit", "off".to_owned()));
        if let Some(commit) = self.means.synchronous_commit {
            spec.further.push(("synchronous_commit", commit.word().to_owned()));
        }
        Ok(connect(&self.means.settings, &spec).await?)
    }

    /// The bounds of batches, or of a row by itself, on a session.
    pub(super) async fn bound(&self, session: &Connection, one_row: bool) -> Result<(), DriveError> {
        let (lock, statement) =
            if one_row { (ROW_LOCK_WAIT, ROW_DEADLINE) } else { (self.means.lock_wait, self.deadline()) };
        Ok(session.set_bounds(Bounds { lock, statement }).await?)
    }

    fn deadline(&self) -> Duration {
        let target = self.means.orders.borrow().target_batch;
        target.saturating_mul(DEADLINE_TARGETS).clamp(DEADLINE_MIN, DEADLINE_MAX)
    }

    /// Waits until a batch may begin. `false`: none may any more.
    pub(super) async fn leave(&self, worker: u32) -> Result<bool, DriveError> {
        let mut orders = self.means.orders.clone();
        loop {
            self.means.stop.check()?;
            let now = orders.borrow_and_update().clone();
            if now.closing || worker >= now.workers {
                return Ok(false);
            }
            if now.go {
                return Ok(true);
            }
            tokio::select! {
                changed = orders.changed() => if changed.is_err() { return Ok(false) },
                stopped = self.means.stop.sleep(ORDERS_WAIT) => stopped?,
            }
        }
    }

    /// The next range, recorded in the ledger; `None` when there is none to be had.
    pub(super) async fn claim(&self, session: &Connection) -> Result<Option<Range>, DriveError> {
        let mut slot = self.walk.lock().await;
        let Some(walk) = slot.as_mut() else { return Ok(None) };
        let (number, heap, lo) = match walk.next_range() {
            Next::Take(range) => return Ok(Some(range)),
            Next::Claim { number, heap, lo } => (number, heap, lo),
            Next::Nothing => return Ok(None),
        };
        let (stripes, blocks) = self.size();
        let range = Range {
            sweep: walk.sweep(),
            number,
            heap: heap.name,
            lo,
            hi: lo.saturating_add(blocks).min(heap.end),
            stripes,
            stripes_done: 0,
            skipping: self.means.manner == Manner::Skipping,
        };
        let Means { place, unit, .. } = &self.means;
        let recorded = async {
            let turn = session.turn().await?;
            let claimed = ledger::claim(turn.client(), place, unit, &range).await;
            turn.end(claimed).await
        };
        if let Err(error) = recorded.await.map_err(DriveError::from) {
            // A lock that was not had: the server itself says that nothing is recorded, and the claim can be made again. After
            // everything else it may be recorded or not: nobody claims on top of it.
            if error.class() != Some(Class::Transient) {
                *slot = None;
            }
            return Err(error);
        }
        match walk.claimed(&range) {
            Ok(()) => Ok(Some(range)),
            Err(gap) => Err(DriveError::Ledger(ledger::LedgerError::Damaged {
                run: place.run.to_string(),
                what: gap.to_string(),
            })),
        }
    }

    /// The range is done, or is left for others.
    pub(super) async fn give_back(&self, range: Range) {
        if let Some(walk) = self.walk.lock().await.as_mut() {
            walk.give_back(range);
        }
    }

    /// Whether every range is committed.
    pub(super) async fn is_done(&self) -> bool {
        self.walk.lock().await.as_ref().is_some_and(Walk::is_done)
    }

    /// Stripes and blocks of a range that is claimed now.
    fn size(&self) -> (u32, u64) {
        let size = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        let stripes = size.1.next_range();
        (stripes, size.0.blocks(self.bounds(stripes)))
    }

    fn bounds(&self, stripes: u32) -> sizing::Bounds {
        let target_ms = self.means.orders.borrow().target_batch.as_secs_f64() * 1000.0;
        let rows = f64::from(self.means.batch_rows) * f64::from(stripes);
        sizing::Bounds { target_ms, blocks_max: (rows / self.rows_a_block).max(1.0) as u64 }
    }

    /// A range is finished: how long its longest batch took, and what all of them wrote.
    pub(super) fn finished(&self, range: &Range, batch: Duration, written: Written) -> Option<Change> {
        self.blocks.fetch_add(range.hi - range.lo, Ordering::Relaxed);
        let mut size = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        size.0.took(range.hi - range.lo, batch.as_secs_f64() * 1000.0, self.bounds(range.stripes));
        size.1.finished(range.stripes, written.rows, written.hot)
    }

    /// Rows that are written, those of earlier runs among them.
    pub(super) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// How much of the walk is done, in percent.
    pub(super) fn percent(&self) -> f64 {
        let share = self.blocks.load(Ordering::Relaxed) as f64 / self.blocks_all.max(1) as f64;
        (share * 100.0).clamp(0.0, 100.0)
    }

    /// A batch ran into its deadline.
    pub(super) fn timed_out(&self) {
        self.size.lock().unwrap_or_else(PoisonError::into_inner).0.timed_out();
    }

    /// A row was not had, for all the patience there is, and is left.
    pub(super) fn kept_from(&self, fault: Fault) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
    }

    /// Why a row was left, if one was.
    pub(super) fn kept(&self) -> Option<Fault> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// `batches of 50 ms in 10 stripes of 512 blocks`, for people.
    pub(super) fn mode(&self) -> String {
        match self.size() {
            _ if self.means.manner == Manner::RowByRow => "row by row".to_owned(),
            (1, blocks) => format!("plain ranges of {blocks} blocks"),
            (stripes, blocks) => format!("{stripes} stripes of {blocks} blocks"),
        }
    }

    /// Tells of a committed batch.
    pub(super) fn told(&self, written: Written, took: Duration) {
        let rows_done = self.rows.fetch_add(written.rows, Ordering::Relaxed) + written.rows;
        (self.means.tell)(Notice::Batch {
            unit: self.means.unit.0.clone(),
            rows: written.rows,
            rows_done,
            rows_estimated: self.rows_estimated,
            walked_percent: self.percent(),
            millis: millis(took),
        });
    }
}
