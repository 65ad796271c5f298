//! The application's sessions: readers as each tenant and as nobody, and a writer a tenant, until they are stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_postgres::{Client, Error, SimpleQueryMessage, Statement};

use super::watch::{RELATIONS, Rows, TENANTS, Watch, Way, Who};
use crate::harness::{block_on, connect};

/// Between two transactions of a session.
const READS_EVERY: Duration = Duration::from_millis(5);
const WRITES_EVERY: Duration = Duration::from_millis(20);
/// How long something may take that a test waits for, on a machine that others use.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);

/// The n-th tenant's key.
pub fn tenant(n: usize) -> String {
    format!("00000000-0000-0000-0000-00000000000{}", n + 1)
}

/// How a session asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// By statements that it prepared when it began, and keeps.
    Prepared,
    /// By text, each time anew.
    Fresh,
    /// By unnamed statements with the types in them, which is what works behind a pooler.
    Unnamed,
}

/// What the sessions are told, and what writers tell.
#[derive(Debug, Default)]
struct Flags {
    stop: AtomicBool,
    /// The application that names the tenant column is out.
    names: AtomicBool,
    /// Rows that writers added.
    written: AtomicU64,
}

/// Sessions at work.
pub struct Sessions {
    pub watch: Arc<Watch>,
    flags: Arc<Flags>,
    /// Transactions of each session.
    rounds: Vec<Arc<AtomicU64>>,
    thread: JoinHandle<()>,
}

impl Sessions {
    /// At `direct` as the application; readers at `pooled` as well.
    pub fn start(watch: Watch, direct: &str, pooled: Option<&str>) -> Self {
        // Where the protection goes, the application that names the tenant is out long since.
        let flags = Flags { names: AtomicBool::new(watch.way == Way::Lifting), ..Flags::default() };
        let (watch, flags) = (Arc::new(watch), Arc::new(flags));
        let mut readers: Vec<(String, Who, How)> = Vec::new();
        for who in (0..TENANTS).map(Some).chain([None]) {
            readers.extend([How::Prepared, How::Fresh].map(|how| (direct.to_owned(), who, how)));
            let how = if who.is_some_and(|n| n % 2 == 0) { How::Unnamed } else { How::Fresh };
            readers.extend(pooled.iter().map(|url| ((*url).to_owned(), who, how)));
        }
        let rounds: Vec<Arc<AtomicU64>> = (0..readers.len() + TENANTS).map(|_| Arc::default()).collect();
        let mut all = JoinSet::new();
        let mut tasks: Vec<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>> = Vec::new();
        for ((url, who, how), round) in readers.into_iter().zip(&rounds) {
            tasks.push(Box::pin(reader(url, who, how, watch.clone(), flags.clone(), round.clone())));
        }
        for (who, round) in (0..TENANTS).zip(rounds.iter().rev()) {
            tasks.push(Box::pin(writer(direct.to_owned(), who, watch.clone(), flags.clone(), round.clone())));
        }
        let run = async move {
            for task in tasks {
                all.spawn(task);
            }
            all.join_all().await;
        };
        let thread = std::thread::spawn(move || block_on(run));
        Self { watch, flags, rounds, thread }
    }

    /// Waits until something was seen.
    #[track_caller]
    pub fn until(&self, what: &str, seen: impl Fn(&Watch) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !seen(&self.watch) {
            assert!(Instant::now() < end && !self.thread.is_finished(), "never: {what}; {:#?}", self.watch);
            std::thread::sleep(POLL);
        }
    }

    /// Waits until every session has had two more transactions, one of which began after this call.
    #[track_caller]
    pub fn go_on(&self) {
        let before: Vec<u64> = self.rounds.iter().map(|round| round.load(SeqCst)).collect();
        let more = || self.rounds.iter().zip(&before).all(|(round, before)| round.load(SeqCst) >= before + 2);
        self.until("every session goes on", |_| more());
    }

    /// From now on writers name the tenant column.
    pub fn name_the_tenant(&self) {
        self.flags.names.store(true, SeqCst);
    }

    /// What was seen, and how many rows writers added.
    #[track_caller]
    pub fn stop(self) -> (Arc<Watch>, u64) {
        self.flags.stop.store(true, SeqCst);
        self.thread.join().unwrap();
        (self.watch, self.flags.written.load(SeqCst))
    }
}

/// `SQLSTATE: message`.
fn said(error: &Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |db| format!("{}: {}", db.code().code(), db.message()))
}

