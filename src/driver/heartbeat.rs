//! Holds the lease: a session of its own renews it, and the driver stops by itself when that fails for too long.

use std::time::{Duration, Instant};

use tokio::{sync::watch, task::JoinHandle};

use super::{
    error::DriveError,
    open::Access,
    stop::{Stop, Until},
};
use crate::{
    engine::Notice,
    ledger::{self, Acquired, Ended, Holder, LedgerError, Left, Purpose, Taker, Term},
    pg::{
        connect::{Connection, SessionSpec, connect},
        settings::Settings,
    },
    sql::Ident,
};

/// How long the end waits for the lease to be given back: one short statement, on a server that may be busy.
const GIVE_BACK_MAX: Duration = Duration::from_secs(10);
/// No statement on the lease waits longer for a lock.
const LEASE_LOCK_WAIT: Duration = Duration::from_secs(5);

/// The lease, renewed in the background until it is given back.
#[derive(Debug)]
pub struct Lease {
    pub acquired: Acquired,
    end: watch::Sender<bool>,
    task: JoinHandle<()>,
    stop: Stop,
}

impl Lease {
    /// Takes the lease, or says who has it.
    pub async fn take(access: &Access, purpose: Purpose, term: Term) -> Result<Self, DriveError> {
        let Access { settings, schema, host, stop, tell, holder, .. } = access;
        let session = connect(settings, &spec(term)).await?;
        let taker = Taker { holder: *holder, host, purpose, term, pooled: session.pooled };
        let acquired = ledger::acquire(&session, schema, &taker).await?;
        if let Some((former, ended)) = &acquired.over {
            told(former, ended).into_iter().for_each(|text| tell(Notice::Note { text }));
        }
        let (end, ended) = watch::channel(false);
        let (settings, schema, epoch) = (settings.clone(), schema.clone(), acquired.epoch);
        let keeper = Keeper { settings, schema, epoch, term, stop: stop.clone(), ended };
        Ok(Self { acquired, end, task: tokio::spawn(keeper.run(session)), stop: stop.clone() })
    }

    /// Gives the lease back and closes its session. Where the server does not answer, the lease ends by itself.
    pub async fn give_back(self) {
        self.end.send_replace(true);
        match tokio::time::timeout(self.stop.left(Until::Gone, GIVE_BACK_MAX), self.task).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("the lease's task ended badly: {error}"),
            Err(_) => tracing::warn!("the lease could not be given back, and ends by itself: no answer"),
        }
    }
}

fn spec(term: Term) -> SessionSpec {
    let mut spec = SessionSpec::new("tenantmig lease", LEASE_LOCK_WAIT);
    // Taking the lease waits for the row as long as the lock may take, whatever the term.
    spec.statement_timeout = Some((term.lost() / 2).max(LEASE_LOCK_WAIT + Duration::from_secs(1)));
    spec
}

/// Tells from whom the lease was taken and what became of its sessions.
fn told(former: &Holder, ended: &Ended) -> Vec<String> {
    let sessions = if ended.ended == 1 { "1 session".to_owned() } else { format!("{} sessions", ended.ended) };
    let mut lines = vec![format!("the lease is taken over from {former}; {sessions} of it ended")];
    lines.extend(left(ended));
    lines
}

/// What to do about the sessions of a former holder that could not be ended, a line each.
pub fn left(ended: &Ended) -> Vec<String> {
    let line = |left: &Left| {
        format!(
            "its session {} is still there ({}): its transactions fail from now on, but a CONCURRENTLY that it runs goes on; \
             as a superuser or a member of pg_signal_backend: SELECT pg_terminate_backend({})",
            left.pid, left.why, left.pid
        )
    };
    ended.left.iter().map(line).collect()
}

struct Keeper {
    settings: Settings,
    schema: Ident,
    epoch: i64,
    term: Term,
    stop: Stop,
    ended: watch::Receiver<bool>,
}

impl Keeper {
    async fn run(mut self, session: Connection) {
        let mut session = Some(session);
        let mut renewed = Instant::now();
        loop {
            let over = self.ended.wait_for(|ended| *ended);
            if tokio::time::timeout(self.term.heartbeat(), over).await.is_ok() {
                break;
            }
            // What is left until the lease is doubtful bounds the attempt, so that the end comes in time.
            let lost = self.term.lost();
            let left = lost.saturating_sub(renewed.elapsed()).min(lost / 2);
            match self.renew(&mut session, left).await {
                Ok(true) => renewed = Instant::now(),
                Ok(false) => return self.stop.lease_lost(LedgerError::Fenced { ours: self.epoch }.to_string()),
                Err(why) if renewed.elapsed() >= lost => {
                    return self.stop.lease_lost(format!("the lease could not be renewed: {why}"));
                }
                Err(why) => {
                    tracing::warn!("heartbeat failed, trying again: {why}");
                    session = None;
                }
            }
        }
        if let Some(session) = session
            && let Err(error) = ledger::release(&session, &self.schema, self.epoch).await
        {
            tracing::warn!("the lease ends by itself in {} s: {error}", self.term.0.as_secs());
        }
    }

    /// One heartbeat, on a new session where the last one was lost; never longer than what makes the lease doubtful.
    async fn renew(&self, session: &mut Option<Connection>, limit: Duration) -> Result<bool, String> {
        let work = async {
            let open = match session.take() {
                Some(open) => open,
                None => connect(&self.settings, &spec(self.term)).await.map_err(|e| e.to_string())?,
            };
            let ours = ledger::heartbeat(&open, &self.schema, self.epoch, self.term).await;
            let ours = ours.map_err(|e| e.to_string())?;
            *session = Some(open);
            Ok(ours)
        };
        match tokio::time::timeout(limit, work).await {
            Ok(result) => result,
            Err(_) => Err(format!("no answer within {} s", limit.as_secs())),
        }
    }
}
