//! Holds the lease: a session of its own renews it, and the driver stops by itself when that fails for too long.

use std::time::{Duration, Instant};

use tokio::{sync::watch, task::JoinHandle};

use super::{
    error::DriveError,
    stop::{Stop, Until},
};
use crate::{
    ledger::{self, Acquired, HEARTBEAT, HEARTBEAT_LOST, Purpose},
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
    pub async fn take(
        settings: &Settings,
        schema: &Ident,
        host: &str,
        purpose: Purpose,
        stop: &Stop,
    ) -> Result<Self, DriveError> {
        let session = connect(settings, &spec()).await?;
        let acquired = ledger::acquire(&session, schema, host, purpose).await?;
        let (end, ended) = watch::channel(false);
        let keeper = Keeper {
            settings: settings.clone(),
            schema: schema.clone(),
            epoch: acquired.epoch,
            stop: stop.clone(),
            ended,
        };
        Ok(Self { acquired, end, task: tokio::spawn(keeper.run(session)), stop: stop.clone() })
    }

    /// Gives the lease back and closes its session. Where the server does not answer, the lease ends by itself.
    pub async fn give_back(self) {
        self.end.send_replace(true);
        match tokio::time::timeout(self.stop.left(Until::Gone, GIVE_BACK_MAX), self.task).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("the lease's task ended badly: {error}"),
            Err(_) => tracing::warn!("the lease ends by itself in {} s: no answer", ledger::LEASE.as_secs()),
        }
    }
}

fn spec() -> SessionSpec {
    let mut spec = SessionSpec::new("tenantmig lease", LEASE_LOCK_WAIT);
    spec.statement_timeout = Some(HEARTBEAT_LOST / 2);
    spec
}

struct Keeper {
    settings: Settings,
    schema: Ident,
    epoch: i64,
    stop: Stop,
    ended: watch::Receiver<bool>,
}

impl Keeper {
    async fn run(mut self, session: Connection) {
        let mut session = Some(session);
        let mut renewed = Instant::now();
        loop {
            let over = self.ended.wait_for(|ended| *ended);
            if tokio::time::timeout(HEARTBEAT, over).await.is_ok() {
                break;
            }
            // What is left until the lease is doubtful bounds the attempt, so that the end comes in time.
            let left = HEARTBEAT_LOST.saturating_sub(renewed.elapsed()).min(HEARTBEAT_LOST / 2);
            match self.renew(&mut session, left).await {
                Ok(true) => renewed = Instant::now(),
                Ok(false) => return self.stop.lease_lost("another tenantmig took it over"),
                Err(why) if renewed.elapsed() >= HEARTBEAT_LOST => return self.stop.lease_lost(why),
                Err(why) => {
                    tracing::warn!("heartbeat failed, trying again: {why}");
                    session = None;
                }
            }
        }
        if let Some(session) = session
            && let Err(error) = ledger::release(&session, &self.schema, self.epoch).await
        {
            tracing::warn!("the lease ends by itself in {} s: {error}", ledger::LEASE.as_secs());
        }
    }

    /// One heartbeat, on a new session where the last one was lost; never longer than what makes the lease doubtful.
    async fn renew(&self, session: &mut Option<Connection>, limit: Duration) -> Result<bool, String> {
        let work = async {
            let open = match session.take() {
                Some(open) => open,
                None => connect(&self.settings, &spec()).await.map_err(|e| e.to_string())?,
            };
            let ours = ledger::heartbeat(&open, &self.schema, self.epoch).await.map_err(|e| e.to_string())?;
            *session = Some(open);
            Ok(ours)
        };
        match tokio::time::timeout(limit, work).await {
            Ok(result) => result,
            Err(_) => Err(format!("no answer within {} s", limit.as_secs())),
        }
    }
}
