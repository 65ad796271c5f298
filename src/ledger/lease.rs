//! The lease: one row that says who may write, since when and until when, by the server's clock, under which epoch.
//!
//! Every transaction of a holder checks its epoch with a key-share lock on that row ([`fence`]); taking over locks the row
//! FOR UPDATE, so it waits for transactions that already passed the check, and everything later fails it. Heartbeats change
//! no key column, so they and the fences do not wait for each other (PostgreSQL documentation, "Row-Level Locks").

use std::time::{Duration, Instant};

use tokio_postgres::{Client, GenericClient, types::Type};
use uuid::Uuid;

use super::{
    error::LedgerError,
    holder::Holder,
    sessions::{END_POLL, END_WAIT, Ended, are_there, end},
};
use crate::{
    pg::{Bounds, Fault, connect::Connection, in_transaction},
    sql,
    sql::Ident,
};

/// How long taking the lease waits for a transaction of the last holder that is still under way.
const TAKE_BOUNDS: Bounds = Bounds { lock: Duration::from_secs(5), statement: Duration::from_secs(10) };
/// How long the sessions of a killed process are waited for: from 14 on the server looks twice a second whether the client of a
/// statement is still there. On 13 a statement runs to its end first, and the successor may have to wait for the expiry.
const ORPHANS_MAX: Duration = Duration::from_secs(2);
/// How often it is begun again because another one took the lease meanwhile and is gone as well.
const TAKE_ROUNDS_MAX: u32 = 3;

/// How long a lease is good without a heartbeat, and what follows from that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term(pub Duration);

impl Term {
    /// How often it is renewed: six chances before it ends.
    pub fn heartbeat(self) -> Duration {
        self.0 / 6
    }

    /// After so long without a heartbeat that arrived the holder stops by itself, well before the lease can be taken.
    pub fn lost(self) -> Duration {
        self.0 * 2 / 3
    }

    fn millis(self) -> f64 {
        f64::from(u32::try_from(self.0.as_millis()).unwrap_or(u32::MAX))
    }
}

/// Who wants the lease, for what, for how long.
#[derive(Debug, Clone, Copy)]
pub struct Taker<'a> {
    /// One for all sessions of the process: [`super::tag`] of it is in their names.
    pub holder: Uuid,
    pub host: &'a str,
    pub purpose: Purpose,
    pub term: Term,
    /// Whether a transaction pooler stands between. Its sessions are not the holder's: that one of them ended says nothing.
    pub pooled: bool,
}

/// As whom, and under which epoch, the lease is held: both have to match. After a failover that lost the last takeover an epoch
/// comes a second time, for another holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    pub holder: Uuid,
    pub epoch: i64,
}

/// What the holder does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Apply,
    Resume,
    Rollback,
    Cycle,
    /// For a moment, to record what was asked of a run that nobody works on.
    Pause,
    Repair,
}

impl Purpose {
    fn word(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::Resume => "resume",
            Self::Rollback => "rollback",
            Self::Cycle => "cycle",
            Self::Pause => "pause",
            Self::Repair => "repair",
        }
    }
}

/// A lease that was had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acquired {
    pub epoch: i64,
    /// The holder that had to be given up, for its lease had ended or its session was gone, and what became of its sessions.
    pub over: Option<(Holder, Ended)>,
}

/// `alive` also asks for the session that renews the lease: after kill -9 the server closes it at once, and a successor need
/// not wait for the expiry. Only the pid is compared where the role may not see `backend_start`.
/// A row that somebody wrote by hand need not have all of it; an older ledger has no `run_id`.
const STATE: &str = "l.holder, (to_jsonb(l) ->> 'run_id')::uuid,
    coalesce(l.host, 'unknown'), coalesce(l.pid, 0), coalesce(l.purpose, 'unknown'), coalesce(l.role, 'unknown'),
    coalesce(l.acquired_at, to_timestamp(0)), l.epoch,
    coalesce((extract(epoch FROM clock_timestamp() - l.heartbeat_at) * 1000)::bigint, 0),
    coalesce(l.expires_at > clock_timestamp(), false),
    l.holder IS NOT NULL AND coalesce(l.expires_at > clock_timestamp(), false)
      AND (l.backend_pid IS NULL OR EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = l.backend_pid
                     AND coalesce(a.backend_start = l.backend_start, true)))";

/// The session that renews the lease, where it is the holder's own.
const BACKEND: &str = "backend_pid = CASE WHEN NOT $1 THEN pg_backend_pid() END,
    backend_start = (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid() AND NOT $1)";

/// Who holds the lease now, or held it last without giving it back.
pub async fn holder(client: &impl GenericClient, schema: &Ident) -> Result<Option<Holder>, LedgerError> {
    let query = sql!("SELECT {} FROM {}.lease l WHERE l.holder IS NOT NULL", sql::Stmt::raw(STATE), schema);
    let row = client.query_typed_opt(query.as_str(), &[]).await?;
    row.map(|row| read(&row)).transpose()
}

