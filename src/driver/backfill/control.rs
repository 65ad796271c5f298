//! The control of a walk: how many workers there are, whether they may go on, and what an operator wants otherwise.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tokio_postgres::Client;

use super::{
    crew::{Crew, LOCK_WAIT, Manner, Means, Orders, Start},
    told::Waiting,
    vacuum::Vacuum,
    worker,
};
use crate::{
    driver::{error::DriveError, perform::failure, shell::Shell},
    engine::{Effect, Event, Notice},
    ledger,
    pace::{Decision, Governor, Observation, Pace, Rate, Seen},
    pg::{
        Bounds, Class, Fault,
        batch::Batches,
        connect::{Connection, SessionSpec, connect},
        deadlock_timeout, in_transaction,
        signals::Signals,
        workers::{Cores, cores},
    },
    plan::{OnCritical, Pacing},
    unit::{BackfillSpec, Unit},
};

/// How often the signals are looked at, and the ledger for requests: a lag is noticed within two seconds.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A look asks for no lock of a table, and must not take longer than the time to the next but one.
const LOOK_MAX: Duration = Duration::from_secs(2);
const LOOK_BOUNDS: Bounds = Bounds { lock: LOOK_MAX, statement: LOOK_MAX };
/// A worker that found no connection free is begun again after so long: others wait for connections as well.
const BEGIN_PAUSE: Duration = Duration::from_secs(5);

/// A table of no more blocks (half a megabyte) is one range or a few: a second worker would cost more to connect than it writes.
const BLOCKS_ALONE: u64 = 64;

/// How a walk ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// Every range is committed. `kept`: why a row was left to another sweep.
    Done { kept: Option<Fault> },
    /// A critical limit was passed, or an operator asked for it, and the run is paused.
    Paused,
}

/// What the control keeps in mind during one walk.
pub(super) struct Control {
    pub crew: Arc<Crew>,
    orders: watch::Sender<Orders>,
    workers: JoinSet<(u32, Result<(), DriveError>)>,
    /// The numbers of those at work.
    alive: BTreeSet<u32>,
    /// One of them found nothing more to claim: no further ones are needed.
    drained: bool,
    /// The session that looks, opened again when it is lost.
    watching: Option<Connection>,
    /// What looks remember, longer than a session: how many replicas there were, what this role saw.
    signals: Option<Signals>,
    /// What the last look saw.
    seen: Observation,
    /// One of them could not connect: no further ones before.
    begin_after: Option<Instant>,
    governor: Governor,
    pub since: Instant,
    vacuum: Vacuum,
    error: Option<DriveError>,
    stopped: Option<String>,
    /// An operator's pause is recorded: the workers end the batches that they are at.
    paused: bool,
    pub waiting: Option<Waiting>,
    pub told: Option<(Instant, ledger::Pace)>,
    pub rate: Rate,
    /// What the server's cores and load allow, where the plan says nothing.
    workers_default: u32,
}

