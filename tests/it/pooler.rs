//! Through PgBouncer in transaction mode: everything works, or is refused with the reason before anything is touched; and
//! nothing of ours stays behind in the pool.

mod application;
mod exhausted;
mod kill;
mod whole;

use std::time::{Duration, Instant};

use crate::harness::{Db, Pooler};
use crate::scene::{EXPAND, Scene, plan, with_plan};

/// PgBouncer and the server notice within moments that a client has left; on a loaded machine in some seconds.
const CALM_MAX: Duration = Duration::from_secs(15);

type Row = Vec<(String, String)>;

fn value<'a>(row: &'a Row, column: &str) -> &'a str {
    row.iter().find(|(name, _)| name == column).map_or("", |(_, value)| value)
}

/// What of the pool is not at rest: clients besides the admin's, server connections at work, transactions left open.
fn unrest(pooler: &Pooler, db: &Db) -> Vec<String> {
    let mut out = Vec::new();
    for row in pooler.admin("SHOW POOLS").iter().filter(|row| value(row, "database") != "pgbouncer") {
        let busy = |column: &&str| value(row, column) != "0";
        if ["cl_active", "cl_waiting", "sv_active", "sv_login"].iter().any(busy) {
            out.push(format!("SHOW POOLS: {row:?}"));
        }
    }
    let others = |row: &&Row| value(row, "database") != "pgbouncer";
    out.extend(pooler.admin("SHOW CLIENTS").iter().filter(others).map(|row| format!("SHOW CLIENTS: {row:?}")));
    let active = |row: &&Row| value(row, "state") == "active";
    out.extend(pooler.admin("SHOW SERVERS").iter().filter(active).map(|row| format!("SHOW SERVERS: {row:?}")));
    let open = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND state LIKE 'idle in transaction%'",
        db.name()
    );
    let open: i64 = db.one(&open);
    if open > 0 {
        out.push(format!("{open} sessions are idle in transaction"));
    }
    out
}

