//! `repair`: what it says, and what accepting a log does and does not do.

use super::{by_hand, half};
use crate::scene::Scene;

fn run_id(scene: &Scene) -> String {
    scene.db.one("SELECT run_id::text FROM tenantmig.runs")
}

#[track_caller]
fn accept(scene: &Scene) -> crate::harness::Output {
    scene.run(&format!("repair --accept-ledger {} --confirm {}", run_id(scene), scene.db.name()))
}

#[test]
fn a_whole_ledger_needs_no_repair() {
    let (scene, _) = half("whole");
    let events = scene.events();
    let _ = scene.run("repair").expect_code(0).stdout_has("whole");
    let _ = accept(&scene).expect_code(0).stdout_has("is whole; nothing was changed");
    let none = "repair --accept-ledger 01a1fccc-197e-767e-8fc7-c6f03897750f";
    let _ = scene.run(none).expect_code(4).stderr_has("the ledger has no run 01a1fccc");
    assert_eq!(scene.events(), events);
}

#[test]
fn an_edited_log_is_accepted_only_by_name_and_then_goes_on_both_ways() {
    let (scene, plan) = half("accepted");
    scene.db.sql(&by_hand("UPDATE events SET actor = 'nobody' WHERE number = 2"));
    let _ = scene.run("repair").expect_code(3).stdout_has("event 2 was changed").stderr_has("--accept-ledger");
    let again = format!("repair --accept-ledger {}", run_id(&scene));
    let _ = scene
        .run(&again)
        .expect_code(4)
        .stderr_has("3 of 5 units done")
        .stderr_has(&format!("--confirm {}", scene.db.name()));
    let _ = scene.run(&format!("{again} --confirm other")).expect_code(4).stderr_has("nothing was changed");
    let _ = super::refused_by_all(&scene, &plan, "event 2 was changed");
    let _ = accept(&scene).expect_code(0).stdout_has("event 9 says so");
    let who: bool = scene.db.one(
        "SELECT actor = session_user AND event -> 'repaired' ->> 'what' = 'event 2 was changed' FROM tenantmig.events WHERE number = 9",
    );
    assert!(who);
    scene.verified();
    let _ = scene.run("resume").expect_code(0);
    scene.stands("completed");
    let _ = scene.run("rollback --to start --yes").expect_code(0);
    scene.stands("rolled back");
    // What was accepted is judged like the rest from then on.
    scene.db.sql(&by_hand("UPDATE events SET actor = 'somebody' WHERE number = 2"));
    let _ = scene.run("resume").expect_code(4).stderr_has("one of its first 8 events was changed");
}

#[test]
fn a_log_that_was_cut_is_accepted_and_what_it_no_longer_has_is_recognised() {
    let (scene, _) = half("accept_cut");
    scene.db.sql(&by_hand("DELETE FROM events WHERE number > 3"));
    let _ = accept(&scene).expect_code(0).stdout_has("event 4 says so");
    // The rows for people say what the events say.
    scene.verified();
    let _ = scene.run("resume").expect_code(0);
    scene.stands("completed");
    scene.every_row_once();
    scene.verified();
}

#[test]
fn a_log_with_a_hole_cannot_be_accepted() {
    let (scene, _) = half("accept_hole");
    scene.db.sql(&by_hand("DELETE FROM events WHERE number = 2"));
    let _ = accept(&scene).expect_code(4).stderr_has("event 2 is missing").stderr_has("from a backup");
}

#[test]
fn a_log_that_contradicts_itself_cannot_be_accepted() {
    let (scene, _) = half("accept_nonsense");
    scene.db.sql(&by_hand(
        r#"UPDATE events SET kind = 'undone', event = '{"undone": {"unit": "expand/fill/backfill"}}' WHERE number = 4"#,
    ));
    let _ = accept(&scene).expect_code(4).stderr_has("its events contradict each other");
}

#[test]
fn rows_for_people_that_were_edited_are_written_anew() {
    let (scene, _) = half("projection");
    scene.db.sql("DELETE FROM tenantmig.migration_progress WHERE ordinal = 2; UPDATE tenantmig.migration_progress SET status = 'stuck'");
    let _ = scene.run("repair").expect_code(3).stdout_has("migration_progress says stuck, the events say done");
    let _ = accept(&scene).expect_code(0);
    scene.verified();
    let _ = scene.run("resume").expect_code(0);
    scene.verified();
}

#[test]
fn a_log_that_somebody_works_on_is_not_accepted() {
    let scene = Scene::new("accept_held", 60);
    let holder = scene.holding("LOCK TABLE app.users IN SHARE MODE");
    let run = scene.applying(&crate::scene::plan("lock_timeout = \"20s\"", &[crate::scene::EXPAND])).spawn();
    scene.wait_for_a_waiter();
    scene.db.sql("UPDATE tenantmig.migration_progress SET status = 'stuck'");
    let _ = accept(&scene).expect_code(75).stderr_has("another tenantmig holds the lease");
    drop(holder);
    let _ = run.wait().expect_code(0);
}
