//! A log that somebody edited or cut: refused with what is wrong, by every command that would decide by it, before anything is
//! touched; shown by status all the same; and whole again after the backup is restored.

mod repair;
mod rows;

use crate::harness::Output;
use crate::scene::{EXPAND, MARK, Scene, plan};

/// What a person with the rights of the ledger's owner does: the trigger is no obstacle to them.
pub fn by_hand(change: &str) -> String {
    format!(
        "SET search_path = tenantmig; ALTER TABLE events DISABLE TRIGGER append_only; {change};
         ALTER TABLE events ENABLE TRIGGER append_only"
    )
}

const BACKUP: &str = "CREATE SCHEMA saved; CREATE TABLE saved.runs AS TABLE tenantmig.runs;
    CREATE TABLE saved.events AS TABLE tenantmig.events; CREATE TABLE saved.event_heads AS TABLE tenantmig.event_heads;
    CREATE TABLE saved.migration_progress AS TABLE tenantmig.migration_progress";
const RESTORE: &str =
    "TRUNCATE events, event_heads, migration_progress, runs CASCADE; INSERT INTO runs SELECT * FROM saved.runs;
    INSERT INTO events SELECT * FROM saved.events; INSERT INTO event_heads SELECT * FROM saved.event_heads;
    INSERT INTO migration_progress SELECT * FROM saved.migration_progress; DROP SCHEMA saved CASCADE";

/// Half a plan, applied: the first of two phases.
pub fn half(name: &str) -> (Scene, String) {
    let scene = Scene::new(name, 60);
    let plan = plan("", &[EXPAND, MARK]);
    let _ = scene.applying(&plan).args(["--to", "expand"]).run().expect_code(0);
    (scene, plan)
}

fn log(scene: &Scene) -> String {
    scene.db.checksum("tenantmig.events")
}

/// Every command that decides by the log refuses, says `what`, and touches nothing.
#[track_caller]
pub fn refused_by_all(scene: &Scene, plan: &str, what: &str) -> Output {
    let (before, log_before) = (scene.print(), log(scene));
    let _ = scene.apply(plan).expect_code(4).stderr_has(what).stderr_has("nothing was changed");
    for words in ["resume", "rollback --to start --yes", "verify", "throttle --workers 1"] {
        let _ = scene.run(words).expect_code(4).stderr_has(what).stderr_has("nothing was changed");
    }
    scene.is_as(&before);
    assert_eq!(log(scene), log_before, "the log was written");
    let _ = scene.run("status --json").expect_code(4).stdout_has("\"state\":\"damaged\"").stdout_has(what);
    let out = scene.run("status").expect_code(4).stdout_has(what).stdout_has("add column").stdout_has("last entries");
    assert!(out.stdout.starts_with("DAMAGED"), "{out}");
    out
}

/// The change is noticed, and the backup restored: then the run goes on.
#[track_caller]
fn check(name: &str, change: &str, what: &str) {
    let (scene, plan) = half(name);
    scene.db.sql(BACKUP);
    scene.db.sql(&by_hand(change));
    let _ = refused_by_all(&scene, &plan, what).stdout_has("restore").stdout_has("repair --accept-ledger");
    scene.db.sql(&by_hand(RESTORE));
    let _ = scene.run("resume").expect_code(0);
    scene.stands("completed");
    scene.verified();
}

#[test]
fn an_event_that_was_edited_is_named() {
    check(
        "edit",
        r#"UPDATE events SET event = '{"succeeded": {"unit": "expand/fill", "rows": 61}}' WHERE number = 4"#,
        "event 4 was changed",
    );
}

#[test]
fn an_event_of_another_author_or_time_is_named() {
    check("author", "UPDATE events SET actor = 'nobody' WHERE number = 2", "event 2 was changed");
    check("when", "UPDATE events SET at = at + interval '1 microsecond' WHERE number = 3", "event 3 was changed");
}

#[test]
fn an_event_that_is_missing_is_named() {
    check("hole", "DELETE FROM events WHERE number = 2", "event 2 is missing; the next one is 3");
}

#[test]
fn a_log_whose_end_was_cut_off_is_noticed() {
    check("cut", "DELETE FROM events WHERE number > 2", "its log ends at event 2; 8 were written");
    check("emptied", "DELETE FROM events", "its log ends at event 0; 8 were written");
}

#[test]
fn an_event_that_somebody_added_is_noticed() {
    let more = "INSERT INTO events (run_id, number, epoch, host, kind, event, link)
                SELECT run_id, 9, epoch, host, 'resumed', '\"resumed\"', encode(sha256('x'), 'hex') FROM events WHERE number = 4";
    check("added", more, "event 9 was changed");
}

