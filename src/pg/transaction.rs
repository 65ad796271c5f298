//! Where statements run, so that they behave the same behind a transaction pooler: in turns and in transactions.
//!
//! Behind a transaction pooler each transaction gets the server session that happens to be free, and what is set for a session
//! goes to the application's next transaction. So nothing is ever set for a session there: every statement runs in a
//! transaction that sets its own settings first, LOCAL.

use std::{
    sync::{Arc, PoisonError, atomic::AtomicI32, atomic::Ordering},
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::sync::MutexGuard;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::{
    Fault,
    connect::{Bound, Connection},
};
use crate::{
    sql,
    sql::{List, Literal, Stmt},
};

/// How long the statements of a transaction may wait and run. Neither is ever unlimited.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The longest wait for a lock: whoever queues behind it waits as long.
    pub lock: Duration,
    /// The longest that one statement may run.
    pub statement: Duration,
}

/// Runs `work` in a transaction and commits; rolls back when it fails. The error of a COMMIT whose answer was lost is
/// [`super::Class::Ambiguous`]: the caller asks the database what happened.
pub async fn in_transaction<T, E: From<Fault>>(
    connection: &Connection,
    bounds: Bounds,
    work: impl AsyncFnOnce(&Client) -> Result<T, E>,
) -> Result<T, E> {
    let turn = Turn::begin(connection, Some(bounds)).await?;
    let result = work(turn.client()).await;
    turn.end(result).await
}

/// A moment on a session under its settings. Behind a pooler it is one transaction; on a session of our own nothing is opened.
/// One that is dropped without an end (its future was given up) is rolled back.
#[must_use = "a turn that is not ended is rolled back"]
pub struct Turn<'a> {
    connection: &'a Connection,
    open: bool,
    /// How long an answer may stay away.
    bound: Option<Bound>,
    /// Behind a pooler two at once on one connection would get into each other's transaction.
    _alone: Option<MutexGuard<'a, ()>>,
}

impl std::fmt::Debug for Turn<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turn").field("connection", self.connection).field("open", &self.open).finish_non_exhaustive()
    }
}

impl<'a> Turn<'a> {
    async fn begin(connection: &'a Connection, bounds: Option<Bounds>) -> Result<Self, Fault> {
        if !connection.pooled && bounds.is_none() {
            return Ok(Self { connection, open: false, bound: None, _alone: None });
        }
        let alone = if connection.pooled { Some(connection.turns.lock().await) } else { None };
        // Before the first message is sent: whoever gives this future up meanwhile leaves no transaction open.
        let bound = bounds.map(|bounds| connection.bound_for_now(bounds.statement));
        let turn = Self { connection, open: true, bound, _alone: alone };
        if connection.pooled {
            let messages = connection.client.simple_query(connection.begin_pooled(bounds).as_str()).await?;
            connection.process.store(process(&messages), Ordering::Relaxed);
        } else if let Some(bounds) = bounds {
            connection.client.batch_execute(&begin_bounded(bounds)).await?;
        }
        Ok(turn)
    }

    /// For the statements of this turn.
    pub fn client(&self) -> &'a Client {
        &self.connection.client
    }

    /// Commits what succeeded, rolls back what failed.
    pub async fn end<T, E: From<Fault>>(mut self, result: Result<T, E>) -> Result<T, E> {
        if !std::mem::take(&mut self.open) {
            return result;
        }
        let client = &self.connection.client;
        let value = match result {
            Ok(value) => {
                if let Some(bound) = &self.bound {
                    bound.committing();
                }
                client.batch_execute("COMMIT").await.map(|()| value).map_err(|error| Fault::from(error).into())
            }
            Err(error) => {
                // When the connection is gone this fails as well, and the server has rolled back by itself.
                if let Err(rollback) = client.batch_execute("ROLLBACK").await {
                    tracing::debug!("rollback: {rollback}");
                }
                Err(error)
            }
        };
        self.forget_process();
        value
    }

    fn forget_process(&self) {
        if self.connection.pooled {
            self.connection.process.store(0, Ordering::Relaxed);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.open {
            // The message is queued with the first poll, before whatever is sent next; nobody waits for its answer.
            let queued = self.connection.client.batch_execute("ROLLBACK").now_or_never();
            tracing::debug!("a transaction was given up: {queued:?}");
            self.forget_process();
        }
    }
}

