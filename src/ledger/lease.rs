//! The lease: one row that says who may write, since when and until when, by the server's clock, under which epoch.
//!
//! Every transaction of a holder checks its epoch with a key-share lock on that row ([`fence`]); taking over locks the row
//! FOR UPDATE, so it waits for transactions that already passed the check, and everything later fails it. Heartbeats change
//! no key column, so they and the fences do not wait for each other (PostgreSQL documentation, "Row-Level Locks").

use std::time::Duration;

use tokio_postgres::{Client, GenericClient, types::Type};
use uuid::Uuid;

use super::{error::LedgerError, holder::Holder};
use crate::{
    pg::{Bounds, Fault, connect::Connection, in_transaction},
    sql,
    sql::{Ident, Stmt},
};

/// How long a lease is good without a heartbeat.
pub const LEASE: Duration = Duration::from_secs(30);
/// How often it is renewed: six chances before it ends.
pub const HEARTBEAT: Duration = Duration::from_secs(5);
/// After so long without a heartbeat that arrived the holder stops by itself, well before the lease can be taken.
pub const HEARTBEAT_LOST: Duration = Duration::from_secs(20);
/// How long taking the lease waits for a transaction of the last holder that is still under way.
const TAKE_BOUNDS: Bounds = Bounds { lock: Duration::from_secs(5), statement: Duration::from_secs(10) };

/// What the holder does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Apply,
    Rollback,
    Cycle,
    Repair,
}

impl Purpose {
    fn word(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::Rollback => "rollback",
            Self::Cycle => "cycle",
            Self::Repair => "repair",
        }
    }
}

/// A lease that was had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acquired {
    pub holder: Uuid,
    pub epoch: i64,
    /// Whether another holder had to be given up: its lease had ended, or its session was gone.
    pub took_over: bool,
}

/// `alive` also asks for the session that renews the lease: after kill -9 the server closes it at once, and a successor need
/// not wait for the expiry. Only the pid is compared where the role may not see `backend_start`. Behind a pooler the session is
/// the pool's and says nothing of the holder: none is stored, and the expiry alone counts.
/// A row that somebody wrote by hand need not have all of it.
const STATE: &str =
    "coalesce(l.host, 'unknown'), coalesce(l.pid, 0), coalesce(l.purpose, 'unknown'), coalesce(l.role, 'unknown'),
    coalesce(l.acquired_at, to_timestamp(0)), l.epoch,
    coalesce((extract(epoch FROM clock_timestamp() - l.heartbeat_at) * 1000)::bigint, 0),
    l.holder IS NOT NULL AND coalesce(l.expires_at > clock_timestamp(), false)
      AND (l.backend_pid IS NULL OR EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = l.backend_pid
                     AND coalesce(a.backend_start = l.backend_start, true)))";

/// Who holds the lease now, or held it last without giving it back.
pub async fn holder(client: &impl GenericClient, schema: &Ident) -> Result<Option<Holder>, LedgerError> {
    let query = sql!("SELECT {} FROM {}.lease l WHERE l.holder IS NOT NULL", sql::Stmt::raw(STATE), schema);
    let row = client.query_typed_opt(query.as_str(), &[]).await?;
    row.map(|row| read(&row)).transpose()
}

fn read(row: &tokio_postgres::Row) -> Result<Holder, LedgerError> {
    Ok(Holder {
        host: row.try_get(0)?,
        pid: row.try_get(1)?,
        purpose: row.try_get(2)?,
        role: row.try_get(3)?,
        since: row.try_get(4)?,
        epoch: row.try_get(5)?,
        heartbeat_age_ms: row.try_get(6)?,
        alive: row.try_get(7)?,
    })
}

/// Takes the lease on the session `client`, which will also renew it. Refused while another holder is alive.
pub async fn acquire(
    session: &Connection,
    schema: &Ident,
    host: &str,
    purpose: Purpose,
) -> Result<Acquired, LedgerError> {
    in_transaction(session, TAKE_BOUNDS, async |tx: &Client| take(tx, session, schema, host, purpose).await).await
}