impl Shell {
    /// Walks once over the table with as many workers as there shall be.
    pub(super) async fn walk(
        &mut self,
        unit: &Unit,
        spec: &BackfillSpec,
        batches: &Batches,
        manner: Manner,
        start: Start,
    ) -> Result<End, DriveError> {
        let mut control = self.control(unit, spec, batches, manner, start).await?;
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(ended) = control.workers.join_next() => control.ended(ended),
                _ = ticks.tick() => self.look_around(unit, spec, &mut control).await?,
            }
            let closing = control.error.is_some() || control.stopped.is_some() || control.paused;
            let over = closing || control.crew.is_done().await;
            if control.workers.is_empty() && over {
                break;
            }
            // A worker that was sent home left a range, after the others had found nothing to do.
            control.drained &= !control.workers.is_empty();
        }
        match (control.error.take(), control.stopped.take()) {
            (Some(error), _) if control.paused => {
                // Nothing can fail in a run that stands still; what comes again comes after `resume`.
                let failure = failure(error)?;
                self.say(Notice::Note { text: format!("at the end of the last batches: {}", failure.message) });
                Ok(End::Paused)
            }
            (Some(error), _) => Err(error),
            (None, _) if control.paused => Ok(End::Paused),
            (None, Some(why)) => self.critical(why).await,
            (None, None) => {
                self.end_wait(unit, &mut control).await?;
                Ok(End::Done { kept: control.crew.kept() })
            }
        }
    }

    async fn control(
        &self,
        unit: &Unit,
        spec: &BackfillSpec,
        batches: &Batches,
        manner: Manner,
        start: Start,
    ) -> Result<Control, DriveError> {
        let pacing = self.pacing();
        let cores = match start.blocks_all {
            0..=BLOCKS_ALONE => Cores { workers: 1, why: "the table is small".to_owned() },
            _ => cores(&self.monitor).await?,
        };
        let workers = pacing.workers.unwrap_or(cores.workers);
        let orders = Orders { go: true, closing: false, workers, target_batch: pacing.target_batch.duration() };
        let (orders, watched) = watch::channel(orders);
        if start.walk.sweep() == 0 && pacing.workers.is_none() && start.blocks_all > BLOCKS_ALONE {
            self.say(Notice::Note { text: said(&cores) });
        }
        let means = Means {
            settings: self.settings.clone(),
            place: self.journal.place.clone(),
            unit: unit.id.clone(),
            batches: batches.clone(),
            manner,
            orders: watched,
            tell: self.tell.clone(),
            stop: self.stop.clone(),
            patience: self.patience(),
            monitor: self.monitor.clone(),
            synchronous_commit: pacing.synchronous_commit,
            batch_rows: spec.batch_rows,
            lock_wait: LOCK_WAIT.min(self.monitor.with(deadlock_timeout).await? / 2),
        };
        Ok(Control {
            crew: Arc::new(Crew::new(means, start)),
            orders,
            workers: JoinSet::new(),
            alive: BTreeSet::new(),
            drained: false,
            begin_after: None,
            watching: None,
            signals: None,
            seen: Observation { connections: Seen::Unknown(String::new()), ..Observation::default() },
            governor: Governor::new(),
            since: Instant::now(),
            vacuum: Vacuum::default(),
            error: None,
            stopped: None,
            paused: false,
            waiting: None,
            told: None,
            rate: Rate::default(),
            workers_default: cores.workers,
        })
    }

    /// The plan's pacing with the operators' words laid over it.
    fn pacing(&self) -> Pacing {
        self.journal.run.tuning().over(&self.journal.record.program.pacing)
    }

    /// One look: requests, signals, and what follows from them.
    async fn look_around(&mut self, unit: &Unit, spec: &BackfillSpec, control: &mut Control) -> Result<(), DriveError> {
        if control.error.is_some() || control.stopped.is_some() || control.paused {
            return Ok(());
        }
        if let Err(error) = self.take_requests().await {
            control.close(error);
            return Ok(());
        }
        if let Effect::Halt(_) = self.journal.next() {
            control.paused = true;
            control.orders.send_modify(|orders| orders.closing = true);
            return Ok(());
        }
        let pacing = self.pacing();
        let decision = self.decide(spec, control, &pacing).await;
        let go = match &decision.pace {
            Pace::Go => true,
            Pace::Sleep { .. } => false,
            Pace::Stop { why, .. } => {
                control.stopped = Some(why.clone());
                false
            }
        };
        let workers = pacing.workers.unwrap_or(control.workers_default);
        let closing = control.stopped.is_some();
        let orders = Orders { go, closing, workers, target_batch: pacing.target_batch.duration() };
        control.orders.send_if_modified(|known| {
            let changed = *known != orders;
            *known = orders;
            changed
        });
        if !closing {
            control.begin(workers);
        }
        let with = (&self.settings, self.safety(), &spec.table, &self.tell);
        control.vacuum.when_due(control.crew.percent(), pacing.vacuum_percent, with);
        let told = async {
            self.tell_wait(unit, control, &decision).await?;
            self.tell_pace(unit, control, &pacing, &decision, workers).await
        };
        match told.await {
            // Somebody keeps the row: people see an older figure for a while, and no batch has to end for that.
            Err(error) if error.class() == Some(Class::Transient) => {
                tracing::warn!("the pace was not written: {error}")
            }
            Err(error) => control.close(error),
            Ok(()) => {}
        }
        Ok(())
    }

    /// Looks at the signals and asks the governor. What cannot be looked at is waited for, like a lag that is not known.
    async fn decide(&self, spec: &BackfillSpec, control: &mut Control, pacing: &Pacing) -> Decision {
        let now = control.since.elapsed();
        let look = async {
            let session = match &mut control.watching {
                Some(open) => open,
                None => control.watching.insert(self.open_watch().await?),
            };
            let signals = match &mut control.signals {
                Some(known) => known,
                None => control.signals.insert(self.begin_signals(session, spec, pacing).await?),
            };
            let observe = async |client: &Client| signals.observe(client, pacing).await;
            Ok::<_, DriveError>(in_transaction(session, LOOK_BOUNDS, observe).await?)
        };
        let looked = match tokio::time::timeout(LOOK_MAX, look).await {
            Ok(looked) => looked.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {} s", LOOK_MAX.as_secs())),
        };
        control.seen = looked.unwrap_or_else(|why| {
            control.watching = None;
            control.seen.lost(&why)
        });
        control.governor.decide(now, &control.seen, pacing)
    }

    async fn open_watch(&self) -> Result<Connection, DriveError> {
        let mut wanted = SessionSpec::new("tenantmig pace", LOOK_MAX);
        wanted.statement_timeout = Some(LOOK_MAX);
        Ok(connect(&self.settings, &wanted).await?)
    }

    async fn begin_signals(
        &self,
        session: &Connection,
        spec: &BackfillSpec,
        pacing: &Pacing,
    ) -> Result<Signals, DriveError> {
        let begin = async |client: &Client| Signals::new(client, &spec.table, &pacing.throttle).await;
        let signals = session.with(begin).await?;
        for blind in signals.blind() {
            self.say(Notice::Note { text: blind.clone() });
        }
        Ok(signals)
    }

    /// Beyond a critical limit: the run is paused, or the step fails.
    async fn critical(&mut self, why: String) -> Result<End, DriveError> {
        match self.pacing().throttle.on_critical {
            OnCritical::Pause => {
                self.record(Event::Paused { why, asked: None }).await?;
                Ok(End::Paused)
            }
            OnCritical::Fail => Err(Fault::new(Class::Fatal, why).into()),
        }
    }
}

