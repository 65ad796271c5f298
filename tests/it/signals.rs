//! What a backfill's pace depends on, on real servers: replicas that lag, freeze and go, sessions, locks, and what a role sees.

mod replicas;
mod server;
mod sessions;

use std::time::{Duration, Instant};

use tenantmig::demo::cluster::{Cluster, ClusterOptions};
use tenantmig::pace::{Connected, Decision, Governor, Named, Observation, Pace, Seen, Signal};
use tenantmig::pg::signals::Signals;
use tenantmig::plan::{Bytes, Millis, Pacing, Throttle, UserSignal};
use tenantmig::sql::{Expr, QName};
use tokio_postgres::{Client, NoTls};

use crate::harness::{Replica, Tool, cluster, database};

/// How often the driver looks.
const LOOK: Duration = Duration::from_millis(500);
/// Within which what happens must be noticed.
const NOTICED: Duration = Duration::from_secs(2);
/// The longest that a test waits for something to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster of the test's own: the shared one has other tests' sessions, WAL and checkpoints.
fn own_cluster(settings: &[(&str, &str)]) -> Cluster {
    let extra_conf = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let bindir = Some(cluster().bindir().to_owned());
    Cluster::start(ClusterOptions { bindir, extra_conf, ..ClusterOptions::default() }).unwrap()
}

async fn connect(url: &str, application: &str) -> Client {
    let url = format!("{url}?application_name={application}");
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// No limit at all.
fn unlimited() -> Throttle {
    Throttle {
        max_replica_lag: None,
        max_replica_lag_bytes: None,
        max_archive_backlog: None,
        critical_safe_wal: None,
        max_connections_percent: None,
        critical_connections_percent: None,
        max_lock_waiters: None,
        ..Throttle::default()
    }
}

/// A backfill's observer, and the governor that judges what it sees.
struct Watch {
    client: Client,
    signals: Signals,
    governor: Governor,
    pacing: Pacing,
    start: Instant,
}

impl Watch {
    async fn new(url: &str, throttle: Throttle) -> Self {
        let client = connect(url, "tenantmig%20signals").await;
        let table = QName::parse("public.filled").unwrap();
        let signals = Signals::new(&client, &table, &throttle).await.unwrap();
        let pacing = Pacing { throttle, ..Pacing::default() };
        Self { client, signals, governor: Governor::new(), pacing, start: Instant::now() }
    }

    /// From now on with these limits and with nothing remembered.
    fn limit(&mut self, throttle: Throttle) {
        (self.pacing, self.governor) = (Pacing { throttle, ..Pacing::default() }, Governor::new());
    }

    async fn look(&mut self) -> Observation {
        self.client.batch_execute("BEGIN").await.unwrap();
        let seen = self.signals.observe(&self.client, &self.pacing).await.unwrap();
        self.client.batch_execute("COMMIT").await.unwrap();
        seen
    }

    async fn decide(&mut self) -> Decision {
        let seen = self.look().await;
        self.governor.decide(self.start.elapsed(), &seen, &self.pacing)
    }

    /// Looks until it sleeps because of `signal`; how long that took, and why.
    async fn until_asleep(&mut self, signal: Signal) -> (Duration, String) {
        let start = Instant::now();
        loop {
            let decision = self.decide().await;
            if let Pace::Sleep { signal: cause, why, .. } = &decision.pace
                && *cause == signal
            {
                return (start.elapsed(), why.clone());
            }
            assert!(start.elapsed() < PATIENCE, "never slept because of {signal}: {decision:?}");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Looks until it goes; how long that took.
    async fn until_going(&mut self) -> Duration {
        let start = Instant::now();
        loop {
            let decision = self.decide().await;
            if decision.pace == Pace::Go {
                return start.elapsed();
            }
            assert!(start.elapsed() < PATIENCE, "never went on: {decision:?}");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Goes at every look for so long.
    async fn goes_for(&mut self, time: Duration) {
        let start = Instant::now();
        while start.elapsed() < time {
            let decision = self.decide().await;
            assert_eq!(decision.pace, Pace::Go, "{decision:?}");
            tokio::time::sleep(LOOK).await;
        }
    }
}
