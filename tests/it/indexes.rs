//! Indexes built while the table is in use: who is waited for, what a failed build leaves, and who else works on the table.

mod partitioned;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::harness::{Signal, block_on};
use crate::scene::{Scene, plan};

/// Old is what is older than a tenth of a second; three tenths are waited.
const SOON: &str = "lock_timeout = \"150ms\"\nlock_retries = 2\nmax_xact_age = \"100ms\"\nindex_wait = \"300ms\"";
/// The same, but nobody is old.
const PATIENT: &str = "lock_timeout = \"150ms\"\nlock_retries = 2\nindex_wait = \"300ms\"";
const BY_EMAIL: &str = "[[phase]]\nid = \"index\"\n[[phase.step]]\nid = \"by-email\"\nkind = \"create_index\"\ntable = \"app.users\"\ncolumns = [\"email\"]";
const UNIQUE: &str = "\nunique = true";
const SNAPSHOT: &str = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM app.accounts";

/// Longer than `max_xact_age` of SOON.
fn grow_old() {
    std::thread::sleep(std::time::Duration::from_millis(150));
}

/// A build that would wait for an old transaction is not begun; the failure says for whom; afterwards it goes.
#[track_caller]
fn not_begun(name: &str, hold: &str) {
    let scene = Scene::new(name, 200);
    let before = scene.print();
    let holder = scene.holding(hold);
    grow_old();
    let out = scene.apply(&plan(SOON, &[BY_EMAIL])).expect_code(5).stdout_has("not begun").stdout_has("the-holder");
    let pid: i32 = scene
        .db
        .one("SELECT pid FROM pg_stat_activity WHERE application_name = 'the-holder' AND datname = current_database()");
    let query = hold.rsplit("; ").next().unwrap();
    let out = out.stdout_has(&format!("pid {pid} ")).stdout_has(&format!("pg_terminate_backend({pid})"));
    let _ = out.stdout_has(query).stderr_has("is in the way").stdout_has("idle in transaction");
    scene.is_as(&before);
    drop(holder);
    let _ = scene.run("resume").expect_code(0);
    scene.stands("completed");
}

#[test]
fn a_build_is_not_begun_while_an_old_transaction_has_written_the_table() {
    not_begun("old_writer", "UPDATE app.users SET email = email WHERE id = 1");
}

#[test]
fn a_build_is_not_begun_while_an_old_snapshot_is_open_anywhere() {
    not_begun("old_snapshot", SNAPSHOT);
}

#[test]
fn a_prepared_transaction_is_named_with_what_to_do_about_it() {
    let scene = Scene::new("old_prepared", 200);
    scene.db.sql("BEGIN; UPDATE app.users SET email = email WHERE id = 1; PREPARE TRANSACTION 'it''s indexes'");
    grow_old();
    let out = scene.apply(&plan(SOON, &[BY_EMAIL])).expect_code(5).stdout_has("not begun");
    let _ = out.stdout_has("prepared transaction it's indexes").stdout_has("ROLLBACK PREPARED 'it''s indexes'");
    // Younger than that, it is met by the build itself, and by the drop of its wreck: named all the same.
    let out = scene.apply(&plan(PATIENT, &[BY_EMAIL])).expect_code(6);
    let _ = out.stdout_has("55P03").stdout_has("prepared transaction it's indexes").nowhere_has("pid 0");
    scene.db.sql("ROLLBACK PREPARED 'it''s indexes'");
    let _ = scene.run("resume").expect_code(5).stdout_has("rolled back cleanly to `start`");
    let _ = scene.apply(&plan(PATIENT, &[BY_EMAIL])).expect_code(0);
    scene.no_wreck();
    scene.stands("completed");
}

#[test]
fn who_is_waited_for_and_ends_is_waited_out() {
    let scene = Scene::new("waited_out", 200);
    let holder = scene.holding(SNAPSHOT);
    grow_old();
    let safety = SOON.replace("300ms", "20s");
    let mut run = scene.applying(&plan(&safety, &[BY_EMAIL])).spawn();
    run.wait_stderr("is in the way");
    drop(holder);
    let _ = run.wait().expect_code(0);
    scene.stands("completed");
}

/// It has neither a snapshot nor a lock that matters, however old it is.
#[test]
fn an_idle_transaction_that_only_read_is_in_nobodys_way() {
    let scene = Scene::new("idle_reader", 200);
    let holder = scene.holding("SELECT count(*) FROM app.users; UPDATE app.accounts SET id = id WHERE id = 1");
    grow_old();
    let _ = scene.apply(&plan(SOON, &[BY_EMAIL])).expect_code(0).nowhere_has("in the way");
    drop(holder);
    scene.no_wreck();
}

