//! What a backfill's pace depends on, on real servers: replicas that lag, freeze and go, sessions, locks, and what a role sees.

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
    // The server may have had no lag to tell when the walreceiver froze.
    assert!(why.contains("replica tap ") && slept < limit + NOTICED, "{slept:?} {why}");
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
        // Without the ten that are named as ours are.
        loop {
            let seen = watch.look().await;
            if seen.active_sessions == Seen::Known(40) {
                return (slept, seen);
            }
            assert!(watch.start.elapsed() < PATIENCE, "{seen:?}");
            tokio::time::sleep(LOOK).await;
        }
    };
    let (slept, seen) = tokio::select! {
        found = watching => found,
        _ = asleep => panic!("the crowd woke up"),
    };
    eprintln!("fifty more sessions: asleep after {slept:?}");
    assert!(slept < NOTICED);
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

/// A server with one thing of each kind to see.
#[tokio::test]
async fn wal_slots_archive_checkpoints_and_transactions_are_measured() {
    let server = own_cluster(&[
        ("archive_mode", "on"),
        ("archive_command", "false"),
        ("max_slot_wal_keep_size", "200MB"),
        ("autovacuum", "off"),
    ]);
    let url = server.url("postgres");
    let app = connect(&url, "app").await;
    app.batch_execute(
        "CREATE TABLE written (text text);
         CREATE TABLE filled (id int, v text) PARTITION BY RANGE (id);
         CREATE TABLE filled_1 PARTITION OF filled FOR VALUES FROM (0) TO (100000);
         INSERT INTO filled SELECT n, md5(n::text) FROM generate_series(1, 20000) n",
    )
    .await
    .unwrap();
    let throttle = Throttle {
        max_wal_rate: Some(Bytes(10 << 20)),
        max_archive_backlog: Some(2),
        max_slot_retained: Some(Bytes(1 << 20)),
        critical_safe_wal: Some(Bytes(1 << 20)),
        max_dead_percent: Some(20),
        max_transaction_age: Some(Millis(1_000)),
        max_forced_checkpoints: Some(1),
        ..unlimited()
    };
    let mut watch = Watch::new(&url, throttle.clone()).await;
    watch.goes_for(Duration::from_secs(1)).await;
    let only = |throttle: Throttle| Pacing { throttle, ..Pacing::default() };

    let limit = Throttle { max_wal_rate: throttle.max_wal_rate, ..unlimited() };
    (watch.pacing, watch.governor) = (only(limit), Governor::new());
    let rows = "INSERT INTO written SELECT repeat(md5(n::text), 30) FROM generate_series(1, 90000) n";
    app.batch_execute("SELECT pg_create_physical_replication_slot('kept', true)").await.unwrap();
    app.batch_execute(rows).await.unwrap();
    let (_, why) = watch.until_asleep(Signal::WalRate).await;
    assert!(why.starts_with("the server writes ") && why.ends_with(" of WAL a second (limit 10.0 MiB/s)"), "{why}");
    watch.until_going().await;

    let limit = Throttle { max_slot_retained: throttle.max_slot_retained, ..unlimited() };
    (watch.pacing, watch.governor) = (only(limit), Governor::new());
    let (_, why) = watch.until_asleep(Signal::SlotRetained).await;
    assert!(why.starts_with("replication slot kept holds back "), "{why}");
    watch.pacing.throttle = Throttle { critical_safe_wal: throttle.critical_safe_wal, ..unlimited() };
    assert!(
        matches!(watch.look().await.safe_wal, Seen::Known(Named { name, value }) if name == "kept" && value > 1 << 20)
    );
    watch.until_going().await;
    watch.pacing.throttle.critical_safe_wal = Some(Bytes(1 << 40));
    let decision = watch.decide().await;
    assert!(matches!(&decision.pace, Pace::Stop { signal: Signal::SafeWal, why } if why.contains("is lost after")));

    let limit = Throttle { max_archive_backlog: throttle.max_archive_backlog, ..unlimited() };
    (watch.pacing, watch.governor) = (only(limit), Governor::new());
    for _ in 0..3 {
        app.batch_execute("INSERT INTO written VALUES ('x'); SELECT pg_switch_wal()").await.unwrap();
    }
    let (_, why) = watch.until_asleep(Signal::ArchiveBacklog).await;
    assert!(why.ends_with(" of WAL wait to be archived (limit 2 files)"), "{why}");

    let limit = Throttle { max_forced_checkpoints: throttle.max_forced_checkpoints, ..unlimited() };
    (watch.pacing, watch.governor) = (only(limit), Governor::new());
    watch.goes_for(LOOK).await;
    for _ in 0..2 {
        app.batch_execute("INSERT INTO written VALUES ('x'); CHECKPOINT").await.unwrap();
    }
    let (_, why) = watch.until_asleep(Signal::ForcedCheckpoints).await;
    assert_eq!(why, "2 checkpoints forced within ten minutes (limit 1)");

    let limit = Throttle { max_transaction_age: throttle.max_transaction_age, ..unlimited() };
    (watch.pacing, watch.governor) = (only(limit), Governor::new());
    watch.goes_for(Duration::from_millis(1_500)).await;
    app.batch_execute("BEGIN; SELECT 1").await.unwrap();
    let (_, why) = watch.until_asleep(Signal::TransactionAge).await;
    assert!(why.starts_with("a transaction of app (pid ") && why.ends_with("(limit 1 s)"), "{why}");
    app.batch_execute("COMMIT; BEGIN; INSERT INTO written VALUES ('p'); PREPARE TRANSACTION 'it''s'").await.unwrap();
    watch.governor = Governor::new();
    let (_, why) = watch.until_asleep(Signal::TransactionAge).await;
    assert!(why.starts_with("the prepared transaction 'it''s' has been open for "), "{why}");
    app.batch_execute("ROLLBACK PREPARED 'it''s'").await.unwrap();
    watch.until_going().await;
}

