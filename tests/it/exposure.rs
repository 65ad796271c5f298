//! Row-level security is taken off a table that holds rows of several tenants only where somebody says so, and nobody is ever
//! shown nothing, or a part, on the way.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use crate::{
    force_rls::owners,
    guards::TENANCY,
    harness::{Output, Tool, block_on},
    scene::{EXPAND, Scene, plan, with_plan},
};

const ENFORCE: &str = "[[phase]]\nid = \"enforce\"\n[[phase.step]]\nkind = \"enforce_rls\"\ntable = \"app.users\"\n";
/// The same in steps of their own.
const APART: &str = r#"
[[phase]]
id = "enforce"
  [[phase.step]]
  kind = "create_policy"
  table = "app.users"
  name = "tenant"
  using = "tenant_id = {tenant}"
  [[phase.step]]
  kind = "enable_rls"
  table = "app.users"
[[phase]]
id = "force"
  [[phase.step]]
  kind = "force_rls"
  table = "app.users"
"#;
const FAILS: &str = "[[phase.step]]\nkind = \"assert\"\nsql = \"SELECT false\"\n";
const LATER: &str = "[[phase]]\nid = \"later\"\non_failure = \"rollback_all\"\n";

const PROTECTED: &str = "SELECT relrowsecurity AND relforcerowsecurity FROM pg_class WHERE oid = 'app.users'::regclass";
const ONE_TENANT: &str = "UPDATE app.users SET account_id = 1";
const MORE: &str = "rows of more than one tenant";

struct Stage {
    scene: Scene,
    /// Of the plain owner.
    owner: String,
}

impl Stage {
    fn new(name: &str, prepare: &str) -> Self {
        let scene = Scene::new(name, 100);
        scene.db.sql(prepare);
        let (owner, _) = owners(&scene.db);
        let owner = scene.db.url_as(&owner);
        Self { scene, owner }
    }

    fn tool(&self) -> Tool {
        self.scene.tool().url(&self.owner)
    }

    #[track_caller]
    fn apply(&self, phases: &[&str]) -> Output {
        let phases = [&[TENANCY][..], phases].concat();
        with_plan(self.tool(), &plan("lock_timeout = \"2s\"\nlock_retries = 3", &phases)).run()
    }

    #[track_caller]
    fn back(&self, options: &str) -> Output {
        let words = format!("rollback --to start --confirm {} {options}", self.scene.db.name());
        self.tool().args(words.split_whitespace()).run()
    }

    fn is_protected(&self) -> bool {
        self.scene.db.one(PROTECTED)
    }
}

#[test]
fn several_tenants_are_shown_to_each_other_only_where_somebody_says_so() {
    let stage = Stage::new("exposure", "");
    let scene = &stage.scene;
    let before = scene.print();
    let _ = stage.apply(&[EXPAND, ENFORCE]).expect_code(0);
    let events = scene.events();
    let refused = stage.back("").expect_code(4).stderr_has(MORE).stderr_has("--accept-exposure");
    let _ = refused.stderr_has("00000000-0000-0000-0000-00000000000").stderr_has("nothing was changed");
    let _ = stage.back("--allow-data-loss").expect_code(4);
    // Who may only look takes no lock, and says what it does not know.
    let _ = stage.back("--dry-run").expect_code(4).stderr_has("could not be measured").stderr_has("under a lock");
    assert_eq!((scene.events(), stage.is_protected()), (events, true));
    let _ = stage.back("--accept-exposure").expect_code(0);
    scene.is_as(&before);
    let told: String = scene.db.one(
        "SELECT concat_ws(' ', c ->> 'consent', c ->> 'by', c -> 'found' -> 'findings' -> 0 ->> 'what')
           FROM tenantmig.events, jsonb_array_elements(event -> 'rollback_requested' -> 'consents') AS c
          WHERE kind = 'rollback_requested'",
    );
    assert!(told.starts_with("exposure ") && told.contains(MORE), "{told}");
}

