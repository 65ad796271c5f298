//! What makes the driver stop from outside: a signal, or the loss of the lease.

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

    /// The reason to stop, if there is one.
    pub fn check(&self) -> Result<(), DriveError> {
        let state = self.state.borrow();
        match (&state.lease_lost, state.signal) {
            (Some(why), _) => Err(DriveError::LeaseLost(why.clone())),
            (None, Some(signal)) => Err(DriveError::Interrupted(signal)),
            (None, None) => Ok(()),
        }
    }

    /// Returns when the statement under way is to be cancelled: the grace after a first signal is over, a second one
    /// came, or the lease is lost.
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
        let asked = state.wait_for(|s| s.signal.is_some() || s.lease_lost.is_some());
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