impl Connection {
    /// The session's turn. For statements that need no transaction: behind a pooler they get one that sets our settings.
    pub async fn turn(&self) -> Result<Turn<'_>, Fault> {
        Turn::begin(self, None).await
    }

    /// Runs a short piece of work in a turn.
    pub async fn with<T, E: From<Fault>>(&self, work: impl AsyncFnOnce(&Client) -> Result<T, E>) -> Result<T, E> {
        let turn = self.turn().await?;
        let result = work(turn.client()).await;
        turn.end(result).await
    }

    /// Other bounds for the turns to come: set on a session of our own at once, behind a pooler in each turn.
    pub async fn set_bounds(&self, bounds: Bounds) -> Result<(), Fault> {
        self.bound(bounds.statement);
        if self.pooled {
            *self.bounds.lock().unwrap_or_else(PoisonError::into_inner) = Some(bounds);
            return Ok(());
        }
        Ok(self.client.batch_execute(&set_bounds(bounds)).await?)
    }

    /// The server process that works for this session now: its own one, or behind a pooler that of the open turn, and 0
    /// between turns. For `pg_blocking_pids`, while a statement waits.
    #[must_use]
    pub fn process(&self) -> Arc<AtomicI32> {
        self.process.clone()
    }

    /// Another process works for this session meanwhile; 0 when it is done.
    pub fn lend(&self, process: i32) {
        self.process.store(process, Ordering::Relaxed);
    }

    /// The role that is taken after the login, if any.
    #[must_use]
    pub fn role(&self) -> Option<&str> {
        self.settings.role.as_deref()
    }

    fn begin_pooled(&self, bounds: Option<Bounds>) -> Stmt {
        let bounds = bounds.or(*self.bounds.lock().unwrap_or_else(PoisonError::into_inner));
        let ours = bounds.map(|b| [("lock_timeout", ms(b.lock)), ("statement_timeout", ms(b.statement))]);
        let ours = ours.iter().flatten().map(|(name, value)| (*name, format!("{value}ms")));
        // In the order of the list, so that the bounds come after the session's usual ones.
        let settings: Vec<Stmt> = self
            .settings
            .all()
            .chain(ours)
            .map(|(name, value)| sql!("set_config({}, {}, true)", Literal::new(name), Literal::new(value)))
            .collect();
        sql!("BEGIN; SELECT pg_backend_pid(), {}", List(&settings, ", "))
    }
}

fn process(messages: &[SimpleQueryMessage]) -> i32 {
    let row = messages.iter().find_map(|m| if let SimpleQueryMessage::Row(row) = m { row.get(0) } else { None });
    row.and_then(|pid| pid.parse().ok()).unwrap_or(0)
}

fn ms(length: Duration) -> u128 {
    length.as_millis().max(1)
}

fn begin_bounded(bounds: Bounds) -> String {
    let (lock, statement) = (ms(bounds.lock), ms(bounds.statement));
    format!(
        "BEGIN; SET LOCAL row_security = off; SET LOCAL lock_timeout = '{lock}ms'; SET LOCAL statement_timeout = '{statement}ms'"
    )
}

/// For the session: never behind a pooler.
fn set_bounds(bounds: Bounds) -> String {
    let (lock, statement) = (ms(bounds.lock), ms(bounds.statement));
    format!("SET lock_timeout = '{lock}ms'; SET statement_timeout = '{statement}ms'")
}
