//! The one place that tries again: by the class of the fault, a bounded number of times, with a growing, jittered pause.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    time::{Duration, Instant},
};

use rand::Rng;
use tokio_postgres::Client;

use super::{
    error::DriveError,
    shell::{Shell, Tell, millis},
    stop::Stop,
};
use crate::{
    engine::{Blocker, Event, Notice},
    pg::{self, Bounds, Class, Fault, InTheWay, connect::Connection},
    sql::{Literal, QName, Stmt},
    unit::{Lock, LockLevel},
};

/// The first pause after a lock was not had; doubles up to the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(250);
const PAUSE_LONGEST: Duration = Duration::from_secs(5);
/// How often it is looked who is in the way of a wait that may last.
const SAMPLE_EVERY: Duration = Duration::from_secs(3);

impl Shell {
    /// Runs `work` with its outcome in one transaction, again and again while its locks are not had.
    pub async fn attempt(
        &mut self,
        lock: &Lock,
        bounds: Bounds,
        work: impl AsyncFn(&Client) -> Result<Event, DriveError>,
    ) -> Result<(), DriveError> {
        let mut number = 0;
        loop {
            number += 1;
            self.wait_for_old_transactions(lock, number).await?;
            let (watch, sampled) = self.watch_blockers(bounds.lock);
            let done = self.record_with(bounds, async |client: &Client| Ok(((), work(client).await?))).await;
            watch.abort();
            let Err(error) = done else { return Ok(()) };
            self.try_again(error, number, sampled.take(), "the lock").await?;
        }
    }

    /// As [`Patience::try_again`], but gives way to a pause that an operator asks for.
    pub async fn try_again(
        &self,
        error: DriveError,
        number: u32,
        blockers: Vec<Blocker>,
        what: &str,
    ) -> Result<(), DriveError> {
        let pause = self.patience().pause_after(error, number, blockers, what)?;
        self.rest(pause).await
    }

    /// The run's budget of retries, for those who work beside the shell.
    pub(super) fn patience(&self) -> Patience {
        Patience { retries: self.safety().lock_retries, tell: self.tell.clone(), stop: self.stop.clone() }
    }

    /// A lock that everybody would queue behind is not asked for while an old transaction holds the table.
    pub(super) async fn wait_for_old_transactions(&self, lock: &Lock, number: u32) -> Result<(), DriveError> {
        if lock.level < LockLevel::Share || number > self.safety().lock_retries {
            return Ok(());
        }
        let age = self.safety().max_xact_age.duration();
        let mut tried = number;
        loop {
            let on = &lock.on;
            let old = self.monitor.with(async |client: &Client| pg::old_transactions(client, on, age).await).await?;
            if old.is_empty() || tried > self.safety().lock_retries {
                return Ok(());
            }
            let pause = pause(tried);
            self.say(Notice::LockWait {
                statement: format!("{} would queue behind a transaction older than {} s", lock.level, age.as_secs()),
                attempt: tried,
                attempts: self.safety().lock_retries + 1,
                blockers: old,
                again_in_ms: millis(pause),
            });
            self.rest(pause).await?;
            tried += 1;
        }
    }

    /// CONCURRENTLY is not begun while a transaction that it would wait for is older than `max_xact_age`: begun, it would hold
    /// its own lock all the while, and what it leaves when it gives up has to be cleared. Waits `index_wait` at most, as each
    /// of its own waits would; then it is refused, or begun after all.
    pub(super) async fn wait_for_those_in_the_way(
        &self,
        tables: &[QName],
        of: InTheWay,
        refuse: bool,
    ) -> Result<(), DriveError> {
        if tables.is_empty() {
            return Ok(());
        }
        let (age, begun) = (self.safety().max_xact_age.duration(), Instant::now());
        let mut looked = 0;
        loop {
            let look = async |client: &Client| pg::in_the_way(client, tables, of, age).await;
            let old = self.monitor.with(look).await?;
            let Some(first) = old.first() else { return Ok(()) };
            if begun.elapsed() >= self.safety().index_wait.duration() {
                if !refuse {
                    return Ok(());
                }
                let mut fault = Fault::new(Class::Fatal, format!("not begun: {}", in_the_way(&old)));
                fault.hint = Some(format!(
                    "{}; index_wait in [safety] says how long it is waited for, max_xact_age from which age on",
                    way_out(first)
                ));
                return Err(fault.into());
            }
            looked += 1;
            let pause = pause(looked).min(self.safety().index_wait.duration());
            self.say(Notice::Waiting { why: in_the_way(&old), again_in_ms: millis(pause) });
            self.rest(pause).await?;
        }
    }

    /// As [`watch_blockers`], for the session that works.
    pub(super) fn watch_blockers(&self, lock_timeout: Duration) -> (tokio::task::JoinHandle<()>, Sample) {
        watch_blockers(&self.monitor, &self.tell, self.work.process(), lock_timeout)
    }
}

/// How often something may be tried again.
#[derive(Clone)]
pub(super) struct Patience {
    retries: u32,
    tell: Tell,
    stop: Stop,
}

impl Patience {
    /// After a failure: waits when trying again may help and the budget allows it; gives the error back otherwise.
    pub(super) async fn try_again(
        &self,
        error: DriveError,
        number: u32,
        blockers: Vec<Blocker>,
        what: &str,
    ) -> Result<(), DriveError> {
        let pause = self.pause_after(error, number, blockers, what)?;
        self.stop.sleep(pause).await
    }

