//! What makes the driver stop from outside: a signal, the loss of the lease, or silence in which it cannot be renewed.

use std::time::{Duration, Instant};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use super::{error::DriveError, signal::Signal};

/// What is promised for the end after a signal is 10 s, counted from the first one: Kubernetes kills after 30 s, an init system
/// after 90 s, and a person's patience ends before. One course of deadlines, not a sum of bounds: whatever comes late has
/// what is left. First the statement under way may finish by itself.
const GRACE: Duration = Duration::from_secs(4);
/// Until then a cancelled statement has ended, or its session is given up.
const SETTLED: Duration = Duration::from_millis(5_500);
/// Until then a wreck is cleared, or left for `resume`.
const CLEARED: Duration = Duration::from_millis(7_500);
/// Until then the driver has ended, whatever it waits for. The lease is given back, and the summary told, in what remains.
const ENDED: Duration = Duration::from_secs(8);
/// Then the process ends.
const GONE: Duration = Duration::from_millis(9_300);

/// What must be over by a time counted from the first signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    Settled,
    Cleared,
    Ended,
    Gone,
}

impl Until {
    fn after(self) -> Duration {
        match self {
            Self::Settled => SETTLED,
            Self::Cleared => CLEARED,
            Self::Ended => ENDED,
            Self::Gone => GONE,
        }
    }

    /// Counted from a second signal: whoever sends it does not want to wait.
    fn in_haste(self) -> Duration {
        Duration::from_millis(match self {
            Self::Settled => 1_000,
            Self::Cleared => 1_800,
            Self::Ended => 2_200,
            Self::Gone => 2_700,
        })
    }
}

#[derive(Debug, Clone, Default)]
struct State {
    signal: Option<Signal>,
    /// When the first and the second came: the second one does not wait for the statement.
    first: Option<Instant>,
    second: Option<Instant>,
    /// A run is under way, and ends by itself in the course above.
    engaged: bool,
    lease_lost: Option<String>,
    /// Not lost yet: the work waits until the lease is taken again.
    silent: Option<String>,
}

impl State {
    /// A reason that no waiting removes.
    fn end(&self) -> Option<DriveError> {
        let lost = self.lease_lost.clone().map(DriveError::LeaseLost);
        lost.or(self.signal.map(DriveError::Interrupted))
    }
}

/// Watched by everything that waits.
#[derive(Debug, Clone)]
pub struct Stop {
    state: watch::Receiver<State>,
    change: watch::Sender<State>,
}

impl Stop {
    /// Nothing asks for the end.
    pub fn new() -> Self {
        let (change, state) = watch::channel(State::default());
        Self { state, change }
    }

    /// From now on SIGINT, SIGTERM and SIGHUP ask for the end.
    pub fn listen(&self) -> std::io::Result<()> {
        let kinds = [
            (SignalKind::interrupt(), Signal::Interrupt),
            (SignalKind::terminate(), Signal::Terminate),
            (SignalKind::hangup(), Signal::Hangup),
        ];
        for (kind, which) in kinds {
            let mut stream = signal(kind)?;
            let change = self.change.clone();
            tokio::spawn(async move {
                while stream.recv().await.is_some() {
                    change.send_modify(|state| {
                        state.signal.get_or_insert(which);
                        match state.first {
                            Some(_) => drop(state.second.get_or_insert_with(Instant::now)),
                            None => state.first = Some(Instant::now()),
                        }
                    });
                }
            });
        }
        Ok(())
    }

    /// The lease is no longer ours.
    pub fn lease_lost(&self, why: impl Into<String>) {
        self.change.send_modify(|state| {
            state.lease_lost.get_or_insert_with(|| why.into());
        });
    }

    /// The lease cannot be renewed, and nobody says that it is another's.
    pub fn lease_silent(&self, why: &str) {
        self.change.send_modify(|state| state.silent = Some(why.to_owned()));
    }

    /// The lease is ours again.
    pub fn lease_renewed(&self) {
        self.change.send_modify(|state| state.silent = None);
    }

