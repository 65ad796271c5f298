//! `throttle`: what an operator asks from any host is taken by whoever works on the run, and told with who and when.

use std::time::Duration;

use serde_json::json;
use tenantmig::{
    ledger::{self, Answer, Place, Wish},
    plan::{Millis, Tuning},
    sql::Ident,
};
use uuid::Uuid;

use crate::harness::{Output, Tool};
use crate::scene::{EXPAND, MARK, Scene, plan};

/// Each batch takes a while for as long as `app.brake` has a row; without one a batch is as fast as ever.
pub const BRAKE: &str = "CREATE TABLE app.brake (on_ boolean);
    INSERT INTO app.brake VALUES (true);
    CREATE FUNCTION app.slow() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF EXISTS (SELECT FROM app.brake) THEN PERFORM pg_sleep(0.1); END IF; RETURN NULL; END $$;
    CREATE TRIGGER slow BEFORE UPDATE ON app.users FOR EACH STATEMENT EXECUTE FUNCTION app.slow();";
pub const GO: &str = "DELETE FROM app.brake";

pub const FILL_RUNS: &str =
    "SELECT EXISTS (SELECT FROM tenantmig.migration_progress WHERE unit LIKE 'expand/fill/%' AND status = 'running')";

/// What `throttle` says that a role needs.
pub fn grant(scene: &Scene, role: &str) {
    scene.db.sql(&format!(
        "GRANT USAGE ON SCHEMA tenantmig TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA tenantmig TO {role};
         GRANT INSERT (run_id, host, kind, body) ON tenantmig.requests TO {role}"
    ));
}

/// A plan of two phases of which the first is applied: half a run, on which nobody works.
pub fn half(name: &str) -> Scene {
    let scene = Scene::new(name, 200);
    let _ = scene.applying(&plan("", &[EXPAND, MARK])).args(["--to", "expand"]).run().expect_code(0);
    scene
}

#[track_caller]
fn throttle(scene: &Scene, role: &str, options: &[&str]) -> Output {
    Tool::new(&scene.db).url(&scene.db.url_as(role)).args(["throttle"]).args(options).run()
}

/// The newest event of the kind, as the ledger keeps it.
#[track_caller]
fn retuned(scene: &Scene) -> serde_json::Value {
    let newest =
        "SELECT (event->'retuned')::text FROM tenantmig.events WHERE kind = 'retuned' ORDER BY number DESC LIMIT 1";
    let kept: String = scene.db.one(newest);
    serde_json::from_str(&kept).unwrap()
}

