//! What the driver works with: its sessions, the journal, the way to tell, and the reasons to stop.

use std::{fmt, sync::Arc, time::Duration};

use tokio_postgres::Client;

use super::{
    drift::Drift,
    error::DriveError,
    gate::Awaited,
    heartbeat::{Lease, Tenure},
    journal::Journal,
    open::Access,
    outside,
    room::Room,
    sentinel::Sentinel,
    stop::{Stop, Until},
};
use crate::{
    engine::{Event, Notice},
    ledger,
    pg::{
        Bounds, Class,
        connect::{Connection, SessionSpec, connect},
        in_transaction,
        settings::Settings,
    },
    plan::Safety,
};

/// Where notices go.
pub type Tell = Arc<dyn Fn(Notice) + Send + Sync>;

/// The ledger's own statements are short; this is the longest any of them may wait or run.
const LEDGER_BOUNDS: Bounds = Bounds { lock: Duration::from_secs(5), statement: Duration::from_secs(60) };
/// After a cancel the server needs a moment to end the statement; then the session is given up.
const CANCEL_WAIT: Duration = Duration::from_secs(5);
/// What the session that watches is asked is short as well, and its silence is to be noticed.
const MONITOR_STATEMENT_MAX: Duration = Duration::from_secs(10);

/// The driver's state. The machine's state is in the journal; nothing here decides what comes next.
pub struct Shell {
    pub settings: Settings,
    /// Carries out everything.
    pub work: Connection,
    /// Looks at locks and sessions while `work` waits.
    pub monitor: Arc<Connection>,
    pub journal: Journal,
    pub tell: Tell,
    pub stop: Stop,
    pub room: Room,
    pub drift: Drift,
    /// By which the lease is taken again after a loss.
    pub(super) tenure: Tenure,
    /// Looks after what `work` waits for.
    pub(super) sentinel: Option<Sentinel>,
    /// The gate that was looked at last, where it has not passed.
    pub(super) awaited: Option<Awaited>,
}

impl fmt::Debug for Shell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shell").field("work", &self.work).field("journal", &self.journal.place).finish_non_exhaustive()
    }
}

/// Opens the session that works and the one that watches.
pub async fn sessions(settings: &Settings, safety: &Safety) -> Result<(Connection, Arc<Connection>), DriveError> {
    let mut worker = SessionSpec::new("tenantmig worker", safety.lock_timeout.duration());
    // What may run longer says so (`in_transaction`, `autocommit`); anything else on it is the ledger's.
    worker.statement_timeout = Some(LEDGER_BOUNDS.statement);
    worker.survey = true;
    let mut monitor = SessionSpec::new("tenantmig monitor", LEDGER_BOUNDS.lock);
    monitor.statement_timeout = Some(MONITOR_STATEMENT_MAX);
    Ok((connect(settings, &worker).await?, Arc::new(connect(settings, &monitor).await?)))
}

impl Shell {
    /// A shell for the run in `journal`, with the sessions of [`sessions`].
    pub(super) fn new(
        access: &Access,
        lease: &Lease,
        (work, monitor): (Connection, Arc<Connection>),
        journal: Journal,
    ) -> Self {
        let sentinel = Sentinel::over(&work, &monitor, &access.settings);
        let Access { settings, tell, stop, .. } = access.clone();
        Self {
            settings,
            work,
            monitor,
            journal,
            tell,
            stop,
            room: Room::default(),
            drift: Drift::default(),
            tenure: lease.tenure(),
            sentinel,
            awaited: None,
        }
    }

    /// The plan's bounds, as they stand in the ledger.
    pub fn safety(&self) -> &Safety {
        &self.journal.record.program.safety
    }

    /// The bounds of the plan's own statements.
    pub fn bounds(&self) -> Bounds {
        Bounds { lock: self.safety().lock_timeout.duration(), statement: self.safety().statement_deadline.duration() }
    }

    /// Tells something that the ledger does not keep.
    pub fn say(&self, notice: Notice) {
        (self.tell)(notice);
    }

    /// Records an event in a transaction of its own.
    pub async fn record(&mut self, event: Event) -> Result<(), DriveError> {
        self.record_and(event, false).await
    }

