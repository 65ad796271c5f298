//! Takes the lease again after a loss of contact: by the same holder, under a new epoch, so that nothing of before commits any
//! more; and only if nobody else had it meanwhile.

use std::time::Duration;

use tokio_postgres::{Client, GenericClient, types::Type};
use uuid::Uuid;

use super::{
    error::LedgerError,
    lease::{Term, holder},
};
use crate::{
    pg::{Bounds, Fault, connect::Connection, in_transaction},
    sql,
    sql::Ident,
};

/// How long a transaction that passed the fence before is waited for.
const RETAKE_BOUNDS: Bounds = Bounds { lock: Duration::from_secs(5), statement: Duration::from_secs(10) };

/// What was ours before the loss.
#[derive(Debug, Clone, Copy)]
pub struct Ours {
    pub holder: Uuid,
    pub epoch: i64,
    pub term: Term,
    /// Whether a transaction pooler stands between: its session says nothing about the holder.
    pub pooled: bool,
}

/// Gives the new epoch, which is beyond both the row's and ours. After a failover that lost the commit of our own lease the row is
/// older than we are, and then anybody may have it who came first.
///
/// # Errors
/// `Held` or `Fenced` when it is no longer ours; the server's own, 55P03 among them, when it cannot be told yet.
pub async fn retake(session: &Connection, schema: &Ident, ours: Ours) -> Result<i64, LedgerError> {
    in_transaction(session, RETAKE_BOUNDS, async |tx: &Client| locked(tx, schema, ours).await).await
}

async fn locked(tx: &Client, schema: &Ident, ours: Ours) -> Result<i64, LedgerError> {
    let row = sql!("SELECT holder, epoch FROM {}.lease FOR UPDATE", schema);
    let row = tx.query_typed_one(row.as_str(), &[]).await.map_err(Fault::from)?;
    let (id, epoch): (Option<Uuid>, i64) = (row.try_get(0)?, row.try_get(1)?);
    if id != Some(ours.holder) {
        let other = holder(tx, schema).await?;
        match other {
            // A row that a failover took back, and that somebody took before us.
            Some(other) if other.alive && epoch <= ours.epoch => return Err(LedgerError::Held(Box::new(other))),
            Some(_) | None if epoch >= ours.epoch => return Err(LedgerError::Fenced { ours: ours.epoch }),
            Some(_) | None => {}
        }
    }
    write(tx, schema, ours).await
}

async fn write(tx: &impl GenericClient, schema: &Ident, ours: Ours) -> Result<i64, LedgerError> {
    let take = sql!(
        "UPDATE {}.lease SET epoch = greatest(epoch, $1) + 1, holder = $2, backend_pid = CASE WHEN NOT $4 THEN pg_backend_pid() END,
                backend_start = (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid() AND NOT $4),
                heartbeat_at = clock_timestamp(), expires_at = clock_timestamp() + $3 * interval '1 ms'
         RETURNING epoch",
        schema
    );
    let lease_ms = f64::from(u32::try_from(ours.term.0.as_millis()).unwrap_or(u32::MAX));
    let params: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 4] =
        [(&ours.epoch, Type::INT8), (&ours.holder, Type::UUID), (&lease_ms, Type::FLOAT8), (&ours.pooled, Type::BOOL)];
    Ok(tx.query_typed_one(take.as_str(), &params).await?.try_get(0)?)
}
