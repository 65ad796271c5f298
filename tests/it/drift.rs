//! What a plan touches must not be changed by others between two phases: the run stops with the difference, and nothing is touched.

use crate::harness::{Output, Tool, database};
use crate::scene::{EXPAND, Scene, plan, with_plan};

/// A second phase that works on what the first one made, with an index of the first.
const FIRST: &str = r#"
  [[phase.step]]
  kind = "create_index"
  table = "app.users"
  columns = ["tenant_id", "id"]
  name = "users_tenant"
"#;
const SECOND: &str = r#"
[[phase]]
id = "second"
  [[phase.step]]
  kind = "add_column"
  table = "app.users"
  column = "marked"
  type = "integer"
  [[phase.step]]
  kind = "create_index"
  table = "app.users"
  columns = ["marked"]
"#;

fn two_phases() -> String {
    plan("", &[EXPAND, FIRST, SECOND])
}

/// The first phase is applied; `others` is run; then the rest.
fn after(name: &str, others: &str) -> (Scene, Output) {
    let scene = Scene::new(name, 200);
    scene.db.sql("CREATE POLICY mine ON app.users USING (true)");
    let _ = with_plan(scene.tool(), &two_phases()).args(["--to", "expand"]).run().expect_code(0);
    scene.db.sql(others);
    let output = scene.run("resume");
    (scene, output)
}

#[test]
fn a_change_by_others_stops_the_run_with_the_difference() {
    let cases = [
        (
            "ALTER POLICY mine ON app.users USING (false)",
            "+ policy app.users.mine: PERMISSIVE FOR * TO PUBLIC USING false",
        ),
        ("CREATE POLICY open ON app.users USING (true)", "+ policy app.users.open"),
        ("DROP INDEX app.users_tenant", "- index app.users_tenant"),
        ("ALTER TABLE app.users DISABLE TRIGGER touch", "EXECUTE FUNCTION app.touch(), disabled"),
        ("ALTER TABLE app.users ALTER email TYPE varchar(200)", "- column app.users.email: text NOT NULL"),
        ("ALTER TABLE app.users ENABLE ROW LEVEL SECURITY", "+ table app.users row security: enabled"),
    ];
    for (number, (others, expect)) in cases.iter().enumerate() {
        let (scene, output) = after(&format!("drift_{number}"), others);
        let _ = output.expect_code(4).stdout_has("paused before phase `second`").stdout_has(expect);
        let marked: i64 = scene.db.one("SELECT count(*) FROM pg_attribute WHERE attname = 'marked'");
        assert_eq!(marked, 0, "{others}: nothing is touched");
        scene.stands("paused");
        let status = scene.run("status").expect_code(0).stdout_has(expect);
        let _ = status.stdout_has("tenantmig resume --accept-drift");
    }
}

#[test]
fn what_applications_and_jobs_do_is_no_drift() {
    let harmless = "ALTER TABLE app.users ADD COLUMN note text;
        CREATE INDEX ON app.users (email);
        INSERT INTO app.users (id, account_id, email, tenant_id) VALUES (100000, 1, 'new', '00000000-0000-0000-0000-000000000001');
        ANALYZE app.users;
        COMMENT ON TABLE app.users IS 'seen';
        ALTER TABLE app.users SET (fillfactor = 90);
        CREATE TABLE app.other (id int);
        GRANT SELECT ON app.users TO PUBLIC";
    let (scene, output) = after("drift_harmless", harmless);
    let _ = output.expect_code(0);
    scene.stands("completed");
}