#[test]
fn a_backfill_under_way_takes_what_another_role_asks() {
    let scene = Scene::new("throttle", 20_000);
    scene.db.sql(BRAKE);
    let dba = scene.db.role("dba", "LOGIN");
    let run = scene.applying(&plan("", &[EXPAND, MARK])).spawn();
    scene.wait_until("SELECT to_regclass('tenantmig.migration_progress') IS NOT NULL");
    scene.wait_until(FILL_RUNS);
    grant(&scene, &dba);
    let out = throttle(&scene, &dba, &["--target-batch", "20ms", "--workers", "3"]).expect_code(0);
    let out = out.stdout_has("request 1: target batch 20ms, 3 workers").stdout_has("taken by apply by ");
    let out = out.stdout_has(", pid ").stdout_has("takes effect with the next batch");
    assert!(scene.db.one::<bool>(FILL_RUNS), "it was taken only when the backfill was over");
    scene.wait_until(
        "SELECT bool_or(pace->>'workers' = '3' AND pace->>'target_batch_ms' = '20') FROM tenantmig.migration_progress",
    );
    let shown = scene.run("status").expect_code(0).stdout_has("\n           3 workers, batches of 20 ms in ");
    let _ = shown.stdout_has(&format!("retuned by {dba} on ")).stdout_has(": target batch 20ms, 3 workers");
    let (number, event): (i64, i64) = (
        scene.db.one("SELECT number FROM tenantmig.events WHERE kind = 'retuned'"),
        scene.db.one("SELECT event FROM tenantmig.requests WHERE request_id = 1"),
    );
    assert_eq!(number, event);
    let _ = out.stdout_has(&format!("as event {number};"));
    shows_both_words(&scene, &dba);
    let kept = retuned(&scene);
    assert_eq!(
        (&kept["by"], &kept["tuning"]),
        (&json!(dba), &json!({ "target_batch": "20ms", "workers": 3 })),
        "{kept}"
    );
    let asked: bool = scene.db.one(&format!(
        "SELECT date_trunc('second', asked_at) = '{}'::timestamptz FROM tenantmig.requests WHERE request_id = 1",
        kept["asked_at"].as_str().unwrap()
    ));
    assert!(asked, "{kept}");
    let status = scene.status();
    assert_eq!((&status["retuned"][0]["by"], &status["retuned"][0]["tuning"]["workers"]), (&json!(dba), &json!(3)));
    scene.db.sql(GO);
    let out = run.wait().expect_code(0);
    let _ = out.stderr_has(&format!("{dba} on ")).stderr_has("changed the pace: target batch 20ms, 3 workers");
    scene.every_row_once();
    scene.stands("completed");
    scene.verified();
    // Over: there is nothing whose pace could change, and the record stays.
    let _ = throttle(&scene, &dba, &["--workers", "1"]).expect_code(4).stderr_has("no backfill is left");
    assert_eq!(scene.db.one::<i64>("SELECT count(*) FROM tenantmig.requests"), 1);
    let _ = throttle(&scene, &dba, &[]).expect_code(0).stdout_has("20ms").stdout_has(&dba);
}

#[test]
fn a_backfill_that_is_held_stands_still_until_it_is_released() {
    let scene = Scene::new("throttle_hold", 20_000);
    scene.db.sql(BRAKE);
    let dba = scene.db.role("dba", "LOGIN");
    let run = scene.applying(&plan("", &[EXPAND])).spawn();
    scene.wait_until("SELECT to_regclass('tenantmig.migration_progress') IS NOT NULL");
    scene.wait_until(FILL_RUNS);
    grant(&scene, &dba);
    let _ = throttle(&scene, &dba, &["--hold", "month end"]).expect_code(0).stdout_has("held: month end");
    scene.wait_until("SELECT EXISTS (SELECT FROM tenantmig.events WHERE kind = 'throttled')");
    let shown = scene.run("status").expect_code(0).stdout_has("\n           waits since ").stdout_has(": month end");
    let shown = shown.stdout_has(&format!("held by {dba} on ")).stdout_has("tenantmig throttle --release");
    assert!(!shown.stdout.contains("rows/s") && !shown.stdout.contains(" left"), "{shown}");
    assert_eq!(scene.status()["hold"], "month end");
    // The batches that were under way when it was held are over: the event came a second later.
    let rows = || scene.db.one::<i64>("SELECT count(*) FROM app.users WHERE tenant_id IS NOT NULL");
    let before = rows();
    assert!(before < 20_000, "the backfill was over before it was held");
    scene.db.sql(GO);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(rows(), before, "rows were written while it was held");
    let _ = throttle(&scene, &dba, &["--release"]).expect_code(0).stdout_has("no longer held");
    let out = run.wait().expect_code(0).stderr_has(&format!("{dba} on ")).stderr_has("holds the backfills: month end");
    let _ = out
        .stderr_has("waits: an operator holds the backfills: month end")
        .stderr_has("lets the backfills go on")
        .stderr_has("goes on after a wait of ");
    scene.has_event("unthrottled");
    assert!(scene.status()["hold"].is_null());
    scene.every_row_once();
    scene.stands("completed");
}

