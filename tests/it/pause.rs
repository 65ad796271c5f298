//! `pause`, from any host: whoever works on the run takes it, wherever it is, and a retried job does not wake the run.
//! `--wait`: a lease that is held is waited for.

use std::time::{Duration, Instant};

use crate::harness::{Output, Signal, Tool};
use crate::scene::{EXPAND, MARK, Scene, plan};
use crate::throttle::{BRAKE, FILL_RUNS, GO, grant, half};

const PATIENT: &str = "lock_timeout = \"150ms\"\nlock_retries = 200";
const INDEX: &str =
    "[[phase]]\nid = \"index\"\n[[phase.step]]\nkind = \"create_index\"\ntable = \"app.users\"\ncolumns = [\"email\"]";

#[track_caller]
fn pause_as(scene: &Scene, role: &str, options: &[&str]) -> Output {
    Tool::new(&scene.db).url(&scene.db.url_as(role)).args(["pause"]).args(options).run()
}

/// A retried job leaves the run as it is, and says who wants that.
#[track_caller]
fn is_not_woken(scene: &Scene, plan: &str, says: &str) {
    let events = scene.events();
    let out = scene.apply(plan).expect_code(75).stderr_has("is paused by ").stderr_has(says);
    let _ = out.stderr_has("nothing was changed").stderr_has("tenantmig resume");
    assert_eq!(scene.events(), events);
    scene.stands("paused");
}

#[test]
fn a_backfill_under_way_is_paused_from_another_host_and_a_job_does_not_wake_it() {
    let scene = Scene::new("pause", 20_000);
    scene.db.sql(BRAKE);
    let dba = scene.db.role("dba", "LOGIN");
    let whole = plan("", &[EXPAND, MARK]);
    let run = scene.applying(&whole).spawn();
    scene.wait_until("SELECT to_regclass('tenantmig.migration_progress') IS NOT NULL");
    scene.wait_until(FILL_RUNS);
    grant(&scene, &dba);
    let out = pause_as(&scene, &dba, &["--reason", "month end"]).expect_code(0);
    let _ = out.stdout_has("paused: taken by apply by ").stdout_has(", as event ").stderr_has("tenantmig resume");
    let out = run.wait().expect_code(75).stdout_has(&format!("paused by {dba} on ")).stdout_has(": month end");
    let _ = out.stderr_has("tenantmig resume").stderr_has(&format!("paused by {dba} on "));
    let rows = || scene.db.one::<i64>("SELECT count(*) FROM app.users WHERE tenant_id IS NOT NULL");
    let before = rows();
    assert!(before < 20_000, "the backfill was over before it was paused");
    let shown = scene.run("status").expect_code(0).stdout_has("paused (").stdout_has("lease   free");
    let _ = shown.stdout_has(&format!("because month end (asked by {dba} on "));
    assert!(scene.status()["paused"].as_str().unwrap().starts_with("month end"));
    is_not_woken(&scene, &whole, "month end");
    let _ = pause_as(&scene, &dba, &[]).expect_code(0).stdout_has("paused already by ").stdout_has("month end");
    scene.db.sql(GO);
    assert_eq!(rows(), before, "rows were written while it was paused");
    let _ = scene.run("resume").expect_code(0);
    scene.every_row_once();
    scene.stands("completed");
    scene.verified();
    let _ = pause_as(&scene, &dba, &[]).expect_code(4).stderr_has("is applied: nothing is under way");
    assert_eq!(scene.db.one::<i64>("SELECT count(*) FROM tenantmig.requests"), 1);
}

#[test]
fn a_run_that_waits_for_a_lock_obeys_within_seconds() {
    let scene = Scene::new("pause_lock", 200);
    let before = scene.print();
    let holder = scene.holding("LOCK TABLE app.users IN SHARE MODE");
    let whole = plan(PATIENT, &[EXPAND]);
    let mut run = scene.applying(&whole).spawn();
    run.wait_stderr("no lock at attempt 3");
    let _ = scene.run("pause --reason lunch").expect_code(0).stdout_has("paused: taken by apply by ");
    let _ = run.wait().expect_code(75).stdout_has(": lunch");
    is_not_woken(&scene, &whole, "lunch");
    drop(holder);
    // The way back is open.
    let _ = scene.run("rollback --to start --yes").expect_code(0);
    scene.is_as(&before);
    scene.stands("rolled back");
}

