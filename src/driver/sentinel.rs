//! Looks after a statement that may run for hours: whether the server still works on it, or has long answered into the void.
//!
//! The deadline of such a statement is no help for hours. But the server says over another session what the backend does: when
//! it idles, or is gone, while its answer is awaited here, that answer was lost on the way.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use tokio::task::JoinHandle;
use tokio_postgres::types::Type;

use super::error::DriveError;
use crate::pg::{
    connect::{Awaited, Connection, Pulse, SessionSpec, connect},
    settings::Settings,
};

/// How often it is looked, once a statement has been outstanding for so long.
const LOOK_EVERY: Duration = Duration::from_secs(2);
const OUTSTANDING_MIN: Duration = Duration::from_secs(5);
/// A session that gives no answer about another one for so long is opened again.
const ANSWER_MAX: Duration = Duration::from_secs(4);
/// Looks in a row that find the backend idle: an answer may be on its way during one.
const LOOKS: u32 = 2;

/// Looks after one session, as long as it lives.
#[derive(Debug)]
pub struct Sentinel(JoinHandle<()>);

impl Drop for Sentinel {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What it takes to look.
struct Look {
    pulse: Arc<Pulse>,
    pid: i32,
    started: DateTime<Utc>,
    settings: Settings,
    monitor: Option<Arc<Connection>>,
}

impl Sentinel {
    /// Over `work`, asking `monitor`. `None` behind a pooler, where a pid is anybody's.
    pub fn over(work: &Connection, monitor: &Arc<Connection>, settings: &Settings) -> Option<Self> {
        let started = work.backend_start.filter(|_| !work.pooled)?;
        let look = Look {
            pulse: work.pulse.clone(),
            pid: work.backend_pid,
            started,
            settings: settings.clone(),
            monitor: Some(monitor.clone()),
        };
        Some(Self(tokio::spawn(look.run())))
    }
}

impl Look {
    async fn run(mut self) {
        let mut suspicious: Option<(Awaited, u32)> = None;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let Some(awaited) = self.pulse.awaited().filter(is_old) else { continue };
            let answer = match tokio::time::timeout(ANSWER_MAX, self.ask()).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(error)) => {
                    tracing::debug!("the backend of the session that works cannot be looked at: {error}");
                    self.monitor = None;
                    continue;
                }
                Err(_) => {
                    self.monitor = None;
                    continue;
                }
            };
            let Some(why) = answer.filter(|_| self.pulse.awaited() == Some(awaited)) else {
                suspicious = None;
                continue;
            };
            let looks = suspicious.filter(|(same, _)| *same == awaited).map_or(1, |(_, looks)| looks + 1);
            if looks >= LOOKS {
                return self.pulse.sever(format!("its answer was lost: {why}"));
            }
            suspicious = Some((awaited, looks));
        }
    }

    /// Why the answer that is awaited will not come; `None` while the server works, or where this role may not see it.
    async fn ask(&mut self) -> Result<Option<&'static str>, DriveError> {
        let monitor = match &self.monitor {
            Some(open) => open.clone(),
            None => {
                let mut spec = SessionSpec::new("tenantmig monitor", ANSWER_MAX);
                spec.statement_timeout = Some(ANSWER_MAX);
                let opened = Arc::new(connect(&self.settings, &spec).await?);
                self.monitor.insert(opened).clone()
            }
        };
        // A message of several parts may have been cut in the middle: then the server is active, and reads.
        let query = "SELECT backend_start = $2, CASE WHEN wait_event = 'ClientRead' THEN 'idle' ELSE state END,
                            clock_timestamp() - state_change > interval '2 s' FROM pg_stat_activity WHERE pid = $1";
        let row = monitor
            .client
            .query_typed_opt(query, &[(&self.pid, Type::INT4), (&self.started, Type::TIMESTAMPTZ)])
            .await?;
        let Some(row) = row else { return Ok(Some("the server no longer has the session")) };
        let (same, state, for_a_while): (Option<bool>, Option<String>, Option<bool>) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        Ok(match (same, state, for_a_while) {
            (Some(false), ..) => Some("the server no longer has the session"),
            (Some(true), Some(state), Some(true)) if state.starts_with("idle") => {
                Some("the server has answered and idles")
            }
            (Some(true) | None, _, _) => None,
        })
    }
}

/// Whether it was asked long ago, and nothing came since.
fn is_old(awaited: &Awaited) -> bool {
    Instant::now().saturating_duration_since(awaited.since.max(awaited.heard)) >= OUTSTANDING_MIN
}
