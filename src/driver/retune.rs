//! Takes what operators ask through the ledger: each request becomes an event of the run.

use std::time::Duration;

use tokio_postgres::Client;

use super::{error::DriveError, shell::Shell};
use crate::{
    engine::{Event, Notice},
    ledger::{self, Request, Wish},
    pg::{Bounds, Class},
};

/// A request's row is free but for somebody who looks at it FOR UPDATE by hand; the batches behind it do not wait longer.
const BOUNDS: Bounds = Bounds { lock: Duration::from_millis(500), statement: Duration::from_secs(5) };

impl Shell {
    /// Makes an event of every open request, and tells whether there was one. Without any it costs one look at an index of
    /// open requests. The number of requests that are taken at once is bounded by the ledger.
    pub async fn take_requests(&mut self) -> Result<bool, DriveError> {
        let place = &self.journal.place;
        let ask = async |client: &Client| ledger::open_requests(client, &place.schema, place.run).await;
        let open = match self.work.with(ask).await {
            Ok(open) => open,
            Err(error) => return later(error.into()),
        };
        let mut changed = false;
        for request in open {
            match self.take(request).await {
                Ok(taken) => changed |= taken,
                Err(error) => return later(error).map(|_| changed),
            }
        }
        Ok(changed)
    }

    /// The event and the answer commit together, so that a request is neither lost nor taken twice.
    async fn take(&mut self, request: Request) -> Result<bool, DriveError> {
        let place = self.journal.place.clone();
        let Request { id, asked_at, actor, host, wish } = request;
        let event = match wish {
            Ok(Wish::Retune(tuning)) => Event::Retuned { by: actor, host, asked_at, tuning },
            // Anybody with the privilege may have written the row: that must not stop the run.
            Err(why) => {
                self.fenced(BOUNDS, async |client: &Client| Ok(ledger::refuse(client, &place, id, &why).await?))
                    .await?;
                self.say(Notice::Note { text: format!("request {id} by {actor} on {host} is passed over: {why}") });
                return Ok(false);
            }
        };
        let number = self.journal.last() + 1;
        self.record_with(BOUNDS, async |client: &Client| {
            ledger::taken(client, &place, id, number).await?;
            Ok(((), event))
        })
        .await?;
        Ok(true)
    }
}

/// Somebody holds the row, or the table: it stays asked, and a later look takes it. The work does not wait for that.
fn later(error: DriveError) -> Result<bool, DriveError> {
    if error.class() != Some(Class::Transient) {
        return Err(error);
    }
    tracing::warn!("a request could not be taken: {error}");
    Ok(false)
}
