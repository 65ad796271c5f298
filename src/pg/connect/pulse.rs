//! What is outstanding on a session: since when an answer is awaited, how long it may take, and the end of one that is given up.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;

/// A statement that runs into its deadline is ended by the server; its answer then needs a moment for the way. What has not come
/// after so long will not come: the server ended the statement, or never had it.
const ANSWER_SLACK: Duration = Duration::from_secs(5);
/// Where the server has no deadline for a statement, its answer still does not stay away for ever: longer than the longest
/// build that anybody waits for.
const STATEMENT_MAX: Duration = Duration::from_secs(24 * 3600);
/// COMMIT is not bound by `statement_timeout`: deferred constraints are checked in it, and a synchronous replica is waited for.
/// A commit that is given up is asked for afterwards; giving up a slow one too soon costs more than a late answer.
const COMMIT_MIN: Duration = Duration::from_secs(60);

/// The state of one session's dialogue, shared by its stream, its task and whoever waits.
#[derive(Debug)]
pub struct Pulse {
    state: Mutex<State>,
    severed: watch::Sender<Option<String>>,
}

#[derive(Debug)]
struct State {
    /// The login is over: what passes now is requests and answers.
    armed: bool,
    /// Requests whose end (ReadyForQuery) has not come.
    unanswered: u32,
    /// Since when the oldest of them is awaited.
    since: Option<Instant>,
    /// When something came last.
    heard: Instant,
    /// Counts requests, so that two looks can tell one long request from two short ones.
    number: u64,
    /// The bound of the server's side.
    statement: Duration,
}

/// A request whose answer is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Awaited {
    pub number: u64,
    pub since: Instant,
    /// When something came last, before it was sent or since.
    pub heard: Instant,
}

impl Pulse {
    /// For a session whose statements the server ends after `statement`.
    pub(super) fn new(statement: Option<Duration>) -> Arc<Self> {
        let state = State {
            armed: false,
            unanswered: 0,
            since: None,
            heard: Instant::now(),
            number: 0,
            statement: statement.unwrap_or(STATEMENT_MAX),
        };
        Arc::new(Self { state: Mutex::new(state), severed: watch::Sender::new(None) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on what passes is counted.
    pub(super) fn arm(&self) {
        self.state().armed = true;
    }

    pub(super) fn is_armed(&self) -> bool {
        self.state().armed
    }

    /// Bytes of a request were sent, with so many ends of requests among them.
    pub(super) fn sent(&self, requests: u32) {
        let mut state = self.state();
        if state.since.is_none() {
            state.since = Some(Instant::now());
            state.number += 1;
        }
        state.unanswered = state.unanswered.saturating_add(requests);
    }

    /// Something came, and so many requests are answered to their end with it. What was sent behind them begins now.
    pub(super) fn answered(&self, requests: u32) {
        let mut state = self.state();
        state.heard = Instant::now();
        if requests == 0 {
            return;
        }
        state.unanswered = state.unanswered.saturating_sub(requests);
        state.since = (state.unanswered > 0).then(Instant::now);
        if state.unanswered > 0 {
            state.number += 1;
        }
    }

    /// The request whose answer is awaited; `None` while nothing is outstanding.
    #[must_use]
    pub fn awaited(&self) -> Option<Awaited> {
        let state = self.state();
        state.since.map(|since| Awaited { number: state.number, since, heard: state.heard })
    }

    /// Why the session is to be given up, when an answer has stayed away for longer than it may.
    pub(super) fn overdue(&self) -> Option<String> {
        let state = self.state();
        let limit = state.statement.saturating_add(ANSWER_SLACK);
        let since = state.since.filter(|since| since.elapsed() > limit)?;
        Some(format!("no answer for {} s: the server or the way to it is silent", since.elapsed().as_secs()))
    }

    /// From now on the server ends statements after `statement`.
    pub fn bound(&self, statement: Duration) {
        self.state().statement = statement;
    }

    /// As [`Pulse::bound`], until the guard is dropped.
    #[must_use = "the bound holds as long as the guard"]
    pub fn bound_for_now(self: &Arc<Self>, statement: Duration) -> Bound {
        let before = std::mem::replace(&mut self.state().statement, statement);
        Bound { pulse: self.clone(), before }
    }

    /// Gives the session up: whoever waits on it is told that it is closed.
    pub fn sever(&self, why: impl Into<String>) {
        self.severed.send_if_modified(|known| {
            let first = known.is_none();
            if first {
                *known = Some(why.into());
            }
            first
        });
    }

    /// Returns, with the reason, when the session is given up.
    pub(super) async fn severed(&self) -> String {
        let mut severed = self.severed.subscribe();
        loop {
            if let Some(why) = severed.borrow_and_update().clone() {
                return why;
            }
            // The sender lives in self, so waiting cannot fail.
            if severed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// A bound that ends with its scope, also when what was waited for is abandoned.
#[derive(Debug)]
pub struct Bound {
    pulse: Arc<Pulse>,
    before: Duration,
}

impl Bound {
    /// The transaction's work is done: what is still due is its COMMIT.
    pub fn committing(&self) {
        let mut state = self.pulse.state();
        state.statement = state.statement.max(COMMIT_MIN);
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        self.pulse.state().statement = self.before;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_outstanding_can_be_overdue() {
        let pulse = Pulse::new(Some(Duration::ZERO));
        let age = |pulse: &Pulse, by: Duration| {
            let mut state = pulse.state();
            state.since = state.since.map(|since| since.checked_sub(by).unwrap());
        };
        pulse.arm();
        assert_eq!((pulse.awaited(), pulse.overdue()), (None, None));
        pulse.sent(2);
        let first = pulse.awaited().unwrap();
        age(&pulse, ANSWER_SLACK + Duration::from_secs(1));
        assert!(pulse.overdue().unwrap().contains("no answer for 6 s"));
        // Each request of a pipeline has its own time, from the end of the one before it.
        pulse.answered(1);
        assert_eq!(pulse.overdue(), None);
        assert_ne!(pulse.awaited().unwrap().number, first.number);
        let wider = pulse.bound_for_now(Duration::from_secs(60));
        age(&pulse, ANSWER_SLACK + Duration::from_secs(1));
        assert_eq!(pulse.overdue(), None);
        drop(wider);
        assert!(pulse.overdue().is_some());
        pulse.answered(1);
        assert_eq!((pulse.awaited(), pulse.overdue()), (None, None));
    }
}
