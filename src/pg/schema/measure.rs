//! Counts rows for the inference, each count within a time limit; what is not counted in it is unknown.

use std::time::Duration;

use tokio_postgres::error::SqlState;

use crate::{
    infer::{Counted, Measure},
    pg::{Bounds, Fault, connect::Connection, in_transaction},
};

/// The longest that one count may take: a person waits, and the server has other work.
pub const COUNT_MAX: Duration = Duration::from_secs(5);
/// The longest that all counts together may take.
pub const COUNTS_MAX: Duration = Duration::from_secs(180);
/// A count takes ACCESS SHARE only; whoever holds more is about to change the table.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// One count. An error that is not the connection's end leaves it unknown, with the reason.
pub async fn count(session: &Connection, measure: &Measure) -> Result<Counted, Fault> {
    let bounds = Bounds { lock: LOCK_WAIT, statement: COUNT_MAX };
    let counted = in_transaction(session, bounds, async |client| {
        client.batch_execute("SET TRANSACTION READ ONLY").await?;
        let row = client.query_typed_one(measure.stmt.as_str(), &[]).await?;
        Ok::<_, Fault>(Counted::Counts { counts: row.try_get(0)?, example: row.try_get(1)? })
    })
    .await;
    match counted {
        Ok(counted) => Ok(counted),
        Err(fault) if session.lost_because().is_some() => Err(fault),
        Err(fault) if fault.is(&SqlState::QUERY_CANCELED) => {
            Ok(Counted::Unknown(format!("it takes longer than {} s", COUNT_MAX.as_secs())))
        }
        Err(fault) => {
            tracing::debug!("{}: {fault}: {}", measure.about, measure.stmt);
            Ok(Counted::Unknown(fault.to_string()))
        }
    }
}