/// A drop waits for readers too. One that waits disturbs nobody, so it is begun after the wait; in the end it says for whom.
#[test]
fn a_drop_on_the_way_back_names_the_reader_it_waits_for() {
    let scene = Scene::new("old_reader", 200);
    let before = scene.print();
    let _ = scene.apply(&plan(SOON, &[BY_EMAIL])).expect_code(0);
    let holder = scene.holding("SELECT count(*) FROM app.users /* the yearly report */");
    grow_old();
    let out = scene.run("rollback --to start --yes").expect_code(6).stderr_has("is in the way");
    let _ = out.stdout_has("the yearly report").stdout_has("55P03");
    // The interrupted drop left the index invalid.
    assert!(
        !scene.db.one::<bool>("SELECT indisvalid FROM pg_index WHERE indexrelid = 'app.users_email_idx'::regclass")
    );
    drop(holder);
    let _ = scene.run("rollback --to start --yes").expect_code(0);
    scene.is_as(&before);
    scene.no_wreck();
}

#[test]
fn a_drop_that_was_killed_is_finished() {
    let scene = Scene::new("killed_drop", 200);
    let before = scene.print();
    let whole = plan("index_wait = \"20s\"\nlock_timeout = \"150ms\"\nlock_retries = 2", &[BY_EMAIL]);
    let _ = scene.apply(&whole).expect_code(0);
    let holder = scene.holding("SELECT count(*) FROM app.users");
    let mut run = scene.tool().args(["rollback", "--to", "start", "--yes"]).spawn();
    scene.wait_for_a_waiter();
    run.signal(Signal::KILL);
    let _ = run.wait();
    scene.db.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tenantmig%'");
    scene.wait_until("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tenantmig%')");
    assert!(
        !scene.db.one::<bool>("SELECT indisvalid FROM pg_index WHERE indexrelid = 'app.users_email_idx'::regclass")
    );
    drop(holder);
    let _ = scene.run("resume").expect_code(0);
    scene.is_as(&before);
    scene.stands("rolled back");
}

#[test]
fn another_definition_under_the_name_is_shown_beside_the_plans() {
    let scene = Scene::new("other_definition", 50);
    scene.db.sql("CREATE INDEX users_email_idx ON app.users (lower(email)) WHERE id > 3");
    let before = scene.print();
    let out = scene.apply(&plan("", &[&format!("{BY_EMAIL}{UNIQUE}")])).expect_code(5);
    let out = out.stdout_has("CREATE INDEX users_email_idx ON app.users USING btree (lower(email)) WHERE (id > 3)");
    let _ = out.stdout_has("the plan says: CREATE UNIQUE INDEX users_email_idx ON app.users USING btree (email)");
    scene.is_as(&before);
}

/// A writer that asks for more of the table deadlocks with the build, and the build loses.
#[test]
fn a_build_that_loses_a_deadlock_is_tried_again() {
    let scene = Scene::new("deadlock", 200);
    // Who has waited for deadlock_timeout looks for a deadlock, once, and gives up. The writer never does; the build looks
    // late enough for the writer to be there, however slow this machine is.
    scene.db.sql(&format!("ALTER DATABASE {} SET deadlock_timeout = '3s'", scene.db.name()));
    let writer = scene.holding("SET LOCAL deadlock_timeout = '10min'; UPDATE app.users SET email = email WHERE id = 1");
    let safety = "lock_timeout = \"150ms\"\nlock_retries = 5\nindex_wait = \"20s\"";
    let mut run = scene.applying(&plan(safety, &[BY_EMAIL])).spawn();
    scene.wait_for_a_waiter();
    block_on(async move {
        writer.batch_execute("ALTER TABLE app.users ADD COLUMN meanwhile integer; COMMIT").await.unwrap();
    });
    run.wait_stderr("deadlock detected");
    let _ = run.wait().expect_code(0);
    scene.no_wreck();
    scene.stands("completed");
    assert!(scene.has_column("app.users", "meanwhile"));
}

/// Rows are refused while the build or its wreck stands, as they must be; when the tool has given up they are taken again.
#[test]
fn a_unique_build_that_is_given_up_refuses_no_rows_afterwards() {
    let scene = Scene::new("unique_wreck", 200);
    let holder = scene.holding(SNAPSHOT);
    let double = "INSERT INTO app.users VALUES (9001, 1, 'user7@example.org')";
    let safety = "lock_timeout = \"150ms\"\nlock_retries = 0\nindex_wait = \"2s\"";
    let run = scene.applying(&plan(safety, &[&format!("{BY_EMAIL}{UNIQUE}")])).spawn();
    scene.wait_until("SELECT EXISTS (SELECT FROM pg_index WHERE indisready AND NOT indisvalid)");
    let refused = scene.db.sql_as("postgres", double).unwrap_err();
    assert!(refused.contains("23505"), "{refused}");
    let _ = run.wait().expect_code(5).stdout_has("55P03").stdout_has("the-holder");
    scene.no_wreck();
    scene.db.sql(double);
    drop(holder);
    // Now there are two of them.
    let _ = scene.run("resume").expect_code(5).stdout_has("23505").stdout_has("user7@example.org");
    scene.no_wreck();
    scene.db.sql("DELETE FROM app.users WHERE id = 9001");
    let _ = scene.run("resume").expect_code(0);
    scene.stands("completed");
}