async fn now(session: &Connection, schema: &Ident) -> Result<Option<Holder>, LedgerError> {
    session.with(async |client: &Client| holder(client, schema).await).await
}

fn read(row: &tokio_postgres::Row) -> Result<Holder, LedgerError> {
    Ok(Holder {
        id: row.try_get(0)?,
        run: row.try_get(1)?,
        host: row.try_get(2)?,
        pid: row.try_get(3)?,
        purpose: row.try_get(4)?,
        role: row.try_get(5)?,
        since: row.try_get(6)?,
        epoch: row.try_get(7)?,
        heartbeat_age_ms: row.try_get(8)?,
        unexpired: row.try_get(9)?,
        alive: row.try_get(10)?,
    })
}

/// The epoch that counts now.
pub async fn epoch(client: &impl GenericClient, schema: &Ident) -> Result<i64, LedgerError> {
    let row = client.query_typed_one(sql!("SELECT epoch FROM {}.lease", schema).as_str(), &[]).await?;
    Ok(row.try_get(0)?)
}

/// Takes the lease on the session `client`, which will also renew it. Refused while another holder is alive. The sessions of
/// one that is not are ended first: a transaction of it that passed the fence would hold the row, and a statement outside a
/// transaction (CONCURRENTLY) meets no fence. Those that came back meanwhile are ended once the epoch is over.
pub async fn acquire(session: &Connection, schema: &Ident, taker: &Taker<'_>) -> Result<Acquired, LedgerError> {
    for _ in 0..TAKE_ROUNDS_MAX {
        let dead = judged(session, schema, taker.holder).await?;
        let ended = match &dead {
            Some(other) if other.alive => return Err(LedgerError::Held(Box::new(other.clone()))),
            Some(other) => end(session, other.id, END_WAIT).await?,
            None => Ended::default(),
        };
        let take = async |tx: &Client| take(tx, schema, taker, dead.as_ref()).await;
        match in_transaction(session, TAKE_BOUNDS, take).await {
            Ok(Some(epoch)) => {
                let over = match dead {
                    Some(other) => {
                        let later = end(session, other.id, Duration::ZERO).await?;
                        Some((other, ended.and(later)))
                    }
                    None => None,
                };
                return Ok(Acquired { epoch, over });
            }
            Ok(None) => {}
            Err(LedgerError::Server(fault)) if fault.sqlstate.as_deref() == Some("55P03") => {
                let now = now(session, schema).await?;
                return Err(now.map_or(LedgerError::Server(fault), |holder| {
                    let pids = ended.left.iter().map(|left| left.pid).collect();
                    let holder = Box::new(holder);
                    if holder.alive { LedgerError::Held(holder) } else { LedgerError::InTheWay { holder, pids } }
                }));
            }
            Err(error) => return Err(error),
        }
    }
    let now = now(session, schema).await?;
    Err(now.map_or(LedgerError::Install("the lease changes hands all the time".to_owned()), |other| {
        LedgerError::Held(Box::new(other))
    }))
}

/// Another holder, and whether it is to be taken for alive. One whose lease has not expired, but whose session that renews it is
/// gone, has either lost that one alone, and renews at once on another, or was killed, and then its other sessions end soon too.
async fn judged(session: &Connection, schema: &Ident, taker: Uuid) -> Result<Option<Holder>, LedgerError> {
    let begun = Instant::now();
    loop {
        let Some(other) = now(session, schema).await?.filter(|other| other.id != taker) else { return Ok(None) };
        if other.alive || !other.unexpired || !are_there(session, other.id).await? {
            return Ok(Some(other));
        }
        if begun.elapsed() >= ORPHANS_MAX {
            return Ok(Some(Holder { alive: true, ..other }));
        }
        tokio::time::sleep(END_POLL).await;
    }
}

/// Takes the row from `dead`; gives the epoch, or `None` where it is another's meanwhile who is gone too.
async fn take(
    tx: &Client,
    schema: &Ident,
    taker: &Taker<'_>,
    dead: Option<&Holder>,
) -> Result<Option<i64>, LedgerError> {
    lock(tx, schema).await?;
    let known = |other: &Holder| other.id == taker.holder || dead.is_some_and(|dead| dead.id == other.id);
    match holder(tx, schema).await? {
        Some(other) if other.alive && other.id != taker.holder => return Err(LedgerError::Held(Box::new(other))),
        Some(other) if !known(&other) => return Ok(None),
        Some(_) | None => {}
    }
    let take = sql!(
        "UPDATE {}.lease SET epoch = greatest(epoch, (SELECT max(e.epoch) FROM {}.events e)) + 1, {}, holder = $2, host = $3, pid = $4,
                purpose = $5, role = current_user, run_id = NULL, acquired_at = clock_timestamp(), heartbeat_at = clock_timestamp(),
                expires_at = clock_timestamp() + $6 * interval '1 ms'
         RETURNING epoch",
        schema,
        schema,
        sql::Stmt::raw(BACKEND)
    );
    let pid = i32::try_from(std::process::id()).unwrap_or(0);
    let params: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 6] = [
        (&taker.pooled, Type::BOOL),
        (&taker.holder, Type::UUID),
        (&taker.host, Type::TEXT),
        (&pid, Type::INT4),
        (&taker.purpose.word(), Type::TEXT),
        (&taker.term.millis(), Type::FLOAT8),
    ];
    let epoch = tx.query_typed_one(take.as_str(), &params).await?.try_get(0)?;
    Ok(Some(epoch))
}

