//! An application without tenants goes on writing while its rows are captured, filled and made NOT NULL, and is replaced
//! while a gate waits for its last write.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::harness::{Db, block_on, database};
use crate::scene::{Scene, with_plan};

/// Three levels: accounts have the tenant, users point at accounts, trades at users.
const SCHEMA: &str = "
    CREATE SCHEMA app;
    CREATE TABLE app.accounts (id bigint PRIMARY KEY, tenant_id uuid NOT NULL);
    INSERT INTO app.accounts SELECT n, ('00000000-0000-0000-0000-00000000000' || 1 + n % 3)::uuid FROM generate_series(1, 9) n;
    CREATE TABLE app.users (id bigint PRIMARY KEY, account_id bigint NOT NULL REFERENCES app.accounts (id));
    INSERT INTO app.users SELECT n, 1 + n % 9 FROM generate_series(1, 300) n;
    CREATE TABLE app.trades (id bigserial PRIMARY KEY, user_id bigint REFERENCES app.users (id), moved_to bigint);
    INSERT INTO app.trades (user_id) SELECT 1 + n % 300 FROM generate_series(1, 3000) n;
    CREATE INDEX ON app.trades (user_id); CREATE INDEX ON app.users (account_id);
    -- The application's own trigger decides the parent at the last moment.
    CREATE FUNCTION app.reroute() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF NEW.moved_to IS NOT NULL THEN NEW.user_id := NEW.moved_to; NEW.moved_to := NULL; END IF; RETURN NEW; END $$;
    CREATE TRIGGER zz_reroute BEFORE INSERT OR UPDATE ON app.trades FOR EACH ROW EXECUTE FUNCTION app.reroute();";

const CAPTURE: &str = r#"
[[phase]]
id = "expand"
  [[phase.step]]
  kind = "add_column"
  table = "app.users"
  column = "tenant_id"
  type = "uuid"
  [[phase.step]]
  kind = "add_column"
  table = "app.trades"
  column = "tenant_id"
  type = "uuid"
[[phase]]
id = "capture"
  [[phase.step]]
  kind = "capture_log"
  table = "app.writes"
  [[phase.step]]
  kind = "capture"
  table = "app.users"
  column = "tenant_id"
  from = { table = "app.accounts", match = { account_id = "id" } }
  log = "app.writes"
  [[phase.step]]
  kind = "capture"
  table = "app.trades"
  column = "tenant_id"
  from = { table = "app.users", match = { user_id = "id" } }
  log = "app.writes"
"#;

const FILL: &str = r#"
[[phase]]
id = "backfill"
  [[phase.step]]
  kind = "backfill"
  table = "app.users"
  column = "tenant_id"
  from = { table = "app.accounts", match = { account_id = "id" } }
  [[phase.step]]
  kind = "backfill"
  table = "app.trades"
  column = "tenant_id"
  from = { table = "app.users", match = { user_id = "id" } }
  [[phase.gate]]
  kind = "quiet"
  log = "app.writes"
  for = "2s"
  wait = "60s"
  tables = ["app.trades"]
"#;

const CONSTRAIN: &str = r#"
[[phase]]
id = "constrain"
  [[phase.step]]
  kind = "set_not_null"
  table = "app.users"
  column = "tenant_id"
  [[phase.step]]
  kind = "set_not_null"
  table = "app.trades"
  column = "tenant_id"
[[phase]]
id = "contract"
  [[phase.step]]
  kind = "end_capture"
  table = "app.trades"
  column = "tenant_id"
  [[phase.step]]
  kind = "end_capture"
  table = "app.users"
  column = "tenant_id"
"#;

/// Rows of another tenant than their parent, or of none.
const WRONG: &str = "SELECT (SELECT count(*) FROM app.users u JOIN app.accounts a ON a.id = u.account_id WHERE u.tenant_id IS DISTINCT FROM a.tenant_id)
    + (SELECT count(*) FROM app.trades t JOIN app.users u ON u.id = t.user_id WHERE t.tenant_id IS DISTINCT FROM u.tenant_id)";

fn scene(name: &str) -> (Scene, String) {
    let db = database(name);
    db.sql(SCHEMA);
    let role = db.role("desk", "LOGIN NOSUPERUSER");
    // Of the parents it may see and change what its rows need, and of the log nothing.
    db.sql(&format!(
        "GRANT USAGE ON SCHEMA app TO {role}; GRANT INSERT, SELECT, UPDATE ON app.trades TO {role};
         GRANT USAGE ON SEQUENCE app.trades_id_seq TO {role}; GRANT SELECT (id, account_id), UPDATE (account_id) ON app.users TO {role}"
    ));
    (Scene { db }, role)
}