    /// The reason to stop, if there is one.
    pub fn check(&self) -> Result<(), DriveError> {
        let state = self.state.borrow();
        state.end().or(state.silent.clone().map(DriveError::Silence)).map_or(Ok(()), Err)
    }

    /// Returns the reason once there is one that no waiting removes.
    pub async fn ended(&self) -> DriveError {
        let mut state = self.state.clone();
        loop {
            if let Some(end) = state.borrow_and_update().end() {
                return end;
            }
            // The sender lives in self, so waiting cannot fail.
            if state.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits so long in silence, or until there is a reason that no waiting removes.
    pub async fn rest(&self, length: Duration) -> Result<(), DriveError> {
        tokio::time::timeout(length, self.ended()).await.map_or(Ok(()), Err)
    }

    /// Returns when the statement under way is to be cancelled: the grace after a first signal is over, a second one
    /// came, or the lease is lost. In silence there is nobody to cancel it: the sessions are given up.
    pub async fn cancel_now(&self) {
        let mut state = self.state.clone();
        // The sender lives in self, so waiting cannot fail; if it did, there would be nothing to cancel for.
        if state.wait_for(|s| s.signal.is_some() || s.lease_lost.is_some()).await.is_err() {
            std::future::pending::<()>().await;
        }
        let urgent = state.wait_for(|s| s.second.is_some() || s.lease_lost.is_some());
        if tokio::time::timeout(GRACE, urgent).await.is_err() {
            tracing::debug!("the grace after a signal is over");
        }
    }

    /// From now on a run is under way: it ends by itself when a signal comes.
    pub fn engage(&self) {
        self.change.send_modify(|state| state.engaged = true);
    }

    /// Whether a run is under way.
    pub fn is_engaged(&self) -> bool {
        self.state.borrow().engaged
    }

    /// What is left until then, at most `usual`. Without a signal all of it; never nothing, for what is due has not even been
    /// asked for.
    pub fn left(&self, until: Until, usual: Duration) -> Duration {
        let state = self.state.borrow();
        let Some(first) = state.first else { return usual };
        let haste = state.second.map_or(Duration::MAX, |second| until.in_haste().saturating_sub(second.elapsed()));
        usual.min(until.after().saturating_sub(first.elapsed())).min(haste).max(Duration::from_millis(200))
    }

    /// Returns once a signal came and that time is over.
    pub async fn over(&self, until: Until) {
        let mut state = self.state.clone();
        if state.wait_for(|s| s.first.is_some()).await.is_err() {
            std::future::pending::<()>().await;
        }
        // A second signal shortens what is left.
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.left(until, Duration::MAX)) => return,
                changed = state.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Returns once a signal came.
    pub async fn signalled(&self) {
        let mut state = self.state.clone();
        if state.wait_for(|s| s.first.is_some()).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Runs `work` until that time after a signal at most. What is dropped half-way is a question, or a transaction, which the
    /// server rolls back when it finds the session gone.
    pub async fn bounded<T>(
        &self,
        until: Until,
        work: impl Future<Output = Result<T, DriveError>>,
    ) -> Result<T, DriveError> {
        tokio::select! {
            biased;
            done = work => done,
            () = self.over(until) => Err(self.reason()),
        }
    }

    /// Runs `work` until a signal comes: for what has nothing to lose.
    pub async fn unless_signalled<T>(
        &self,
        work: impl Future<Output = Result<T, DriveError>>,
    ) -> Result<T, DriveError> {
        tokio::select! {
            biased;
            done = work => done,
            () = self.signalled() => Err(self.reason()),
        }
    }

    /// The reason, for whoever was told to stop.
    fn reason(&self) -> DriveError {
        self.check().err().unwrap_or_else(|| DriveError::LeaseLost("it was asked to stop".to_owned()))
    }

    /// Waits so long, or until something asks for the end.
    pub async fn sleep(&self, length: Duration) -> Result<(), DriveError> {
        let mut state = self.state.clone();
        let asked = state.wait_for(|s| s.signal.is_some() || s.lease_lost.is_some() || s.silent.is_some());
        if tokio::time::timeout(length, asked).await.is_err() {
            tracing::trace!("slept {length:?}");
        }
        self.check()
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}