fn question(relation: usize) -> String {
    let of = |tenant: usize| format!("count(*) FILTER (WHERE whose = {})", tenant + 1);
    format!("SELECT {} FROM app.{}", (0..TENANTS).map(of).collect::<Vec<_>>().join(", "), RELATIONS[relation].0)
}

async fn reader(url: String, who: Who, how: How, watch: Arc<Watch>, flags: Arc<Flags>, rounds: Arc<AtomicU64>) {
    let client = connect(&url).await;
    let mut prepared = Vec::new();
    if how == How::Prepared {
        for relation in 0..RELATIONS.len() {
            prepared.push(client.prepare(&question(relation)).await.unwrap());
        }
    }
    while !flags.stop.load(SeqCst) {
        let round = rounds.load(SeqCst) as usize;
        if let Err(error) = reads(&client, who, how, &prepared, round, &watch).await {
            watch.errors.add(format!("{who:?} {how:?}: {}", said(&error)));
            let _after_an_error = client.batch_execute("ROLLBACK").await;
        }
        rounds.fetch_add(1, SeqCst);
        tokio::time::sleep(READS_EVERY).await;
    }
}

/// The tables of a transaction: all of them, or one alone. A partition does not come before its table, since a session that has
/// the one and waits for the other keeps every change of them from its locks.
fn tour(round: usize) -> std::ops::Range<usize> {
    let alone = round / 2 % RELATIONS.len();
    if round.is_multiple_of(2) { 0..RELATIONS.len() } else { alone..alone + 1 }
}

/// One transaction. Now and then its snapshot is an old one by the time that it reads.
async fn reads(
    client: &Client,
    who: Who,
    how: How,
    prepared: &[Statement],
    round: usize,
    watch: &Watch,
) -> Result<(), Error> {
    let old = round % 5 == 4;
    client.batch_execute(if old { "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1" } else { "BEGIN" }).await?;
    if let Some(n) = who {
        client.batch_execute(&format!("SET LOCAL app.tenant_id = '{}'", tenant(n))).await?;
    }
    if old {
        tokio::time::sleep(READS_EVERY).await;
    }
    for relation in tour(round) {
        let sent = watch.sends(relation);
        let rows = asks(client, how, prepared, relation).await?;
        watch.answered(sent, who, rows, &format!("{how:?}"));
    }
    client.batch_execute("COMMIT").await
}

async fn asks(client: &Client, how: How, prepared: &[Statement], relation: usize) -> Result<Rows, Error> {
    let row = match how {
        How::Prepared => client.query_one(&prepared[relation], &[]).await?,
        How::Unnamed => client.query_typed(&question(relation), &[]).await?.remove(0),
        How::Fresh => {
            let messages = client.simple_query(&question(relation)).await?;
            let row =
                messages.iter().find_map(|it| if let SimpleQueryMessage::Row(row) = it { Some(row) } else { None });
            return Ok(std::array::from_fn(|column| row.unwrap().get(column).unwrap().parse().unwrap()));
        }
    };
    Ok(std::array::from_fn(|column| row.get(column)))
}

/// Rows of its own with its context; once it `names` the tenant column, with the tenant in it.
async fn writer(url: String, who: usize, watch: Arc<Watch>, flags: Arc<Flags>, rounds: Arc<AtomicU64>) {
    let client = connect(&url).await;
    let (tenant, whose) = (tenant(who), who + 1);
    let write = |column: &str, value: &str| {
        format!(
            "BEGIN; SET LOCAL app.tenant_id = '{tenant}';
             INSERT INTO app.orders (whose{column}) VALUES ({whose}{value});
             INSERT INTO app.lines (order_id, whose{column}) VALUES (currval('app.orders_id_seq'), {whose}{value});
             INSERT INTO app.events (whose{column}) VALUES ({whose}{value}); COMMIT"
        )
    };
    let (before, after) = (write("", ""), write(", tenant_id", &format!(", '{tenant}'")));
    while !flags.stop.load(SeqCst) {
        let write = if flags.names.load(SeqCst) { &after } else { &before };
        match client.batch_execute(write).await {
            Ok(()) => {
                flags.written.fetch_add(3, SeqCst);
            }
            Err(error) => {
                watch.errors.add(format!("writer {who}: {}", said(&error)));
                let _after_an_error = client.batch_execute("ROLLBACK").await;
            }
        }
        rounds.fetch_add(1, SeqCst);
        tokio::time::sleep(WRITES_EVERY).await;
    }
}
