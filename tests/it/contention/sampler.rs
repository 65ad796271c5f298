//! Who waits for the backfill, and how long: looked at every 10 ms in the server's own account of its locks.
//!
//! A wait counts when a session of ours is among those that the waiting one is blocked by, directly or through others, queues
//! for a lock included. Its length is the server's: from `waitstart` to the sample's clock, so nothing between server and
//! test adds to it, and two waits of one session are not taken for one. On a machine that has no processor to give, a batch
//! takes as much longer as its server process stands in the kernel's queue; the kernel counts that time by process
//! (`/proc/PID/schedstat`), and it is taken off the wait. A batch that is too large, or that waits for somebody itself, gets
//! nothing off.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::application::session;
use crate::harness::{Db, block_on};

const EVERY: Duration = Duration::from_millis(10);

/// One session's wait.
#[derive(Debug, Clone, Default)]
pub struct Wait {
    pub length: Duration,
    /// How long those of ours that it waited for had no processor meanwhile.
    pub starved: Duration,
    /// What it waits for and what for it was asked.
    pub what: String,
}

/// All that was seen.
#[derive(Debug, Default)]
pub struct Waits {
    pub samples: u64,
    /// By session and the start of the wait.
    waits: BTreeMap<(i32, String), Wait>,
}

impl Wait {
    /// Its length, less the time for which the machine is to blame.
    pub fn fair(&self) -> Duration {
        self.length.saturating_sub(self.starved)
    }
}

impl Waits {
    pub fn count(&self) -> usize {
        self.waits.len()
    }

    /// The longest, as it was.
    pub fn longest(&self) -> Wait {
        self.waits.values().max_by_key(|wait| wait.length).cloned().unwrap_or_default()
    }

    /// The longest, less the time for which the machine is to blame.
    pub fn longest_fair(&self) -> Wait {
        self.waits.values().max_by_key(|wait| wait.fair()).cloned().unwrap_or_default()
    }
}

/// Looks until it is stopped.
#[derive(Debug)]
pub struct Sampler {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Waits>,
}

impl Sampler {
    pub fn start(db: &Db) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (url, told) = (db.url(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || block_on(sample(url, told)));
        Self { stop, thread }
    }

    pub fn stop(self) -> Waits {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Our sessions, and each waiting session of this database with whom it is blocked by. 13 does not tell when a wait began.
fn query(major: i32) -> String {
    let start = if major >= 14 { "l.waitstart" } else { "a.query_start" };
    format!(
        "WITH waiting AS MATERIALIZED (SELECT l.pid, l.locktype, {start} AS start, left(a.query, 80) AS query
                FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT l.granted AND a.datname = current_database() AND {start} IS NOT NULL)
         SELECT ARRAY(SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tenantmig%'),
                w.pid, w.start::text, (extract(epoch FROM clock_timestamp() - w.start) * 1000)::float8, pg_blocking_pids(w.pid),
                format('%s of %s for: %s', w.locktype, w.pid, w.query)
           FROM (SELECT) AS one LEFT JOIN waiting w ON true"
    )
}

async fn sample(url: String, stop: Arc<AtomicBool>) -> Waits {
    let client: Client = session(&url).await;
    let row = client.query_one("SELECT current_setting('server_version_num')::int / 10000", &[]).await.unwrap();
    let query = client.prepare(&query(row.get(0))).await.unwrap();
    let mut all = Waits::default();
    let mut known = HashMap::new();
    // What ours had waited for a processor when a wait was first seen, or rather at the sample before.
    let mut first: HashMap<(i32, String), HashMap<i32, Duration>> = HashMap::new();
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let rows = client.query(&query, &[]).await.unwrap();
        let ours: Vec<i32> = rows[0].get(0);
        let now: HashMap<i32, Duration> = ours.iter().map(|pid| (*pid, starved(*pid))).collect();
        let waiting = || rows.iter().filter_map(|row| Some((row, row.get::<_, Option<i32>>(1)?)));
        let edges: HashMap<i32, Vec<i32>> = waiting().map(|(row, pid)| (pid, row.get(4))).collect();
        for (row, pid) in waiting().filter(|(_, pid)| !ours.contains(pid)) {
            let blockers = reached(pid, &edges);
            let blockers: Vec<i32> = ours.iter().filter(|our| blockers.contains(our)).copied().collect();
            if blockers.is_empty() {
                continue;
            }
            let key = (pid, row.get::<_, String>(2));
            let before = first.entry(key.clone()).or_insert_with(|| known.clone());
            let since = |pid: &i32| before.get(pid).map_or(Duration::ZERO, |before| now[pid].saturating_sub(*before));
            let length = Duration::from_secs_f64(row.get::<_, f64>(3).max(0.0) / 1000.0);
            let starved = blockers.iter().map(since).sum::<Duration>().min(length);
            all.waits.insert(key, Wait { length, starved, what: row.get(5) });
        }
        (all.samples, known) = (all.samples + 1, now);
        tokio::time::sleep_until((begun + EVERY).into()).await;
    }
    all
}

/// How long a process was ready to run and had no processor, as Linux counts it; nothing where it does not.
fn starved(pid: i32) -> Duration {
    let counts = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    Duration::from_nanos(counts.split_whitespace().nth(1).and_then(|text| text.parse().ok()).unwrap_or(0))
}

/// Whom a session is blocked by, and whom they are.
fn reached(pid: i32, edges: &HashMap<i32, Vec<i32>>) -> HashSet<i32> {
    let (mut seen, mut next) = (HashSet::new(), vec![pid]);
    while let Some(at) = next.pop() {
        next.extend(edges.get(&at).into_iter().flatten().filter(|blocker| seen.insert(**blocker)));
    }
    seen
}