async fn take(
    tx: &Client,
    session: &Connection,
    schema: &Ident,
    host: &str,
    purpose: Purpose,
) -> Result<Acquired, LedgerError> {
    tx.batch_execute("SAVEPOINT tenantmig_take").await?;
    let lock = sql!("SELECT l.holder IS NOT NULL FROM {}.lease l FOR UPDATE", schema);
    let held: bool = match tx.query_typed(lock.as_str(), &[]).await.map_err(Fault::from) {
        Ok(rows) => match rows.as_slice() {
            [row] => row.try_get(0)?,
            rows => return Err(not_one_row(schema, rows.len())),
        },
        Err(fault) if fault.sqlstate.as_deref() == Some("55P03") => {
            tx.batch_execute("ROLLBACK TO SAVEPOINT tenantmig_take").await?;
            let holder = holder(tx, schema).await?;
            return Err(holder.map_or(LedgerError::Server(fault), |h| LedgerError::Held(Box::new(h))));
        }
        Err(fault) => return Err(fault.into()),
    };
    if held && let Some(other) = holder(tx, schema).await?.filter(|h| h.alive) {
        return Err(LedgerError::Held(Box::new(other)));
    }
    let me = Uuid::now_v7();
    let take = sql!(
        "UPDATE {}.lease SET epoch = greatest(epoch, (SELECT max(e.epoch) FROM {}.events e)) + 1, holder = $1, host = $2, pid = $3, purpose = $4, role = current_user,
                backend_pid = {},
                backend_start = (SELECT backend_start FROM pg_stat_activity WHERE pid = {}),
                acquired_at = clock_timestamp(), heartbeat_at = clock_timestamp(),
                expires_at = clock_timestamp() + $5 * interval '1 ms'
         RETURNING epoch",
        schema,
        schema,
        process(session),
        process(session)
    );
    let pid = i32::try_from(std::process::id()).unwrap_or(0);
    let lease_ms = f64::from(u32::try_from(LEASE.as_millis()).unwrap_or(u32::MAX));
    let params: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 5] = [
        (&me, Type::UUID),
        (&host, Type::TEXT),
        (&pid, Type::INT4),
        (&purpose.word(), Type::TEXT),
        (&lease_ms, Type::FLOAT8),
    ];
    let epoch = tx.query_typed_one(take.as_str(), &params).await?.try_get(0)?;
    Ok(Acquired { holder: me, epoch, took_over: held })
}

fn not_one_row(schema: &Ident, rows: usize) -> LedgerError {
    let mend = sql!("DELETE FROM {}.lease; INSERT INTO {}.lease DEFAULT VALUES", schema, schema);
    LedgerError::Broken {
        what: format!("the table lease has {rows} rows instead of one"),
        advice: format!("nothing was changed. When no tenantmig works here, in psql: {mend}"),
    }
}

/// Renews the lease, from whichever session does it now. `false`: it is no longer ours.
pub async fn heartbeat(session: &Connection, schema: &Ident, epoch: i64) -> Result<bool, LedgerError> {
    let renew = sql!(
        "UPDATE {}.lease SET heartbeat_at = clock_timestamp(), expires_at = clock_timestamp() + $2 * interval '1 ms',
                backend_pid = {},
                backend_start = (SELECT backend_start FROM pg_stat_activity WHERE pid = {})
          WHERE epoch = $1 AND holder IS NOT NULL",
        schema,
        process(session),
        process(session)
    );
    let lease_ms = f64::from(u32::try_from(LEASE.as_millis()).unwrap_or(u32::MAX));
    let turn = session.turn().await?;
    let renewed = turn.client().execute_typed(renew.as_str(), &[(&epoch, Type::INT8), (&lease_ms, Type::FLOAT8)]).await;
    Ok(turn.end(renewed.map_err(Fault::from)).await? == 1)
}

/// The first statement of every transaction of a holder: fails when the epoch is over, and keeps it from ending before the commit.
pub async fn fence(tx: &impl GenericClient, schema: &Ident, epoch: i64) -> Result<(), LedgerError> {
    let check = sql!("SELECT FROM {}.lease WHERE epoch = $1 AND holder IS NOT NULL FOR KEY SHARE", schema);
    let row = tx.query_typed_opt(check.as_str(), &[(&epoch, Type::INT8)]).await?;
    row.map(drop).ok_or(LedgerError::Fenced { ours: epoch })
}

/// Gives the lease back.
pub async fn release(session: &Connection, schema: &Ident, epoch: i64) -> Result<(), LedgerError> {
    let give = sql!("UPDATE {}.lease SET holder = NULL, expires_at = NULL WHERE epoch = $1", schema);
    let turn = session.turn().await?;
    let given = turn.client().execute_typed(give.as_str(), &[(&epoch, Type::INT8)]).await;
    turn.end(given.map_err(Fault::from)).await?;
    Ok(())
}

/// Takes the lease from whoever has it: the epoch moves on, so that nothing of the former holder commits any more.
pub async fn force_release(session: &Connection, schema: &Ident) -> Result<(), LedgerError> {
    in_transaction(session, TAKE_BOUNDS, async |tx: &Client| {
        tx.query_typed(sql!("SELECT FROM {}.lease FOR UPDATE", schema).as_str(), &[]).await?;
        let free = sql!("UPDATE {}.lease SET epoch = epoch + 1, holder = NULL, expires_at = NULL", schema);
        tx.execute_typed(free.as_str(), &[]).await?;
        Ok(())
    })
    .await
}

/// The process of the statement's own session; behind a pooler none.
fn process(session: &Connection) -> Stmt {
    Stmt::raw(if session.pooled { "NULL::integer" } else { "pg_backend_pid()" })
}