#[track_caller]
fn shows_both_words(scene: &Scene, dba: &str) {
    let shown = throttle(scene, dba, &["--format", "json"]).expect_code(0).json();
    let settings = &shown["settings"];
    let value = |name: &str, of: &str| settings[name][of].clone();
    assert_eq!((value("workers", "in_force"), value("workers", "plan")), (json!(3), json!(null)), "{shown:#}");
    assert_eq!((value("target_batch", "in_force"), value("target_batch", "plan")), (json!("20ms"), json!("50ms")));
    assert_eq!((&settings["target_batch"]["changed"]["by"], &shown["open"]), (&json!(dba), &json!([])), "{shown:#}");
    assert_eq!((value("hold", "changed"), value("hold", "in_force")), (json!(null), json!(null)), "{shown:#}");
}

#[test]
fn what_is_asked_while_nobody_works_counts_from_the_next_resume() {
    let scene = half("throttle_rest");
    let dba = scene.db.role("dba", "LOGIN");
    grant(&scene, &dba);
    // One that was killed holds the lease by name alone.
    scene.db.sql(
        "UPDATE tenantmig.lease SET holder = gen_random_uuid(), expires_at = now() + interval '1 hour', backend_pid = 0",
    );
    let out = throttle(&scene, &dba, &["--max-replica-lag", "5s", "--hold", "month end"]).expect_code(0);
    let _ = out
        .stdout_has("request 1: replica lag up to 5s, held: month end")
        .stdout_has("counts from the next apply or resume");
    // From another host, by the ledger's table alone.
    let ask = "INSERT INTO tenantmig.requests (run_id, host, kind, body) SELECT run_id, 'host2', 'retune', '{\"hold\": null, \"workers\": 2}' FROM tenantmig.runs";
    scene.db.sql_as(&dba, ask).unwrap();
    let out = throttle(&scene, &dba, &[]).expect_code(0).stdout_has("not taken yet: request 1 by ");
    let _ = out
        .stdout_has("not taken yet: request 2 by ")
        .stdout_has(" on host2 at ")
        .stdout_has("2 workers, no longer held");
    let out = scene.run("resume").expect_code(0).stderr_has("holds the backfills: month end");
    let _ = out.stderr_has(&format!("{dba} on host2 changed the pace: 2 workers; and lets the backfills go on"));
    let kept = retuned(&scene);
    assert_eq!((&kept["by"], &kept["host"]), (&json!(dba), &json!("host2")), "{kept}");
    assert_eq!(scene.db.one::<i64>("SELECT count(*) FROM tenantmig.requests WHERE event IS NULL"), 0);
    let out = throttle(&scene, &dba, &[]).expect_code(0).stdout_has("max-replica-lag").stdout_has("5s");
    assert!(!out.stdout.contains("not taken yet"), "{out}");
    let shown = throttle(&scene, &dba, &["--format", "json"]).expect_code(0).json();
    assert_eq!(shown["settings"]["hold"]["in_force"], json!(null), "{shown:#}");
    assert_eq!(shown["settings"]["max_replica_lag"]["in_force"], "5000ms", "{shown:#}");
}

#[test]
fn one_that_works_on_a_long_statement_is_named_and_takes_it_later() {
    let scene = Scene::new("throttle_late", 50);
    let holder = scene.holding("LOCK TABLE app.users IN SHARE MODE");
    let run = scene.applying(&plan("lock_timeout = \"60s\"\nlock_retries = 1", &[EXPAND])).spawn();
    scene.wait_for_a_waiter();
    let out = scene.run("throttle --workers 2").expect_code(75).stderr_has("request 1: 2 workers");
    let _ = out.stderr_has("has not taken it within 10 s").stderr_has("it stays asked").stderr_has("tenantmig status");
    status_shows_the_pace_that_the_driver_wrote(&scene);
    drop(holder);
    let _ = run.wait().expect_code(0).stderr_has("changed the pace: 2 workers");
    assert!(scene.db.one::<bool>("SELECT event IS NOT NULL FROM tenantmig.requests"));
    scene.stands("completed");
}

