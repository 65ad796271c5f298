//! The run as this process knows it: the fold of the events that it has read and written.

use tokio_postgres::Client;

use super::error::DriveError;
use crate::{
    engine::{Asker, Effect, Event, Run, operators_pause},
    ledger::{self, Kept, LedgerError, Place, RunRecord},
};

/// The run, and where its next event goes.
#[derive(Debug)]
pub struct Journal {
    pub place: Place,
    pub record: RunRecord,
    pub run: Run,
    /// The operator's pause that was in force when the log was read, and whose it was.
    pub pause: Option<(String, Asker)>,
    last: i64,
}

/// An event that is written but not yet committed.
#[derive(Debug)]
#[must_use = "a written event counts only after `settle`"]
pub struct Written {
    event: Event,
    run: Run,
}

impl Journal {
    /// Reads the run and folds its events. A log that is damaged is refused here.
    pub async fn read(client: &Client, place: Place) -> Result<Self, DriveError> {
        let kept = ledger::read(client, &place.schema, place.run).await?;
        let Kept { record, events, run } = kept.ok_or(DriveError::Ledger(LedgerError::Missing))?;
        let pause = operators_pause(events.iter().map(|recorded| &recorded.event));
        let pause = pause.map(|(why, asked)| (why.to_owned(), asked.clone()));
        Ok(Self { place, record, run, pause, last: events.last().map_or(0, |recorded| recorded.number) })
    }

    /// The number of the last event.
    pub fn last(&self) -> i64 {
        self.last
    }

    /// The machine's next effect.
    pub fn next(&self) -> Effect {
        self.run.next(&self.record.program)
    }

    /// Writes an event in the open transaction, behind the fence, if it may follow. It counts once the caller has
    /// committed and called [`Journal::settle`].
    pub async fn write(&self, client: &Client, event: Event) -> Result<Written, DriveError> {
        let mut run = self.run.clone();
        run.apply(&self.record.program, &event)?;
        ledger::append(client, &self.place, self.last + 1, &event).await?;
        Ok(Written { event, run })
    }

    /// The transaction of `written` is committed: the run is now what it says.
    pub fn settle(&mut self, written: Written) -> Event {
        self.run = written.run;
        self.last += 1;
        written.event
    }
}
