//! Locks that others hold: named, waited for a moment, tried again, and in the end given up; nobody queues for long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::harness::{Signal, block_on};
use crate::scene::{EXPAND, MARK, Scene, plan};

const LOCK_TIMEOUT_MS: u64 = 300;
/// What a loaded machine may add to a statement.
const SLACK_MS: u64 = 400;

/// Reads and writes one row again and again; gives the longest that a statement took.
fn traffic(scene: &Scene, statement: &'static str, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<Duration> {
    let url = scene.db.url();
    std::thread::spawn(move || {
        block_on(async move {
            let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
            tokio::spawn(connection);
            let mut longest = Duration::ZERO;
            while !stop.load(Ordering::Relaxed) {
                let begun = Instant::now();
                client.batch_execute(statement).await.unwrap();
                longest = longest.max(begun.elapsed());
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            longest
        })
    })
}

#[test]
fn a_table_lock_is_named_retried_and_given_up_and_nobody_queues_long() {
    let scene = Scene::new("table_lock", 200);
    let _ = scene.apply(&plan("", &[MARK]).replace("\"faults\"", "\"earlier\"")).expect_code(0);
    let before = scene.print();
    let holder = scene.holding("SELECT count(*) FROM app.users /* the monthly report */");
    let stop = Arc::new(AtomicBool::new(false));
    let reader = traffic(&scene, "SELECT count(*) FROM app.users", Arc::clone(&stop));
    let writer = traffic(&scene, "UPDATE app.users SET email = email WHERE id = 200", Arc::clone(&stop));
    let whole = plan(&format!("lock_timeout = \"{LOCK_TIMEOUT_MS}ms\"\nlock_retries = 2"), &[EXPAND]);
    let out = scene.apply(&whole).expect_code(5).stdout_has("55P03").stdout_has("rolled back cleanly to `start`");
    let pid: i32 = scene
        .db
        .one("SELECT pid FROM pg_stat_activity WHERE application_name = 'the-holder' AND datname = current_database()");
    let out = out.stderr_has("attempt 1 of 3").stderr_has("attempt 2 of 3").stderr_has(&pid.to_string());
    let _ = out.stderr_has("the monthly report").stderr_has("postgres").stdout_has("lock_retries");
    stop.store(true, Ordering::Relaxed);
    let bound = Duration::from_millis(LOCK_TIMEOUT_MS + SLACK_MS);
    for longest in [reader.join().unwrap(), writer.join().unwrap()] {
        assert!(longest < bound, "somebody waited {longest:?} behind the lock");
    }
    scene.is_as(&before);
    scene.stands("rolled back");
    drop(holder);
    let _ = scene.run("resume").expect_code(0);
    scene.stands("completed");
}

#[test]
fn a_lock_that_is_released_is_had_in_the_end() {
    let scene = Scene::new("lock_released", 200);
    let holder = scene.holding("LOCK TABLE app.users IN ROW EXCLUSIVE MODE");
    let mut run = scene.applying(&plan("lock_timeout = \"150ms\"\nlock_retries = 50", &[EXPAND])).spawn();
    run.wait_stderr("no lock at attempt 2 of 51");
    drop(holder);
    let _ = run.wait().expect_code(0);
    scene.every_row_once();
}

#[test]
fn locked_rows_are_passed_by_and_filled_when_they_are_free() {
    let scene = Scene::new("row_locks", 1_000);
    let holder = scene.holding("SELECT FROM app.users WHERE id IN (5, 555) FOR UPDATE");
    let mut run = scene.applying(&plan("", &[EXPAND])).spawn();
    // The column is added before the rows are locked, or it would be this lock that is waited for.
    run.wait_stderr("no lock at attempt 1");
    drop(holder);
    let _ = run.wait().expect_code(0);
    let scene = Scene::new("row_locks_sweep", 1_000);
    scene.db.sql("ALTER TABLE app.users ADD COLUMN tenant_id uuid");
    let holder = scene.holding("SELECT FROM app.users WHERE id IN (5, 555) FOR UPDATE");
    let mut run = scene.applying(&plan("", &[EXPAND])).spawn();
    run.wait_stderr("2 rows were locked, moved or new: sweep 1");
    assert_eq!(scene.db.one::<i64>("SELECT count(*) FROM app.users WHERE tenant_id IS NULL"), 2);
    drop(holder);
    let _ = run.wait().expect_code(0);
    scene.every_row_once();
}

#[test]
fn rows_that_stay_locked_fail_the_backfill_in_the_end_and_are_named() {
    let scene = Scene::new("row_locks_stay", 300);
    scene.db.sql("ALTER TABLE app.users ADD COLUMN tenant_id uuid");
    let holder = scene.holding("SELECT FROM app.users WHERE id = 5 FOR UPDATE");
    let out = scene.apply(&plan("lock_timeout = \"150ms\"\nlock_retries = 1", &[EXPAND])).expect_code(5);
    let pid: i32 = scene
        .db
        .one("SELECT pid FROM pg_stat_activity WHERE application_name = 'the-holder' AND datname = current_database()");
    let _ = out.stdout_has("55P03").stderr_has(&pid.to_string());
    scene.stands("rolled back");
    drop(holder);
    let _ = scene.run("resume").expect_code(0);
}

#[test]
fn a_gate_behind_a_lock_is_measured_again_and_does_not_roll_back() {
    let scene = Scene::new("gate_lock", 200);
    let gate = "[[phase]]\nid = \"gate\"\n[[phase.step]]\nid = \"hold\"\nkind = \"sql\"\nup = \"SELECT pg_advisory_lock_shared(7)\"\ndown = \"-- it changes nothing\"\n[[phase.gate]]\nkind = \"nulls\"\ntable = \"app.users\"\ncolumns = [\"email\"]";
    // The step waits until the test has the table.
    let advisory = scene.holding("SELECT pg_advisory_xact_lock(7)");
    let mut run = scene.applying(&plan("lock_timeout = \"150ms\"\nlock_retries = 50", &[gate])).spawn();
    run.wait_stderr("no lock at attempt 1");
    let holder = scene.holding("LOCK TABLE app.users IN ACCESS EXCLUSIVE MODE");
    drop(advisory);
    run.wait_stderr("gate:").wait_stderr("the gate");
    drop(holder);
    let _ = run.wait().expect_code(0);
    scene.stands("completed");
}

#[test]
fn ddl_does_not_queue_behind_an_old_transaction() {
    let scene = Scene::new("old", 100);
    let holder = scene.holding("SELECT count(*) FROM app.users");
    std::thread::sleep(Duration::from_millis(300));
    let whole = plan("max_xact_age = \"200ms\"\nlock_timeout = \"5s\"\nlock_retries = 30", &[EXPAND]);
    let mut run = scene.applying(&whole).spawn();
    run.wait_stderr("would queue behind a transaction older than");
    let waits: bool = scene.db.one(
        "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))",
    );
    assert!(!waits, "it queues all the same");
    drop(holder);
    let _ = run.wait().expect_code(0);
    scene.every_row_once();
}

#[test]
fn a_comparison_behind_a_lock_is_made_again() {
    let scene = Scene::new("compare_lock", 100);
    // A policy of that name is there, so it must be compared with what the plan says.
    let policy = "[[phase]]\nid = \"policy\"\n[[phase.step]]\nkind = \"create_policy\"\ntable = \"app.users\"\nname = \"own\"\nusing = \"id > 0\"";
    scene.db.sql("CREATE POLICY own ON app.users USING (id > 0)");
    let before = scene.print();
    let holder = scene.holding("LOCK TABLE app.users IN ACCESS EXCLUSIVE MODE");
    let mut run = scene.applying(&plan("lock_timeout = \"150ms\"\nlock_retries = 50", &[policy])).spawn();
    run.wait_stderr("no lock at attempt 1 of 51").wait_stderr("the-holder");
    drop(holder);
    let _ = run.wait().expect_code(0).stderr_has("left as it is");
    scene.is_as(&before);
}

/// Whoever looks from another host sees what it is at, and who is in the way; a holder that froze is called silent.
#[test]
fn status_names_what_is_waited_for_and_a_silent_holder() {
    let scene = Scene::new("status_doing", 20);
    let holder = scene.holding("LOCK TABLE app.users IN SHARE MODE /* the backup */");
    let mut run = scene.applying(&plan("lock_timeout = \"20s\"\nlease = \"10s\"", &[EXPAND])).spawn();
    scene.wait_until("SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'app.users'::regclass AND NOT granted)");
    let doing = scene.status()["doing"].clone();
    assert_eq!(doing[0]["waits"], true, "{doing}");
    assert!(doing[0]["statement"].as_str().unwrap().starts_with("ALTER TABLE app.users"), "{doing}");
    let text = scene.run("status").expect_code(0).stdout_has("waits: ALTER TABLE app.users");
    let _ = text.stdout_has("blocked by pid ").stdout_has("the backup").nowhere_has("silent");
    let _ = run.signal(Signal::STOP);
    std::thread::sleep(Duration::from_secs(5));
    let _ = scene.run("status").expect_code(0).stdout_has("silent  no heartbeat for ");
    let _ = run.signal(Signal::CONT);
    drop(holder);
    let _ = run.wait().expect_code(0);
    assert_eq!(scene.status()["doing"], serde_json::json!([]));
}
