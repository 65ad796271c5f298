//! Rows of the ledger beside the log that somebody edited: a cursor and ranges lead to no row left out, whatever they say;
//! status is for people and decides nothing; a lease is had again.

use super::{by_hand, half};
use crate::harness::Signal;
use crate::scene::{EXPAND, MARK, Scene, plan};

const ROWS: u32 = 6_000;

/// A backfill that was killed in the middle, its cursor and ranges in the ledger.
fn killed(name: &str) -> Scene {
    let scene = Scene::new(name, ROWS);
    let slow = "CREATE FUNCTION app.slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.05); RETURN NULL; END $$;
        CREATE TRIGGER slow BEFORE UPDATE ON app.users FOR EACH STATEMENT EXECUTE FUNCTION app.slow()";
    scene.db.sql(slow);
    let mut run = scene.applying(&plan("", &[EXPAND, MARK])).spawn();
    scene.wait_until("SELECT to_regclass('tenantmig.backfill_ranges') IS NOT NULL");
    scene.wait_until("SELECT coalesce(sum(rows_done), 0) > 500 FROM tenantmig.backfill_ranges");
    run.signal(Signal::KILL);
    let _ = run.wait();
    scene.wait_until("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tenantmig%')");
    scene.db.sql("DROP TRIGGER slow ON app.users; DROP FUNCTION app.slow()");
    assert!(scene.db.one::<i64>("SELECT count(*) FROM app.users WHERE tenant_id IS NULL") > 0);
    scene
}

/// Whatever was edited: resume goes to the end, with every row filled once.
#[track_caller]
fn harmless(scene: &Scene, edit: &str, says: &str) {
    scene.db.sql(&format!("SET search_path = tenantmig; {edit}"));
    let _ = scene.run("status").expect_code(0);
    let _ = scene.run("resume").expect_code(0).stderr_has(says);
    scene.every_row_once();
    scene.stands("completed");
    let _ = scene.run("rollback --to start --yes").expect_code(0);
    scene.verified();
}