/// Waits for transactions that passed the fence, within a bound, and keeps later ones from it.
async fn lock(tx: &impl GenericClient, schema: &Ident) -> Result<(), LedgerError> {
    let row = sql!("SELECT FROM {}.lease FOR UPDATE", schema);
    match tx.query_typed(row.as_str(), &[]).await?.len() {
        1 => Ok(()),
        rows => Err(not_one_row(schema, rows)),
    }
}

/// Notes which run the holder of this epoch works on.
pub async fn works_on(client: &impl GenericClient, schema: &Ident, ours: Hold, run: Uuid) -> Result<(), LedgerError> {
    let note = sql!("UPDATE {}.lease SET run_id = $3 WHERE epoch = $1 AND holder = $2", schema);
    let params = [(&ours.epoch as _, Type::INT8), (&ours.holder as _, Type::UUID), (&run as _, Type::UUID)];
    client.execute_typed(note.as_str(), &params).await?;
    Ok(())
}

fn not_one_row(schema: &Ident, rows: usize) -> LedgerError {
    let mend = sql!("DELETE FROM {}.lease; INSERT INTO {}.lease DEFAULT VALUES", schema, schema);
    LedgerError::Broken {
        what: format!("the table lease has {rows} rows instead of one"),
        advice: format!("nothing was changed. When no tenantmig works here, in psql: {mend}"),
    }
}

/// Renews the lease, from whichever session does it now. `false`: it is no longer ours.
pub async fn heartbeat(session: &Connection, schema: &Ident, ours: Hold, term: Term) -> Result<bool, LedgerError> {
    let renew = sql!(
        "UPDATE {}.lease SET heartbeat_at = clock_timestamp(), expires_at = clock_timestamp() + $3 * interval '1 ms', {}
          WHERE epoch = $2 AND holder = $4",
        schema,
        sql::Stmt::raw(BACKEND)
    );
    let params: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 4] = [
        (&session.pooled, Type::BOOL),
        (&ours.epoch, Type::INT8),
        (&term.millis(), Type::FLOAT8),
        (&ours.holder, Type::UUID),
    ];
    let turn = session.turn().await?;
    let renewed = turn.client().execute_typed(renew.as_str(), &params).await;
    Ok(turn.end(renewed.map_err(Fault::from)).await? == 1)
}

/// The first statement of every transaction of a holder: fails when the epoch is over, and keeps it from ending before the commit.
pub async fn fence(tx: &impl GenericClient, schema: &Ident, ours: Hold) -> Result<(), LedgerError> {
    let check = sql!("SELECT FROM {}.lease WHERE epoch = $1 AND holder = $2 FOR KEY SHARE", schema);
    let row = tx.query_typed_opt(check.as_str(), &[(&ours.epoch, Type::INT8), (&ours.holder, Type::UUID)]).await?;
    row.map(drop).ok_or(LedgerError::Fenced { ours: ours.epoch })
}

/// Gives the lease back.
pub async fn release(session: &Connection, schema: &Ident, ours: Hold) -> Result<(), LedgerError> {
    let give = sql!(
        "UPDATE {}.lease SET holder = NULL, run_id = NULL, expires_at = NULL WHERE epoch = $1 AND holder = $2",
        schema
    );
    let turn = session.turn().await?;
    let given =
        turn.client().execute_typed(give.as_str(), &[(&ours.epoch, Type::INT8), (&ours.holder, Type::UUID)]).await;
    turn.end(given.map_err(Fault::from)).await?;
    Ok(())
}

/// Takes the lease from whoever has it: its sessions are ended, and the epoch moves on, so that nothing of it commits any more.
pub async fn force_release(session: &Connection, schema: &Ident) -> Result<Ended, LedgerError> {
    let former = now(session, schema).await?;
    let ended = match &former {
        Some(former) => end(session, former.id, END_WAIT).await?,
        None => Ended::default(),
    };
    in_transaction(session, TAKE_BOUNDS, async |tx: &Client| {
        lock(tx, schema).await?;
        let free =
            sql!("UPDATE {}.lease SET epoch = epoch + 1, holder = NULL, run_id = NULL, expires_at = NULL", schema);
        tx.execute_typed(free.as_str(), &[]).await?;
        Ok::<_, LedgerError>(())
    })
    .await?;
    // One that was alive connects again at once; what it does there meets the fence, but for CONCURRENTLY.
    match former {
        Some(former) => Ok(ended.and(end(session, former.id, END_WAIT).await?)),
        None => Ok(ended),
    }
}