#[test]
fn a_pause_passes_by_a_request_that_somebody_holds() {
    let scene = Scene::new("pause_behind", 200);
    let holder = scene.holding("LOCK TABLE app.users IN SHARE MODE");
    let mut run = scene.applying(&plan(PATIENT, &[EXPAND])).spawn();
    run.wait_stderr("no lock at attempt 2");
    scene.db.sql(
        "INSERT INTO tenantmig.requests (run_id, host, kind, body)
         SELECT run_id, 'host2', 'retune', '{\"workers\": 2}' FROM tenantmig.runs",
    );
    let row = scene.holding("SELECT FROM tenantmig.requests FOR UPDATE");
    let _ = scene.run("pause --reason lunch").expect_code(0).stdout_has("paused: taken by apply by ");
    let _ = run.wait().expect_code(75).stdout_has(": lunch");
    drop((holder, row));
}

#[test]
fn a_rollback_is_paused_as_well_and_resume_goes_on_with_it() {
    let scene = Scene::new("pause_back", 200);
    let before = scene.print();
    let _ = scene.apply(&plan(PATIENT, &[EXPAND, MARK])).expect_code(0);
    let holder = scene.holding("LOCK TABLE app.users IN SHARE MODE");
    let mut run = scene.tool().args(["rollback", "--to", "start", "--yes"]).spawn();
    run.wait_stderr("no lock at attempt 2");
    let out = scene.run("resume").expect_code(75).stderr_has("rollback by ");
    let _ = out.stderr_has("tenantmig pause");
    let _ = scene.run("pause").expect_code(0).stdout_has("paused: taken by rollback by ");
    let _ = run.wait().expect_code(75).stdout_has("no reason was given");
    drop(holder);
    let _ = scene.run("resume").expect_code(0);
    scene.stands("rolled back");
    scene.is_as(&before);
}

