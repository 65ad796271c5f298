//! After a loss of contact: new sessions, the lease taken again, and the run as the ledger has it.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::{
    error::DriveError,
    journal::Journal,
    sentinel::Sentinel,
    shell::{Shell, millis, sessions},
};
use crate::{
    engine::Notice,
    pg::{Class, Fault, connect::Connection},
};

/// The pauses between tries: the first finds a server that only ended a session, the longest costs one that is away little.
const PAUSE_FIRST: Duration = Duration::from_millis(250);
const PAUSE_LONGEST: Duration = Duration::from_secs(5);
/// How often in a row contact may be lost in one and the same piece of work before it is left for `resume`.
pub(super) const LOSSES_MAX: u32 = 5;

impl Shell {
    /// Does `work`, and after a loss of contact again from what the ledger then says. For short work before the loop begins.
    pub async fn outlive<T>(
        &mut self,
        work: impl AsyncFn(&mut Self) -> Result<T, DriveError>,
    ) -> Result<T, DriveError> {
        let mut losses = 0;
        loop {
            match work(self).await {
                Err(error) if error.is_loss() && losses < LOSSES_MAX => {
                    losses += 1;
                    self.reconnect(&error).await?;
                }
                done => return done,
            }
        }
    }

    /// Contact was lost: tries for `reconnect_max` to get it back, and reads again what the ledger says happened. A signal ends
    /// the wait at once.
    pub async fn reconnect(&mut self, lost: &DriveError) -> Result<(), DriveError> {
        let mut why = self.work.lost_because().unwrap_or_else(|| lost.to_string());
        let budget = self.safety().reconnect_max.duration();
        let (begun, mut pause) = (Instant::now(), PAUSE_FIRST);
        let stop = self.stop.clone();
        loop {
            self.say(Notice::Waiting { why: format!("the connection was lost ({why})"), again_in_ms: millis(pause) });
            stop.rest(pause).await?;
            let restored = tokio::select! {
                restored = self.restore() => restored,
                end = stop.ended() => return Err(end),
            };
            match restored {
                Ok(()) => return Ok(()),
                Err(error) if !may_pass(&error) => return Err(error),
                Err(error) if begun.elapsed() >= budget => {
                    let full = error.is_full();
                    return Err(DriveError::Away { after: begun.elapsed(), why: error.to_string(), full });
                }
                Err(error) => {
                    tracing::warn!("{error}");
                    why = error.to_string();
                }
            }
            pause = (pause * 2).min(PAUSE_LONGEST);
        }
    }

    /// One try. What this process still has on the server is ended first, since a statement outside a transaction passes no
    /// fence; then the lease is taken under a new epoch, so that nothing of before commits any more; only then does the ledger
    /// say for good what happened.
    async fn restore(&mut self) -> Result<(), DriveError> {
        let fleet = self.settings.fleet.clone();
        let former = fleet.former();
        let (work, monitor) = sessions(&self.settings, self.safety()).await?;
        if !work.pooled && !fleet.end(&work, &former).await? {
            return Err(unsettled("a statement of before the loss is still under way on the server"));
        }
        let retaken = self.tenure.retake().await?;
        if retaken.server != work.identity {
            return Err(unsettled("the sessions came to different servers"));
        }
        let mut place = self.journal.place.clone();
        place.epoch = retaken.epoch;
        let journal = work.with(async |client: &Client| Journal::read(client, place).await).await?;
        self.tell_change(&work, &journal);
        self.sentinel = Sentinel::over(&work, &monitor, &self.settings);
        (self.work, self.monitor, self.journal) = (work, monitor, journal);
        Ok(())
    }

    /// Tells what is different from before the loss.
    fn tell_change(&self, work: &Connection, journal: &Journal) {
        let note = |text: String| self.say(Notice::Note { text });
        let (before, now) = (self.work.identity.timeline, work.identity.timeline);
        if let (Some(before), Some(now)) = (before, now)
            && now > before
        {
            note(format!("a failover happened: {} is the primary now, on timeline {now} (before: {before})", work.at));
        }
        for text in &work.notes {
            note(text.clone());
        }
        let missing = self.journal.last() - journal.last();
        if missing > 0 {
            note(format!(
                "the server does not have the last {missing} events, whose commits had not reached it; what was done with them is gone as well"
            ));
        }
        note("connected again; going on from what the ledger says".to_owned());
    }
}

fn unsettled(why: &str) -> DriveError {
    Fault::new(Class::Ambiguous, why).into()
}

/// Whether another try may succeed: not when somebody else has the lease, nor when the server refuses for good.
fn may_pass(error: &DriveError) -> bool {
    match error {
        // Full, starting or being switched over.
        DriveError::Connect(error) => error.is_away() || error.exit_code() == 75,
        DriveError::Server(fault) => match fault.class {
            Class::Ambiguous | Class::Transient | Class::Cancelled | Class::Resources => true,
            // A server that has become a standby.
            Class::Fatal | Class::Privilege => fault.sqlstate.as_deref() == Some("25006"),
        },
        DriveError::Silence(_) => true,
        DriveError::Ledger(_)
        | DriveError::Interrupted(_)
        | DriveError::LeaseLost(_)
        | DriveError::Away { .. }
        | DriveError::Illegal(_)
        | DriveError::Yield
        | DriveError::Refused { .. } => false,
    }
}
