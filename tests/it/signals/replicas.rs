//! Replicas that lag, freeze, fall silent and go, and a role that does not see them.

use super::*;

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
