//! Takes what operators ask through the ledger: each request becomes an event of the run.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::{error::DriveError, shell::Shell};
use crate::{
    engine::{Asker, Effect, Event, Notice},
    ledger::{self, Pause, Request, Wish},
    pg::{Bounds, Class},
};

/// A request's row is free but for somebody who looks at it FOR UPDATE by hand; the batches behind it do not wait longer.
const BOUNDS: Bounds = Bounds { lock: Duration::from_millis(500), statement: Duration::from_secs(5) };
/// How often a wait looks whether a pause is asked for: an operator who waits for the answer sees it within seconds.
const LOOK_EVERY: Duration = Duration::from_secs(1);

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
            // Somebody may hold the row of one; that of another is free, a pause among them.
            changed |= match self.take(request).await {
                Ok(taken) => taken,
                Err(error) => later(error)?,
            };
        }
        Ok(changed)
    }

    /// The event and the answer commit together, so that a request is neither lost nor taken twice.
    async fn take(&mut self, request: Request) -> Result<bool, DriveError> {
        let place = self.journal.place.clone();
        let Request { id, asked_at, actor, host, wish } = request;
        let event = match wish {
            Ok(Wish::Retune(tuning)) => Ok(Event::Retuned { by: actor.clone(), host: host.clone(), asked_at, tuning }),
            Ok(Wish::Pause(Pause { why })) => match self.journal.next() {
                Effect::Halt(_) => Err("the run stands still already".to_owned()),
                Effect::Do(_) | Effect::Undo(_) | Effect::Gate(..) | Effect::Check(..) | Effect::Ask(..) => {
                    let asked = Some(Asker { by: actor.clone(), host: host.clone(), at: asked_at });
                    Ok(Event::Paused { why: why.unwrap_or_else(|| "no reason was given".to_owned()), asked })
                }
            },
            // Anybody with the privilege may have written the row: that must not stop the run.
            Err(why) => Err(why),
        };
        let event = match event {
            Ok(event) => event,
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

impl Shell {
    /// Answers pauses that nobody has taken yet and that are to become no event: whoever types resume or rollback knows what was
    /// asked before and decides otherwise, and a run that has come to rest cannot be stopped.
    pub async fn pass_over_pauses(&self, why: &str) -> Result<(), DriveError> {
        let place = self.journal.place.clone();
        let ask = async |client: &Client| ledger::open_requests(client, &place.schema, place.run).await;
        let open = self.work.with(ask).await?;
        for request in open.iter().filter(|request| matches!(request.wish, Ok(Wish::Pause(_)))) {
            self.fenced(BOUNDS, async |client: &Client| Ok(ledger::refuse(client, &place, request.id, why).await?))
                .await?;
        }
        Ok(())
    }

    /// Waits so long, or until something asks for the end; gives way to a pause that an operator asks for meanwhile.
    pub(super) async fn rest(&self, length: Duration) -> Result<(), DriveError> {
        let end = Instant::now() + length;
        loop {
            if self.is_asked_to_pause().await {
                return Err(DriveError::Yield);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.stop.sleep(left.min(LOOK_EVERY)).await?;
        }
    }

    /// Asked of the session that watches, for the other one is at its work. What cannot be asked now is asked before the next
    /// effect.
    async fn is_asked_to_pause(&self) -> bool {
        let place = &self.journal.place;
        let ask = async |client: &Client| ledger::pause_is_asked(client, &place.schema, place.run).await;
        match self.monitor.with(ask).await {
            Ok(asked) => asked,
            Err(error) => {
                tracing::debug!("requests cannot be looked at: {error}");
                false
            }
        }
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
