//! A plain owner under FORCE sees no rows to count: a guard that the rollback itself can lift that from is put off, and asked
//! right before what it guards. What it finds then pauses the run, and nothing that it guards is undone.

use crate::{
    force_rls::owners,
    harness::{Output, Signal, Tool},
    scene::{EXPAND, Scene, plan, with_plan},
};

/// Nothing but the application fills it.
const COLUMN: &str = r#"
[[phase]]
id = "expand"
  [[phase.step]]
  kind = "add_column"
  table = "app.users"
  column = "tenant_id"
  type = "uuid"
"#;

const SCOPE: &str = r#"
[[phase]]
id = "scope"
  [[phase.step]]
  kind = "scope_unique"
  table = "app.users"
  columns = ["email"]
  column = "tenant_id"
"#;

const ENFORCE: &str = r#"
[[phase]]
id = "enforce"
  [[phase.step]]
  kind = "enable_rls"
  table = "app.users"
  [[phase.step]]
  kind = "force_rls"
  table = "app.users"
"#;

const FAILS: &str = r#"
[[phase]]
id = "fails"
on_failure = "rollback_all"
  [[phase.step]]
  kind = "assert"
  sql = "SELECT false"
"#;

/// The address of another tenant's user.
const TWICE: &str = "INSERT INTO app.users (id, account_id, email, tenant_id)
    SELECT 1001, 1, 'user1@example.org', tenant_id FROM app.accounts WHERE id = 1";
const MENDED: &str = "DELETE FROM app.users WHERE id = 1001";
const OFF: &str = "ROW-LEVEL SECURITY IS OFF app.users";
const FORCED: &str = "SELECT relforcerowsecurity FROM pg_class WHERE oid = 'app.users'::regclass";

/// The scene, worked on by the plain owner.
struct Stage {
    scene: Scene,
    url: String,
    /// Of a member of the owner that sees all rows.
    bypass: String,
}

impl Stage {
    fn new(name: &str) -> Self {
        let scene = Scene::new(name, 100);
        scene.db.sql("ALTER TABLE app.users ADD UNIQUE (email)");
        let (owner, bypass) = owners(&scene.db);
        let [url, bypass] = [owner, bypass].map(|role| scene.db.url_as(&role));
        Self { scene, url, bypass }
    }

    fn tool(&self) -> Tool {
        self.scene.tool().url(&self.url)
    }

    #[track_caller]
    fn apply(&self, plan: &str, words: &str) -> Output {
        with_plan(self.tool(), plan).args(words.split_whitespace()).run()
    }

    #[track_caller]
    fn run(&self, words: &str) -> Output {
        self.tool().args(words.split_whitespace()).run()
    }

    fn back(&self) -> String {
        format!("rollback --to start --confirm {}", self.scene.db.name())
    }

    /// Enforcement is off, and what the guard guards stands.
    #[track_caller]
    fn waits_at_the_guard(&self) {
        assert!(!self.scene.db.one::<bool>(FORCED));
        assert!(self.scene.has_column("app.users", "tenant_id"));
        self.scene.stands("paused");
        self.scene.has_event("guard_asked");
    }

    #[track_caller]
    fn asked(&self, what: &str) -> Option<String> {
        let last = "FROM tenantmig.events WHERE kind = 'guard_asked' ORDER BY number DESC LIMIT 1";
        self.scene.db.one(&format!("SELECT event -> 'guard_asked' {what} {last}"))
    }
}

#[test]
fn an_address_of_two_tenants_stops_the_way_back_before_it_is_unique_again() {
    let stage = Stage::new("put_off");
    let scene = &stage.scene;
    let before = scene.print();
    let plan = plan("", &[EXPAND, SCOPE, ENFORCE]);
    let _ = stage.apply(&plan, "").expect_code(0);
    let shown = stage.run("rollback --to start --dry-run").expect_code(0);
    let _ = shown.stdout_has("a guard is put off").stdout_has("BYPASSRLS");
    scene.db.sql(TWICE);
    let run = stage.run(&stage.back()).expect_code(4).stderr_has("asked on the way").stdout_has(OFF);
    let _ = run.stdout_has("more than one row").stdout_has("user1@example.org").stderr_has("resume --forward");
    stage.waits_at_the_guard();
    let _ = stage.run("status").expect_code(0).stdout_has(OFF).stdout_has("resume --forward");
    let _ = stage.run("resume").expect_code(4);
    stage.waits_at_the_guard();
    // Enforced again, and once more back.
    let _ = stage.run("resume --forward").expect_code(0);
    assert!(scene.db.one::<bool>(FORCED));
    scene.stands("completed");
    let _ = stage.run("resume --forward").expect_code(4).stderr_has("no rollback waits");
    let _ = stage.run(&stage.back()).expect_code(4);
    scene.db.sql(MENDED);
    let _ = stage.run("resume").expect_code(0);
    scene.is_as(&before);
    scene.verified();
    // Nothing to find: it goes through at once.
    let _ = stage.apply(&plan, "").expect_code(0);
    let _ = stage.run(&stage.back()).expect_code(0);
    scene.is_as(&before);
}

