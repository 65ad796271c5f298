//! What others do: sessions, those who wait behind us, vacuums, and the user's own number.

use super::*;

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