impl Control {
    /// Begins as many workers as are missing.
    fn begin(&mut self, workers: u32) {
        if self.drained || self.begin_after.is_some_and(|at| Instant::now() < at) {
            return;
        }
        for number in 0..workers {
            if self.alive.insert(number) {
                let crew = self.crew.clone();
                self.workers.spawn(async move { (number, worker::work(crew, number).await) });
            }
        }
    }

    /// A worker came to its end. The first error closes the walk: the others end with the batch that they are at.
    fn ended(&mut self, ended: Result<(u32, Result<(), DriveError>), tokio::task::JoinError>) {
        match ended {
            Ok((number, result)) => {
                self.alive.remove(&number);
                match result {
                    Ok(()) => self.drained |= number < self.orders.borrow().workers,
                    // Those at work, or that were, have what there is to be had.
                    Err(DriveError::Connect(error)) if self.drained || !self.alive.is_empty() => {
                        self.begin_after = Some(Instant::now() + BEGIN_PAUSE);
                        let text = format!("worker {} is left out for now: {error}", number + 1);
                        (self.crew.means.tell)(Notice::Note { text });
                    }
                    Err(error) => self.close(error),
                }
            }
            // A panic is a fault of this program and not of the step: the process ends as if it were killed, to be resumed.
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(ended) => self.close(Fault::new(Class::Ambiguous, format!("a worker was ended: {ended}")).into()),
            },
        }
    }

    fn close(&mut self, error: DriveError) {
        self.error.get_or_insert(error);
        self.orders.send_modify(|orders| orders.closing = true);
    }
}

fn said(cores: &Cores) -> String {
    let workers = if cores.workers == 1 { "1 worker".to_owned() } else { format!("{} workers", cores.workers) };
    format!("{workers}: {}; set [backfill] workers, or change it now with: tenantmig throttle --workers N", cores.why)
}
