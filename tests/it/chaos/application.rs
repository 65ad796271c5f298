//! The application: inserts and updates while the plan is under way, and keeps a receipt of each acknowledged commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio_postgres::{Client, Config, NoTls};

use super::ground::Ground;

/// Rows of the application's own have numbers from here on.
pub const FIRST_OWN: i64 = 1_000_000;
/// Of the rows that were there before, those up to this number are updated.
pub const UPDATED_MAX: i64 = 60;
/// Between two transactions: traffic and not load.
const PAUSE: Duration = Duration::from_millis(8);
/// Nothing of the application waits longer.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Each so many transactions a whole table is locked for a moment, which DDL has to wait for.
const LOCK_EVERY: i64 = 70;
const LOCK_LENGTH: Duration = Duration::from_millis(40);

/// What was acknowledged, and what was tried.
#[derive(Debug, Default)]
pub struct Receipts {
    /// By table, the rows that are there.
    pub inserted: BTreeMap<&'static str, Vec<i64>>,
    /// By table and row, the revision that the server returned last, and how often it was tried.
    pub updated: BTreeMap<(&'static str, i64), (i32, i32)>,
    pub acknowledged: u64,
    pub refused: BTreeMap<String, u64>,
}

/// The application at work; dropping it ends it.
pub struct Application {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<Receipts>>,
}

impl Application {
    /// Begins to write.
    pub fn start(ground: &Ground, database: &str) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let (over, port, database) = (ended.clone(), ground.port.clone(), database.to_owned());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(write(&over, &port, &database))
        });
        Self { ended, thread: Some(thread) }
    }

    /// Ends, and hands over the receipts.
    pub fn end(mut self) -> Receipts {
        self.ended.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
    }
}

async fn write(ended: &AtomicBool, port: &AtomicU16, database: &str) -> Receipts {
    let (mut receipts, mut serial) = (Receipts::default(), 0);
    while !ended.load(Ordering::SeqCst) {
        let Some(client) = connect(port.load(Ordering::SeqCst), database).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        while !ended.load(Ordering::SeqCst) && !client.is_closed() {
            serial += 1;
            let done = tokio::time::timeout(WAIT_MAX, step(&client, serial, &mut receipts)).await;
            match done {
                Ok(Ok(())) => receipts.acknowledged += 1,
                Ok(Err(error)) => {
                    let why = error.code().map_or_else(|| "connection".to_owned(), |code| code.code().to_owned());
                    *receipts.refused.entry(why).or_default() += 1;
                    if client.batch_execute("ROLLBACK").await.is_err() {
                        break;
                    }
                }
                Err(_) => break,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    receipts
}

async fn connect(port: u16, database: &str) -> Option<Client> {
    let mut config = Config::new();
    config.host("127.0.0.1").port(port).user("chaos_app").dbname(database).application_name("chaos-app");
    config.options("-c statement_timeout=10s");
    let (client, connection) = tokio::time::timeout(WAIT_MAX, config.connect(NoTls)).await.ok()?.ok()?;
    tokio::spawn(connection);
    Some(client)
}

/// One transaction of the application, as its tenant. It names no tenant column.
async fn step(client: &Client, serial: i64, receipts: &mut Receipts) -> Result<(), tokio_postgres::Error> {
    if serial % LOCK_EVERY == 0 {
        client.batch_execute("BEGIN; LOCK TABLE app.trades IN SHARE MODE").await?;
        tokio::time::sleep(LOCK_LENGTH).await;
        return client.batch_execute("COMMIT").await;
    }
    let table = ["users", "trades", "orders"][usize::try_from(serial % 3).unwrap()];
    let update = serial % 4 == 0;
    // Of the rows that were there before, a few are written again and again.
    let id = if update { 1 + (serial * 37) % UPDATED_MAX } else { FIRST_OWN + serial };
    let account = 1 + id % 20;
    let tenant = format!("00000000-0000-0000-0000-00000000000{}", 1 + account % 3);
    client.batch_execute(&format!("BEGIN; SET LOCAL app.tenant_id = '{tenant}'")).await?;
    let statement = match (update, table) {
        (true, _) => format!("UPDATE app.{table} SET revision = revision + 1 WHERE id = {id} RETURNING revision"),
        (false, "users") => format!(
            "INSERT INTO app.users (id, account_id, email) VALUES ({id}, {account}, 'w{id}') RETURNING revision"
        ),
        (false, "trades") => format!(
            "INSERT INTO app.trades (id, account_id, symbol, amount) VALUES ({id}, {account}, 'W', 1) RETURNING revision"
        ),
        (false, _) => {
            format!("INSERT INTO app.orders (id, account_id, note) VALUES ({id}, {account}, 'w') RETURNING revision")
        }
    };
    if update {
        receipts.updated.entry((table, id)).or_default().1 += 1;
    }
    let revision: i32 = client.query_one(&statement, &[]).await?.get(0);
    client.batch_execute("COMMIT").await?;
    match update {
        true => receipts.updated.entry((table, id)).or_default().0 = revision,
        false => receipts.inserted.entry(table).or_default().push(id),
    }
    Ok(())
}
