//! One session that reads one tenant's newest rows after another, and counts the rows of others that come back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio_postgres::{Client, Error, types::Type};

use super::{
    receipts::Receipts,
    session::{begin, connect, describe, end, one},
    tally::{Live, Tally},
};
use crate::demo::{
    alphapulse::{TENANTS, Tenant, tenant_of},
    seed::Scale,
};

/// Between two reads of a session.
const PAUSE_MS: u64 = 8;
/// How long a session that lost its connection waits before it comes again.
const RECONNECT_MS: u64 = 100;

const NEWEST: &str = "SELECT user_id FROM trades ORDER BY id DESC LIMIT 100";
const OPEN: &str = "SELECT user_id FROM open_orders ORDER BY id DESC LIMIT 100";
/// Asked in the transaction that read, whose locks on the tables keep row-level security as it was for the read. FORCE counts:
/// the view reads as its owner, whom row-level security alone does not bind.
const IN_FORCE: &str = "SELECT bool_and(relrowsecurity AND relforcerowsecurity)
                          FROM pg_class WHERE oid IN ('trades'::regclass, 'orders'::regclass)";

/// Reads until `ended`.
pub async fn run(url: String, scale: Scale, ended: Arc<AtomicBool>, live: Arc<Live>) -> (Tally, Receipts) {
    let mut tally = Tally::default();
    while !ended.load(Ordering::Relaxed) {
        let client = match connect(&url).await {
            Ok(client) => client,
            Err(error) => {
                tally.failed(describe(&error));
                tokio::time::sleep(Duration::from_millis(RECONNECT_MS)).await;
                continue;
            }
        };
        while !ended.load(Ordering::Relaxed) && !client.is_closed() {
            for tenant in &TENANTS {
                let begun = Instant::now();
                match read(&client, tenant, scale).await {
                    Ok(foreign) => {
                        tally.committed(begun.elapsed());
                        tally.isolated_reads += u64::from(foreign.is_some());
                        tally.foreign_rows += foreign.unwrap_or(0);
                        live.one_more();
                    }
                    Err(error) => tally.failed(format!("{} (read)", describe(&error))),
                }
                tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await;
            }
        }
    }
    (tally, Receipts::default())
}

/// How many rows of other tenants came back; `None` while row-level security is not in force.
async fn read(client: &Client, tenant: &'static Tenant, scale: Scale) -> Result<Option<u64>, Error> {
    let read = async {
        begin(client, tenant.id).await?;
        let mut foreign = 0;
        for query in [NEWEST, OPEN] {
            for row in client.query_typed(query, &[]).await? {
                let user: i64 = row.try_get(0)?;
                // Only seeded users trade, and whose they are is known by their number.
                foreign += u64::from(user > i64::from(scale.users) || tenant_of(user) != tenant);
            }
        }
        let none: &[(&(dyn tokio_postgres::types::ToSql + Sync), Type)] = &[];
        let in_force: bool = one(client, IN_FORCE, none).await?.try_get(0)?;
        Ok(in_force.then_some(foreign))
    }
    .await;
    end(client, read).await
}