#[test]
fn a_program_that_was_edited_is_noticed() {
    let edit = r#"UPDATE runs SET program = jsonb_set(program, '{phases,0,units,0,title}', '"something else"')"#;
    check("program", edit, "the run's own row was changed: its plan, program or baselines");
    check("text", "UPDATE runs SET plan_text = plan_text || '#'", "the run's own row was changed");
    check("baseline", r#"UPDATE runs SET baselines = '{"x": 1}'"#, "the run's own row was changed");
}

#[test]
fn a_head_that_was_edited_or_removed_is_noticed() {
    check("head", "UPDATE event_heads SET digest = repeat('0', 64)", "the head of its log was changed");
    check("back", "UPDATE event_heads SET number = 7", "its log has 8 events; only 7 were written by tenantmig");
    check("beheaded", "DELETE FROM event_heads", "the head of its log is missing");
    check(
        "based",
        "UPDATE event_heads SET base = 1",
        "the run's own row (its plan, program or baselines) or one of its first 1 events",
    );
}

/// One that goes along with its link is not a change of the log's own history, but of the one before it.
#[test]
fn a_log_that_ends_early_with_its_head_is_noticed_by_verify_at_least() {
    let (scene, _) = half("consistent");
    scene.db.sql(&by_hand(
        "UPDATE event_heads h SET number = 3, digest = (SELECT link FROM events e WHERE e.run_id = h.run_id AND number = 3);
         DELETE FROM events WHERE number > 3",
    ));
    let _ = scene.run("verify").expect_code(3).stdout_has("migration_progress says done, the events say running");
}

#[test]
fn a_log_that_changes_while_it_is_written_stops_the_run() {
    let scene = Scene::new("beside", 200);
    let holder = scene.holding("LOCK TABLE app.users IN SHARE MODE");
    let run = scene.applying(&plan("lock_timeout = \"20s\"\nlock_retries = 50", &[EXPAND])).spawn();
    scene.wait_for_a_waiter();
    scene.db.sql(&by_hand("UPDATE event_heads SET number = 7"));
    drop(holder);
    let _ = run.wait().expect_code(4).stderr_has("its log does not end at event 1");
    assert!(!scene.has_column("app.users", "tenant_id"), "the deed is there without its event");
    scene.db.sql(&by_hand("UPDATE event_heads SET number = 1"));
    let _ = scene.run("resume").expect_code(0);
    scene.stands("completed");
}

#[test]
fn a_run_of_an_earlier_version_is_chained_from_its_next_event_on() {
    let (scene, plan) = half("earlier");
    scene.db.sql(&by_hand("DELETE FROM event_heads; UPDATE events SET link = NULL"));
    scene.stands("stopped half-way");
    let _ = scene.run("resume").expect_code(0);
    scene.verified();
    assert_eq!(scene.db.one::<i64>("SELECT base FROM tenantmig.event_heads"), 8);
    scene.db.sql(BACKUP);
    scene.db.sql(&by_hand("UPDATE events SET actor = 'nobody' WHERE number = 2"));
    let _ = refused_by_all(&scene, &plan, "or one of its first 8 events was changed");
    scene.db.sql(&by_hand(RESTORE));
    let _ = scene.run("rollback --to start --yes").expect_code(0);
    scene.stands("rolled back");
}

/// A restored backup, and another major version, must not look like damage: the links stand on text, not on how it is stored.
#[test]
fn the_links_can_be_recomputed_by_anybody() {
    let (scene, _) = half("recompute");
    let wrong: i64 = scene.db.one(
        "SELECT count(*) FROM (SELECT link, encode(sha256(convert_to(coalesce(lag(link) OVER (ORDER BY number),
              (SELECT base_digest FROM tenantmig.event_heads)) || jsonb_build_array(number, to_char(at AT TIME ZONE 'UTC',
              'YYYY-MM-DD HH24:MI:SS.US'), epoch, actor, host, kind, unit, event)::text, 'UTF8')), 'hex') AS again
              FROM tenantmig.events) x WHERE link <> again",
    );
    assert_eq!(wrong, 0);
    scene.db.sql("ALTER DATABASE current SET timezone = 'Asia/Tokyo'".replace("current", scene.db.name()).as_str());
    scene.db.sql("ALTER DATABASE current SET datestyle = 'German'".replace("current", scene.db.name()).as_str());
    scene.stands("stopped half-way");
}
