//! The same plan twice, a plan that was changed, another plan in between, one plan on top of another.

use crate::scene::{EXPAND, MARK, Scene, plan, with_plan};

#[test]
fn the_second_apply_changes_nothing_and_says_so() {
    let scene = Scene::new("twice", 200);
    let whole = plan("", &[EXPAND, MARK]);
    let _ = scene.apply(&whole).expect_code(0).stdout_has("done: plan `faults` is applied");
    let (events, print) = (scene.events(), scene.print());
    let _ = scene.apply(&whole).expect_code(0).stdout_has("nothing to do").stdout_has("nothing was changed");
    assert_eq!(scene.events(), events);
    scene.is_as(&print);
    scene.every_row_once();
    let _ = scene.run("resume").expect_code(0).stdout_has("nothing to do");
    assert_eq!(scene.events(), events);
}

#[test]
fn comments_and_spacing_do_not_make_another_plan() {
    let scene = Scene::new("reformatted", 100);
    let whole = plan("", &[EXPAND]);
    let _ = scene.apply(&whole).expect_code(0);
    let events = scene.events();
    let reformatted = format!("# a comment\n\n{}", whole.replace(" = ", "   =  ").replace("type   =", "type="));
    assert_ne!(reformatted, whole);
    let _ = scene.apply(&reformatted).expect_code(0).stdout_has("nothing to do");
    assert_eq!(scene.events(), events);
}

#[test]
fn a_changed_plan_is_refused_with_what_to_do() {
    let scene = Scene::new("changed", 100);
    let _ = scene.apply(&plan("", &[EXPAND])).expect_code(0);
    let (events, print) = (scene.events(), scene.print());
    let out = scene.apply(&plan("", &[EXPAND, MARK])).expect_code(4).stderr_has("was changed since it was applied");
    let _ = out.stderr_has("tenantmig rollback --to start").stderr_has("another name");
    assert_eq!(scene.events(), events);
    scene.is_as(&print);
    // After the rollback it is free again.
    let _ = scene.run("rollback --to start --yes").expect_code(0);
    let _ = scene.apply(&plan("", &[EXPAND, MARK])).expect_code(0);
    scene.stands("completed");
}

#[test]
fn another_plan_is_refused_while_one_is_unfinished() {
    let scene = Scene::new("unfinished", 100);
    let tool = with_plan(scene.tool(), &plan("", &[EXPAND, MARK]));
    let _ = tool.args(["--to", "expand"]).run().expect_code(0).stdout_has("done up to phase `expand`");
    let (events, print) = (scene.events(), scene.print());
    let other = plan("", &[MARK]).replace("\"faults\"", "\"other\"");
    let out = scene.apply(&other).expect_code(4).stderr_has("the plan `faults` is not finished here");
    let _ = out.stderr_has("tenantmig status").stderr_has("tenantmig resume");
    assert_eq!(scene.events(), events);
    scene.is_as(&print);
}

#[test]
fn a_second_plan_stands_on_a_finished_one_and_the_newest_goes_first() {
    let scene = Scene::new("on_top", 100);
    let start = scene.print();
    let first = plan("", &[EXPAND]);
    let _ = scene.apply(&first).expect_code(0);
    let between = scene.print();
    let second = plan("", &[MARK]).replace("\"faults\"", "\"second\"");
    let _ = scene.apply(&second).expect_code(0).stdout_has("plan `second` is applied");
    let first_run: String = scene.db.one("SELECT run_id::text FROM tenantmig.runs WHERE plan = 'faults'");
    // Out of order is refused: the newer plan may stand on the older one.
    let out = scene.run(&format!("rollback --to start --yes --run {first_run}")).expect_code(4);
    let _ = out.stderr_has("second").stderr_has("tenantmig rollback");
    let _ = scene.run("rollback --to start --yes").expect_code(0);
    scene.is_as(&between);
    let _ = scene.run(&format!("rollback --to start --yes --run {first_run}")).expect_code(0);
    scene.is_as(&start);
    // Both can be applied again.
    let _ = scene.apply(&first).expect_code(0);
    let _ = scene.apply(&second).expect_code(0);
}

#[test]
fn stopping_after_a_phase_and_going_on_without_the_file() {
    let scene = Scene::new("to_phase", 100);
    let whole = plan("", &[EXPAND, MARK]);
    let out = with_plan(scene.tool(), &whole).args(["--to", "expand"]).run().expect_code(0);
    let _ = out.stderr_has("tenantmig resume");
    assert!(!scene.has_column("app.accounts", "marked"));
    let _ = scene.run("status --detailed-exitcode").expect_code(2);
    let _ = scene.run("resume").expect_code(0);
    let _ = scene.run("status --detailed-exitcode").expect_code(0);
    scene.every_row_once();
}

#[test]
fn a_second_plan_that_failed_is_what_status_tells_and_resume_goes_on_with() {
    let scene = Scene::new("second_fails", 100);
    let _ = scene.apply(&plan("", &[EXPAND])).expect_code(0);
    let between = scene.print();
    let check = "[[phase]]\nid = \"check\"\n[[phase.step]]\nkind = \"assert\"\nsql = \"SELECT to_regclass('app.mended') IS NOT NULL\"";
    let second = plan("", &[check, MARK]).replace("\"faults\"", "\"second\"");
    let _ = scene.apply(&second).expect_code(5).stdout_has("rolled back cleanly to `start`");
    scene.is_as(&between);
    let status = scene.status();
    assert_eq!(
        (status["plan"].as_str(), status["state"].as_str()),
        (Some("second"), Some("rolled back")),
        "{status:#}"
    );
    scene.db.sql("CREATE TABLE app.mended ()");
    let _ = scene.run("resume").expect_code(0).stdout_has("plan `second` is applied");
    // What was taken back on request is over: then the older plan is the one that stands.
    let _ = scene.run("rollback --to start --yes").expect_code(0);
    assert_eq!(scene.status()["plan"], "faults");
}