fn plan(phases: &[&str]) -> String {
    crate::scene::plan("lock_timeout = \"1s\"\nlock_retries = 20", phases)
}

/// Writers of the old application, until they are told to stop; none of their statements may fail.
struct Desk {
    over: Arc<AtomicBool>,
    writers: Vec<JoinHandle<u64>>,
}

impl Desk {
    fn open(db: &Db, role: &str, writers: u64) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let url = format!("{}?application_name=old-desk", db.url_as(role));
        let writers = (0..writers).map(|w| {
            let (over, url) = (over.clone(), url.clone());
            std::thread::spawn(move || block_on(write(url, w, over)))
        });
        Self { over: over.clone(), writers: writers.collect() }
    }

    /// How many transactions they wrote.
    fn close(self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        self.writers.into_iter().map(|writer| writer.join().expect("no write of the application failed")).sum()
    }
}

async fn write(url: String, writer: u64, over: Arc<AtomicBool>) -> u64 {
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let mut n = writer;
    while !over.load(Ordering::Relaxed) {
        n += 7;
        let (user, other, account) = (1 + n % 300, 1 + (n * 31) % 300, 1 + n % 9);
        let statement = match n % 4 {
            0 => format!("INSERT INTO app.trades (user_id) VALUES ({user}), ({other})"),
            1 => format!("INSERT INTO app.trades (user_id, moved_to) VALUES ({user}, {other})"),
            2 => format!("UPDATE app.trades SET user_id = {other} WHERE id = {}", 1 + n % 3000),
            // Its trades belong to another tenant from then on.
            _ => format!("UPDATE app.users SET account_id = {account} WHERE id = {}", 1 + n % 20 + writer * 20),
        };
        client.batch_execute(&statement).await.unwrap_or_else(|error| panic!("{statement}\n{:?}", error.as_db_error()));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    n / 7
}

/// Some 15 s, of which the gate waits 3.
#[test]
fn an_old_application_writes_until_a_gate_has_waited_for_its_last_write() {
    let (scene, role) = scene("capture_whole");
    let before = scene.print();
    let desk = Desk::open(&scene.db, &role, 1);
    let mut run = with_plan(scene.tool(), &plan(&[CAPTURE, FILL, CONSTRAIN])).spawn();
    run.wait_stderr("nobody wrote to app.trades without a tenant for 2s (app.writes): old-desk as");
    let status = scene.status();
    assert!(status["waits"].as_str().is_some_and(|waits| waits.contains("without a tenant")), "{status:#}");
    // The one writer writes one row of the log a minute, and one table's rows are wrong in none.
    assert!(desk.close() > 0);
    let noted: i64 = scene.db.one(&format!(
        "SELECT sum(transactions)::bigint FROM app.writes WHERE application = 'old-desk' AND username = '{role}' AND relation = 'app.trades'"
    ));
    assert!(noted > 0);
    let _ = run.wait().expect_code(0);
    assert_eq!(scene.db.one::<i64>(WRONG), 0);
    assert_eq!(scene.db.one::<i64>("SELECT count(*) FROM app.trades WHERE tenant_id IS NULL"), 0);
    scene.verified();
    assert_eq!(scene.db.one::<i64>("SELECT count(*) FROM pg_trigger WHERE tgname LIKE '~%'"), 0);
    let _ = scene.run("rollback --to capture --yes").expect_code(0);
    scene.db.sql("UPDATE app.accounts SET tenant_id = '00000000-0000-0000-0000-000000000009' WHERE id = 4");
    let _ = scene.run("rollback --to start --yes").expect_code(0);
    let (was, is) = (before.catalog.lines, scene.print().catalog.lines);
    assert_eq!(tenantmig::pg::fingerprint::diff(&was, &is), None);
}

/// Every way by which a row comes to a parent, and a parent to a tenant; some 5 s.
#[test]
fn rows_follow_their_parents_and_a_tenant_that_is_named_stands() {
    let (scene, role) = scene("capture_ways");
    let _ = scene.apply(&plan(&[CAPTURE, FILL.split("  [[phase.gate]]").next().unwrap()])).expect_code(0);
    let tenant = |id: i64| {
        scene.db.one::<String>(&format!("SELECT coalesce(tenant_id::text, 'none') FROM app.trades WHERE id = {id}"))
    };
    let as_desk = |sql: &str| scene.db.sql_as(&role, sql).unwrap();
    let [one, two, three, four] = [1, 2, 3, 4].map(|n| format!("00000000-0000-0000-0000-00000000000{n}"));
    // User 3 is of account 4 (tenant 2), user 4 of account 5 (tenant 3), user 9 of account 1 (tenant 2).
    as_desk(
        "INSERT INTO app.trades (id, user_id) VALUES (9001, 3), (9002, NULL); INSERT INTO app.trades (id, user_id, moved_to) VALUES (9003, 3, 4)",
    );
    assert_eq!([tenant(9001), tenant(9002), tenant(9003)], [two.clone(), "none".to_owned(), three.clone()]);
    // The application's own trigger moves the row; then it is detached, and keeps what it has.
    as_desk("UPDATE app.trades SET moved_to = 4 WHERE id = 9001");
    assert_eq!(tenant(9001), three);
    as_desk("UPDATE app.trades SET user_id = NULL WHERE id = 9001");
    assert_eq!(tenant(9001), three);
    // What a statement says itself counts, and what it does not change stays.
    as_desk(&format!("UPDATE app.trades SET user_id = 3, tenant_id = '{four}' WHERE id = 9001"));
    assert_eq!(tenant(9001), four);
    as_desk("UPDATE app.trades SET moved_to = NULL WHERE id = 9001; UPDATE app.trades SET user_id = 4 WHERE id = 9001");
    assert_eq!(tenant(9001), three);
    // A user moves to another account, and an account to another tenant: over two levels.
    as_desk("UPDATE app.users SET account_id = 3 WHERE id = 4");
    assert_eq!([tenant(9001), tenant(9003)], [one.clone(), one]);
    scene.db.sql(&format!("UPDATE app.accounts SET tenant_id = '{four}' WHERE id = 3"));
    assert_eq!([tenant(9001), tenant(9003)], [four.clone(), four]);
    assert_eq!(scene.db.one::<i64>(WRONG), 0);
    // A log that is gone fails no write.
    scene.db.sql("DROP TABLE app.writes");
    as_desk("INSERT INTO app.trades (id, user_id) VALUES (9004, 3)");
    assert_eq!(tenant(9004), two);
}

/// The parent's tenant changes in a transaction that has not committed when a child is inserted: nothing waits, the child is of
/// the old tenant, the gate finds it, and the trigger mends it. Some 5 s.
#[test]
fn a_child_of_a_parent_that_is_just_moving_is_found_by_the_gate() {
    let (scene, role) = scene("capture_race");
    let _ = scene.apply(&plan(&[CAPTURE, FILL.split("  [[phase.gate]]").next().unwrap()])).expect_code(0);
    let moving = scene.holding("UPDATE app.users SET account_id = 5 WHERE id = 3");
    scene.db.sql_as(&role, "SET lock_timeout = '1s'; INSERT INTO app.trades (id, user_id) VALUES (9001, 3)").unwrap();
    block_on(async move { moving.batch_execute("COMMIT").await.unwrap() });
    assert_eq!(scene.db.one::<i64>(WRONG), 1);
    let _ = scene.run("verify").expect_code(3).stdout_has("app.trades.tenant_id differs from app.users.tenant_id");
    scene.db.sql_as(&role, "UPDATE app.trades SET tenant_id = NULL WHERE id = 9001").unwrap();
    assert_eq!(scene.db.one::<i64>(WRONG), 0);
    scene.verified();
}

/// A gate whose time is spent pauses the run, and after `resume` it is measured anew. Some 10 s.
#[test]
fn a_gate_waits_pauses_and_is_measured_anew() {
    let (scene, role) = scene("capture_gate");
    let waits = FILL.replace("wait = \"60s\"", "wait = \"1s\"").replace("for = \"2s\"", "for = \"1h\"");
    // The log is young, so nobody knows who wrote in the hour before.
    let _ = scene.apply(&plan(&[CAPTURE, &waits])).expect_code(1).stderr_has("is noted since");
    scene.stands("paused");
    scene
        .db
        .sql("UPDATE app.writes SET first_at = first_at - interval '2 hours', minute = minute - interval '2 hours'");
    let busy = scene.holding(&format!("SET LOCAL ROLE {role}; INSERT INTO app.trades (user_id) VALUES (4)"));
    let _ = scene
        .run("resume")
        .expect_code(1)
        .stderr_has("the-holder as postgres writes without a tenant in a transaction");
    scene.stands("paused");
    // The write comes to nothing, and its note with it.
    drop(busy);
    scene.wait_until("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'the-holder' AND datname = current_database())");
    let _ = scene.run("resume").expect_code(0);
    scene.stands("completed");
}

/// An operator's pause ends the wait of a gate. Some 5 s.
#[test]
fn a_pause_ends_the_wait() {
    let (scene, _) = scene("capture_pause");
    let mut run = with_plan(scene.tool(), &plan(&[CAPTURE, &FILL.replace("for = \"2s\"", "for = \"1h\"")])).spawn();
    run.wait_stderr("is noted since");
    let _ = scene.run("pause").expect_code(0);
    let _ = run.wait().expect_code(75);
    scene.stands("paused");
}
