//! What goes wrong in the middle of a backfill and passes by: it is waited for, and nothing is undone or written twice.

use crate::scene::{EXPAND, Scene, plan, with_plan};

/// Locks are waited for as long as those of this file are held, and longer.
const PATIENT: &str = "lock_timeout = \"150ms\"\nlock_retries = 8";

/// Users whose batches take a fiftieth of a second each, within the target.
fn slow(name: &str, users: u32) -> Scene {
    let scene = Scene::new(name, users);
    scene.db.sql(
        "CREATE FUNCTION app.slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.02); RETURN NULL; END $$;
         CREATE TRIGGER slow BEFORE UPDATE ON app.users FOR EACH STATEMENT EXECUTE FUNCTION app.slow()",
    );
    scene
}

fn wait_for_rows(scene: &Scene, rows: i64) {
    scene.wait_until("SELECT to_regclass('tenantmig.backfill_ranges') IS NOT NULL");
    scene.wait_until(&format!("SELECT coalesce(sum(rows_done), 0) >= {rows} FROM tenantmig.backfill_ranges"));
}

/// Applies while somebody else runs `statement`, which takes a lock and holds it for a moment.
#[track_caller]
fn waits_for(scene: &Scene, statement: &str, seconds: f32) {
    let run = scene.applying(&plan(PATIENT, &["workers = 2", EXPAND])).spawn();
    wait_for_rows(scene, 200);
    scene.db.sql(&format!("BEGIN; {statement}; SELECT pg_sleep({seconds}); COMMIT"));
    let _ = run.wait().expect_code(0);
    scene.every_row_once();
}

#[test]
fn a_ledger_row_that_somebody_holds_is_waited_for() {
    let scene = slow("progress_held", 40_000);
    // The pace is written every two seconds.
    waits_for(&scene, "SELECT FROM tenantmig.migration_progress FOR UPDATE", 4.0);
}

#[test]
fn ranges_that_somebody_keeps_from_being_claimed_are_claimed_later() {
    let scene = slow("ranges_held", 40_000);
    waits_for(&scene, "LOCK tenantmig.backfill_ranges IN EXCLUSIVE MODE", 1.5);
}

#[test]
fn a_table_that_is_locked_while_a_batch_is_done_in_pieces_is_waited_for() {
    let scene = Scene::new("pieces_locked", 1_000);
    scene.db.sql(
        "CREATE FUNCTION app.slow() RETURNS trigger LANGUAGE plpgsql AS $$
           BEGIN IF OLD.id % 40 = 7 THEN PERFORM pg_sleep(0.4); END IF; RETURN NEW; END $$;
         CREATE TRIGGER slow BEFORE UPDATE ON app.users FOR EACH ROW EXECUTE FUNCTION app.slow()",
    );
    let mut run = scene.applying(&plan(PATIENT, &["workers = 1", EXPAND])).spawn();
    run.wait_stderr("is done in pieces");
    scene.db.sql("BEGIN; LOCK app.users IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(1.5); COMMIT");
    let _ = run.wait().expect_code(0);
    scene.every_row_once();
}

#[test]
fn a_worker_that_finds_no_connection_is_done_without() {
    let scene = slow("few_connections", 20_000);
    let few = scene.db.role("few", "LOGIN BYPASSRLS CONNECTION LIMIT 6");
    scene.db.sql(&format!(
        "ALTER SCHEMA app OWNER TO {few}; ALTER TABLE app.users OWNER TO {few}; ALTER TABLE app.accounts OWNER TO {few};
         GRANT CREATE ON DATABASE {} TO {few}",
        scene.db.name()
    ));
    let tool = scene.tool().url(&scene.db.url_as(&few));
    let out = with_plan(tool, &plan(PATIENT, &["workers = 4", EXPAND])).run().expect_code(0);
    let _ = out.stderr_has("too many connections");
    scene.every_row_once();
}

#[test]
fn sessions_lost_again_and_again_end_nothing_while_rows_are_written() {
    let scene = slow("losses", 100_000);
    let run = scene.applying(&plan(PATIENT, &["workers = 4", EXPAND])).spawn();
    let working =
        "FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tenantmig worker%'";
    wait_for_rows(&scene, 1);
    for _ in 0..8 {
        scene.wait_until(&format!("SELECT EXISTS (SELECT {working})"));
        let rows: i64 = scene.db.one("SELECT sum(rows_done)::bigint FROM tenantmig.backfill_ranges");
        wait_for_rows(&scene, rows + 1_000);
        let pid: i32 = scene.db.one(&format!("SELECT pid {working}"));
        scene.db.sql(&format!("SELECT pg_terminate_backend({pid})"));
        scene.wait_until(&format!("SELECT NOT EXISTS (SELECT {working} AND pid = {pid})"));
    }
    let _ = run.wait().expect_code(0);
    scene.every_row_once();
}
