//! Keys that change from global to a tenant's own while an application writes: which of its statements work at which moment, and
//! that nothing is undone that its rows no longer allow.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio_postgres::error::SqlState;

use crate::{
    harness::{Db, database},
    scene::Scene,
};

/// How long after the apply the writer may take to come by.
const SWITCH_MAX: Duration = Duration::from_secs(10);

const SCHEMA: &str = "
    CREATE SCHEMA app;
    CREATE TABLE app.users (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant_id int NOT NULL, email text NOT NULL UNIQUE, seen int NOT NULL DEFAULT 0
    );
    INSERT INTO app.users (tenant_id, email) SELECT 1 + n % 3, 'user' || n FROM generate_series(1, 3000) n;
    CREATE TABLE app.trades (
        id bigint PRIMARY KEY, tenant_id int NOT NULL, user_id bigint REFERENCES app.users (id) ON DELETE SET NULL
    );
    INSERT INTO app.trades SELECT u.id, u.tenant_id, u.id FROM app.users u;";

const PLAN: &str = r#"
format = 1
name = "keys"
[tenancy]
registry = { table = "app.tenants", key = "id", type = "integer" }
column = "tenant_id"
setting = "app.tenant_id"
[[phase]]
id = "scope"
  [[phase.step]]
  kind = "scope_unique"
  table = "app.users"
  columns = ["email"]
"#;

const KEY: &str = r#"
[[phase]]
id = "keys"
  [[phase.step]]
  kind = "composite_foreign_key"
  table = "app.trades"
  columns = ["user_id"]
  references = { table = "app.users", columns = ["id"] }
"#;

const OLD: &str = "INSERT INTO app.users (tenant_id, email) VALUES (1 + $1 % 3, 'user' || $1) ON CONFLICT (email) DO UPDATE SET seen = users.seen + 1";
const NEW: &str = "INSERT INTO app.users (tenant_id, email) VALUES (1 + $1 % 3, 'user' || $1) ON CONFLICT (tenant_id, email) DO UPDATE SET seen = users.seen + 1";

fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn scene(name: &str) -> Scene {
    let db = database(name);
    db.sql(SCHEMA);
    Scene { db }
}

/// What the statement comes to, once.
fn outcome(db: &Db, statement: &str) -> Option<SqlState> {
    let done = wait(async { db.client().await.execute(&statement.replace("$1", "7"), &[]).await });
    done.err().map(|error| error.code().unwrap().clone())
}

/// Writes with the old statement, and with the new one where the old one no longer works, until told to stop. How often it went
/// over is counted in `switched`; what else went wrong comes back.
async fn write(db: &Db, stop: &AtomicBool, switched: &AtomicU32) -> Vec<String> {
    let client = db.client().await;
    let (mut wrong, mut n) = (Vec::new(), 0_u32);
    while !stop.load(Ordering::Relaxed) {
        n = n % 3000 + 1;
        let of = |statement: &str| statement.replace("$1", &n.to_string());
        let old = client.execute(&of(OLD), &[]).await;
        match old.as_ref().err().and_then(tokio_postgres::Error::code) {
            None => {}
            Some(&SqlState::INVALID_COLUMN_REFERENCE) => {
                wrong.extend(client.execute(&of(NEW), &[]).await.err().map(|error| format!("new: {error:?}")));
                switched.fetch_add(1, Ordering::Relaxed);
            }
            Some(other) => wrong.push(format!("old: {other:?}")),
        }
    }
    wrong
}

/// Some 2 s.
#[test]
fn upserts_go_on_until_the_exchange_and_by_the_tenant_after_it() {
    let scene = scene("keys_upserts");
    let (stop, switched) = (AtomicBool::new(false), AtomicU32::new(0));
    assert_eq!(outcome(&scene.db, OLD), None);
    assert_eq!(outcome(&scene.db, NEW), Some(SqlState::INVALID_COLUMN_REFERENCE));
    let (run, wrong) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| wait(write(&scene.db, &stop, &switched)));
        let run = scene.apply(&format!("{PLAN}{KEY}  on_delete = \"cascade\"\n"));
        let begun = Instant::now();
        while switched.load(Ordering::Relaxed) == 0 && begun.elapsed() < SWITCH_MAX && !writer.is_finished() {
            std::thread::sleep(Duration::from_millis(5));
        }
        stop.store(true, Ordering::Relaxed);
        (run, writer.join().unwrap())
    });
    let _ = run.expect_code(0);
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(switched.load(Ordering::Relaxed) > 0, "the writer did not meet the exchange");
    assert_eq!(outcome(&scene.db, OLD), Some(SqlState::INVALID_COLUMN_REFERENCE));
    assert_eq!(outcome(&scene.db, NEW), None);
    let doubled = "SELECT count(*) - count(DISTINCT (tenant_id, email)) FROM app.users";
    assert_eq!(scene.db.one::<i64>(doubled), 0);
    let _ = scene.run("rollback --to start --yes").expect_code(0);
    assert_eq!(outcome(&scene.db, OLD), None);
}

