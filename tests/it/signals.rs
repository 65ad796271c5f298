//! What a backfill's pace depends on, on real servers: replicas that lag, freeze and go, sessions, locks, and what a role sees.

use std::time::{Duration, Instant};

use tenantmig::demo::cluster::{Cluster, ClusterOptions};
use tenantmig::pace::{Connected, Decision, Governor, Named, Observation, Pace, Seen, Signal};
use tenantmig::pg::signals::Signals;
use tenantmig::plan::{Bytes, Millis, Pacing, Throttle, UserSignal};
use tenantmig::sql::{Expr, QName};
use tokio_postgres::{Client, NoTls};

use crate::harness::{Replica, cluster, database};

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

    async fn look(&mut self) -> Observation {
        self.signals.observe(&self.client, &self.pacing).await.unwrap()
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

/// An application that writes on and on, a hundred rows at a time, until it is dropped.
fn writer(url: &str) -> impl Drop {
    struct Writing(tokio::task::JoinHandle<()>);
    impl Drop for Writing {
        fn drop(&mut self) {
            self.0.abort();
        }
    }
    let url = url.to_owned();
    Writing(tokio::spawn(async move {
        let client = connect(&url, "app").await;
        loop {
            let rows = "INSERT INTO written SELECT repeat(md5(n::text), 8) FROM generate_series(1, 100) n";
            client.batch_execute(rows).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }))
}

fn lag_limits() -> Throttle {
    Throttle { max_replica_lag: Some(Millis(1_000)), max_replica_lag_bytes: Some(Bytes(64 << 20)), ..unlimited() }
}

#[tokio::test]
async fn a_replica_that_lags_freezes_or_goes_is_waited_for() {
    let primary = own_cluster(&[]);
    let mut replica = Replica::of(&primary, "tap");
    let url = primary.url("postgres");
    connect(&url, "app").await.batch_execute("CREATE TABLE written (text text)").await.unwrap();
    let mut watch = Watch::new(&url, lag_limits()).await;
    assert_eq!(watch.signals.blind(), [""; 0]);
    let limit = Duration::from_secs(1);
    watch.goes_for(Duration::from_secs(3)).await;
    let writing = writer(&url);
    watch.goes_for(Duration::from_secs(3)).await;

    replica.pause_replay();
    let (slept, why) = watch.until_asleep(Signal::ReplicaLag).await;
    replica.resume_replay();
    let went = watch.until_going().await;
    eprintln!("replay paused: asleep after {slept:?} ({why}), going after {went:?}");
    assert!(why.starts_with("replica tap is ") && why.ends_with(" behind (limit 1 s)"), "{why}");
    assert!(slept < limit + NOTICED, "{slept:?}");

    replica.freeze_receiver();
    let (slept, why) = watch.until_asleep(Signal::ReplicaLag).await;
    let frozen: Option<f64> = watch
        .client
        .query_one("SELECT extract(epoch FROM replay_lag)::double precision FROM pg_stat_replication", &[])
        .await
        .unwrap()
        .get(0);
    replica.thaw_receiver();
    let went = watch.until_going().await;
    eprintln!("walreceiver frozen: asleep after {slept:?} ({why}; the server says {frozen:?} s), going after {went:?}");
    assert!(why.starts_with("replica tap is ") && slept < limit + NOTICED, "{slept:?} {why}");
    assert!(frozen.is_none_or(|lag| lag < 1.0), "the server noticed by itself: {frozen:?}");

    replica.stop();
    let (slept, why) = watch.until_asleep(Signal::Replicas).await;
    replica.start();
    let went = watch.until_going().await;
    eprintln!("replica stopped: asleep after {slept:?} ({why}), going after {went:?}");
    assert_eq!(why, "0 replicas are connected (expected 1)");
    assert!(slept < NOTICED, "{slept:?}");

    // By bytes alone, and with more replicas asked for than there are.
    watch.pacing.throttle = Throttle { max_replica_lag_bytes: Some(Bytes(256 << 10)), ..unlimited() };
    watch.until_going().await;
    replica.freeze_receiver();
    let (slept, why) = watch.until_asleep(Signal::ReplicaLag).await;
    eprintln!("by bytes: asleep after {slept:?} ({why})");
    assert!(why.ends_with(" of WAL behind (limit 256.0 KiB)"), "{why}");
    replica.thaw_receiver();
    watch.until_going().await;
    watch.pacing.throttle = Throttle { replicas: Some(2), ..unlimited() };
    let (_, why) = watch.until_asleep(Signal::Replicas).await;
    assert_eq!(why, "1 replica is connected (expected 2)");
    drop(writing);
}

#[tokio::test]
async fn a_replica_that_says_nothing_is_unknown() {
    let primary = own_cluster(&[]);
    let mut replica = Replica::of(&primary, "mute");
    let url = primary.url("postgres");
    let app = connect(&url, "app").await;
    app.batch_execute("CREATE TABLE written (text text)").await.unwrap();
    // Limits that nothing comes near.
    let throttle = Throttle { max_replica_lag_bytes: Some(Bytes(1 << 40)), ..unlimited() };
    let mut watch = Watch::new(&url, throttle).await;
    watch.goes_for(Duration::from_secs(1)).await;
    replica.freeze_receiver();
    // With nothing to confirm an idle replica may be silent.
    watch.goes_for(Duration::from_secs(7)).await;
    app.batch_execute("INSERT INTO written VALUES ('x')").await.unwrap();
    let (slept, why) = watch.until_asleep(Signal::ReplicaLag).await;
    eprintln!("silent: asleep after {slept:?} ({why})");
    assert!(why.starts_with("replica lag is unknown: replica mute has not answered for "), "{why}");
    assert!(slept < Duration::from_secs(5) + NOTICED, "{slept:?}");
    replica.thaw_receiver();
    watch.until_going().await;
}

#[tokio::test]
async fn a_role_without_pg_monitor_is_told_and_not_kept_waiting() {
    let primary = own_cluster(&[("archive_mode", "on"), ("archive_command", "false")]);
    let mut replica = Replica::of(&primary, "unseen");
    let admin = connect(&primary.url("postgres"), "admin").await;
    admin.batch_execute("CREATE TABLE filled (id int); CREATE ROLE \"Plain\" LOGIN").await.unwrap();
    let throttle = Throttle {
        max_active_sessions: Some(1),
        max_transaction_age: Some(Millis(1)),
        max_dead_percent: Some(1),
        max_slot_retained: Some(Bytes(1 << 40)),
        max_wal_rate: Some(Bytes(1 << 40)),
        max_forced_checkpoints: Some(1_000),
        ..Throttle::default()
    };
    let url = primary.url_as("Plain", "postgres");
    let mut watch = Watch::new(&url, throttle).await;
    let told = |word: &str| format!("{word} cannot be seen by this role: GRANT pg_monitor TO \"Plain\"");
    let words = ["replica lag", "archive backlog", "active sessions", "dead rows", "transaction age"];
    assert_eq!(watch.signals.blind(), words.map(told));
    watch.goes_for(Duration::from_secs(2)).await;
    let seen = watch.look().await;
    assert_eq!(seen.replicas, Seen::Known(Connected { expected: 1, connected: 1 }));
    assert_eq!((&seen.replica_lag, &seen.active_sessions), (&Seen::Unseen, &Seen::Unseen));
    assert!(matches!(seen.connections, Seen::Known(share) if (2..10).contains(&share.used)), "{seen:?}");
    assert!(matches!(seen.wal_rate, Seen::Known(_)) && matches!(seen.lock_waiters, Seen::Known(0)), "{seen:?}");
    assert!(matches!(seen.slot_retained, Seen::Known(Named { .. })), "{seen:?}");
    replica.stop();
    assert!(watch.until_asleep(Signal::Replicas).await.0 < NOTICED);
    replica.start();
    watch.until_going().await;

    // Seen from the start and hidden later: wait, and say what for.
    admin.batch_execute("GRANT pg_monitor TO \"Plain\"").await.unwrap();
    let mut watch = Watch::new(&url, Throttle::default()).await;
    assert_eq!(watch.signals.blind(), [""; 0]);
    watch.goes_for(Duration::from_secs(1)).await;
    admin.batch_execute("REVOKE pg_monitor FROM \"Plain\"").await.unwrap();
    let (_, why) = watch.until_asleep(Signal::ReplicaLag).await;
    assert!(why.contains("GRANT pg_monitor TO \"Plain\""), "{why}");
    admin.batch_execute("GRANT pg_monitor TO \"Plain\"").await.unwrap();
    watch.until_going().await;
}

#[tokio::test]
async fn fifty_more_sessions_are_counted() {
    let server = own_cluster(&[("max_connections", "63")]);
    let url = server.url("postgres");
    let throttle = Throttle { max_active_sessions: Some(10), ..Throttle::default() };
    let mut watch = Watch::new(&url, throttle).await;
    watch.goes_for(Duration::from_secs(1)).await;
    let mut crowd = Vec::new();
    for number in 0..50 {
        let name = if number < 10 { "tenantmig%20worker" } else { "crowd" };
        crowd.push(connect(&url, name).await);
    }
    let asleep = crowd.iter().map(|client| client.batch_execute("SELECT pg_sleep(600)"));
    let asleep = futures_util::future::join_all(asleep);
    let watching = async {
        let (slept, _) = watch.until_asleep(Signal::ActiveSessions).await;
        let seen = watch.look().await;
        (slept, seen)
    };
    let (slept, seen) = tokio::select! {
        found = watching => found,
        _ = asleep => panic!("the crowd woke up"),
    };
    eprintln!("fifty more sessions: asleep after {slept:?}");
    assert!(slept < NOTICED);
    assert_eq!(seen.active_sessions, Seen::Known(40));
    assert!(matches!(seen.connections, Seen::Known(share) if (share.used, share.of) >= (51, 60)), "{seen:?}");
    // Connections alone.
    watch.governor = Governor::new();
    watch.pacing.throttle = Throttle::default();
    let (_, why) = watch.until_asleep(Signal::Connections).await;
    assert!(why.contains(" of 60 connections are taken") && why.ends_with("(limit 80 %)"), "{why}");
    for _ in 0..4 {
        crowd.push(connect(&url, "crowd").await);
    }
    let decision = watch.decide().await;
    assert!(matches!(&decision.pace, Pace::Stop { signal: Signal::Connections, .. }), "{decision:?}");
    let killed = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid()";
    watch.client.batch_execute(killed).await.unwrap();
    drop(crowd);
    watch.until_going().await;
}

#[tokio::test]
async fn those_who_wait_behind_us_are_counted_and_nobody_else() {
    let db = database("waiters");
    db.sql("CREATE TABLE filled (id int PRIMARY KEY, v int); INSERT INTO filled VALUES (1, 0), (2, 0)");
    let mut watch = Watch::new(&db.url(), Throttle { max_lock_waiters: Some(2), ..unlimited() }).await;
    let ours = connect(&db.url(), "tenantmig%20worker%201").await;
    let other = connect(&db.url(), "app").await;
    ours.batch_execute("BEGIN; UPDATE filled SET v = 1 WHERE id = 1").await.unwrap();
    other.batch_execute("BEGIN; UPDATE filled SET v = 1 WHERE id = 2").await.unwrap();
    let mut waiting = Vec::new();
    // Behind us four, of whom three wait for the first; behind the other session two; one of ours behind our own.
    for (name, id) in
        [("app", 1), ("app", 1), ("app", 1), ("app", 1), ("app", 2), ("app", 2), ("tenantmig%20worker%202", 1)]
    {
        let client = connect(&db.url(), name).await;
        waiting.push(tokio::spawn(async move {
            client.batch_execute(&format!("UPDATE filled SET v = v + 1 WHERE id = {id}")).await
        }));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (slept, why) = watch.until_asleep(Signal::LockWaiters).await;
    eprintln!("lock waiters: asleep after {slept:?} ({why})");
    tokio::time::sleep(LOOK).await;
    assert_eq!(watch.look().await.lock_waiters, Seen::Known(4));
    let plain = db.role("plain", "LOGIN");
    let mut unprivileged = Watch::new(&db.url_as(&plain), Throttle { max_lock_waiters: Some(2), ..unlimited() }).await;
    assert_eq!(unprivileged.look().await.lock_waiters, Seen::Known(4));
    ours.batch_execute("ROLLBACK").await.unwrap();
    other.batch_execute("ROLLBACK").await.unwrap();
    for one in waiting {
        one.await.unwrap().unwrap();
    }
    watch.until_going().await;
}
