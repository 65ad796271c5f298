//! What the sessions of one process have in common: the server that they stand on, and the list of them.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use tokio_postgres::types::Type;

use super::{
    connection::Connection,
    identity::{Difference, Identity},
    pulse::Pulse,
};
use crate::pg::Fault;

/// Sessions that are remembered after they were opened. A process has at most some seventy at once; but those that look are
/// opened again and again where a server is slow, and the session that works is older than all of them.
const MEMBERS_MAX: usize = 512;
/// How long a backend that was told to end may take: it finishes no more than a page or a wait.
const END_WAIT: Duration = Duration::from_secs(5);
const END_POLL: Duration = Duration::from_millis(50);

/// The call stands in the select list, behind the join: as a condition it could be tried on every backend of the server.
const TERMINATE: &str = "SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a
    JOIN unnest($1, $2) AS f(pid, started) ON a.pid = f.pid AND a.backend_start = f.started";
const LEFT: &str = "SELECT count(*) FROM pg_stat_activity a
    JOIN unnest($1, $2) AS f(pid, started) ON a.pid = f.pid AND a.backend_start = f.started";

/// Shared by all settings that were cloned from the same ones.
#[derive(Debug, Clone, Default)]
pub struct Fleet(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    server: Option<Identity>,
    members: VecDeque<Member>,
    opened: u64,
}

#[derive(Debug)]
struct Member {
    number: u64,
    pid: i32,
    started: Option<DateTime<Utc>>,
    pulse: Weak<Pulse>,
}

/// The sessions that were opened before a moment.
#[derive(Debug)]
pub struct Former {
    up_to: u64,
    pids: Vec<i32>,
    started: Vec<DateTime<Utc>>,
}

impl Inner {
    /// One too many makes room by the oldest that this process has closed.
    fn remember(&mut self, member: Member) {
        self.members.push_back(member);
        if self.members.len() > MEMBERS_MAX {
            let closed = self.members.iter().position(|member| member.pulse.strong_count() == 0);
            self.members.remove(closed.unwrap_or(0));
        }
    }
}

impl Fleet {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server that was worked with so far.
    pub(super) fn server(&self) -> Option<Identity> {
        self.inner().server
    }

    /// Takes a session in, if its server is the one that was worked with or a replica that was promoted since.
    pub(super) fn admit(&self, session: &Connection) -> Result<(), Difference> {
        let mut inner = self.inner();
        let known = inner.server.unwrap_or_default();
        session.identity.follows(known)?;
        inner.server = Some(known.then(session.identity));
        inner.opened += 1;
        let member = Member {
            number: inner.opened,
            pid: session.backend_pid,
            started: session.backend_start,
            pulse: Arc::downgrade(&session.pulse),
        };
        if !session.pooled {
            inner.remember(member);
        }
        Ok(())
    }

    /// Gives every session up at once: nothing is sent any more, and whoever waits is told.
    pub fn sever(&self, why: &str) {
        for pulse in self.inner().members.iter().filter_map(|member| member.pulse.upgrade()) {
            pulse.sever(why);
        }
    }

    /// The sessions so far.
    pub fn former(&self) -> Former {
        let inner = self.inner();
        let known = inner.members.iter().filter_map(|member| Some((member.pid, member.started?)));
        let (pids, started) = known.unzip();
        Former { up_to: inner.opened, pids, started }
    }

    /// This session alone.
    pub fn only(&self, session: &Connection) -> Former {
        let (pids, started) = session.backend_start.map(|started| (session.backend_pid, started)).into_iter().unzip();
        Former { up_to: 0, pids, started }
    }

    /// Ends, over `session`, what the server still has of `former` ones, and waits until they are gone: a statement whose client
    /// is lost goes on and may commit, on 13 always and later for as long as the server does not notice. `false`: one is still
    /// there.
    pub async fn end(&self, session: &Connection, former: &Former) -> Result<bool, Fault> {
        // The login's own role may end its sessions; one taken by SET ROLE might not.
        let client = &session.client;
        client.batch_execute("BEGIN; SET LOCAL ROLE NONE").await?;
        let ended = async {
            let begun = Instant::now();
            let params: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
                [(&former.pids, Type::INT4_ARRAY), (&former.started, Type::TIMESTAMPTZ_ARRAY)];
            client.query_typed(TERMINATE, &params).await?;
            loop {
                // A transaction sees pg_stat_activity as it was at its first look.
                client.batch_execute("SELECT pg_stat_clear_snapshot()").await?;
                let left: i64 = client.query_typed_one(LEFT, &params).await?.try_get(0)?;
                if left == 0 || begun.elapsed() > END_WAIT {
                    return Ok::<_, tokio_postgres::Error>(left == 0);
                }
                tokio::time::sleep(END_POLL).await;
            }
        };
        let ended = ended.await;
        client.batch_execute("ROLLBACK").await?;
        let gone = ended?;
        if gone {
            self.inner().members.retain(|member| member.number > former.up_to);
        }
        Ok(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_session_is_remembered_however_many_came_after_it() {
        let mut inner = Inner::default();
        let works = Pulse::new(None);
        let member = |number: u64, pulse: Weak<Pulse>| Member { number, pid: 1, started: None, pulse };
        inner.remember(member(0, Arc::downgrade(&works)));
        (1..=2 * MEMBERS_MAX as u64).for_each(|number| inner.remember(member(number, Weak::new())));
        assert_eq!(inner.members.len(), MEMBERS_MAX);
        let numbers: Vec<u64> = inner.members.iter().map(|member| member.number).take(2).collect();
        assert_eq!(numbers, [0, MEMBERS_MAX as u64 + 2]);
    }
}
