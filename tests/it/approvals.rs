//! A phase that somebody lets begin, and one that somebody must confirm: in time it stays, otherwise it is taken back by itself,
//! by whoever comes first.

use std::time::Duration;

use crate::{
    guards::TENANCY,
    harness::{Running, Signal, Tool},
    scene::{EXPAND, MARK, Scene, plan, with_plan},
};

const ENFORCE: &str = "[[phase.step]]\nkind = \"enforce_rls\"\ntable = \"app.users\"\n";
const PROTECTED: &str = "SELECT relrowsecurity FROM pg_class WHERE oid = 'app.users'::regclass";

fn enforce(keys: &str) -> String {
    format!("[[phase]]\nid = \"enforce\"\n{keys}\n{ENFORCE}")
}

fn applying(scene: &Scene, phases: &[&str]) -> Tool {
    with_plan(scene.tool(), &plan("", &[&[TENANCY][..], phases].concat()))
}

/// Until `status` says that the run waits for this approval.
#[track_caller]
fn waits_for(scene: &Scene, phase: &str) {
    for _ in 0..200 {
        if scene.status()["waits"].as_str() == Some(&format!("for: tenantmig approve {phase}")) {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("it does not wait: {:#}", scene.status());
}

fn is_protected(scene: &Scene) -> bool {
    scene.db.one(PROTECTED)
}

#[track_caller]
fn ends(run: Running, code: i32) {
    let _ = run.wait().expect_code(code);
}

#[test]
fn a_phase_begins_when_somebody_lets_it() {
    let scene = Scene::new("approve_begin", 50);
    let manual = MARK.replace("id = \"mark\"", "id = \"mark\"\ngate = \"manual\"");
    let run = applying(&scene, &[EXPAND, &manual]).spawn();
    waits_for(&scene, "mark");
    assert!(!scene.has_column("app.accounts", "marked"));
    let _ = scene.run("status").expect_code(0).stdout_has("next    tenantmig approve mark");
    let _ = scene.run("approve nowhere").expect_code(64).stderr_has("expand, mark");
    let _ = scene.run("approve expand").expect_code(4).stderr_has("waits for nobody's approval");
    let _ = scene.run("approve mark --reason looked").expect_code(0).stdout_has("may begin");
    ends(run, 0);
    assert!(scene.has_column("app.accounts", "marked"));
    let told: String =
        scene.db.one("SELECT concat_ws(' ', phase, reason, actor = session_user, host <> '') FROM tenantmig.approvals");
    assert_eq!(told, "mark looked t t");
    let _ = scene.run("approve mark").expect_code(4).stderr_has("has gone on");
    // What was undone is approved anew.
    let _ = scene.run("rollback --to expand --yes").expect_code(0);
    let run = applying(&scene, &[EXPAND, &manual]).spawn();
    waits_for(&scene, "mark");
    let _ = scene.run("approve mark").expect_code(0);
    ends(run, 0);
    scene.verified();
}

/// The event that the chain covers says it, and so do status and the report, which also tell of an approval that nothing needed.
#[test]
fn the_log_says_who_approved() {
    let scene = Scene::new("approve_who", 50);
    let dba = scene.db.role("dba", "LOGIN SUPERUSER");
    let first = EXPAND.replace("id = \"expand\"", "id = \"expand\"\napprove_within = \"1s\"");
    let last = MARK.replace("id = \"mark\"", "id = \"mark\"\napprove_within = \"1h\"");
    let _ = applying(&scene, &[&first, &last]).run().expect_code(75);
    let approve = |phase: &str, reason: &str| {
        let tool = Tool::new(&scene.db).url(&scene.db.url_as(&dba)).args(["approve", phase, "--reason", reason]);
        let _ = tool.run().expect_code(0);
    };
    approve("mark", "<i>seen</i>");
    let _ =
        scene.run("status").expect_code(0).stdout_has("granted phase mark may begin, says").stdout_has("not taken yet");
    approve("expand", "ticket 7");
    let _ = scene.run("resume").expect_code(0);
    let told: String = scene.db.one(
        "SELECT string_agg(concat_ws(' ', event -> 'gate_passed' ->> 'phase', event #>> '{gate_passed,approved,by}',
                event #>> '{gate_passed,approved,reason}'), '; ' ORDER BY number)
           FROM tenantmig.events WHERE event #>> '{gate_passed,approved,host}' <> ''
            AND (event #>> '{gate_passed,approved,at}')::timestamptz > now() - interval '1 h'",
    );
    assert_eq!(told, format!("expand {dba} ticket 7; mark {dba} <i>seen</i>"));
    let status = scene.run("status").expect_code(0);
    let _ = status.stdout_has(&format!("granted phase expand may begin, says {dba} on")).stdout_has(": ticket 7");
    let said = scene.status();
    assert_eq!(said["approvals"][1]["by"], dba.as_str());
    assert_eq!(
        (&said["approvals"][1]["reason"], &said["approvals"][1]["taken"]),
        (&"<i>seen</i>".into(), &true.into())
    );
    // One that no gate waits for any more.
    scene
        .db
        .sql("INSERT INTO tenantmig.approvals (run_id, phase, host) SELECT run_id, 'mark', 'late' FROM tenantmig.runs");
    let page = scene.run("report").expect_code(0).stdout_has("What people approved").stdout_has("&lt;i&gt;seen");
    let _ = page.stdout_has(&format!("approved by {dba} on")).stdout_has("none: it came too early or too late");
    let evidence: serde_json::Value =
        serde_json::from_str(&scene.run("report --format json").expect_code(0).stdout).expect("the report is JSON");
    let event = evidence["approvals"][1]["event"].as_i64().expect("the approval was taken");
    let logged = evidence["events"].as_array().and_then(|all| all.iter().find(|one| one["number"] == event));
    assert_eq!(logged.map(|one| &one["kind"]), Some(&"gate_passed".into()));
    assert_eq!(evidence["approvals"][2]["event"], serde_json::Value::Null);
    scene.verified();
}

#[test]
fn an_approval_may_come_first_and_one_that_does_not_come_pauses() {
    let scene = Scene::new("approve_pause", 50);
    let first = EXPAND.replace("id = \"expand\"", "id = \"expand\"\napprove_within = \"1s\"");
    let last = MARK.replace("id = \"mark\"", "id = \"mark\"\napprove_within = \"1h\"");
    let run = applying(&scene, &[&first, &last]).run().expect_code(75);
    let _ = run.stdout_has("tenantmig approve expand").stderr_has("next: tenantmig approve expand");
    assert!(!scene.has_column("app.users", "tenant_id"));
    scene.stands("paused");
    let _ = scene.run("status").expect_code(0).stdout_has("next    tenantmig approve expand, then: tenantmig resume");
    let _ = scene.run("approve mark").expect_code(0);
    let _ = scene.run("approve mark").expect_code(0).stdout_has("approved already");
    let _ = scene.run("approve expand").expect_code(0).stderr_has("tenantmig resume");
    let _ = scene.run("resume").expect_code(0);
    scene.stands("completed");
}

#[test]
fn what_somebody_confirms_stays_and_the_canary_names_the_phase() {
    let scene = Scene::new("approve_confirm", 50);
    let canary = "[canary]\napprove = [\"enforce\"]\nconfirm_within = \"1h\"\n";
    let run = applying(&scene, &[canary, EXPAND, &enforce("")]).spawn();
    waits_for(&scene, "enforce");
    assert!(!is_protected(&scene));
    let _ = scene.run("approve enforce").expect_code(0).stdout_has("may begin");
    scene.wait_until(PROTECTED);
    waits_for(&scene, "enforce");
    let _ = scene.run("approve enforce").expect_code(0).stdout_has("is confirmed");
    ends(run, 0);
    assert!(is_protected(&scene));
}

#[test]
fn what_nobody_confirms_is_taken_back_without_a_consent() {
    let scene = Scene::new("approve_over", 50);
    let run = applying(&scene, &[EXPAND, &enforce("confirm_within = \"1s\"")]).run().expect_code(5);
    let _ = run.stdout_has("did not come within 1s").stdout_has("rolled back");
    assert!(!is_protected(&scene) && scene.has_column("app.users", "tenant_id"));
    let _ = scene.run("approve enforce").expect_code(4).stderr_has("way back");
}

/// The process is gone, and with it whoever counts; the server's clock is not.
#[test]
fn who_comes_after_a_kill_reverts_at_once_when_the_time_is_over() {
    let scene = Scene::new("approve_kill", 50);
    let phases = [EXPAND, &enforce("confirm_within = \"4s\"")];
    let mut run = applying(&scene, &phases).spawn();
    waits_for(&scene, "enforce");
    run.signal(Signal::KILL);
    let _ = run.wait();
    assert!(is_protected(&scene));
    scene.wait_until(
        "SELECT clock_timestamp() > max(at) + interval '4 s' FROM tenantmig.events WHERE kind = 'succeeded'",
    );
    // Too late: it does not count, and is not taken.
    let _ = scene.run("approve enforce").expect_code(4).stderr_has("which is over");
    scene.db.sql(
        "INSERT INTO tenantmig.approvals (run_id, phase, host) SELECT run_id, 'enforce', 'late' FROM tenantmig.runs",
    );
    let out = scene.run("resume").expect_code(5).stdout_has("did not come within 4s");
    assert!(!out.stderr.contains("it is a failure"), "it waited once more: {out}");
    assert!(!is_protected(&scene));
}