    /// As [`Self::record`]; where it `spends` the print that is in force, in the same transaction.
    pub(super) async fn record_and(&mut self, event: Event, spends: bool) -> Result<(), DriveError> {
        let journal = &self.journal;
        let write = async || {
            in_transaction(&self.work, LEDGER_BOUNDS, async |client: &Client| {
                ledger::fence(client, &journal.place.schema, journal.place.hold()).await?;
                if spends {
                    ledger::spend_print(client, &journal.place).await?;
                }
                journal.write(client, event.clone()).await
            })
            .await
        };
        let written = match write().await {
            // A cancel that was meant for the statement before, and was late: nothing is written. It comes once.
            Err(error) if error.class() == Some(Class::Cancelled) => write().await?,
            written => written?,
        };
        let event = self.journal.settle(written);
        self.say(Notice::Event(event));
        Ok(())
    }

    /// Runs `work` in a fenced transaction and records `event` with it: both commit or neither.
    pub async fn record_with<T>(
        &mut self,
        bounds: Bounds,
        work: impl AsyncFnOnce(&Client) -> Result<(T, Event), DriveError>,
    ) -> Result<T, DriveError> {
        let journal = &self.journal;
        let transaction = in_transaction(&self.work, bounds, async |client: &Client| {
            ledger::fence(client, &journal.place.schema, journal.place.hold()).await?;
            let (value, event) = work(client).await?;
            Ok((value, journal.write(client, event).await?))
        });
        let (value, written) = cancellable(&self.work, &self.stop, transaction).await?;
        let event = self.journal.settle(written);
        self.say(Notice::Event(event));
        Ok(value)
    }

    /// Runs `work` in a fenced transaction that records no event: a batch.
    pub async fn fenced<T>(
        &self,
        bounds: Bounds,
        work: impl AsyncFnOnce(&Client) -> Result<T, DriveError>,
    ) -> Result<T, DriveError> {
        let place = &self.journal.place;
        let transaction = in_transaction(&self.work, bounds, async |client: &Client| {
            ledger::fence(client, &place.schema, place.hold()).await?;
            work(client).await
        });
        cancellable(&self.work, &self.stop, transaction).await
    }

    /// Runs one statement outside a transaction within these bounds. No fence holds while it runs: the epoch is looked at as
    /// late as can be, and a takeover ends the session.
    pub async fn autocommit(&self, bounds: Bounds, statement: &str) -> Result<(), DriveError> {
        let place = &self.journal.place;
        self.work.with(async |client: &Client| ledger::fence(client, &place.schema, place.hold()).await).await?;
        let result = outside::run(&self.work, &self.stop, bounds, statement).await;
        // After a stop the statement may still be under way, and whatever is asked next would wait behind it; after a
        // loss there is no session to set anything on.
        let over = result.as_ref().is_err_and(|error| matches!(error.class(), None | Some(Class::Ambiguous)));
        if !over {
            let usual = Bounds { statement: LEDGER_BOUNDS.statement, ..self.bounds() };
            self.work.set_bounds(usual).await?;
        }
        result
    }
}

/// A duration as notices carry it.
pub fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

/// Runs `work` to its end; when something asks for the end meanwhile, cancels the statement under way and gives the reason.
/// After a stop nothing is asked of the session any more that matters: the statement may still be under way, or the cancel
/// arrive late.
pub(super) async fn cancellable<T>(
    connection: &Connection,
    stop: &Stop,
    work: impl Future<Output = Result<T, DriveError>>,
) -> Result<T, DriveError> {
    tokio::pin!(work);
    tokio::select! {
        result = &mut work => return result,
        () = stop.cancel_now() => {}
    }
    // Beside the wait, since the request may itself wait for a server that does not answer.
    let cancel = async {
        if let Err(error) = connection.cancel().await {
            tracing::warn!("the statement could not be cancelled: {error}");
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        // What finished in spite of the cancel counts; the loop sees the reason to stop next.
        result = &mut work => result.map_err(|error| stop.check().err().unwrap_or(error)),
        () = cancel => Err(DriveError::LeaseLost("the statement did not end".to_owned())),
        () = tokio::time::sleep(stop.left(Until::Settled, CANCEL_WAIT)) => {
            Err(stop.check().err().unwrap_or_else(|| DriveError::LeaseLost("the statement did not end".to_owned())))
        }
    }
}
