//! Row-level security that stands already: a role that sees a part of the rows is refused, never given a silent 0 rows.

use crate::harness::Db;
use crate::scene::{EXPAND, Scene, plan, with_plan};

const POLICY: &str = "ALTER TABLE app.users ENABLE ROW LEVEL SECURITY; ALTER TABLE app.users FORCE ROW LEVEL SECURITY;
    CREATE POLICY nobody ON app.users USING (false)";

/// A role that owns everything in `app` and may create the ledger, and one that bypasses RLS on its behalf.
pub fn owners(db: &Db) -> (String, String) {
    let owner = db.role("owner", "LOGIN");
    let bypass = db.role("etl", &format!("LOGIN BYPASSRLS IN ROLE {owner}"));
    db.sql(&format!(
        "GRANT CREATE ON DATABASE {} TO {owner}; ALTER SCHEMA app OWNER TO {owner};
         ALTER TABLE app.users OWNER TO {owner}; ALTER TABLE app.accounts OWNER TO {owner}",
        db.name()
    ));
    (owner, bypass)
}

#[test]
fn a_plain_owner_under_force_is_refused_before_anything_is_touched() {
    let scene = Scene::new("force", 200);
    let (owner, bypass) = owners(&scene.db);
    scene.db.sql(POLICY);
    let before = scene.print();
    let whole = plan("", &[EXPAND]);
    let out = with_plan(scene.tool().url(&scene.db.url_as(&owner)), &whole).run().expect_code(77);
    let _ = out.stderr_has("app.users").stderr_has("nothing was touched").stderr_has("BYPASSRLS");
    scene.is_as(&before);
    assert!(!scene.db.one::<bool>("SELECT to_regnamespace('tenantmig') IS NOT NULL"), "a ledger was made");
    let _ = with_plan(scene.tool().url(&scene.db.url_as(&bypass)), &whole).run().expect_code(0);
    scene.every_row_once();
}

#[test]
fn a_parent_under_force_is_refused_as_well() {
    let scene = Scene::new("force_parent", 50);
    let (owner, _) = owners(&scene.db);
    scene.db.sql(&POLICY.replace("app.users", "app.accounts"));
    let out = with_plan(scene.tool().url(&scene.db.url_as(&owner)), &plan("", &[EXPAND])).run().expect_code(77);
    let _ = out.stderr_has("app.accounts").stderr_has("nothing was touched");
}

#[test]
fn force_that_comes_before_a_resume_rolls_the_phase_back() {
    let scene = Scene::new("force_late", 200);
    let (owner, bypass) = owners(&scene.db);
    let owners_url = scene.db.url_as(&owner);
    let (add, fill) = EXPAND.split_once("  [[phase.step]]\n  id = \"fill\"").unwrap();
    let fill = format!("[[phase]]\nid = \"second\"\n[[phase.step]]\nid = \"fill\"{fill}");
    let whole = plan("", &[add, &fill]);
    let tool = with_plan(scene.tool().url(&owners_url), &whole).args(["--to", "expand"]);
    let _ = tool.run().expect_code(0);
    scene.db.sql(POLICY);
    let before = scene.print();
    // Somebody changed what the plan touches, which is accepted.
    let _ = scene.tool().url(&owners_url).args(["resume"]).run().expect_code(4);
    let out = scene.tool().url(&owners_url).args(["resume", "--accept-drift"]).run().expect_code(5);
    let _ = out.stdout_has("42501").stdout_has("row-level security").stdout_has("BYPASSRLS").stdout_has("step `fill`");
    scene.has_event("failed");
    scene.is_as(&before);
    scene.stands("rolled back");
    assert!(scene.has_column("app.users", "tenant_id"));
    let _ = scene.tool().url(&scene.db.url_as(&bypass)).args(["resume"]).run().expect_code(0);
    scene.every_row_once();
}

#[test]
fn a_gate_that_this_role_cannot_measure_does_not_pass() {
    let scene = Scene::new("force_gate", 100);
    let (owner, _) = owners(&scene.db);
    let force = "[[phase]]\nid = \"force\"\n[[phase.step]]\nkind = \"enable_rls\"\ntable = \"app.users\"\n[[phase.step]]\nkind = \"force_rls\"\ntable = \"app.users\"\n[[phase.gate]]\nkind = \"nulls\"\ntable = \"app.users\"\ncolumns = [\"tenant_id\"]";
    let url = scene.db.url_as(&owner);
    let out = with_plan(scene.tool().url(&url), &plan("", &[EXPAND, force])).run().expect_code(5);
    let _ = out.stdout_has("gate").stdout_has("could not be measured").stdout_has("BYPASSRLS");
    assert!(
        !scene.db.one::<bool>(
            "SELECT relrowsecurity OR relforcerowsecurity FROM pg_class WHERE oid = 'app.users'::regclass"
        )
    );
}

#[test]
fn plan_says_of_a_plan_that_hides_its_own_rows_that_it_is_applied() {
    let scene = Scene::new("force_own", 50);
    let (owner, _) = owners(&scene.db);
    let url = scene.db.url_as(&owner);
    let whole = plan("", &[EXPAND]);
    let _ = with_plan(scene.tool().url(&url), &whole).run().expect_code(0);
    scene.db.sql(POLICY);
    let again = |words: &[&str]| {
        let tool = scene.tool().url(&url);
        tool.file("plan.toml", &whole);
        tool.args(words).run().expect_code(0)
    };
    let _ = again(&["plan", "plan.toml"]).stdout_has("applied here already");
    let _ = again(&["apply", "plan.toml", "--yes"]).stdout_has("nothing to do");
}

/// A backfill writes each partition by its own name, so the flags of a partition bind it as well.
#[test]
fn a_partition_of_a_partition_under_force_is_refused_as_well() {
    let scene = Scene::new("force_partition", 50);
    let (owner, _) = owners(&scene.db);
    scene.db.sql(&format!(
        "SET ROLE {owner};
         CREATE TABLE app.deals (id bigint, account_id bigint, day date, venue text) PARTITION BY RANGE (day);
         CREATE TABLE app.deals_2026 PARTITION OF app.deals FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')
             PARTITION BY LIST (venue);
         CREATE TABLE app.deals_2026_x PARTITION OF app.deals_2026 FOR VALUES IN ('X');
         INSERT INTO app.deals SELECT n, 1, '2026-02-01', 'X' FROM generate_series(1, 5000) n;
         ANALYZE app.deals_2026_x"
    ));
    let whole = plan("", &[&EXPAND.replace("app.users", "app.deals")]);
    // The rows are those of the leaves.
    let planned = scene.tool().url(&scene.db.url_as(&owner));
    planned.file("plan.toml", &whole);
    let _ = planned.args(["plan", "plan.toml"]).run().expect_code(0).stdout_has("~5,000");
    scene.db.sql("ALTER TABLE app.deals_2026_x ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY");
    let before = scene.print();
    let out = with_plan(scene.tool().url(&scene.db.url_as(&owner)), &whole).run().expect_code(77);
    let _ = out.stderr_has("app.deals_2026_x").stderr_has("nothing was touched");
    scene.is_as(&before);
}
