//! A run that is killed or stopped goes on from its cursor: each row is written once, no wreck stays.

use std::time::{Duration, Instant};

use crate::harness::{Running, Signal, pg_dump_fits};
use crate::scene::{EXPAND, Scene, plan};

/// Makes each batch take a while, so that it can be met in the middle.
const SLOW: &str = "CREATE FUNCTION app.slow() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_sleep(0.02); RETURN NULL; END $$;
    CREATE TRIGGER slow BEFORE UPDATE ON app.users FOR EACH STATEMENT EXECUTE FUNCTION app.slow();";
const FAST: &str = "DROP TRIGGER slow ON app.users; DROP FUNCTION app.slow();";

/// What is promised for the end after a signal, with room for a loaded machine.
const END_MAX: Duration = Duration::from_secs(11);
const AT_ONCE_MAX: Duration = Duration::from_secs(4);

const INDEX: &str = "[[phase]]\nid = \"index\"\n[[phase.step]]\nid = \"by-email\"\nkind = \"create_index\"\ntable = \"app.users\"\ncolumns = [\"email\"]";

/// Waits until so many rows are filled and committed.
fn wait_for_rows(scene: &Scene, rows: u32) {
    scene.wait_until("SELECT to_regclass('tenantmig.migration_progress') IS NOT NULL");
    scene.wait_until(&format!("SELECT coalesce(max(rows_done), 0) >= {rows} FROM tenantmig.migration_progress"));
}

#[track_caller]
fn ends_within(run: Running, code: i32, bound: Duration) -> crate::harness::Output {
    let begun = Instant::now();
    let out = run.wait().expect_code(code);
    assert!(begun.elapsed() < bound, "took {:?}:\n{out}", begun.elapsed());
    out.nowhere_has("panicked")
}

#[test]
fn a_killed_backfill_goes_on_from_its_cursor_in_another_directory() {
    let scene = Scene::new("kill9", 100_000);
    let dump = pg_dump_fits().then(|| scene.db.pg_dump_schema());
    let before = scene.print();
    scene.db.sql(SLOW);
    let mut run = scene.applying(&plan("", &[EXPAND]).replace("batch_rows = 100", "batch_rows = 1000")).spawn();
    wait_for_rows(&scene, 20_000);
    run.signal(Signal::KILL);
    assert_eq!(run.wait().code, 137);
    // The server ends what was under way; the cursor and the rows say the same.
    scene.wait_until("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tenantmig%')");
    // Batches count their rows in their ranges; the unit's own row is written less often.
    let done: i64 = scene.db.one("SELECT sum(rows_done)::bigint FROM tenantmig.backfill_ranges");
    assert_eq!(scene.db.one::<i64>("SELECT count(*) FROM app.users WHERE tenant_id IS NOT NULL"), done);
    assert_eq!(scene.status()["units"][2]["rows_done"], done);
    assert!((20_000..100_000).contains(&done), "{done}");
    let status = scene.status();
    assert_eq!(
        (&status["state"], &status["next"]),
        (&"stopped half-way".into(), &"tenantmig resume, or tenantmig rollback --to PHASE".into())
    );
    scene.db.sql(FAST);
    scene
        .db
        .sql("CREATE TABLE app.first AS SELECT id, xmin::text AS written FROM app.users WHERE tenant_id IS NOT NULL");
    // Another folder, which holds no plan.
    let _ = scene.run("resume").expect_code(0).stdout_has("is applied").stdout_has("100,000");
    scene.every_row_once();
    let again: i64 =
        scene.db.one("SELECT count(*) FROM app.first f JOIN app.users u USING (id) WHERE u.xmin::text <> f.written");
    assert_eq!(again, 0, "rows before the cursor were written again");
    scene.db.sql("DROP TABLE app.first");
    scene.verified();
    let _ = scene.run("rollback --to start --yes").expect_code(0);
    scene.is_as(&before);
    if let Some(dump) = dump {
        assert_eq!(scene.db.pg_dump_schema(), dump);
    }
}

#[track_caller]
fn signal_in_a_backfill(name: &str, signal: Signal, code: i32, says: &str) {
    let scene = Scene::new(name, 20_000);
    scene.db.sql(SLOW);
    let mut run = scene.applying(&plan("", &[EXPAND])).spawn();
    wait_for_rows(&scene, 1_000);
    run.signal(signal);
    let out = ends_within(run, code, END_MAX).stderr_has(says).stderr_has("everything done so far is kept");
    let _ = out.stderr_has("tenantmig resume");
    scene.stands("stopped half-way");
    let _ = scene.run("status").expect_code(0).stdout_has("lease   free");
    scene.db.sql(FAST);
    let _ = scene.run("resume").expect_code(0);
    scene.every_row_once();
    scene.stands("completed");
}

#[test]
fn ctrl_c_in_a_backfill_keeps_what_was_done() {
    signal_in_a_backfill("int_fill", Signal::INT, 130, "SIGINT");
}

#[test]
fn sigterm_in_a_backfill_keeps_what_was_done() {
    signal_in_a_backfill("term_fill", Signal::TERM, 143, "SIGTERM");
}

#[test]
fn a_lost_terminal_in_a_backfill_keeps_what_was_done() {
    signal_in_a_backfill("hup_fill", Signal::HUP, 143, "SIGHUP");
}