#[test]
fn a_single_tenant_needs_no_consent_and_what_cannot_be_counted_does() {
    let stage = Stage::new("exposure_one", ONE_TENANT);
    let _ = stage.apply(&[EXPAND, APART]).expect_code(0);
    // A reader keeps the owner from taking FORCE off for a look.
    let reader = stage.scene.holding("LOCK TABLE app.users IN ACCESS SHARE MODE");
    let _ = stage.back("").expect_code(4).stderr_has("could not be measured").stderr_has("--accept-exposure");
    assert!(stage.is_protected());
    drop(reader);
    let _ = stage.back("").expect_code(0);
    // And each of the flags by itself is guarded.
    stage.scene.db.sql("UPDATE app.users SET account_id = 2 WHERE id = 7");
    let _ = stage.apply(&[EXPAND, APART]).expect_code(0);
    let words = format!("rollback --to enforce --confirm {}", stage.scene.db.name());
    let run = |more: &str| stage.tool().args(words.split_whitespace().chain(more.split_whitespace())).run();
    let _ = run("").expect_code(4).stderr_has("every session of its owner");
    let _ = run("--accept-exposure").expect_code(0);
    let _ = stage.back("").expect_code(4).stderr_has("everybody with a grant");
    let _ = stage.back("--accept-exposure").expect_code(0);
}

#[test]
fn a_failure_takes_back_what_is_not_over_and_nothing_else() {
    let stage = Stage::new("exposure_fails", "");
    // The phase itself: nothing was promised yet.
    let _ = stage.apply(&[EXPAND, ENFORCE, FAILS]).expect_code(5);
    assert!(!stage.is_protected());
    let stage = Stage::new("exposure_later", "");
    // A later one that would undo everything: nobody is there to say so.
    let run = stage.apply(&[EXPAND, ENFORCE, LATER, FAILS]).expect_code(1);
    let _ = run.stdout_has("nobody agreed").stdout_has(MORE).stderr_has("--accept-exposure");
    assert!(stage.is_protected());
    stage.scene.stands("paused");
    let _ = stage.back("--accept-exposure").expect_code(0);
}

/// A reader under a context: its own 20 rows until row-level security is off, and then all 100. Never none, never others' before.
#[test]
fn readers_meet_no_moment_of_deny_all_and_no_part() {
    let stage = Stage::new("exposure_readers", "");
    let scene = &stage.scene;
    let app = scene.db.role("app", "LOGIN");
    scene.db.sql(&format!("GRANT USAGE ON SCHEMA app TO {app}; GRANT SELECT ON app.users TO {app}"));
    let _ = stage.apply(&[EXPAND, ENFORCE]).expect_code(0);
    let over = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (1..=3)
        .map(|tenant| {
            let (url, over) = (scene.db.url_as(&app), over.clone());
            thread::spawn(move || {
                let context = format!("SET app.tenant_id = '00000000-0000-0000-0000-00000000000{tenant}'");
                block_on(async move {
                    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
                    tokio::spawn(connection);
                    client.batch_execute(&context).await.unwrap();
                    let query = "SELECT count(*), count(*) FILTER (WHERE tenant_id::text <> current_setting('app.tenant_id')) FROM app.users";
                    let mut seen: Vec<(i64, i64)> = Vec::new();
                    while !over.load(Ordering::Relaxed) {
                        let row = client.query_one(query, &[]).await.unwrap();
                        let now = (row.get(0), row.get(1));
                        if seen.last() != Some(&now) {
                            seen.push(now);
                        }
                    }
                    seen
                })
            })
        })
        .collect();
    let back = format!("rollback --to expand --confirm {} --accept-exposure", scene.db.name());
    let _ = stage.tool().args(back.split_whitespace()).run().expect_code(0);
    // Each has the time for one more look.
    thread::sleep(std::time::Duration::from_millis(300));
    over.store(true, Ordering::Relaxed);
    for reader in readers {
        assert_eq!(reader.join().unwrap(), [(20, 0), (100, 80)]);
    }
}
