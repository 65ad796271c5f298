//! Holds the lease: a session of its own renews it. When that fails for too long all work stops by itself, before anybody else
//! can take the lease, until it is taken again.

use std::time::{Duration, Instant};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};
use uuid::Uuid;

use tokio_postgres::Client;

use super::{
    error::DriveError,
    open::Access,
    shell::millis,
    stop::{Stop, Until},
};
use crate::{
    engine::Notice,
    ledger::{self, Acquired, Ended, Hold, Holder, LedgerError, Left, Ours, Purpose, Taker, Term},
    pg::{
        Class, Fault,
        connect::{Connection, Identity, SessionSpec, connect},
        settings::Settings,
    },
    sql::Ident,
};

/// How long the end waits for the lease to be given back: one short statement, on a server that may be busy.
const GIVE_BACK_MAX: Duration = Duration::from_secs(10);
/// No statement on the lease waits longer for a lock.
const LEASE_LOCK_WAIT: Duration = Duration::from_secs(5);
/// Taking the lease again: a connection, a lock wait, and a commit that may wait for a replica.
const RETAKE_MAX: Duration = Duration::from_secs(20);
/// How soon a new session is tried for again when the lease's was lost and the server does not take one: until it has one,
/// the lease looks like that of a dead process.
const RENEW_AGAIN: Duration = Duration::from_secs(1);
/// At the end a heartbeat that is under way, and the giving back, get so long: the command is done, or somebody wants it to be.
const END_WAIT: Duration = Duration::from_secs(2);

/// How often a held lease is asked for again, and how often it is told who has it.
const WAIT_POLL: Duration = Duration::from_secs(1);
const WAIT_TELL: Duration = Duration::from_secs(10);

/// The lease, renewed in the background until it is given back.
#[derive(Debug)]
pub struct Lease {
    pub acquired: Acquired,
    /// Another one had it first, and was waited for.
    pub waited: bool,
    term: Term,
    tenure: Tenure,
    end: watch::Sender<bool>,
    task: JoinHandle<()>,
    stop: Stop,
}

/// What the lease was taken again as.
#[derive(Debug, Clone, Copy)]
pub struct Retaken {
    pub epoch: i64,
    /// The server on which it was.
    pub server: Identity,
}

/// The way to the task that holds the lease.
#[derive(Debug, Clone)]
pub struct Tenure(mpsc::Sender<oneshot::Sender<Result<Retaken, DriveError>>>);

