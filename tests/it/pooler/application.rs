//! An application in the same pool: short transactions that set their context LOCAL, and notice whatever else is set.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};

use crate::harness::{Pooler, block_on, database};

/// Settings that a session of ours has otherwise than an application's.
const WATCHED: &str = "SELECT concat_ws(', ', 'lock_timeout=' || current_setting('lock_timeout'),
    'statement_timeout=' || current_setting('statement_timeout'), 'row_security=' || current_setting('row_security'),
    'role=' || current_setting('role'), 'search_path=' || current_setting('search_path'),
    'application_name=' || current_setting('application_name'), 'jit=' || current_setting('jit'),
    'synchronous_commit=' || current_setting('synchronous_commit'),
    'idle_in_transaction_session_timeout=' || current_setting('idle_in_transaction_session_timeout'),
    'extra_float_digits=' || current_setting('extra_float_digits'), 'datestyle=' || current_setting('datestyle'),
    'read_only=' || current_setting('transaction_read_only'), 'temp=' || (SELECT count(*) FROM pg_class WHERE relpersistence = 't'),
    'prepared=' || (SELECT count(*) FROM pg_prepared_statements))";
/// So many at once, in a pool of two.
const CLIENTS: usize = 3;

/// Applications at work.
pub struct Application {
    over: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Seen>>,
}

/// What they saw.
#[derive(Debug, Default)]
pub struct Seen {
    pub transactions: usize,
    /// Settings that were not as at the start, each once.
    pub leaks: Vec<String>,
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(&format!("{url}?application_name=app"), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// One transaction; the settings as it found them.
async fn transaction(client: &Client) -> String {
    client
        .batch_execute(
            "BEGIN; SELECT set_config('app.current_tenant_id', '00000000-0000-0000-0000-000000000001', true)",
        )
        .await
        .unwrap();
    let settings = client.query_typed_one(WATCHED, &[]).await.unwrap().get(0);
    client.batch_execute("SELECT count(*) FROM pg_class; COMMIT").await.unwrap();
    settings
}

async fn work(client: Client, usual: String, over: Arc<AtomicBool>) -> Seen {
    let mut seen = Seen::default();
    while !over.load(Ordering::Relaxed) {
        let now = transaction(&client).await;
        seen.transactions += 1;
        if now != usual && !seen.leaks.contains(&now) {
            seen.leaks.push(now);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    seen
}

impl Application {
    /// The settings that count as usual are those of a first transaction, which must be before ours.
    pub fn start(url: &str) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (url, watched) = (url.to_owned(), over.clone());
        let tasks = block_on(async move {
            let mut tasks = Vec::new();
            let usual = transaction(&connect(&url).await).await;
            for _ in 0..CLIENTS {
                tasks.push(tokio::spawn(work(connect(&url).await, usual.clone(), watched.clone())));
            }
            tasks
        });
        Self { over, tasks }
    }

    pub fn stop(self) -> Seen {
        self.over.store(true, Ordering::Relaxed);
        block_on(async {
            let mut all = Seen::default();
            for task in self.tasks {
                let seen = task.await.unwrap();
                all.transactions += seen.transactions;
                all.leaks.extend(seen.leaks);
            }
            all
        })
    }
}

#[test]
fn a_setting_that_is_left_behind_is_seen() {
    let db = database("pooler_leak");
    let pooler = Pooler::start("transaction", "default_pool_size = 1");
    for leak in [
        "SET lock_timeout = '1s'",
        "SET row_security = off",
        "PREPARE p AS SELECT 1",
        "CREATE TEMP TABLE left_behind ()",
    ] {
        let application = Application::start(&pooler.url(db.name()));
        let url = pooler.url(db.name());
        block_on(async move { connect(&url).await.batch_execute(leak).await.unwrap() });
        std::thread::sleep(Duration::from_millis(200));
        let seen = application.stop();
        assert!(seen.transactions > 0 && !seen.leaks.is_empty(), "{leak} went unseen");
    }
}
