//! What is asked before an undo begins and after it: nothing is undone that a guard speaks against, and nobody takes a rollback
//! for done that `after_undo` doubts.

use crate::scene::{EXPAND, Scene, plan, with_plan};

const GUARD: &str = r#"
  [[phase.before_undo]]
  kind = "nulls"
  table = "app.users"
  columns = ["tenant_id"]
"#;

const CHECK: &str = r#"
  [[phase.after_undo]]
  kind = "nulls"
  table = "app.users"
  columns = ["note"]
"#;

/// A phase whose step fails, and asks for everything to be undone.
const FAILS: &str = r#"
[[phase]]
id = "fails"
on_failure = "rollback_all"
  [[phase.step]]
  kind = "assert"
  sql = "SELECT false"
"#;

pub const TENANCY: &str = r#"
[tenancy]
registry = { table = "app.accounts", key = "tenant_id", type = "uuid" }
column = "tenant_id"
setting = "app.tenant_id"
"#;

/// A key within a tenant, whose undo has a guard, and then FORCE.
const FORCED: &str = r#"
[[phase]]
id = "scope"
  [[phase.step]]
  kind = "scope_unique"
  table = "app.users"
  columns = ["email"]
[[phase]]
id = "enforce"
  [[phase.step]]
  kind = "enforce_rls"
  table = "app.users"
"#;

const NEW_USER: &str = "INSERT INTO app.users VALUES (1001, 1, 'new@example.org')";

#[test]
fn a_guard_refuses_a_rollback_before_anything_is_touched() {
    let scene = Scene::new("guards_refuse", 200);
    let _ = scene.apply(&plan("", &[&format!("{EXPAND}{GUARD}")])).expect_code(0);
    scene.db.sql(NEW_USER);
    let (before, events) = (scene.print(), scene.events());
    for words in ["--dry-run", "--dry-run --sql", "--yes", "--yes --allow-data-loss --accept-exposure"] {
        let run = scene.run(&format!("rollback --to start {words}")).expect_code(4);
        let _ = run.stderr_has("app.users.tenant_id is NULL").stderr_has("no option lets this pass");
    }
    let shown = scene.run("rollback --to start --dry-run --format json").expect_code(4).json();
    assert_eq!(shown["guards"][0]["phase"], "expand", "{shown:#}");
    assert_eq!(scene.events(), events, "a refused rollback leaves no event");
    scene.is_as(&before);
    scene.db.sql("UPDATE app.users SET tenant_id = gen_random_uuid() WHERE tenant_id IS NULL");
    let _ = scene.run("rollback --to start --yes").expect_code(0);
}

#[test]
fn a_failure_undoes_nothing_that_a_guard_speaks_against() {
    let scene = Scene::new("guards_hold", 200);
    scene.db.sql("ALTER TABLE app.users ADD COLUMN flag integer");
    let guard = GUARD.replace("tenant_id", "flag");
    let plan = plan("", &[&format!("{EXPAND}{guard}"), FAILS]);
    let run = scene.apply(&plan).expect_code(1);
    let _ = run.stdout_has("nobody agreed").stdout_has("app.users.flag").stderr_has("rollback --to start");
    assert!(scene.has_column("app.users", "tenant_id"), "something was undone");
    scene.stands("paused");
    // What it found is over: the same failure now undoes everything.
    scene.db.sql("UPDATE app.users SET flag = 1");
    let _ = scene.run("resume").expect_code(5);
    assert!(!scene.has_column("app.users", "tenant_id"));
    scene.verified();
}

#[test]
fn a_rollback_after_which_something_does_not_hold_is_no_success() {
    let scene = Scene::new("guards_after", 200);
    scene.db.sql("ALTER TABLE app.users ADD COLUMN note text");
    let plan = plan("", &[&format!("{EXPAND}{CHECK}"), FAILS]);
    // By itself, after a failure.
    let run = scene.apply(&plan).expect_code(3);
    let _ = run.stdout_has("after_undo").stdout_has("app.users.note").stderr_has("rollback --to start");
    assert!(!scene.has_column("app.users", "tenant_id"), "it is undone all the same");
    // Asked for again, it is measured again.
    let _ = scene.run("rollback --to start --yes").expect_code(3);
    assert_eq!(scene.status()["state"], "rolled back, with findings");
    scene.db.sql("UPDATE app.users SET note = 'x'");
    let _ = scene.run("rollback --to start --yes").expect_code(0);
    scene.stands("rolled back");
}

/// A guard of a phase before the one that FORCE came with: a plain owner can measure it once that phase is taken back.
#[test]
fn what_force_hides_from_the_owner_is_measured_after_force_is_gone() {
    let scene = Scene::new("guards_force", 50);
    let owner = scene.db.role("owner", "LOGIN NOBYPASSRLS");
    scene.db.sql(&format!(
        "ALTER TABLE app.users ADD UNIQUE (email); GRANT CREATE ON DATABASE {} TO {owner}; ALTER SCHEMA app OWNER TO {owner};
         ALTER TABLE app.users OWNER TO {owner}; ALTER TABLE app.accounts OWNER TO {owner}",
        scene.db.name()
    ));
    let before = scene.print();
    let tool = || scene.tool().url(&scene.db.url_as(&owner));
    let _ = with_plan(tool(), &plan("", &[TENANCY, EXPAND, FORCED])).run().expect_code(0);
    let back = |words: &str| tool().args(words.split_whitespace()).run();
    let confirm = format!("--confirm {}", scene.db.name());
    let run = back(&format!("rollback --to start --accept-exposure {confirm}")).expect_code(0);
    let _ = run.stderr_has("asked on the way, once row-level security is off app.users");
    scene.is_as(&before);
}