#[test]
fn a_cursor_that_was_edited_leaves_no_row_out() {
    let cursor = "UPDATE migration_progress SET cursor =";
    harmless(&killed("cursor_gone"), &format!("{cursor} NULL"), "");
    // As the first version of the ledger kept it.
    harmless(
        &killed("cursor_v1"),
        &format!(r#"{cursor} '{{"after": [500], "upto": [6000]}}'"#),
        "cannot be read, so its walk begins anew",
    );
    harmless(
        &killed("cursor_heap"),
        &format!(r#"{cursor} '{{"sweep": 0, "heaps": [{{"name": "app.nothing", "end": 9}}]}}'"#),
        "",
    );
    harmless(
        &killed("cursor_end"),
        &format!(r#"{cursor} '{{"sweep": 0, "heaps": [{{"name": "app.users", "end": 1}}]}}'"#),
        "",
    );
    harmless(
        &killed("cursor_sweep"),
        &format!("{cursor} jsonb_set(cursor, '{{sweep}}', '7') WHERE cursor IS NOT NULL"),
        "",
    );
}

#[test]
fn ranges_that_were_edited_leave_no_row_out() {
    harmless(&killed("ranges_done"), "UPDATE backfill_ranges SET stripes_done = stripes", "");
    harmless(&killed("ranges_gone"), "DELETE FROM backfill_ranges", "");
    harmless(
        &killed("ranges_gap"),
        "UPDATE backfill_ranges SET lo = lo + 1",
        "the walk of expand/fill/backfill begins anew",
    );
    harmless(&killed("ranges_wide"), "UPDATE backfill_ranges SET hi = 100000", "begins anew");
    harmless(&killed("ranges_low"), "UPDATE backfill_ranges SET lo = -5", "");
    harmless(&killed("ranges_heap"), "UPDATE backfill_ranges SET heap = 'app.nothing'", "begins anew");
    harmless(&killed("ranges_later"), "UPDATE backfill_ranges SET sweep = 3", "of another walk than its cursor");
    harmless(&killed("ranges_rows"), "UPDATE backfill_ranges SET rows_done = -9", "");
}

#[test]
fn a_unit_without_its_row_is_done_all_the_same() {
    let scene = killed("row_gone");
    scene.db.sql("DELETE FROM tenantmig.migration_progress WHERE unit = 'expand/fill/backfill'");
    let _ = scene.run("resume").expect_code(0);
    scene.every_row_once();
    let _ = scene.run("verify").expect_code(3).stdout_has("migration_progress says missing, the events say done");
    let run: String = scene.db.one("SELECT run_id::text FROM tenantmig.runs");
    let _ = scene.run(&format!("repair --accept-ledger {run} --confirm {}", scene.db.name())).expect_code(0);
    scene.verified();
}

#[test]
fn a_status_that_was_edited_decides_nothing_and_verify_says_so() {
    let (scene, _) = half("status_edited");
    scene.db.sql("UPDATE tenantmig.migration_progress SET status = 'done'");
    let _ = scene.run("verify").expect_code(3).stdout_has("migration_progress says done, the events say pending");
    let _ = scene.run("resume").expect_code(0);
    assert!(scene.has_column("app.accounts", "marked"));
    scene.verified();
}

/// Without its chain, as a run of an earlier version is, so that nothing but the reading itself is in the way.
fn unchained(name: &str, edit: &str) -> (Scene, String) {
    let (scene, plan) = half(name);
    scene.db.sql(&by_hand(&format!("DELETE FROM event_heads; UPDATE events SET link = NULL; {edit}")));
    (scene, plan)
}

#[test]
fn a_program_of_a_newer_version_is_refused_in_its_words() {
    let edit = r#"CREATE SCHEMA saved; CREATE TABLE saved.runs AS TABLE runs;
        UPDATE runs SET program = jsonb_set(program, '{phases,0,units,0,up}', '{"teleport": 1}')"#;
    let (scene, plan) = unchained("newer_program", edit);
    let _ = super::refused_by_all(&scene, &plan, "its program, written by tenantmig").stdout_has("newer tenantmig");
    scene.db.sql("UPDATE tenantmig.runs r SET program = s.program FROM saved.runs s; DROP SCHEMA saved CASCADE");
    let _ = scene.run("resume").expect_code(0);
    scene.stands("completed");
}

#[test]
fn an_event_of_a_newer_version_is_refused_in_its_words() {
    let (scene, plan) = unchained(
        "newer_event",
        r#"UPDATE events SET kind = 'teleported', event = '{"teleported": {}}' WHERE number = 6"#,
    );
    let _ = super::refused_by_all(&scene, &plan, "event 6: unknown variant `teleported`").stdout_has("newer tenantmig");
}

#[test]
fn a_plan_whose_text_no_longer_parses_goes_on_and_back() {
    let (scene, _) = unchained("unparsed", "UPDATE runs SET plan_text = 'format = [[['");
    scene.stands("stopped half-way");
    let _ = scene.run("resume").expect_code(0);
    scene.stands("completed");
    scene.verified();
    let _ = scene.run("rollback --to start --yes").expect_code(0);
    scene.stands("rolled back");
}

#[test]
fn a_part_of_the_ledger_that_is_missing_is_named_before_anything_is_touched() {
    let check = |name: &str, break_it: &str, what: &str, mend: &str| {
        let (scene, plan) = half(name);
        scene.db.sql(&format!("SET search_path = tenantmig; {break_it}"));
        let before = scene.print();
        let _ = scene.apply(&plan).expect_code(4).stderr_has(what).stderr_has("nothing was changed");
        for words in ["resume", "rollback --to start --yes", "verify", "throttle", "status", "repair"] {
            let _ = scene.run(words).expect_code(4).stderr_has(what).stderr_has("pg_restore");
        }
        scene.is_as(&before);
        scene.db.sql(&format!("SET search_path = tenantmig; {mend}"));
        let _ = scene.run("resume").expect_code(0);
        scene.stands("completed");
    };
    let (away, back) = ("SET SCHEMA public", "SET SCHEMA tenantmig");
    for table in [
        "events",
        "lease",
        "requests",
        "event_heads",
        "migration_progress",
        "backfill_ranges",
        "refinery_schema_history",
    ] {
        let (gone, again) = (format!("ALTER TABLE {table} {away}"), format!("ALTER TABLE public.{table} {back}"));
        check(&format!("no_{table}"), &gone, &format!("the table {table} is missing"), &again);
    }
    check(
        "no_column",
        "ALTER TABLE lease RENAME timeline TO x",
        "the table lease has no column timeline",
        "ALTER TABLE lease RENAME x TO timeline",
    );
    let kept = "CREATE TABLE kept AS TABLE refinery_schema_history; DELETE FROM refinery_schema_history";
    check(
        "no_history",
        kept,
        "the table refinery_schema_history is empty",
        "INSERT INTO refinery_schema_history SELECT * FROM kept; DROP TABLE kept",
    );
}

#[test]
fn a_lease_without_its_row_is_refused_with_the_words_that_mend_it() {
    let (scene, _) = half("no_lease");
    scene.db.sql("DELETE FROM tenantmig.lease");
    let before = scene.print();
    let out = scene.run("resume").expect_code(4).stderr_has("the table lease has 0 rows instead of one");
    scene.is_as(&before);
    let mend = out.stderr.split("in psql: ").nth(1).unwrap().to_owned();
    scene.db.sql(&mend);
    let _ = scene.run("resume").expect_code(0);
    scene.stands("completed");
    // The epoch goes on from the log's, so that nothing of an earlier holder can commit.
    assert!(scene.db.one::<bool>(
        "SELECT bool_and(later.epoch > earlier.epoch) FROM tenantmig.events earlier, tenantmig.events later
        WHERE earlier.number <= 8 AND later.number > 8"
    ));
}

#[test]
fn a_lease_that_was_doubled_is_refused() {
    let (scene, _) = half("two_leases");
    scene.db.sql("ALTER TABLE tenantmig.lease DROP CONSTRAINT lease_pkey; INSERT INTO tenantmig.lease DEFAULT VALUES");
    let out = scene.run("resume").expect_code(4).stderr_has("the table lease has 2 rows instead of one");
    scene.db.sql(out.stderr.split("in psql: ").nth(1).unwrap());
    let _ = scene.run("resume").expect_code(0);
}

#[test]
fn a_lease_with_a_holder_that_never_was_is_taken_over() {
    let (scene, _) = half("ghost");
    scene.db.sql("UPDATE tenantmig.lease SET holder = gen_random_uuid()");
    let _ = scene.run("status").expect_code(0).stdout_has("its last holder is gone");
    let _ = scene.run("resume").expect_code(0);
    scene.db.sql("UPDATE tenantmig.lease SET holder = gen_random_uuid(), host = E'\\t', pid = -1, backend_pid = 1, expires_at = 'infinity'");
    let _ = scene.run("rollback --to start --yes").expect_code(0);
    scene.stands("rolled back");
}