#[test]
fn a_run_on_which_nobody_works_is_paused_as_well() {
    let scene = half("pause_rest");
    let whole = plan("", &[EXPAND, MARK]);
    // One that was killed holds the lease by name alone.
    scene.db.sql("UPDATE tenantmig.lease SET holder = gen_random_uuid(), host = 'gone', pid = 1, purpose = 'apply', role = 'r', acquired_at = now(),
        heartbeat_at = now(), expires_at = now() + interval '1 hour', backend_pid = 0");
    let out = scene.run("pause --reason holidays").expect_code(0).stdout_has("nobody works on the run now");
    let _ = out.stderr_has("the lease is taken over from apply by ");
    let _ = scene.run("status").expect_code(0).stdout_has("lease   free\n").stdout_has("because holidays (asked by ");
    is_not_woken(&scene, &whole, "holidays");
    let _ = scene.run("resume").expect_code(0);
    scene.stands("completed");
}

#[test]
fn who_may_ask_and_no_more_has_asked() {
    let scene = half("pause_guest");
    let whole = plan("", &[EXPAND, MARK]);
    let dba = scene.db.role("dba", "LOGIN");
    let _ = pause_as(&scene, &dba, &[]).expect_code(77).stderr_has("GRANT INSERT (run_id, host, kind, body)");
    grant(&scene, &dba);
    let _ = pause_as(&scene, &dba, &["--reason", "audit"]).expect_code(0).stdout_has("may not record the pause");
    let shown = scene.run("status").expect_code(0).stdout_has(&format!("asked   request 1 by {dba} on "));
    let _ = shown.stdout_has(", not taken yet: pause: audit").stdout_has("stopped half-way");
    assert_eq!(scene.status()["requests"][0]["pause"]["why"], "audit");
    // The job takes it first and stops there.
    let _ = scene.apply(&whole).expect_code(75).stdout_has(&format!("paused by {dba} on ")).stdout_has(": audit");
    is_not_woken(&scene, &whole, "audit");
    assert!(!scene.has_column("app.accounts", "marked"));
    // Whoever types resume decides otherwise, also for what was asked before and not taken.
    let out = scene.run("resume").expect_code(0);
    let _ = out.stdout_has("done: plan");
    let _ = scene.run("rollback --to expand --yes").expect_code(0);
    let _ = scene.run("resume").expect_code(0);
    let ask = "INSERT INTO tenantmig.requests (run_id, host, kind, body) SELECT run_id, 'host2', 'pause', '{\"why\": null}' FROM tenantmig.runs";
    scene.db.sql_as(&dba, ask).unwrap();
    let _ = scene.run("rollback --to start --yes").expect_code(0);
    let refused: String = scene.db.one("SELECT refused FROM tenantmig.requests ORDER BY request_id DESC LIMIT 1");
    assert_eq!(refused, "`tenantmig rollback` came later");
    // What cannot be read stops nothing.
    scene.db.sql_as(&dba, &ask.replace("null", "\" \"")).unwrap();
    let _ = scene.apply(&whole).expect_code(0).stderr_has("1 to 200 characters");
}

#[test]
fn one_long_statement_is_finished_first_and_pause_says_so() {
    let scene = Scene::new("pause_long", 200);
    let older = scene.holding("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM app.accounts");
    let run = scene.applying(&plan("", &[INDEX, MARK])).spawn();
    scene.wait_for_a_waiter();
    let out = scene.run("pause").expect_code(75).stderr_has("in the middle of one statement");
    let _ = out.stderr_has("it stays asked").stderr_has("index build");
    drop(older);
    let _ = run.wait().expect_code(75).stdout_has("paused by ");
    scene.no_wreck();
    assert!(!scene.has_column("app.accounts", "marked"));
    let _ = scene.run("resume").expect_code(0);
    scene.verified();
}

#[test]
fn a_lease_that_is_held_is_waited_for() {
    let scene = Scene::new("wait", 200);
    let holder = scene.holding("LOCK TABLE app.users IN SHARE MODE");
    let whole = plan(PATIENT, &[EXPAND]);
    let mut first = scene.applying(&whole).spawn();
    first.wait_stderr("no lock at attempt 1");
    let held = "another tenantmig holds the lease: ";
    let begun = Instant::now();
    let _ = scene.run("resume --wait 2s").expect_code(75).stderr_has(held);
    assert!(begun.elapsed() >= Duration::from_secs(2));
    let mut stopped = scene.tool().args(["rollback", "--to", "start", "--yes", "--wait", "1h"]).spawn();
    stopped.wait_stderr(held).signal(Signal::TERM);
    let _ = stopped.wait().expect_code(143);
    let mut stopped = scene.tool().args(["resume", "--wait", "1h"]).spawn();
    stopped.wait_stderr(held).signal(Signal::TERM);
    let _ = stopped.wait().expect_code(143);
    // A pause that comes while a resume waits comes after it.
    let mut waits = scene.tool().args(["resume", "--wait", "1h"]).spawn();
    waits.wait_stderr(held);
    let mut job = scene.applying(&whole).args(["--wait", "1h"]).spawn();
    job.wait_stderr(held);
    let _ = scene.run("pause --reason lunch").expect_code(0);
    let _ = first.wait().expect_code(75);
    let _ = waits.wait().expect_code(75).stderr_has("is paused by ").stderr_has("lunch");
    let _ = job.wait().expect_code(75).stderr_has("is paused by ").stderr_has("lunch");
    // One that waits for a run that is finished has nothing left to do.
    let mut first = scene.tool().args(["resume"]).spawn();
    first.wait_stderr("no lock at attempt 1");
    let mut job = scene.applying(&whole).args(["--wait", "1h"]).spawn();
    job.wait_stderr(held);
    drop(holder);
    let _ = first.wait().expect_code(0);
    let _ = job.wait().expect_code(0).stdout_has("nothing to do");
    scene.every_row_once();
}