/// The unit that waits for its lock is no backfill, so no driver writes a pace there.
#[track_caller]
fn status_shows_the_pace_that_the_driver_wrote(scene: &Scene) {
    let write = |pace: &str| {
        scene.db.sql(&format!("UPDATE tenantmig.migration_progress SET pace = '{pace}' WHERE status = 'running'"));
    };
    write(
        r#"{"workers": 2, "target_batch_ms": 50, "mode": "8 stripes of 512 blocks", "state": "going", "signal": null, "why": null,
            "since": "2026-01-01T14:02:11Z", "governing": {"signal": "replica lag", "measured": "2.1 s", "limit": "10 s", "percent": 21}, "rows_per_second": 1234.5}"#,
    );
    scene.db.sql("UPDATE tenantmig.migration_progress SET rows_estimated = 24690 WHERE status = 'running'");
    let _ = scene.run("status").expect_code(0).stdout_has("1,230 rows/s, about 20 s left").stdout_has(
        "\n           2 workers, batches of 50 ms in 8 stripes of 512 blocks; governed by replica lag: 2.1 s of 10 s\n",
    );
    let governing = scene.status()["units"][0]["pace"]["governing"]["percent"].clone();
    assert_eq!(governing, 21);
    write(
        r#"{"workers": 2, "target_batch_ms": 50, "mode": "x", "state": "waiting", "signal": "replica lag",
            "why": "replica app_replica is 12.3 s behind (limit 10 s)", "since": "2026-01-01T14:02:11.25+00:00", "governing": null}"#,
    );
    let _ = scene.run("status").expect_code(0).stdout_has(
        "\n           waits since 2026-01-01 14:02:11 UTC for replica lag: replica app_replica is 12.3 s behind (limit 10 s)\n",
    );
    // What another version wrote is not a reason to fail.
    write(r#"{"of": "a later version"}"#);
    let _ = scene.run("status").expect_code(0).stdout_has("running");
}

#[test]
fn a_role_without_the_privilege_is_told_what_to_grant() {
    let scene = half("throttle_grant");
    let dba = scene.db.role("dba", "LOGIN");
    let out = throttle(&scene, &dba, &["--workers", "2"]).expect_code(77).stderr_has("42501");
    let text = out.stderr.replace('\n', " ");
    let grants = &text[text.find("GRANT").expect("it says what to grant")..];
    scene.db.sql(grants);
    let _ = throttle(&scene, &dba, &["--workers", "2"]).expect_code(0).stdout_has("request 1: 2 workers");
    assert_eq!(scene.db.one::<String>("SELECT actor FROM tenantmig.requests"), dba);
    // That and no more: neither in another's name nor an event by itself.
    for statement in [
        "INSERT INTO tenantmig.requests (run_id, host, kind, body, actor) SELECT run_id, 'h', 'retune', '{}', 'boss' FROM tenantmig.runs",
        "UPDATE tenantmig.requests SET event = 1",
        "INSERT INTO tenantmig.events SELECT * FROM tenantmig.events",
        "UPDATE tenantmig.lease SET epoch = epoch + 1",
    ] {
        assert!(scene.db.sql_as(&dba, statement).unwrap_err().contains("42501"), "{statement}");
    }
    // One that may look and not ask.
    let guest = scene.db.role("guest", "LOGIN");
    grant(&scene, &guest);
    scene.db.sql(&format!("REVOKE INSERT (run_id, host, kind, body) ON tenantmig.requests FROM {guest}"));
    let _ = throttle(&scene, &guest, &[]).expect_code(0).stdout_has("target-batch");
    let _ = throttle(&scene, &guest, &["--release"]).expect_code(77).stderr_has("GRANT INSERT");
}

