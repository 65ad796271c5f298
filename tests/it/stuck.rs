//! An undo that fails: the run is stuck, says where and why, and goes on once the cause is mended.

use crate::scene::{EXPAND, MARK, Scene, plan};

/// Somebody built on the column that the undo is to drop.
const IN_THE_WAY: &str = "CREATE VIEW app.in_the_way AS SELECT tenant_id FROM app.users";

#[test]
fn an_undo_that_fails_is_stuck_and_resume_finishes_it() {
    let scene = Scene::new("stuck", 200);
    let before = scene.print();
    let whole = plan("", &[EXPAND, MARK]);
    let _ = scene.apply(&whole).expect_code(0);
    scene.db.sql(IN_THE_WAY);
    let out =
        scene.run("rollback --to start --yes").expect_code(6).stdout_has("STUCK").stdout_has("expand/users-tenant_id");
    let _ =
        out.stdout_has("2BP01").stdout_has("app.in_the_way").stdout_has("ALTER TABLE").stderr_has("tenantmig resume");
    // What was undone before stays undone, what comes before stays done.
    assert!(!scene.has_column("app.accounts", "marked"));
    assert!(scene.has_column("app.users", "tenant_id"));
    scene.stands("stuck");
    let _ =
        scene.run("status").expect_code(0).stdout_has("STUCK").stdout_has("in_the_way").stdout_has("tenantmig resume");
    let _ = scene.run("status --detailed-exitcode").expect_code(6);
    // Not mended: stuck again, nothing else touched.
    let _ = scene.run("resume").expect_code(6).stdout_has("app.in_the_way");
    // The SQL that is left, for psql.
    let _ = scene.run("rollback --to start --dry-run --sql").expect_code(0).stdout_has("DROP COLUMN");
    // Another plan, or this one, is no way round it.
    scene.db.sql("DROP VIEW app.in_the_way");
    // The rollback was asked for, so finishing it is what was asked.
    let _ = scene.run("resume").expect_code(0).stdout_has("rolled back to `start`");
    scene.is_as(&before);
    scene.stands("rolled back");
    let _ = scene.apply(&whole).expect_code(0);
    scene.stands("completed");
}

#[test]
fn a_failure_whose_rollback_fails_is_stuck() {
    let scene = Scene::new("stuck_auto", 200);
    let before = scene.print();
    let second = r#"
[[phase]]
id = "second"
on_failure = "rollback_all"
  [[phase.step]]
  id = "built-on"
  kind = "sql"
  up = "CREATE VIEW app.in_the_way AS SELECT tenant_id FROM app.users"
  down = "-- forgotten"
  [[phase.step]]
  kind = "assert"
  sql = "SELECT false"
"#;
    let out = scene.apply(&plan("", &[EXPAND, second])).expect_code(6).stdout_has("STUCK");
    let _ = out.stdout_has("app.in_the_way").stderr_has("tenantmig resume");
    scene.stands("stuck");
    let _ = scene.apply(&plan("", &[EXPAND, second])).expect_code(6);
    scene.db.sql("DROP VIEW app.in_the_way");
    let _ = scene.run("rollback --to start --yes").expect_code(0);
    scene.is_as(&before);
    scene.stands("rolled back");
}

#[test]
fn a_stuck_rollback_can_be_taken_further_back() {
    let scene = Scene::new("stuck_further", 200);
    let before = scene.print();
    let third = "[[phase]]\nid = \"third\"\n[[phase.step]]\nkind = \"add_column\"\ntable = \"app.accounts\"\ncolumn = \"third\"\ntype = \"text\"";
    let _ = scene.apply(&plan("", &[EXPAND, MARK, third])).expect_code(0);
    scene.db.sql("CREATE VIEW app.in_the_way AS SELECT third FROM app.accounts");
    let _ = scene.run("rollback --to mark --yes").expect_code(6).stdout_has("app.in_the_way");
    scene.stands("stuck");
    scene.db.sql("DROP VIEW app.in_the_way");
    let _ = scene.run("rollback --to expand --yes").expect_code(0).stdout_has("rolled back to `expand`");
    assert!(!scene.has_column("app.accounts", "marked"));
    let _ = scene.run("rollback --to start --yes").expect_code(0);
    scene.is_as(&before);
}

#[test]
fn an_undo_that_does_not_get_its_lock_is_stuck_until_resume() {
    let scene = Scene::new("stuck_lock", 100);
    let before = scene.print();
    let _ = scene.apply(&plan("", &[EXPAND])).expect_code(0);
    let holder = scene.holding("SELECT count(*) FROM app.users");
    let out = scene.run("rollback --to start --yes").expect_code(6).stdout_has("55P03").stderr_has("the-holder");
    let _ = out.stderr_has("attempt 2 of 3").stderr_has("tenantmig resume");
    scene.stands("stuck");
    assert!(scene.has_column("app.users", "tenant_id"));
    drop(holder);
    let _ = scene.run("resume").expect_code(0);
    scene.is_as(&before);
}