#[tokio::test]
async fn dead_rows_count_while_somebody_vacuums() {
    let server = own_cluster(&[("autovacuum", "off")]);
    let url = server.url("postgres");
    let app = connect(&url, "app").await;
    app.batch_execute(
        "CREATE TABLE filled (id int, v text) PARTITION BY RANGE (id);
         CREATE TABLE filled_1 PARTITION OF filled FOR VALUES FROM (0) TO (100000);
         INSERT INTO filled SELECT n, md5(n::text) FROM generate_series(1, 20000) n",
    )
    .await
    .unwrap();
    app.batch_execute("UPDATE filled SET v = v || 'x'").await.unwrap();
    let mut watch = Watch::new(&url, Throttle { max_dead_percent: Some(20), ..unlimited() }).await;
    // The session tells the statistics when it has something to do, once a second.
    while !matches!(watch.look().await.dead_rows, Seen::Known(rows) if rows.dead == 20_000 && !rows.vacuuming) {
        assert!(watch.start.elapsed() < PATIENCE, "{:?}", watch.look().await);
        app.batch_execute("SELECT pg_sleep(0.2)").await.unwrap();
    }
    watch.goes_for(LOOK).await;
    let ours = connect(&url, "tenantmig%20vacuum").await;
    let slow = "SET vacuum_cost_delay = 100; SET vacuum_cost_limit = 1";
    for client in [&app, &ours] {
        client.batch_execute(slow).await.unwrap();
    }
    let cancel = ours.cancel_token();
    let vacuum = tokio::spawn(async move { ours.batch_execute("VACUUM filled_1").await });
    watch.goes_for(Duration::from_secs(2)).await;
    cancel.cancel_query(NoTls).await.unwrap();
    vacuum.await.unwrap().unwrap_err();
    let cancel = app.cancel_token();
    let vacuum = tokio::spawn(async move { app.batch_execute("VACUUM filled_1").await });
    let (slept, why) = watch.until_asleep(Signal::DeadRows).await;
    eprintln!("dead rows: asleep after {slept:?} ({why})");
    assert_eq!(why, "50 % of the table's rows are dead while it is being vacuumed (limit 20 %)");
    cancel.cancel_query(NoTls).await.unwrap();
    vacuum.await.unwrap().unwrap_err();
    watch.until_going().await;
}

#[tokio::test]
async fn a_query_of_the_users_is_a_signal() {
    let db = database("query");
    db.sql("CREATE TABLE queue (id int); CREATE SEQUENCE counted");
    let limited = |sql: &str| {
        let query = UserSignal { sql: Expr::parse(sql).unwrap(), max: 2, critical: Some(5) };
        Throttle { query: Some(query), ..unlimited() }
    };
    let mut watch = Watch::new(&db.url(), limited("(SELECT count(*) FROM queue) -- waiting")).await;
    watch.goes_for(LOOK).await;
    db.sql("INSERT INTO queue SELECT generate_series(1, 3)");
    let (_, why) = watch.until_asleep(Signal::Query).await;
    assert_eq!(why, "the plan's query gives 3 (limit 2)");
    db.sql("INSERT INTO queue SELECT generate_series(1, 3)");
    let decision = watch.decide().await;
    let why = "the plan's query gives 6 (critical limit 5)".to_owned();
    assert_eq!(decision.pace, Pace::Stop { signal: Signal::Query, why });
    for (sql, says) in [
        ("SELEC 1", "syntax error"),
        ("1 / 0", "division by zero"),
        ("'many'", "invalid input syntax"),
        ("NULL", "gives NULL"),
        ("'NaN'", "gives no number"),
        ("(SELECT 1 FROM pg_sleep(30))", "statement timeout"),
        ("nextval('pg_temp.s')", "does not exist"),
        ("nextval('counted')", "read-only transaction"),
    ] {
        watch.governor = Governor::new();
        watch.pacing.throttle = limited(sql);
        let (_, why) = watch.until_asleep(Signal::Query).await;
        assert!(why.starts_with("query is unknown: the plan's query ") && why.contains(says), "{sql}: {why}");
    }
    // The session is none the worse.
    watch.pacing.throttle = limited("-1");
    watch.until_going().await;
    assert_eq!(watch.client.query_one("SHOW statement_timeout", &[]).await.unwrap().get::<_, String>(0), "0");
}

#[test]
fn doctor_tells_what_a_backfill_could_not_wait_for() {
    let db = database("doctor");
    let plain = db.role("plain", "LOGIN");
    db.sql(&format!("GRANT CREATE, TEMP ON DATABASE {} TO {plain}", db.name()));
    let doctor = || Tool::new(&db).url(&db.url_as(&plain)).args(["doctor"]).run().expect_code(0);
    let told = format!(
        "cannot wait for replica lag, active sessions, transaction age, dead rows, archive backlog: GRANT pg_monitor TO {plain}"
    );
    doctor().stdout_has(&told);
    db.sql(&format!("GRANT pg_monitor TO {plain}"));
    doctor().nowhere_has("pg_monitor");
}
