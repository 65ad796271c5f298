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

use super::{
    crew::{Crew, LOCK_WAIT, Manner, Means, Orders, Start},
    vacuum::Vacuum,
    worker,
};
use crate::{
    driver::{
        error::DriveError,
        shell::{Shell, millis},
    },
    engine::{Event, Notice},
    ledger::{self, Governing, PaceState},
    pace::{Decision, Governor, Observation, Pace, Rate, Reading, Seen},
    pg::{
        Class, Fault,
        batch::Batches,
        connect::{Connection, SessionSpec, connect},
        deadlock_timeout,
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
/// What people see of the pace is written at most so often while only its figures change.
const PACE_EVERY: Duration = Duration::from_secs(2);
/// A wait shorter than this is shown, and is no event: the ledger keeps what somebody may ask about later.
const EVENT_AFTER: Duration = Duration::from_secs(1);

/// How a walk ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// Every range is committed. `kept`: why a row was left to another sweep.
    Done { kept: Option<Fault> },
    /// A critical limit was passed, and the run is paused.
    Paused,
}

/// What the control keeps in mind during one walk.
struct Control {
    crew: Arc<Crew>,
    orders: watch::Sender<Orders>,
    workers: JoinSet<(u32, Result<(), DriveError>)>,
    /// The numbers of those at work.
    alive: BTreeSet<u32>,
    /// One of them found nothing more to claim: no further ones are needed.
    drained: bool,
    watching: Option<(Connection, Signals)>,
    governor: Governor,
    since: Instant,
    vacuum: Vacuum,
    error: Option<DriveError>,
    stopped: Option<String>,
    /// A wait, and whether it is in the ledger.
    waiting: Option<Waiting>,
    told: Option<(Instant, ledger::Pace)>,
    rate: Rate,
    /// What the server's cores and load allow, where the plan says nothing.
    workers_default: u32,
}

struct Waiting {
    since: Instant,
    signal: String,
    recorded: bool,
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
            let over = control.error.is_some() || control.stopped.is_some() || control.crew.is_done().await;
            if control.workers.is_empty() && over {
                break;
            }
            // A worker that was sent home left a range, after the others had found nothing to do.
            control.drained &= !control.workers.is_empty();
        }
        match (control.error.take(), control.stopped.take()) {
            (Some(error), _) => Err(error),
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
        let cores = cores(&self.monitor).await?;
        let workers = pacing.workers.unwrap_or(cores.workers);
        let orders = Orders { go: true, closing: false, workers, target_batch: pacing.target_batch.duration() };
        let (orders, watched) = watch::channel(orders);
        if start.walk.sweep() == 0 && pacing.workers.is_none() {
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
            lock_wait: LOCK_WAIT.min(deadlock_timeout(&self.monitor.client).await? / 2),
        };
        Ok(Control {
            crew: Arc::new(Crew::new(means, start)),
            orders,
            workers: JoinSet::new(),
            alive: BTreeSet::new(),
            drained: false,
            watching: None,
            governor: Governor::new(),
            since: Instant::now(),
            vacuum: Vacuum::default(),
            error: None,
            stopped: None,
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
        if control.error.is_some() || control.stopped.is_some() {
            return Ok(());
        }
        if let Err(error) = self.take_requests().await {
            control.close(error);
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
        if let Err(error) = told.await {
            control.close(error);
        }
        Ok(())
    }

    /// Looks at the signals and asks the governor. What cannot be looked at is waited for, like a lag that is not known.
    async fn decide(&self, spec: &BackfillSpec, control: &mut Control, pacing: &Pacing) -> Decision {
        let now = control.since.elapsed();
        let look = async {
            let (session, signals) = match control.watching.take() {
                Some(open) => open,
                None => self.open_watch(spec, pacing).await?,
            };
            let (session, signals) = control.watching.insert((session, signals));
            Ok::<_, DriveError>(signals.observe(&session.client, pacing).await?)
        };
        let seen = match tokio::time::timeout(LOOK_MAX, look).await {
            Ok(Ok(seen)) => Ok(seen),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {} s", LOOK_MAX.as_secs())),
        };
        match seen {
            Ok(seen) => control.governor.decide(now, &seen, pacing),
            Err(why) => {
                control.watching = None;
                let blind = Observation { connections: Seen::Unknown(why), ..Observation::default() };
                control.governor.decide(now, &blind, pacing)
            }
        }
    }

    async fn open_watch(&self, spec: &BackfillSpec, pacing: &Pacing) -> Result<(Connection, Signals), DriveError> {
        let mut wanted = SessionSpec::new("tenantmig pace", LOOK_MAX);
        wanted.statement_timeout = Some(LOOK_MAX);
        let session = connect(&self.settings, &wanted).await?;
        let signals = Signals::new(&session.client, &spec.table, &pacing.throttle).await?;
        for blind in signals.blind() {
            self.say(Notice::Note { text: blind.clone() });
        }
        Ok((session, signals))
    }

    /// Tells of a wait, and records one that lasts.
    async fn tell_wait(&mut self, unit: &Unit, control: &mut Control, decision: &Decision) -> Result<(), DriveError> {
        let Pace::Sleep { signal, why, look_again_ms } = &decision.pace else {
            return self.end_wait(unit, control).await;
        };
        self.say(Notice::Waiting { why: why.clone(), again_in_ms: *look_again_ms });
        let signal = signal.to_string();
        let waiting = control.waiting.get_or_insert_with(|| Waiting {
            since: Instant::now(),
            signal: signal.clone(),
            recorded: false,
        });
        // Another reason than the one on record is worth a word of its own.
        let new = !waiting.recorded || waiting.signal != signal;
        if new && waiting.since.elapsed() >= EVENT_AFTER {
            (waiting.recorded, waiting.signal) = (true, signal.clone());
            self.record(Event::Throttled { unit: unit.id.clone(), signal, why: why.clone() }).await?;
        }
        Ok(())
    }

    async fn end_wait(&mut self, unit: &Unit, control: &mut Control) -> Result<(), DriveError> {
        match control.waiting.take() {
            Some(waiting) if waiting.recorded => {
                let waited_ms = millis(waiting.since.elapsed());
                self.record(Event::Unthrottled { unit: unit.id.clone(), waited_ms }).await
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Keeps what `status` shows.
    async fn tell_pace(
        &self,
        unit: &Unit,
        control: &mut Control,
        pacing: &Pacing,
        decision: &Decision,
        workers: u32,
    ) -> Result<(), DriveError> {
        let (signal, why) = match &decision.pace {
            Pace::Go => (None, None),
            Pace::Sleep { signal, why, .. } | Pace::Stop { signal, why } => (Some(signal.to_string()), Some(why)),
        };
        let state = if signal.is_some() { PaceState::Waiting } else { PaceState::Going };
        let rows_per_second = match state {
            PaceState::Going => control.rate.take(control.since.elapsed(), control.crew.rows()),
            PaceState::Waiting => {
                control.rate.rest();
                None
            }
        };
        let since = control.told.as_ref().filter(|(_, known)| known.state == state).map(|(_, known)| known.since);
        let pace = ledger::Pace {
            workers,
            target_batch_ms: pacing.target_batch.0,
            mode: control.crew.mode(),
            state,
            signal,
            why: why.cloned(),
            since: since.unwrap_or_else(chrono::Utc::now),
            governing: decision.governing.as_ref().map(governing),
            rows_per_second,
        };
        let due = control.told.as_ref().is_none_or(|(at, known)| {
            let asked = |pace: &ledger::Pace| (pace.workers, pace.target_batch_ms, pace.state, pace.signal.clone());
            asked(known) != asked(&pace) || (at.elapsed() >= PACE_EVERY && *known != pace)
        });
        if due {
            ledger::set_pace(&self.work.client, &self.journal.place, &unit.id, &pace).await?;
            control.told = Some((Instant::now(), pace));
        }
        Ok(())
    }

    /// Beyond a critical limit: the run is paused, or the step fails.
    async fn critical(&mut self, why: String) -> Result<End, DriveError> {
        match self.pacing().throttle.on_critical {
            OnCritical::Pause => {
                self.record(Event::Paused { why }).await?;
                Ok(End::Paused)
            }
            OnCritical::Fail => Err(Fault::new(Class::Fatal, why).into()),
        }
    }
}

impl Control {
    /// Begins as many workers as are missing.
    fn begin(&mut self, workers: u32) {
        for number in (0..workers).filter(|_| !self.drained) {
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
                self.drained |= number < self.orders.borrow().workers;
                if let Err(error) = result {
                    self.close(error);
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

fn governing(reading: &Reading) -> Governing {
    Governing {
        signal: reading.signal.to_string(),
        measured: reading.measured.clone(),
        limit: reading.limit.clone(),
        percent: f64::from(reading.percent),
    }
}

fn said(cores: &Cores) -> String {
    let workers = if cores.workers == 1 { "1 worker".to_owned() } else { format!("{} workers", cores.workers) };
    format!("{workers}: {}; set [backfill] workers, or change it now with: tenantmig throttle --workers N", cores.why)
}
