//! One session that writes, as the application's old release does: it names no tenant column, in no statement.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio_postgres::{Client, Error, Row, types::Type};

use super::{
    receipts::{Receipts, checksum, columns},
    session::{begin, connect, describe, end, one},
    tally::{Live, Tally},
};
use crate::{
    demo::{
        alphapulse::{TENANTS, Tenant, tenant_of},
        seed::Scale,
    },
    sql,
    sql::{Literal, Stmt},
};

/// Between two transactions of a session: the demo shows traffic, not load.
const PAUSE_MS: u64 = 4;
/// How long a session that lost its connection waits before it comes again.
const RECONNECT_MS: u64 = 100;

/// One session's place: which tables' rows it updates, so that no two sessions write the same.
type Place = (u32, u32);

/// Writes until `ended`.
pub async fn run(
    url: String,
    scale: Scale,
    place: Place,
    ended: Arc<AtomicBool>,
    live: Arc<Live>,
) -> (Tally, Receipts) {
    let (mut tally, mut receipts) = (Tally::default(), Receipts::default());
    // Seeded, so that each run of the demo writes the same kinds of rows.
    let mut random = StdRng::seed_from_u64(place.0.into());
    let mut serial = 0;
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
            serial += 1;
            let work = Work::choose(&mut random, scale, place, serial);
            let begun = Instant::now();
            match work.perform(&client).await {
                Ok((id, checksum)) => {
                    tally.committed(begun.elapsed());
                    receipts.acknowledge(work.table, id, checksum);
                    live.one_more();
                }
                Err(error) => tally.failed(format!("{} ({})", describe(&error), work.table)),
            }
            tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await;
        }
    }
    (tally, receipts)
}

/// One write: a statement that returns the row's id and checksum.
#[derive(Debug)]
struct Work {
    table: &'static str,
    tenant: &'static Tenant,
    statement: Stmt,
    /// The row's own number, for a new row the user.
    number: i64,
    /// Text that no other row has.
    token: String,
}

impl Work {
    fn choose(random: &mut StdRng, scale: Scale, (session, sessions): Place, serial: u64) -> Self {
        let user = random.random_range(1..=i64::from(scale.users));
        let token = format!("w{session}-{serial}");
        let work = |table, values: Stmt| {
            let statement = sql!(
                "INSERT INTO {} ({}) VALUES ({}) RETURNING id, {}",
                Stmt::raw(table),
                Stmt::raw(columns(table)),
                values,
                checksum(table)
            );
            Self { table, tenant: tenant_of(user), statement, number: user, token: token.clone() }
        };
        // $1 is the user, $2 the token.
        match random.random_range(0..100) {
            0..30 => work("trades", Stmt::raw("$1, 'BTC-USD', 'buy', 1.5, 40000.25, $2")),
            30..50 => work("orders", Stmt::raw("$1, 'ETH-USD', 'open', 2, $2")),
            50..60 => work("agent_signals", Stmt::raw("$1, $2, 'hold', 0.5")),
            60..70 => work("risk_metrics", Stmt::raw("$1, $2, 0.125")),
            70..80 => work("portfolio_snapshots", Stmt::raw("$1, 1000.5, jsonb_build_object('by', $2)")),
            80..85 => {
                let tenant = &TENANTS[usize::try_from(serial % 3).unwrap_or(0)];
                let email = sql!("$2 || '@' || {}, 'New user ' || $1", Literal::new(tenant.domain));
                Self { tenant, ..work("users", sql!("{}, 'trader'", email)) }
            }
            _ => Self::update(random, scale, (session, sessions), token),
        }
    }

    /// A row that is there since before the migration, and this session's alone.
    fn update(random: &mut StdRng, scale: Scale, (session, sessions): Place, token: String) -> Self {
        let mine = scale.rows("positions") / i64::from(sessions);
        let id = random.random_range(0..mine) * i64::from(sessions) + i64::from(session) + 1;
        let statement = sql!(
            "UPDATE positions SET quantity = quantity + 1, revision = revision + 1
              WHERE id = $1 AND $2::text IS NOT NULL RETURNING id, {}",
            checksum("positions")
        );
        // As `seed` made it: the user of position `id`.
        let user = 1 + (id * 7919) % i64::from(scale.users);
        Self { table: "positions", tenant: tenant_of(user), statement, number: id, token }
    }

    async fn perform(&self, client: &Client) -> Result<(i64, String), Error> {
        let written = async {
            begin(client, self.tenant.id).await?;
            let row: Row =
                one(client, self.statement.as_str(), &[(&self.number, Type::INT8), (&self.token, Type::TEXT)]).await?;
            Ok((row.try_get(0)?, row.try_get(1)?))
        }
        .await;
        end(client, written).await
    }
}
