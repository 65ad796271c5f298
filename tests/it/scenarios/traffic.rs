//! The application of the chaos plan: clients that read, insert and update in short transactions, as its role, with the tenant
//! set as it should be (SET LOCAL) or, as before the migration, not at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_postgres::Client;

use super::firm::{FUNDS, ORGANIZATIONS, cell, said, session};
use crate::harness::block_on;

/// What a client that lost its connection, or got none, waits before it tries again.
const AGAIN: Duration = Duration::from_millis(50);
/// No client may have so many errors: then the test is over.
const ERRORS_MAX: usize = 10_000;

/// Whether a transaction says whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    Set,
    Unset,
}

/// What the clients saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// How long each transaction took that was committed, from the shortest on.
    pub took: Vec<Duration>,
    /// `SQLSTATE: message` of each that was not.
    pub errors: Vec<String>,
    /// The ids of investments whose insertion was acknowledged.
    pub inserted: Vec<i64>,
    /// Transactions that saw a fund of an organization that is not theirs.
    pub leaks: u64,
}

/// Clients at work until they are stopped.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

impl Traffic {
    /// `clients` sessions at `url`, each with a transaction every so often.
    pub fn start(url: String, clients: u32, context: Context, every: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            block_on(async move {
                let mut all = JoinSet::new();
                for number in 0..clients {
                    all.spawn(client(url.clone(), number, context, every, Arc::clone(&told)));
                }
                let mut sum = Seen::default();
                for seen in all.join_all().await {
                    sum.took.extend(seen.took);
                    sum.errors.extend(seen.errors);
                    sum.inserted.extend(seen.inserted);
                    sum.leaks += seen.leaks;
                }
                sum.took.sort_unstable();
                sum
            })
        });
        Self { stop, thread }
    }

    pub fn stop(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

impl Seen {
    /// The transaction that `share` of all are not slower than.
    pub fn quantile(&self, share: f64) -> Duration {
        let last = self.took.len().saturating_sub(1);
        self.took.get((last as f64 * share) as usize).copied().unwrap_or_default()
    }

    /// Errors that a client may not simply try again: none but serialization failures, deadlocks and lock timeouts.
    pub fn not_retryable(&self) -> Vec<&String> {
        let retryable = |error: &&String| !["40001", "40P01", "55P03"].iter().any(|code| error.starts_with(code));
        self.errors.iter().filter(retryable).collect()
    }
}

async fn client(url: String, number: u32, context: Context, every: Duration, stop: Arc<AtomicBool>) -> Seen {
    let mut seen = Seen::default();
    let mut session_now: Option<Client> = None;
    let mut round = u64::from(number);
    while !stop.load(Ordering::Relaxed) && seen.errors.len() < ERRORS_MAX {
        let now = match session_now.take().filter(|client| !client.is_closed()) {
            Some(client) => client,
            None => match session(&url).await {
                Ok(client) => client,
                Err(error) => {
                    seen.errors.push(error);
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
            },
        };
        round += 7;
        let begun = Instant::now();
        match transaction(&now, round, context).await {
            Ok((id, leaked)) => {
                seen.took.push(begun.elapsed());
                seen.inserted.push(id);
                seen.leaks += u64::from(leaked);
            }
            Err(error) => {
                seen.errors.push(said(&error));
                let _after_an_error = now.batch_execute("ROLLBACK").await;
                tokio::time::sleep(AGAIN).await;
            }
        }
        session_now = Some(now);
        tokio::time::sleep(every).await;
    }
    seen
}

/// One request of one organization: looks at its funds, invests in one of them, and touches it. The id of the investment, and
/// whether funds of others were seen.
async fn transaction(client: &Client, round: u64, context: Context) -> Result<(i64, bool), tokio_postgres::Error> {
    let which = (round % 3) as usize;
    // Fund n is the organization's whose slug is the (n mod 3)th.
    let (fund, slug) = (fund(round, which), ["green-capital", "harbour-partners", "tech-ventures"][which]);
    let org = ORGANIZATIONS[[1, 2, 0][which]];
    let set = if context == Context::Set { format!("SET LOCAL app.current_org = '{org}'; ") } else { String::new() };
    client.batch_execute(&format!("BEGIN; {set}")).await?;
    let near = format!("SELECT bool_and(manager = '{slug}') FROM funds WHERE id BETWEEN {fund} - 3 AND {fund} + 3");
    let own = cell(&client.simple_query(&near).await?, 0);
    let insert = format!("INSERT INTO investments (fund_id, amount) VALUES ({fund}, 1) RETURNING id");
    let id = cell(&client.simple_query(&insert).await?, 0);
    client.batch_execute(&format!("UPDATE funds SET name = name WHERE id = {fund}")).await?;
    client.batch_execute("COMMIT").await?;
    let leaked = context == Context::Set && own.as_deref() != Some("t");
    Ok((id.and_then(|id| id.parse().ok()).unwrap_or_default(), leaked))
}

fn fund(round: u64, which: usize) -> i64 {
    let third = FUNDS / 3 - 4;
    let n = i64::try_from(round.wrapping_mul(2_654_435_761) % 1_000_000).unwrap_or(0) % third;
    3 * (n + 1) + which as i64
}
