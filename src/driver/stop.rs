//! What makes the driver stop from outside: a signal, the loss of the lease, or silence in which it cannot be renewed.

use std::time::Duration;

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use super::{error::DriveError, signal::Signal};

/// How long the statement under way may take to finish after the first signal, before it is cancelled. Kubernetes kills
/// after 30 s; 10 s for everything is what is promised, so half of it is spent on waiting.
pub const GRACE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Default)]
struct State {
    signal: Option<Signal>,
    /// How often a signal came: the second one does not wait for the statement.
    times: u32,
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
                        state.times += 1;
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
        let urgent = state.wait_for(|s| s.times > 1 || s.lease_lost.is_some());
        if tokio::time::timeout(GRACE, urgent).await.is_err() {
            tracing::debug!("the grace after a signal is over");
        }
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
