//! What people see of a walk's pace, in the ledger and on the screen: how fast it goes, what it waits for.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::control::Control;
use crate::{
    driver::{
        error::DriveError,
        shell::{Shell, millis},
    },
    engine::{Event, Notice},
    ledger::{self, Governing, PaceState},
    pace::{Decision, Pace, Reading},
    plan::Pacing,
    unit::Unit,
};

/// What people see of the pace is written at most so often while only its figures change.
const PACE_EVERY: Duration = Duration::from_secs(2);
/// A wait shorter than this is shown, and is no event: the ledger keeps what somebody may ask about later.
const EVENT_AFTER: Duration = Duration::from_secs(1);
/// A wait, and whether it is in the ledger.
pub(super) struct Waiting {
    since: Instant,
    signal: String,
    recorded: bool,
}

impl Shell {
    /// Tells of a wait, and records one that lasts.
    pub(super) async fn tell_wait(
        &mut self,
        unit: &Unit,
        control: &mut Control,
        decision: &Decision,
    ) -> Result<(), DriveError> {
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

    pub(super) async fn end_wait(&mut self, unit: &Unit, control: &mut Control) -> Result<(), DriveError> {
        match control.waiting.take() {
            Some(waiting) if waiting.recorded => {
                let waited_ms = millis(waiting.since.elapsed());
                self.record(Event::Unthrottled { unit: unit.id.clone(), waited_ms }).await
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Keeps what `status` shows.
    pub(super) async fn tell_pace(
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
        let since = control.told.as_ref().filter(|(_, known)| known.state == state).map(|(_, known)| known.since);
        let rows_per_second = match state {
            PaceState::Going => control.rate.take(control.since.elapsed(), control.crew.rows()),
            PaceState::Waiting => {
                control.rate.rest();
                None
            }
        };
        let pace = ledger::Pace {
            workers,
            target_batch_ms: pacing.target_batch.0,
            mode: control.crew.mode(),
            state,
            signal,
            why: why.cloned(),
            since: since.unwrap_or_else(chrono::Utc::now),
            rows_per_second,
            governing: decision.governing.as_ref().map(governing),
        };
        let due = control.told.as_ref().is_none_or(|(at, known)| {
            let asked = |pace: &ledger::Pace| (pace.workers, pace.target_batch_ms, pace.state, pace.signal.clone());
            asked(known) != asked(&pace) || (at.elapsed() >= PACE_EVERY && *known != pace)
        });
        if due {
            let place = &self.journal.place;
            self.work.with(async |client: &Client| ledger::set_pace(client, place, &unit.id, &pace).await).await?;
            control.told = Some((Instant::now(), pace));
        }
        Ok(())
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