#[test]
fn values_are_lost_only_where_somebody_agreed() {
    let stage = Stage::new("put_off_loss");
    let scene = &stage.scene;
    // No key by which the values would be found again.
    scene.db.sql("ALTER TABLE app.users DROP CONSTRAINT users_pkey, DROP CONSTRAINT users_email_key");
    let plan = plan("", &[COLUMN, ENFORCE]);
    let own = "UPDATE app.users SET tenant_id = gen_random_uuid() WHERE id <= 7";
    let _ = stage.apply(&plan, "").expect_code(0);
    scene.db.sql(own);
    let run = stage.run(&stage.back()).expect_code(4);
    let _ = run.stdout_has("lose their value").stderr_has("--allow-data-loss");
    stage.waits_at_the_guard();
    // Given up: what the application wrote stands, and is enforced again.
    let values = || scene.db.one::<String>("SELECT string_agg(tenant_id::text, ' ' ORDER BY id) FROM app.users");
    let written = values();
    let _ = stage.run("resume --forward").expect_code(0);
    assert_eq!((values(), scene.db.one::<bool>(FORCED)), (written, true));
    let _ = stage.run(&stage.back()).expect_code(4);
    // By now it can be measured, and is told before anything goes on.
    let _ = stage.run(&stage.back()).expect_code(4).stderr_has("--allow-data-loss");
    let _ = stage.run(&format!("{} --allow-data-loss", stage.back())).expect_code(0);
    assert!(!scene.has_column("app.users", "tenant_id"));
    assert_eq!(stage.asked("-> 'agreed' ->> 'consent'").as_deref(), Some("data_loss"));
    // Agreed beforehand, when nobody could see what there is to lose.
    let _ = stage.apply(&plan, "").expect_code(0);
    scene.db.sql(own);
    let _ = stage.run(&format!("{} --allow-data-loss", stage.back())).expect_code(0);
    assert_eq!(stage.asked("-> 'agreed' ->> 'consent'").as_deref(), Some("data_loss"));
    assert!(stage.asked("-> 'found' -> 'findings' -> 0 ->> 'what'").is_some_and(|what| what.contains("tenant_id")));
}

#[test]
fn a_killed_rollback_asks_all_the_same() {
    let stage = Stage::new("put_off_kill");
    let scene = &stage.scene;
    let plan = plan("lock_timeout = \"2s\"\nlock_retries = 20", &[EXPAND, SCOPE, ENFORCE]);
    let _ = stage.apply(&plan, "").expect_code(0);
    scene.db.sql(TWICE);
    let holder = scene.holding("LOCK TABLE app.users IN ACCESS SHARE MODE");
    let mut run = stage.tool().args(stage.back().split_whitespace()).spawn();
    scene.wait_for_a_waiter();
    run.signal(Signal::KILL);
    let _ = run.wait();
    drop(holder);
    let _ = stage.run("resume").expect_code(4).stdout_has("user1@example.org");
    stage.waits_at_the_guard();
    scene.db.sql(MENDED);
    let _ = stage.run("resume").expect_code(0);
    scene.stands("rolled back");
}

/// Nobody is there to say that protection may come off, so the run waits with all of it on.
#[test]
fn a_failure_takes_nothing_off_to_ask() {
    let stage = Stage::new("put_off_failure");
    let scene = &stage.scene;
    let plan = plan("", &[EXPAND, SCOPE, ENFORCE, FAILS]);
    let run = stage.apply(&plan, "").expect_code(1);
    let _ = run.stdout_has("nobody agreed").stdout_has("row-level security hides the rows of app.users");
    assert!(scene.db.one::<bool>(FORCED));
    scene.stands("paused");
    // Somebody is there, and may ask on the way.
    let _ = stage.run(&stage.back()).expect_code(0);
    assert!(!scene.has_column("app.users", "tenant_id"));
    assert_eq!(stage.asked("->> 'found'").as_deref(), None);
}

#[test]
fn who_sees_all_rows_is_told_before_anything_is_touched() {
    let stage = Stage::new("put_off_bypass");
    let scene = &stage.scene;
    let _ = stage.apply(&plan("", &[EXPAND, SCOPE, ENFORCE]), "").expect_code(0);
    scene.db.sql(TWICE);
    let shown = stage.run("rollback --to start --dry-run").expect_code(0).stdout_has("with BYPASSRLS (-U or --role)");
    let _ = shown.stdout_has("asked on the way, once row-level security is off app.users");
    let events = scene.events();
    let back = || scene.tool().url(&stage.bypass).args(stage.back().split_whitespace()).run();
    let _ = back().expect_code(4).stderr_has("user1@example.org").stderr_has("nothing was changed");
    assert_eq!(scene.events(), events);
    scene.db.sql(MENDED);
    let _ = back().expect_code(0);
    assert!(!scene.has_column("app.users", "tenant_id"));
}

#[test]
fn what_others_enforce_nobody_lifts() {
    let stage = Stage::new("put_off_theirs");
    let scene = &stage.scene;
    let _ = stage.apply(&plan("", &[EXPAND, SCOPE]), "").expect_code(0);
    scene.db.sql("ALTER TABLE app.users ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY");
    let events = scene.events();
    let run = stage.run(&stage.back()).expect_code(4);
    let _ = run.stderr_has("could not be measured").stderr_has("nothing was changed").stderr_has("--role");
    assert_eq!(scene.events(), events);
}