/// Neither the build nor the drop of its wreck gets past a writer of the same table: both are told.
#[test]
fn a_wreck_that_cannot_be_cleared_does_not_hide_why_the_build_failed() {
    let scene = Scene::new("both_told", 200);
    let before = scene.print();
    let holder = scene.holding("UPDATE app.users SET email = email WHERE id = 1");
    let safety = PATIENT.replace("lock_retries = 2", "lock_retries = 0");
    let out = scene.apply(&plan(&safety, &[BY_EMAIL])).expect_code(6).nowhere_has("panicked");
    let _ = out.stderr_has("CREATE INDEX CONCURRENTLY").stderr_has("what it left could not be cleared");
    drop(holder);
    let _ = scene.run("rollback --to start --yes").expect_code(0);
    scene.is_as(&before);
}

/// Fails a REINDEX CONCURRENTLY of the index at its end, as a DBA's would, so that it leaves a copy.
#[track_caller]
fn fail_a_reindex(scene: &Scene, index: &str) {
    let holder = scene.holding(SNAPSHOT);
    let failed = scene.db.try_psql(&format!("SET lock_timeout = '100ms';\nREINDEX INDEX CONCURRENTLY {index};"));
    assert!(failed.unwrap_err().contains("lock timeout"));
    drop(holder);
    let left: i64 = scene
        .db
        .one("SELECT count(*) FROM pg_index WHERE NOT indisvalid AND indexrelid::regclass::text LIKE '%_ccnew%'");
    assert_eq!(left, 1);
}

#[test]
fn what_a_failed_reindex_of_our_index_left_goes_with_it() {
    let long = "i".repeat(63);
    for (n, name) in ["users_email_idx", long.as_str()].into_iter().enumerate() {
        let scene = Scene::new(&format!("reindex_{n}"), 200);
        let before = scene.print();
        let whole = plan("", &[&format!("{BY_EMAIL}{UNIQUE}\nname = \"{name}\"")]);
        let _ = scene.apply(&whole).expect_code(0);
        fail_a_reindex(&scene, &format!("app.{name}"));
        let _ = scene.run("rollback --to start --yes").expect_code(0);
        scene.is_as(&before);
        scene.no_wreck();
    }
}

#[test]
fn what_a_failed_reindex_of_another_index_left_is_named_by_the_gate() {
    let scene = Scene::new("reindex_other", 200);
    scene.db.sql("CREATE INDEX theirs ON app.users (account_id)");
    fail_a_reindex(&scene, "app.theirs");
    let out = scene.apply(&plan("", &[BY_EMAIL])).expect_code(5);
    let _ = out.stdout_has("DROP INDEX CONCURRENTLY app.theirs_ccnew");
    assert!(scene.db.one::<bool>("SELECT to_regclass('app.theirs_ccnew') IS NOT NULL"), "it is not ours to drop");
    scene.db.sql("DROP INDEX CONCURRENTLY app.theirs_ccnew");
    let _ = scene.run("resume").expect_code(0);
}

/// Writes rows of all kinds into the table until it is told to stop; gives the number of statements.
fn writing(scene: &Scene, stop: &Arc<AtomicBool>, statements: &'static [&'static str]) -> JoinHandle<usize> {
    let (url, stop) = (scene.db.url(), Arc::clone(stop));
    std::thread::spawn(move || {
        block_on(async move {
            let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
            tokio::spawn(connection);
            let mut count = 0;
            while !stop.load(Ordering::Relaxed) {
                client.batch_execute(statements[count % statements.len()]).await.unwrap();
                count += 1;
            }
            count
        })
    })
}

/// Every row that is in the tables is in every index of theirs, by PostgreSQL's own check. Some packages lack it.
#[track_caller]
fn indexes_are_whole(scene: &Scene) {
    if !scene.db.one::<bool>("SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'amcheck')") {
        eprintln!("no amcheck here: the indexes were not compared with their tables");
        return;
    }
    scene.db.sql("CREATE EXTENSION amcheck");
    let checked: i64 = scene.db.one(
        "SELECT count(bt_index_check(c.oid, true)::text) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           JOIN pg_am a ON a.oid = c.relam WHERE n.nspname = 'app' AND a.amname = 'btree' AND c.relkind = 'i'",
    );
    assert!(checked > 0);
    scene.db.sql("DROP EXTENSION amcheck");
}

#[test]
fn an_index_that_was_built_under_writers_has_every_row() {
    let scene = Scene::new("writers", 5_000);
    let stop = Arc::new(AtomicBool::new(false));
    let one =
        writing(&scene, &stop, &["UPDATE app.users SET email = 'a' || email WHERE id = 1 + (random() * 4000)::int"]);
    let two = writing(
        &scene,
        &stop,
        &[
            "INSERT INTO app.users SELECT 100000 + coalesce(max(id), 0), 1, random()::text FROM app.users",
            "DELETE FROM app.users WHERE id = (SELECT min(id) FROM app.users WHERE id > 4500)",
        ],
    );
    let run = scene.apply(&plan("", &[BY_EMAIL]));
    stop.store(true, Ordering::Relaxed);
    let written = one.join().unwrap() + two.join().unwrap();
    let _ = run.expect_code(0);
    assert!(written > 10, "nobody wrote meanwhile");
    indexes_are_whole(&scene);
}
