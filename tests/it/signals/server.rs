//! What the server does as a whole: its WAL, slots, archive, checkpoints and transactions.

use super::*;

/// A server and a session of an application on it.
async fn server(settings: &[(&str, &str)]) -> (Cluster, Client, Watch) {
    let server = own_cluster(&[settings, &[("autovacuum", "off")]].concat());
    let url = server.url("postgres");
    let app = connect(&url, "app").await;
    app.batch_execute("CREATE TABLE written (text text)").await.unwrap();
    let watch = Watch::new(&url, unlimited()).await;
    (server, app, watch)
}

#[tokio::test]
async fn wal_and_what_slots_hold_back_are_measured() {
    let (_server, app, mut watch) = server(&[("max_slot_wal_keep_size", "200MB")]).await;
    watch.limit(Throttle { max_wal_rate: Some(Bytes(10 << 20)), ..unlimited() });
    let rows = "INSERT INTO written SELECT repeat(md5(n::text), 30) FROM generate_series(1, 90000) n";
    app.batch_execute("SELECT pg_create_physical_replication_slot('kept', true)").await.unwrap();
    app.batch_execute(rows).await.unwrap();
    let (_, why) = watch.until_asleep(Signal::WalRate).await;
    assert!(why.starts_with("the server writes ") && why.ends_with(" of WAL a second (limit 10.0 MiB/s)"), "{why}");
    watch.until_going().await;

    watch.limit(Throttle { max_slot_retained: Some(Bytes(1 << 20)), ..unlimited() });
    let (_, why) = watch.until_asleep(Signal::SlotRetained).await;
    assert!(why.starts_with("replication slot kept holds back "), "{why}");
    watch.pacing.throttle = Throttle { critical_safe_wal: Some(Bytes(1 << 20)), ..unlimited() };
    assert!(
        matches!(watch.look().await.safe_wal, Seen::Known(Named { name, value }) if name == "kept" && value > 1 << 20)
    );
    watch.until_going().await;
    watch.pacing.throttle.critical_safe_wal = Some(Bytes(1 << 40));
    let decision = watch.decide().await;
    assert!(matches!(&decision.pace, Pace::Stop { signal: Signal::SafeWal, why } if why.contains("is lost after")));
}

#[tokio::test]
async fn the_archive_checkpoints_and_transactions_are_measured() {
    let (_server, app, mut watch) = server(&[("archive_mode", "on"), ("archive_command", "false")]).await;
    watch.limit(Throttle { max_archive_backlog: Some(2), ..unlimited() });
    for _ in 0..3 {
        app.batch_execute("INSERT INTO written VALUES ('x'); SELECT pg_switch_wal()").await.unwrap();
    }
    let (_, why) = watch.until_asleep(Signal::ArchiveBacklog).await;
    assert!(why.ends_with(" of WAL wait to be archived (limit 2 files)"), "{why}");

    watch.limit(Throttle { max_forced_checkpoints: Some(1), ..unlimited() });
    watch.goes_for(LOOK).await;
    for _ in 0..2 {
        app.batch_execute("INSERT INTO written VALUES ('x'); CHECKPOINT").await.unwrap();
    }
    let (_, why) = watch.until_asleep(Signal::ForcedCheckpoints).await;
    assert_eq!(why, "2 checkpoints forced within ten minutes (limit 1)");

    watch.limit(Throttle { max_transaction_age: Some(Millis(1_000)), ..unlimited() });
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