#[test]
fn a_drift_is_accepted_by_name_or_put_back() {
    let (scene, output) = after("drift_accept", "CREATE POLICY open ON app.users USING (true)");
    let _ = output.expect_code(4);
    // A job that is tried again stays out as well.
    let _ = with_plan(scene.tool(), &two_phases()).run().expect_code(4).stdout_has("+ policy app.users.open");
    let _ = scene.run("resume --accept-drift").expect_code(0);
    scene.stands("completed");
    let _ = scene.run("verify").expect_code(0);
    scene.db.sql("ALTER POLICY open ON app.users USING (false)");
    let _ = scene
        .run("verify")
        .expect_code(3)
        .stdout_has("+ policy app.users.open: PERMISSIVE FOR * TO PUBLIC USING false");
    let event = "SELECT (event -> 'drift_accepted' ->> 'found') || actor::text FROM tenantmig.events WHERE kind = 'drift_accepted'";
    let accepted: String = scene.db.one(event);
    assert!(accepted.contains("+ policy app.users.open"), "{accepted}");

    let (scene, output) = after("drift_back", "CREATE POLICY open ON app.users USING (true)");
    let _ = output.expect_code(4);
    scene.db.sql("DROP POLICY open ON app.users");
    let _ = scene.run("resume").expect_code(0);
    // A rollback is not refused; it tells.
    scene.db.sql("CREATE POLICY open ON app.users USING (true)");
    let _ = scene.run("rollback --to expand --yes").expect_code(0).stderr_has("+ policy app.users.open");
    // It came to rest at the first phase, and that is the measure now.
    let _ = scene.run("status").expect_code(0).stdout_has("rolled back");
    let _ = with_plan(scene.tool(), &two_phases()).run().expect_code(0);
    scene.stands("completed");
}

/// A crash between the last gate and the print leaves none, or one of before: neither is a drift.
#[test]
fn a_print_that_is_missing_or_of_another_version_is_no_drift() {
    for (name, others) in [
        ("drift_crash", "DELETE FROM tenantmig.phase_prints"),
        ("drift_upgrade", "UPDATE tenantmig.phase_prints SET format = 999, lines = '{\"new\": 1}'"),
        ("drift_server", "UPDATE tenantmig.phase_prints SET server = 9"),
    ] {
        let (scene, output) = after(name, &format!("{others}; CREATE POLICY open ON app.users USING (true)"));
        let _ = output.expect_code(0);
        scene.stands("completed");
        // After the last phase one print is in force again.
        let in_force: String =
            scene.db.one("SELECT string_agg(phase, ',') FROM tenantmig.phase_prints WHERE spent_at IS NULL");
        assert_eq!(in_force, "second");
    }
}

#[test]
fn a_new_partition_below_a_protected_parent_must_be_protected() {
    let db = database("drift_partition");
    db.sql(
        "CREATE SCHEMA app; CREATE TABLE app.parts (id int, at date) PARTITION BY RANGE (at);
         CREATE TABLE app.parts_1 PARTITION OF app.parts FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
         CREATE TABLE app.loose (id int, at date) PARTITION BY RANGE (at);",
    );
    let text = r#"
format = 1
name = "parts"
[[phase]]
id = "protect"
step = [{ kind = "enable_rls", table = "app.parts" }, { kind = "add_column", table = "app.loose", column = "a", type = "int" }]
[[phase]]
id = "second"
step = [{ kind = "add_column", table = "app.loose", column = "b", type = "int" }]
"#;
    let tool = || Tool::new(&db);
    let _ = with_plan(tool(), text).args(["--to", "protect"]).run().expect_code(0);
    db.sql("CREATE TABLE app.loose_1 PARTITION OF app.loose FOR VALUES FROM ('2026-01-01') TO ('2026-02-01'); DROP TABLE app.parts_1");
    db.sql("CREATE TABLE app.parts_2 PARTITION OF app.parts FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')");
    let stopped = tool().args(["resume"]).run().expect_code(4);
    let stopped =
        stopped.stdout_has("+ table app.parts_2: new, without row-level security, which its parent app.parts has");
    assert!(!stopped.stdout.contains("loose") && !stopped.stdout.contains("parts_1"), "{stopped}");
    db.sql("ALTER TABLE app.parts_2 ENABLE ROW LEVEL SECURITY");
    let _ = tool().args(["resume"]).run().expect_code(0);
}