impl Tenure {
    /// Takes the lease again under a new epoch: whatever this process still has under way under the old one cannot commit.
    pub async fn retake(&self) -> Result<Retaken, DriveError> {
        let gone = || DriveError::LeaseLost("it was given back".to_owned());
        let (reply, answer) = oneshot::channel();
        self.0.send(reply).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

impl Lease {
    /// Takes the lease, or says who has it; waits for that one as long as the command may.
    pub async fn take(access: &Access, purpose: Purpose, term: Term) -> Result<Self, DriveError> {
        let Access { settings, schema, host, stop, tell, holder, .. } = access;
        let session = connect(settings, &spec(term)).await?;
        if !access.accept_server {
            let identity = session.identity;
            session.with(async |client: &Client| ledger::same_server(client, schema, identity).await).await?;
        }
        let taker = Taker { holder: *holder, host, purpose, term, pooled: session.pooled };
        let (acquired, waited) = acquire(access, &session, &taker).await?;
        if let Some((former, ended)) = &acquired.over {
            told(former, ended).into_iter().for_each(|text| tell(Notice::Note { text }));
        }
        stands_on(&session, schema, Hold { holder: *holder, epoch: acquired.epoch }).await?;
        let (end, ended) = watch::channel(false);
        let (asked, asks) = mpsc::channel(1);
        let keeper = Keeper {
            settings: settings.clone(),
            schema: schema.clone(),
            holder: *holder,
            epoch: acquired.epoch,
            term,
            stop: stop.clone(),
            ended,
            asks,
            session: Some(session),
            renewed: Instant::now(),
        };
        let task = tokio::spawn(keeper.run());
        Ok(Self { acquired, waited, term, tenure: Tenure(asked), end, task, stop: stop.clone() })
    }

    /// How whoever works asks for it to be taken again.
    pub fn tenure(&self) -> Tenure {
        self.tenure.clone()
    }

    /// Leaves the lease as a killed process does: nobody renews it, and nobody gives it back.
    pub fn abandon(self) {
        self.task.abort();
    }

    /// Gives the lease back and closes its session. Where the server does not answer, the lease ends by itself.
    pub async fn give_back(self) {
        self.end.send_replace(true);
        match tokio::time::timeout(self.stop.left(Until::Gone, GIVE_BACK_MAX), self.task).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("the lease's task ended badly: {error}"),
            Err(_) => tracing::warn!("the lease ends by itself in {} s: no answer", self.term.0.as_secs()),
        }
    }
}

async fn acquire(access: &Access, session: &Connection, taker: &Taker<'_>) -> Result<(Acquired, bool), DriveError> {
    let (begun, mut told) = (Instant::now(), None::<Instant>);
    loop {
        let error = match ledger::acquire(session, &access.schema, taker).await {
            Ok(acquired) => return Ok((acquired, told.is_some())),
            Err(error) => error,
        };
        let left = access.wait.unwrap_or_default().saturating_sub(begun.elapsed());
        if left.is_zero() || !matches!(error, LedgerError::Held(_) | LedgerError::InTheWay { .. }) {
            return Err(error.into());
        }
        if told.is_none_or(|at| at.elapsed() >= WAIT_TELL) {
            (access.tell)(Notice::Waiting { why: error.to_string(), again_in_ms: millis(WAIT_POLL) });
            told = Some(Instant::now());
        }
        access.stop.sleep(left.min(WAIT_POLL)).await?;
    }
}

fn spec(term: Term) -> SessionSpec {
    let mut spec = SessionSpec::new("tenantmig lease", LEASE_LOCK_WAIT);
    // Taking the lease waits for the row as long as the lock may take, whatever the term.
    spec.statement_timeout = Some((term.lost() / 2).max(LEASE_LOCK_WAIT + Duration::from_secs(1)));
    spec.survey = true;
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
    holder: Uuid,
    epoch: i64,
    term: Term,
    stop: Stop,
    ended: watch::Receiver<bool>,
    asks: mpsc::Receiver<oneshot::Sender<Result<Retaken, DriveError>>>,
    session: Option<Connection>,
    /// When the last heartbeat that arrived was sent. Its arrival, from which the server counts, was later.
    renewed: Instant,
}

/// What comes next for the keeper.
enum Next {
    Beat,
    /// The lease's session is gone.
    Lost(String),
    Retake(oneshot::Sender<Result<Retaken, DriveError>>),
    End,
}

impl Keeper {
    fn hold(&self) -> Hold {
        Hold { holder: self.holder, epoch: self.epoch }
    }

    async fn run(mut self) {
        // Contact is lost: nothing is renewed any more until it is taken again.
        let mut silent = false;
        loop {
            let pause = self.until_beat();
            let next = tokio::select! {
                () = over(&mut self.ended) => Next::End,
                Some(reply) = self.asks.recv() => Next::Retake(reply),
                () = tokio::time::sleep(pause), if !silent => Next::Beat,
                // At once: without its session the lease looks like that of a dead process.
                why = lost(self.session.as_ref()), if !silent => Next::Lost(why),
            };
            match next {
                Next::End => break,
                Next::Retake(reply) => {
                    let mut ended = self.ended.clone();
                    let retaken = tokio::select! {
                        retaken = self.retake() => retaken,
                        () = over(&mut ended) => break,
                    };
                    silent &= retaken.is_err();
                    if reply.send(retaken).is_err() {
                        tracing::debug!("the lease was taken again for nobody");
                    }
                }
                Next::Lost(why) => {
                    tracing::debug!("the lease's session was lost, renewing on another: {why}");
                    self.session = None;
                    if !self.renew(&mut silent).await {
                        return;
                    }
                }
                Next::Beat => {
                    if !self.renew(&mut silent).await {
                        return;
                    }
                }
            }
        }
        let Some(session) = self.session.as_ref().filter(|_| !silent) else { return };
        let release = ledger::release(session, &self.schema, self.hold());
        let released = tokio::time::timeout(END_WAIT, release).await.map_err(|_| "no answer".to_owned());
        if let Err(error) = released.and_then(|released| released.map_err(|error| error.to_string())) {
            tracing::warn!("the lease ends by itself in {} s: {error}", self.term.0.as_secs());
        }
    }

