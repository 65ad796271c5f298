//! The application: sessions that write small transactions at a rate, and keep how long each statement took and what failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio_postgres::{Client, NoTls};

use crate::harness::{Db, block_on};

/// A transaction updates so many rows, one statement each.
const ROWS: usize = 2;
/// Between the two, as for an application's round trip and thought.
const THOUGHT: Duration = Duration::from_millis(2);

/// How writers write.
#[derive(Debug, Clone)]
pub struct Writing {
    pub writers: u32,
    /// The rows that they choose from.
    pub ids: Arc<Vec<i64>>,
    /// Each writer begins a transaction so often.
    pub every: Duration,
}

/// What the application saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// How long each statement took, from the shortest on.
    pub statements: Vec<Duration>,
    /// Whatever the server refused.
    pub errors: Vec<String>,
}

/// Writers at work until they are stopped.
#[derive(Debug)]
pub struct Application {
    stop: Arc<AtomicBool>,
    writers: Vec<JoinHandle<Seen>>,
}

impl Application {
    pub fn start(db: &Db, writing: &[Writing]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let writers = writing.iter().flat_map(|writing| (0..writing.writers).map(move |_| writing.clone()));
        let writers = writers.zip(0..).map(|(writing, seed)| {
            let (url, stop) = (db.url(), Arc::clone(&stop));
            std::thread::spawn(move || block_on(write(url, seed, writing, stop)))
        });
        Self { writers: writers.collect(), stop }
    }

    pub fn stop(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Seen::default();
        for writer in self.writers {
            let seen = writer.join().unwrap();
            all.statements.extend(seen.statements);
            all.errors.extend(seen.errors);
        }
        all.statements.sort_unstable();
        all
    }
}

impl Seen {
    /// The statement that `share` of all are not slower than.
    pub fn quantile(&self, share: f64) -> Duration {
        let last = self.statements.len().saturating_sub(1);
        self.statements.get((last as f64 * share) as usize).copied().unwrap_or_default()
    }
}

/// A session of the application's, which ends when it is dropped.
pub async fn session(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(&format!("{url}?application_name=app"), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn write(url: String, seed: u64, writing: Writing, stop: Arc<AtomicBool>) -> Seen {
    let client = session(&url).await;
    let mut dice = StdRng::seed_from_u64(seed);
    let mut seen = Seen::default();
    let mut next = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        if let Err(error) = transaction(&client, &mut dice, &writing.ids, &mut seen.statements).await {
            let text =
                error.as_db_error().map_or(error.to_string(), |e| format!("{}: {}", e.code().code(), e.message()));
            seen.errors.push(text);
            let _after_an_error = client.batch_execute("ROLLBACK").await;
        }
        next = (next + writing.every).max(Instant::now());
        tokio::time::sleep_until(next.into()).await;
    }
    seen
}

/// Any two rows, the greater key first: one order for all, so that writers never deadlock among themselves, and not that in
/// which a scan of the table meets them.
async fn transaction(
    client: &Client,
    dice: &mut StdRng,
    ids: &[i64],
    took: &mut Vec<Duration>,
) -> Result<(), tokio_postgres::Error> {
    let mut rows: Vec<i64> = (0..ROWS).map(|_| ids[dice.random_range(0..ids.len())]).collect();
    rows.sort_unstable_by(|one, other| other.cmp(one));
    client.batch_execute("BEGIN").await?;
    for id in rows {
        let begun = Instant::now();
        client.batch_execute(&format!("UPDATE app.users SET email = email WHERE id = {id}")).await?;
        took.push(begun.elapsed());
        tokio::time::sleep(THOUGHT).await;
    }
    client.batch_execute("COMMIT").await
}