#[test]
fn a_request_that_cannot_be_taken_stops_nothing() {
    let scene = half("throttle_bad");
    for (kind, body) in [("retune", r#"{"workers": 1000}"#), ("retune", r#"{"speed": 1}"#), ("retune", "{}")] {
        scene.db.sql(&format!(
            "INSERT INTO tenantmig.requests (run_id, host, kind, body) SELECT run_id, 'host2', '{kind}', '{body}' FROM tenantmig.runs"
        ));
    }
    let _ = throttle_as_owner(&scene, "--format json");
    let out = scene.run("resume").expect_code(0).stderr_has("request 1 by ").stderr_has("1 to 64 workers");
    let _ = out.stderr_has("request 2 by ").stderr_has("speed").stderr_has("it asks for nothing");
    assert_eq!(
        scene.db.one::<i64>("SELECT count(*) FROM tenantmig.requests WHERE refused IS NOT NULL AND event IS NULL"),
        3
    );
    assert_eq!(scene.db.one::<i64>("SELECT count(*) FROM tenantmig.events WHERE kind = 'retuned'"), 0);
    scene.stands("completed");
}

#[test]
fn a_request_that_somebody_holds_keeps_nobody_waiting() {
    let scene = half("throttle_held");
    let _ = scene.run("throttle --workers 2").expect_code(0);
    let holder = scene.holding("SELECT FROM tenantmig.requests FOR UPDATE");
    let _ = scene.run("resume --format json").expect_code(0);
    drop(holder);
    scene.stands("completed");
    assert!(scene.db.one::<bool>("SELECT event IS NULL AND refused IS NULL FROM tenantmig.requests"));
}

#[track_caller]
fn throttle_as_owner(scene: &Scene, words: &str) -> serde_json::Value {
    scene.run(&format!("throttle {words}")).expect_code(0).json()
}

#[test]
fn its_json_says_what_became_of_the_request() {
    let scene = half("throttle_json");
    for format in ["json", "ndjson"] {
        let asked = throttle_as_owner(&scene, &format!("--workers 2 --format {format}"));
        assert_eq!(
            (&asked["v"], &asked["outcome"], &asked["exit"]),
            (&json!(1), &json!("kept"), &json!(0)),
            "{asked:#}"
        );
        assert_eq!((&asked["tuning"], &asked["event"]), (&json!({ "workers": 2 }), &json!(null)), "{asked:#}");
        assert!(asked["request"].is_i64() && asked["run"].is_string(), "{asked:#}");
    }
    let shown = throttle_as_owner(&scene, "--format json");
    assert_eq!(shown["open"].as_array().unwrap().len(), 2, "{shown:#}");
    assert_eq!((&shown["v"], &shown["open"][0]["tuning"]["workers"]), (&json!(1), &json!(2)), "{shown:#}");
}

#[test]
fn values_are_judged_as_in_a_plan() {
    for (options, says) in [
        ("--workers 0", "1..=64"),
        ("--workers 65", "1..=64"),
        ("--target-batch 0ms", "1ms to 10s"),
        ("--target-batch 11s", "1ms to 10s"),
        ("--target-batch fast", "not a length of time"),
        ("--max-replica-lag 0s", "limit of zero"),
        ("--max-wal-rate 0B", "limit of zero"),
        ("--max-wal-rate 50parsec", "not an amount of bytes"),
        ("--max-active-sessions 0", "--max-active-sessions"),
        ("--hold x --release", "cannot be used with"),
        ("--run x", "identifier of a run"),
    ] {
        let out = Tool::without_database().args(["throttle"]).args(options.split(' ')).run().expect_code(64);
        let _ = out.stderr_has(says).stderr_has("--help");
    }
    let _ = Tool::without_database()
        .args(["throttle", "--hold", " "])
        .run()
        .expect_code(64)
        .stderr_has("1 to 200 characters");
}

#[test]
fn a_units_rows_are_those_of_its_ranges_where_they_are_more() {
    let scene = half("throttle_rows");
    let unit: String = scene.db.one("SELECT unit FROM tenantmig.migration_progress WHERE unit LIKE 'expand/fill/%'");
    let rows = |scene: &Scene| {
        let status = scene.status();
        let units = status["units"].as_array().unwrap().clone();
        units.iter().find(|u| u["unit"] == unit.as_str()).unwrap()["rows_done"].as_i64().unwrap()
    };
    assert_eq!(rows(&scene), 200);
    let range = |number: u32, rows: u32| {
        scene.db.sql(&format!(
            "INSERT INTO tenantmig.backfill_ranges (run_id, unit, sweep, number, heap, lo, hi, stripes, rows_done)
             SELECT run_id, '{unit}', 90, {number}, 'app.users', 0, 1, 1, {rows} FROM tenantmig.runs"
        ));
    };
    range(1, 3);
    let sum = || scene.db.one::<i64>("SELECT sum(rows_done)::bigint FROM tenantmig.backfill_ranges");
    assert_eq!(rows(&scene), sum().max(200));
    range(2, 500);
    assert_eq!(rows(&scene), sum());
    assert!(sum() >= 503);
    // The pace of a driver that is gone says nothing about now.
    scene.db.sql(
        r#"UPDATE tenantmig.migration_progress SET status = 'running',
            pace = '{"workers": 2, "target_batch_ms": 50, "mode": "stripes", "state": "going", "since": "2026-01-01T00:00:00Z"}'"#,
    );
    let _ = scene.run("status").expect_code(0).nowhere_has("batches of");
}

#[tokio::test]
async fn each_request_is_answered_once() {
    let scene = half("throttle_ledger");
    let client = scene.db.client().await;
    let schema = Ident::new("tenantmig").unwrap();
    let run: Uuid = client.query_one("SELECT run_id FROM tenantmig.runs", &[]).await.unwrap().get(0);
    let place = Place { schema: schema.clone(), run, holder: Uuid::nil(), epoch: 0, host: "here".to_owned() };
    let wish = |ms: u64| Wish::Retune(Tuning { target_batch: Some(Millis(ms)), ..Tuning::default() });
    let mut ids = Vec::new();
    for ms in [10, 20, 30] {
        ids.push(ledger::ask(&client, &schema, run, "host2", &wish(ms)).await.unwrap());
    }
    let open = async || ledger::open_requests(&client, &schema, run).await.unwrap();
    let found = open().await;
    assert_eq!(found.iter().map(|r| r.id).collect::<Vec<_>>(), ids);
    assert_eq!((&found[1].wish, found[1].host.as_str()), (&Ok(wish(20)), "host2"));
    assert!(found[1].asked_at.ends_with('Z'), "{}", found[1].asked_at);
    assert!(ledger::open_requests(&client, &schema, Uuid::nil()).await.unwrap().is_empty());
    ledger::taken(&client, &place, ids[1], 7).await.unwrap();
    ledger::refuse(&client, &place, ids[0], "because").await.unwrap();
    // What was answered keeps its answer.
    ledger::refuse(&client, &place, ids[1], "too late").await.unwrap();
    ledger::taken(&client, &place, ids[1], 8).await.unwrap();
    assert_eq!(open().await.iter().map(|r| r.id).collect::<Vec<_>>(), ids[2..]);
    let answer = async |id: i64| ledger::answer(&client, &schema, id).await.unwrap();
    assert_eq!(answer(ids[0]).await, Some(Answer::Refused("because".to_owned())));
    assert_eq!((answer(ids[1]).await, answer(ids[2]).await), (Some(Answer::Event(7)), None));
    // A holder reads no more than so many at once, whoever floods it.
    let flood = "INSERT INTO tenantmig.requests (run_id, host, kind, body) SELECT run_id, 'h', 'retune', '{\"workers\": 1}' FROM tenantmig.runs, generate_series(1, 300)";
    client.batch_execute(flood).await.unwrap();
    assert_eq!(open().await.len(), 100);
}