    fn until_beat(&self) -> Duration {
        let usual = self.term.heartbeat();
        if self.session.is_some() { usual } else { usual.min(RENEW_AGAIN) }
    }

    /// A heartbeat and what follows from it; `false` when the lease is another's.
    async fn renew(&mut self, silent: &mut bool) -> bool {
        match self.beat().await {
            Ok(true) => {}
            Ok(false) => {
                self.stop.lease_lost(LedgerError::Fenced { ours: self.epoch }.to_string());
                return false;
            }
            Err(why) if self.renewed.elapsed() >= self.term.lost() => {
                *silent = true;
                self.stop.lease_silent(&why);
                self.settings.fleet.sever(&format!("the lease could not be renewed: {why}"));
            }
            Err(why) => tracing::warn!("heartbeat failed, trying again: {why}"),
        }
        true
    }

    /// One heartbeat, on a new session where the last one was lost; never longer than what makes the lease doubtful.
    async fn beat(&mut self) -> Result<bool, String> {
        let limit = self.term.lost().saturating_sub(self.renewed.elapsed()).min(self.term.lost() / 2);
        let mut ended = self.ended.clone();
        let sent = Instant::now();
        let work = async {
            let open = match self.session.take() {
                Some(open) => open,
                None => connect(&self.settings, &spec(self.term)).await.map_err(|e| e.to_string())?,
            };
            let hold = self.hold();
            let ours = ledger::heartbeat(&open, &self.schema, hold, self.term).await;
            let ours = ours.map_err(|e| open.lost_because().unwrap_or_else(|| e.to_string()))?;
            self.session = Some(open);
            Ok(ours)
        };
        let cut = async {
            over(&mut ended).await;
            tokio::time::sleep(END_WAIT).await;
        };
        let result = tokio::select! {
            result = tokio::time::timeout(limit, work) => result,
            () = cut => return Err("the end came first".to_owned()),
        };
        match result {
            Ok(result) => result.inspect(|_| self.renewed = sent),
            Err(_) => Err(format!("no answer within {} s", limit.as_secs())),
        }
    }

    async fn retake(&mut self) -> Result<Retaken, DriveError> {
        self.session = None;
        let sent = Instant::now();
        let work = async {
            let session = connect(&self.settings, &spec(self.term)).await?;
            let ours = Ours { holder: self.holder, epoch: self.epoch, term: self.term, pooled: session.pooled };
            let epoch = ledger::retake(&session, &self.schema, ours).await?;
            stands_on(&session, &self.schema, Hold { holder: self.holder, epoch }).await?;
            Ok::<_, DriveError>((session, epoch))
        };
        let (session, epoch) = match tokio::time::timeout(RETAKE_MAX, work).await {
            Ok(taken) => taken?,
            Err(_) => {
                let why = format!("the lease could not be taken again within {} s", RETAKE_MAX.as_secs());
                return Err(Fault::new(Class::Ambiguous, why).into());
            }
        };
        let server = session.identity;
        (self.session, self.epoch, self.renewed) = (Some(session), epoch, sent);
        self.stop.lease_renewed();
        Ok(Retaken { epoch, server })
    }
}

/// Notes on which server the lease is held. By a turn and not by `with`: the keeper's task has to be Send.
async fn stands_on(session: &Connection, schema: &Ident, ours: Hold) -> Result<(), DriveError> {
    let turn = session.turn().await?;
    let noted = ledger::stands_on(turn.client(), schema, ours, session.identity).await;
    Ok(turn.end(noted).await?)
}

/// Returns when the session is gone, with the reason.
async fn lost(session: Option<&Connection>) -> String {
    match session {
        Some(session) => session.lost().await,
        None => std::future::pending().await,
    }
}

/// Returns when the lease is to be given back, or nobody is left to say so.
async fn over(ended: &mut watch::Receiver<bool>) {
    if ended.wait_for(|ended| *ended).await.is_err() {
        tracing::debug!("the lease was dropped without being given back");
    }
}
