//! The gate `isolation`, which `enforce_rls` brings: a leak takes the enforcing back, and what cannot be asked is refused before
//! anything is touched.

use super::verify::Scene;
use crate::harness::cluster;

const PROTECTED: &str = "SELECT relrowsecurity OR relforcerowsecurity FROM pg_class WHERE oid = 'app.notes'::regclass";

impl Scene {
    fn is_protected(&self) -> bool {
        self.db.one(PROTECTED)
    }
}

#[test]
fn a_leak_takes_the_enforcing_back() {
    let scene = Scene::new("gate_leak");
    scene.db.sql_as(&scene.owner, "CREATE POLICY support ON app.notes FOR SELECT USING (true)").unwrap();
    let tool = scene.tool();
    let plan = scene.plan().replace("table = \"app.notes\"\n", "table = \"app.notes\"\nfloor = false\n");
    tool.file("open.toml", &plan);
    let out = tool.args(["apply", "open.toml", "--yes"]).run().expect_code(5);
    let _ = out.stdout_has("P4 rows of a tenant that does not exist").stdout_has("keeps its tenants apart");
    assert!(!scene.is_protected());
    // With the floor, which is there by default, the same policy opens nothing.
    let tool = scene.tool();
    tool.file("closed.toml", &scene.plan().replace("name = \"isolation\"", "name = \"closed\""));
    let _ = tool.args(["apply", "closed.toml", "--yes"]).run().expect_code(0).stderr_has("keeps its tenants apart");
    assert!(scene.is_protected());
}

#[test]
fn what_cannot_be_asked_is_refused_before_anything_is_touched() {
    let scene = Scene::new("gate_unasked");
    scene.db.sql(&format!("REVOKE {} FROM {}", scene.app, scene.owner));
    let refused = || scene.tool().args(["apply", "plan.toml", "--yes"]).run().expect_code(77);
    let _ = refused()
        .stderr_has(&format!("GRANT {} TO {}", scene.app, scene.owner))
        .stderr_has("TENANTMIG_APP_URL")
        .stderr_has("nothing was touched");
    assert!(!scene.db.one::<bool>("SELECT to_regnamespace('tenantmig') IS NOT NULL"), "a ledger was made");
    if cluster().binaries().major() >= 16 {
        scene.db.sql(&format!("GRANT {} TO {} WITH SET FALSE", scene.app, scene.owner));
        let _ = refused().stderr_has("may not SET ROLE");
    }
    let url = scene.db.url_as(&scene.app);
    let _ = scene.tool().env("TENANTMIG_APP_URL", url).args(["apply", "plan.toml", "--yes"]).run().expect_code(0);
    assert!(scene.is_protected());
}

const FIRST: &str = "[[phase]]\nid = \"first\"\n[[phase.step]]\nkind = \"sql\"\nup = \"SELECT 1\"\ndown = \"SELECT 1\"\n[[phase]]\nid = \"enforce\"";

/// A membership that goes away while the run rests: resume looks before it goes on, as apply did before it began.
#[test]
fn what_cannot_be_asked_any_more_is_refused_before_anything_goes_on() {
    let scene = Scene::new("gate_gone");
    let tool = scene.tool();
    tool.file("two.toml", &scene.plan().replace("[[phase]]\nid = \"enforce\"", FIRST));
    let _ = tool.args(["apply", "two.toml", "--yes", "--to", "first"]).run().expect_code(0);
    scene.db.sql(&format!("REVOKE {} FROM {}", scene.app, scene.owner));
    let events = || scene.db.one::<i64>("SELECT count(*) FROM tenantmig.events");
    let before = events();
    let refused = scene.tool().args(["resume"]).run().expect_code(77);
    let _ = refused.stderr_has("error[TM0307]").stderr_has("may not SET ROLE").stderr_has("nothing was changed");
    assert!(!scene.is_protected() && events() == before);
    let lease = scene.tool().args(["status", "--json"]).run().json()["lease"]["alive"].clone();
    assert_ne!(lease, true, "the lease was given back");
    scene.db.sql(&format!("GRANT {} TO {}", scene.app, scene.owner));
    let _ = scene.tool().args(["resume"]).run().expect_code(0);
    assert!(scene.is_protected());
    // What is over is not asked for again.
    scene.db.sql(&format!("REVOKE {} FROM {}", scene.app, scene.owner));
    let _ = scene.tool().args(["resume"]).run().expect_code(0);
}

/// One that goes away while the run works: the gate does not pass.
#[test]
fn what_cannot_be_asked_any_more_does_not_pass() {
    let scene = Scene::new("gate_late");
    let tool = scene.tool();
    let waits = FIRST.replace("id = \"enforce\"", "id = \"enforce\"\napprove_within = \"1h\"");
    tool.file("two.toml", &scene.plan().replace("[[phase]]\nid = \"enforce\"", &waits));
    let run = tool.args(["apply", "two.toml", "--yes"]).spawn();
    let status = || scene.tool().args(["status", "--json"]).run().json();
    for _ in 0..200 {
        if status()["waits"] == "for: tenantmig approve enforce" {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    scene.db.sql(&format!("REVOKE {} FROM {}", scene.app, scene.owner));
    let _ = scene.tool().args(["approve", "enforce"]).run().expect_code(0);
    let out = run.wait().expect_code(5);
    let _ = out.stdout_has("could not be measured").stdout_has("may not SET ROLE");
    assert!(!scene.is_protected());
}

/// A plain owner whose registry is protected as well: to him all rows are hidden, and the gate finds a tenant all the same.
#[test]
fn an_owner_to_whom_all_is_hidden_finds_a_tenant() {
    let scene = Scene::new("gate_hidden");
    let registry = "[[phase.step]]\nkind = \"enforce_rls\"\ntable = \"app.orgs\"\ncolumn = \"id\"\n";
    let tool = scene.tool();
    tool.file("all.toml", &format!("{}{registry}", scene.plan()));
    let out = tool.args(["apply", "all.toml", "--yes"]).run().expect_code(0);
    assert!(!out.stderr.contains("no tenant is known"), "{}", out.stderr);
    let _ = out.stderr_has("app.empty").stderr_has("the table has no row");
    assert!(scene.db.one::<bool>("SELECT relforcerowsecurity FROM pg_class WHERE oid = 'app.orgs'::regclass"));
    // `verify` takes no lock for it, and says what it could not try.
    let _ = scene.tool().args(["verify"]).run().expect_code(0).stdout_has("no tenant is known that has rows");
}