/// Some 3 s.
#[test]
fn a_rollback_is_refused_while_tenants_share_a_key() {
    let scene = scene("keys_shared");
    let before = scene.print();
    let _ = scene.apply(PLAN).expect_code(0);
    scene.db.sql("INSERT INTO app.users (tenant_id, email) VALUES (3, 'user3'), (1, 'user8')");
    let (after, events) = (scene.print(), scene.events());
    let run = scene.run("rollback --to start --yes --allow-data-loss").expect_code(4);
    let _ = run.stderr_has("keys of app.users (email)").stderr_has("(user3) in the tenants 1, 3");
    assert_eq!(scene.events(), events, "a refused rollback leaves no event");
    scene.is_as(&after);
    scene.db.sql("DELETE FROM app.users WHERE id > 3000");
    let _ = scene.run("rollback --to start --yes").expect_code(0);
    scene.is_as(&before);
}

/// Some 2 s.
#[test]
fn a_key_that_others_need_is_refused_and_named() {
    let scene = scene("keys_needed");
    scene.db.sql("CREATE TABLE app.mails (email text REFERENCES app.users (email))");
    let before = scene.print();
    let run = scene.apply(PLAN).expect_code(5);
    let _ = run.stderr_has("which others need: constraint mails_email_fkey on table app.mails");
    scene.is_as(&before);
}

/// Some 2 s.
#[test]
fn a_parent_that_goes_clears_the_child_and_leaves_the_tenant() {
    let scene = scene("keys_set_null");
    let apply = scene.apply(&format!("{PLAN}{KEY}"));
    if scene.db.one::<i32>("SELECT current_setting('server_version_num')::int") < 150_000 {
        // There ON DELETE SET NULL names no columns.
        let _ = apply.expect_code(5).stderr_has("came with PostgreSQL 15");
        return;
    }
    let _ = apply.expect_code(0);
    scene.db.sql("DELETE FROM app.users WHERE id = 7");
    assert!(scene.db.one::<bool>("SELECT tenant_id = 2 AND user_id IS NULL FROM app.trades WHERE id = 7"));
    let other = "UPDATE app.trades SET user_id = 8 WHERE id = 9";
    let crossed = outcome(&scene.db, other);
    assert_eq!(crossed, Some(SqlState::FOREIGN_KEY_VIOLATION), "a trade of tenant 1 points at a user of tenant 3");
}

/// Between the exchange and its undo one partition goes, and another one comes with rows; some 3 s.
#[test]
fn the_keys_of_a_partitioned_table_come_back_on_the_partitions_of_by_then() {
    let scene = scene("keys_partitions");
    scene.db.sql(
        "CREATE TABLE app.seats (id bigint, tenant_id int NOT NULL, no int UNIQUE) PARTITION BY RANGE (no);
         CREATE TABLE app.seats_1 PARTITION OF app.seats FOR VALUES FROM (0) TO (100);
         CREATE TABLE app.seats_2 PARTITION OF app.seats FOR VALUES FROM (100) TO (200);
         INSERT INTO app.seats SELECT n, 1 + n % 3, n FROM generate_series(1, 150) n",
    );
    let plan = PLAN.replace("app.users", "app.seats").replace("email", "no");
    let _ = scene.apply(&plan).expect_code(0);
    let keys = "SELECT string_agg(conrelid::regclass || ' ' || pg_get_constraintdef(oid), ', ' ORDER BY conrelid::regclass::text)
                  FROM pg_constraint WHERE contype = 'u' AND conrelid::regclass::text LIKE 'app.seats%'";
    let scoped = "UNIQUE (tenant_id, no)";
    assert_eq!(scene.db.one::<String>(keys), format!("app.seats {scoped}, app.seats_1 {scoped}, app.seats_2 {scoped}"));
    scene.db.sql(
        "DROP TABLE app.seats_1; CREATE TABLE app.seats_3 PARTITION OF app.seats FOR VALUES FROM (200) TO (300);
         INSERT INTO app.seats VALUES (201, 1, 201)",
    );
    let _ = scene.run("rollback --to start --yes").expect_code(0);
    assert_eq!(scene.db.one::<String>(keys), "app.seats UNIQUE (no), app.seats_2 UNIQUE (no), app.seats_3 UNIQUE (no)");
    let valid =
        "SELECT bool_and(indisvalid AND indisunique) FROM pg_index WHERE indrelid::regclass::text LIKE 'app.seats%'";
    assert!(scene.db.one::<bool>(valid));
    scene.no_wreck();
}