#[track_caller]
fn signal_in_an_index_build(name: &str, signals: &[Signal], code: i32, bound: Duration) {
    let scene = Scene::new(name, 200);
    let older = scene.holding("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM app.accounts");
    let mut run = scene.applying(&plan("", &[EXPAND, INDEX])).spawn();
    scene.wait_for_a_waiter();
    for signal in signals {
        run.signal(*signal);
        // Two signals in one moment may be delivered as one.
        std::thread::sleep(Duration::from_millis(300));
    }
    let _ = ends_within(run, code, bound).stderr_has("tenantmig resume");
    scene.no_wreck();
    scene.stands("stopped half-way");
    drop(older);
    let _ = scene.run("resume").expect_code(0);
    scene.stands("completed");
    scene.no_wreck();
    assert!(scene.db.one::<bool>("SELECT indisvalid FROM pg_index WHERE indexrelid = 'app.users_email_idx'::regclass"));
}

#[test]
fn ctrl_c_in_a_waiting_index_build_leaves_no_wreck() {
    signal_in_an_index_build("int_build", &[Signal::INT], 130, END_MAX);
}

#[test]
fn sigterm_in_a_waiting_index_build_leaves_no_wreck() {
    signal_in_an_index_build("term_build", &[Signal::TERM], 143, END_MAX);
}

#[test]
fn a_second_ctrl_c_does_not_wait() {
    signal_in_an_index_build("int_int", &[Signal::INT, Signal::INT], 130, AT_ONCE_MAX);
}

#[track_caller]
fn signal_in_a_lock_wait(name: &str, signal: Signal, code: i32) {
    let scene = Scene::new(name, 200);
    let before = scene.print();
    let holder = scene.holding("LOCK TABLE app.users IN SHARE MODE");
    let mut run = scene.applying(&plan("lock_timeout = \"3s\"\nlock_retries = 50", &[EXPAND])).spawn();
    scene.wait_for_a_waiter();
    run.signal(signal);
    let _ = ends_within(run, code, END_MAX).stderr_has("tenantmig resume");
    scene.is_as(&before);
    scene.stands("stopped half-way");
    drop(holder);
    let _ = scene.run("resume").expect_code(0);
    scene.every_row_once();
}

#[test]
fn signals_in_a_lock_wait_end_the_run_resumably() {
    signal_in_a_lock_wait("int_lock", Signal::INT, 130);
    signal_in_a_lock_wait("hup_lock", Signal::HUP, 143);
}

#[test]
fn a_signal_in_a_rollback_is_finished_by_resume() {
    let scene = Scene::new("int_back", 200);
    let before = scene.print();
    let _ = scene.apply(&plan("", &[EXPAND, INDEX])).expect_code(0);
    let holder = scene.holding("SELECT FROM app.users LIMIT 1");
    let mut run = scene.tool().args(["rollback", "--to", "start", "--yes"]).spawn();
    scene.wait_for_a_waiter();
    run.signal(Signal::TERM);
    let _ = ends_within(run, 143, END_MAX);
    scene.stands("stopped while rolling back");
    drop(holder);
    let _ = scene.run("resume").expect_code(0).stdout_has("done: rolled back to `start`");
    scene.is_as(&before);
    scene.stands("rolled back");
}

#[test]
fn a_rollback_that_was_asked_for_and_is_finished_is_not_turned_round() {
    let scene = Scene::new("back_and_resume", 50);
    let before = scene.print();
    let _ = scene.apply(&plan("", &[EXPAND, INDEX])).expect_code(0);
    let back = ["expand", "start"];
    for to in back {
        let _ = scene.run(&format!("rollback --to {to} --yes")).expect_code(0);
        let events = scene.events();
        // Whether it was killed after its last event or not is all the same to the ledger.
        let out = scene.run("resume").expect_code(0).stdout_has(&format!("the run stands at `{to}` already"));
        let _ = out.stderr_has("tenantmig apply PLAN");
        assert_eq!(scene.events(), events);
        assert_eq!(scene.status()["next"], "tenantmig apply PLAN");
    }
    scene.is_as(&before);
    let _ = scene.apply(&plan("", &[EXPAND, INDEX])).expect_code(0);
    scene.stands("completed");
}

#[test]
fn a_wreck_that_cannot_be_cleared_in_time_is_cleared_by_resume() {
    let scene = Scene::new("wreck_left", 200);
    let _ = scene.apply(&plan("", &[EXPAND])).expect_code(0);
    let _ = scene.run("rollback --to start --yes").expect_code(0);
    let mut run = {
        // A writer of the same table: neither the build nor the drop of its wreck gets past it.
        let writer = scene.holding("UPDATE app.users SET email = email WHERE id = 1");
        let index = INDEX.replace("by-email", "first");
        let mut run = scene.applying(&plan("", &[&index])).spawn();
        scene.wait_for_a_waiter();
        run.signal(Signal::TERM).signal(Signal::TERM);
        let out = ends_within(run, 143, END_MAX).stderr_has("left for resume");
        let _ = out.stderr_has("tenantmig resume");
        assert_eq!(scene.db.one::<i64>("SELECT count(*) FROM pg_index WHERE NOT indisvalid"), 1);
        scene.stands("stopped half-way");
        drop(writer);
        scene.tool().args(["resume"]).spawn()
    };
    run.wait_stderr("clearing what an earlier attempt left");
    let _ = run.wait().expect_code(0);
    scene.no_wreck();
    scene.stands("completed");
}

#[test]
fn a_build_whose_client_was_killed_is_finished_by_resume() {
    let scene = Scene::new("kill_build", 200);
    let older = scene.holding("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM app.accounts");
    let mut run = scene.applying(&plan("", &[EXPAND, INDEX])).spawn();
    scene.wait_for_a_waiter();
    run.signal(Signal::KILL);
    let _ = run.wait();
    // The backend may still be at it; resume waits for it or clears its wreck.
    let resumed = scene.tool().args(["resume"]).spawn();
    std::thread::sleep(Duration::from_millis(500));
    drop(older);
    let _ = resumed.wait().expect_code(0);
    scene.no_wreck();
    scene.stands("completed");
    scene.verified();
}