    /// How long to wait before the next try, which is told; the error where there is none.
    fn pause_after(
        &self,
        error: DriveError,
        number: u32,
        blockers: Vec<Blocker>,
        what: &str,
    ) -> Result<Duration, DriveError> {
        if error.class() != Some(Class::Transient) || number > self.retries {
            return Err(naming(error, &blockers));
        }
        let pause = pause(number);
        (self.tell)(Notice::LockWait {
            statement: format!("{what}: {error}"),
            attempt: number,
            attempts: self.retries + 1,
            blockers,
            again_in_ms: millis(pause),
        });
        Ok(pause)
    }
}

/// Samples, shortly before the lock is given up, who holds it: afterwards nobody can be asked. Where the wait may be
/// long (CONCURRENTLY waits for older transactions), it is told while it lasts.
pub(super) fn watch_blockers(
    monitor: &Arc<Connection>,
    tell: &Tell,
    process: Arc<AtomicI32>,
    lock_timeout: Duration,
) -> (tokio::task::JoinHandle<()>, Sample) {
    let sample = Sample::default();
    let (shared, every) = (sample.clone(), lock_timeout.mul_f64(0.7).min(SAMPLE_EVERY));
    let long = lock_timeout > SAMPLE_EVERY.saturating_mul(2);
    let (monitor, tell) = (monitor.clone(), tell.clone());
    let task = tokio::spawn(async move {
        loop {
            tokio::time::sleep(every).await;
            match sampled(&monitor, process.load(Ordering::Relaxed)).await {
                Ok(found) if found.is_empty() => {}
                Ok(found) => {
                    if long {
                        tell(Notice::Waiting { why: in_the_way(&found), again_in_ms: millis(every) });
                    }
                    shared.put(found);
                }
                Err(fault) => return tracing::debug!("who holds the lock cannot be told: {fault}"),
            }
        }
    });
    (task, sample)
}

/// Behind a pooler nobody works between two transactions, and 0 is no process.
async fn sampled(monitor: &Connection, process: i32) -> Result<Vec<Blocker>, Fault> {
    if process == 0 {
        return Ok(Vec::new());
    }
    let turn = monitor.turn().await?;
    let found = pg::blockers(turn.client(), process).await;
    turn.end(found).await
}

/// The error of a wait that was given up, with who was in the way: afterwards nobody can be asked.
fn naming(error: DriveError, blockers: &[Blocker]) -> DriveError {
    error.map_fault(|fault| match fault.class {
        Class::Transient | Class::Cancelled if !blockers.is_empty() => {
            let who = in_the_way(blockers);
            let detail = fault.detail.as_ref().map_or(who.clone(), |detail| format!("{detail}; {who}"));
            Fault { detail: Some(detail), ..fault }
        }
        Class::Transient | Class::Cancelled | Class::Ambiguous | Class::Privilege | Class::Resources | Class::Fatal => {
            fault
        }
    })
}

/// The first of those that are waited for, in words.
fn in_the_way(found: &[Blocker]) -> String {
    let more = if found.len() > 1 { format!(" and {} more", found.len() - 1) } else { String::new() };
    found.first().map_or(String::new(), |b| {
        let age = b.transaction_age_ms / 1000;
        if b.is_prepared() {
            return format!("prepared transaction {} of {} is in the way, for {age} s{more}", b.query, b.user);
        }
        let application = if b.application.is_empty() { String::new() } else { format!("{}, ", b.application) };
        format!("pid {} is in the way ({}, {application}{}, for {age} s: {}){more}", b.pid, b.user, b.state, b.query)
    })
}

/// What ends it.
fn way_out(blocker: &Blocker) -> String {
    if blocker.is_prepared() {
        let gid = Literal::new(&*blocker.query);
        return format!("decide about it: COMMIT PREPARED {gid} or ROLLBACK PREPARED {gid}");
    }
    format!("let it end, or end it: select pg_terminate_backend({})", blocker.pid)
}

/// What the watcher saw.
#[derive(Debug, Clone, Default)]
pub(super) struct Sample(Arc<std::sync::Mutex<Vec<Blocker>>>);

impl Sample {
    fn put(&self, found: Vec<Blocker>) {
        if let Ok(mut slot) = self.0.lock() {
            *slot = found;
        }
    }

    pub(super) fn take(&self) -> Vec<Blocker> {
        self.0.lock().map(|mut slot| std::mem::take(&mut *slot)).unwrap_or_default()
    }
}

/// Half to all of 250 ms · 2ⁿ, at most 5 s: the jitter keeps several tools from knocking at the same moment.
fn pause(number: u32) -> Duration {
    let full = PAUSE_FIRST.saturating_mul(1 << number.saturating_sub(1).min(8)).min(PAUSE_LONGEST);
    full.mul_f64(rand::rng().random_range(0.5..=1.0))
}

/// The statements of a transaction, one after the other, so that an error names its own.
pub async fn execute(client: &Client, stmts: &[Stmt]) -> Result<(), DriveError> {
    for stmt in stmts {
        let done = client.batch_execute(stmt.as_str()).await;
        done.map_err(|error| Fault::from(error).in_statement(stmt.as_str()))?;
    }
    Ok(())
}