/// Asserts that nothing of ours is left in the pool.
#[track_caller]
pub fn is_calm(pooler: &Pooler, db: &Db) {
    let begun = Instant::now();
    loop {
        let left = unrest(pooler, db);
        if left.is_empty() {
            return;
        }
        assert!(begun.elapsed() < CALM_MAX, "{left:#?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_client_that_stays_is_seen() {
    let scene = Scene::new("pooler_unrest", 1);
    let pooler = Pooler::start("transaction", "default_pool_size = 2");
    is_calm(&pooler, &scene.db);
    let url = pooler.url(scene.db.name());
    let client = crate::harness::block_on(async move {
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute("BEGIN; SELECT 1").await.unwrap();
        client
    });
    let text = unrest(&pooler, &scene.db).join("\n");
    for what in ["SHOW POOLS", "SHOW CLIENTS", "SHOW SERVERS", "idle in transaction"] {
        assert!(text.contains(what), "{what}: {text}");
    }
    drop(client);
    is_calm(&pooler, &scene.db);
}

/// In session mode a pooler cannot be told from one in transaction mode before a session is shared: both are treated alike.
#[test]
fn in_session_mode_it_works_as_in_transaction_mode() {
    let scene = Scene::new("pooler_session", 50);
    let before = scene.print();
    let pooler = Pooler::start("session", "");
    let url = pooler.url(scene.db.name());
    let tool = || scene.tool().url(&url);
    let _ = with_plan(tool(), &plan("", &[EXPAND])).run().expect_code(0);
    scene.stands("completed");
    let _ = tool().args(["verify"]).run().expect_code(0);
    let _ = tool().args(["status"]).run().expect_code(0).stdout_has("completed");
    let _ = tool().args(["rollback", "--to", "start", "--yes"]).run().expect_code(0);
    scene.is_as(&before);
    is_calm(&pooler, &scene.db);
}

/// One connection is enough: no transaction is held open while another is needed.
#[test]
fn a_pool_of_one_is_enough_for_a_backfill_there_and_back() {
    let scene = Scene::new("pooler_of_one", 2_000);
    let before = scene.print();
    let pooler = Pooler::start("transaction", "default_pool_size = 1");
    let url = pooler.url(scene.db.name());
    let tool = || scene.tool().url(&url);
    let _ = with_plan(tool(), &plan("", &[EXPAND])).run().expect_code(0);
    scene.every_row_once();
    let _ = tool().args(["verify"]).run().expect_code(0);
    let _ = tool().args(["rollback", "--to", "start", "--yes"]).run().expect_code(0);
    scene.is_as(&before);
    is_calm(&pooler, &scene.db);
}

/// A statement that keeps the only connection for longer than the lease is good for: nobody else took it, so the transaction
/// commits, and the run takes its lease again and goes on.
#[test]
fn in_a_pool_of_one_a_statement_longer_than_the_lease_is_survived() {
    let scene = Scene::new("pooler_of_one_long", 500);
    scene.db.sql("CREATE TABLE app.slept ()");
    let pooler = Pooler::start("transaction", "default_pool_size = 1");
    let tool = || scene.tool().url(&pooler.url(scene.db.name()));
    let sleep = "INSERT INTO app.slept SELECT FROM pg_sleep(6)";
    let long = format!(
        "[[phase]]\nid = \"long\"\n[[phase.step]]\nkind = \"sql\"\nup = \"{sleep}\"\ndown = \"DELETE FROM app.slept\"\n"
    );
    let _ = with_plan(tool(), &plan("lease = \"3s\"", &[&long, EXPAND])).run().expect_code(0);
    assert_eq!(scene.db.one::<i64>("SELECT count(*) FROM app.slept"), 1);
    scene.every_row_once();
    scene.verified();
    is_calm(&pooler, &scene.db);
}

/// A type that the driver does not know is not looked up by a prepared statement, which would stay in the pool.
#[test]
fn an_answer_of_a_type_of_the_users_leaves_nothing_prepared() {
    let scene = Scene::new("pooler_assert", 5);
    scene.db.sql("CREATE TYPE app.mood AS ENUM ('true')");
    let pooler = Pooler::start("transaction", "default_pool_size = 1");
    let url = pooler.url(scene.db.name());
    let tool = || scene.tool().url(&url);
    let ask = "[[phase]]\nid = \"ask\"\n[[phase.step]]\nkind = \"assert\"\nsql = \"SELECT 'true'::app.mood\"";
    for _ in 0..2 {
        let out = with_plan(tool(), &plan("", &[ask])).run().expect_code(5);
        let _ = out.stdout_has("is of type app.mood, not boolean");
        let _ = tool().args(["rollback", "--to", "start", "--yes"]).run();
    }
    let left: i64 = crate::harness::block_on(async move {
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.query_typed_one("SELECT count(*) FROM pg_prepared_statements", &[]).await.unwrap().get(0)
    });
    assert_eq!(left, 0);
    is_calm(&pooler, &scene.db);
}

const INDEX: &str =
    "[[phase]]\nid = \"index\"\n[[phase.step]]\nkind = \"create_index\"\ntable = \"app.users\"\ncolumns = [\"email\"]";

#[test]
fn a_direct_url_must_lead_past_the_pooler_to_the_same_database() {
    let (scene, other) = (Scene::new("pooler_way", 5), Scene::new("pooler_elsewhere", 5));
    let pooler = Pooler::start("transaction", "default_pool_size = 2");
    let url = pooler.url(scene.db.name());
    let tool = |direct: &str| scene.tool().url(&url).env("TENANTMIG_DIRECT_URL", direct);
    let _ = tool("").args(["doctor"]).run().expect_code(0).stdout_has("in transaction mode").stdout_has("--direct-url");
    let with_password = scene.db.url().replace("postgres@", "postgres:hunter2@");
    let seen = tool(&with_password).args(["doctor"]).run().expect_code(0).stdout_has("run directly at");
    let _ = seen.stdout_has("environment TENANTMIG_DIRECT_URL").nowhere_has("hunter2");
    for (wrong, says) in [(url.as_str(), "a pooler as well"), (&other.db.url(), "another database")] {
        let _ = tool(wrong).args(["doctor"]).run().expect_code(3).stdout_has(says).stdout_has("in --direct-url");
        let _ = with_plan(tool(wrong), &plan("", &[INDEX])).run().expect_code(4).stderr_has(says);
    }
    assert!(!scene.db.one::<bool>("SELECT to_regnamespace('tenantmig') IS NOT NULL"));
    // The way back needs it as well, and is refused before anything is asked.
    let _ = with_plan(tool(&scene.db.url()), &plan("", &[INDEX])).run().expect_code(0);
    let refused = tool("").args(["rollback", "--to", "start", "--yes"]).run().expect_code(4);
    let _ = refused.stderr_has("create index").stderr_has("--direct-url");
    scene.stands("completed");
    let _ = tool(&scene.db.url()).args(["rollback", "--to", "start", "--yes"]).run().expect_code(0);
    is_calm(&pooler, &scene.db);
}
