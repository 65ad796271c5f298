//! What surrounds a run goes wrong: no server, no privilege, another holder, a lost connection, a table that vanished.
//! Each ends with its documented exit code, says place, cause and next command, and touches nothing or goes on.

use std::time::Duration;

use tenantmig::demo::cluster::{Cluster, ClusterOptions};

use crate::harness::{Signal, Tool, block_on};
use crate::scene::{EXPAND, MARK, SCHEMA, Scene, plan, with_plan};

/// Commands that need the database, each with what it needs.
const ONLINE: &[&str] = &[
    "apply plan.toml --yes",
    "plan plan.toml",
    "status",
    "resume",
    "rollback --to start --yes",
    "verify",
    "doctor",
    "unlock --force 01a1fccc-197e-767e-8fc7-c6f03897750f --yes",
];

#[test]
fn an_unreachable_server_is_69_for_every_command() {
    for words in ONLINE {
        let tool = Tool::without_database().url("postgres://postgres:hunter2@127.0.0.1:1/shop?connect_timeout=2");
        tool.file("plan.toml", &plan("", &[EXPAND]));
        let out = tool.args(words.split_whitespace()).run().expect_code(69).stderr_has("127.0.0.1:1");
        let _ = out.stderr_has("refused").stderr_has("next:").nowhere_has("hunter2").nowhere_has("panicked");
    }
}

#[test]
fn a_wrong_password_is_77_and_is_printed_nowhere() {
    let options = ClusterOptions {
        extra_hba: vec!["host all guarded all scram-sha-256".to_owned()],
        ..ClusterOptions::default()
    };
    let own = Cluster::start(options).unwrap();
    let url = own.url("postgres");
    block_on(async move {
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute("CREATE ROLE guarded LOGIN SUPERUSER PASSWORD 'hunter2'").await.unwrap();
        client.batch_execute(SCHEMA).await.unwrap();
    });
    let url = |password: &str| format!("postgres://guarded:{password}@127.0.0.1:{}/postgres", own.port());
    for words in ONLINE {
        let tool = Tool::without_database().url(&url("letmein9"));
        tool.file("plan.toml", &plan("", &[EXPAND]));
        let out =
            tool.args(words.split_whitespace()).run().expect_code(77).stderr_has("guarded").stderr_has("password");
        let _ = out.stderr_has("TENANTMIG_DATABASE_URL").nowhere_has("letmein9").nowhere_has("panicked");
    }
    // The right one works, and stays out of every stream, however much is logged, and out of the ledger.
    for words in ["apply plan.toml --yes -vv", "doctor -vv", "status -vv", "plan plan.toml -vv --format json"] {
        let tool = Tool::without_database().url(&url("hunter2"));
        tool.file("plan.toml", &plan("", &[EXPAND]));
        let _ = tool.args(words.split_whitespace()).run().expect_code(0).nowhere_has("hunter2");
    }
    let url = own.url("postgres");
    let kept: i64 = block_on(async move {
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let query = "SELECT (SELECT count(*) FROM tenantmig.runs r WHERE r::text LIKE '%hunter2%')
                          + (SELECT count(*) FROM tenantmig.events e WHERE e::text LIKE '%hunter2%')
                          + (SELECT count(*) FROM tenantmig.lease l WHERE l::text LIKE '%hunter2%')";
        client.query_one(query, &[]).await.unwrap().get(0)
    });
    assert_eq!(kept, 0, "the ledger holds the password");
}

#[test]
fn who_may_not_create_the_ledger_is_told_the_grant() {
    let scene = Scene::new("no_create", 20);
    let owner = scene.db.role("owner", "LOGIN");
    scene.db.sql(&format!(
        "ALTER SCHEMA app OWNER TO {owner}; ALTER TABLE app.users OWNER TO {owner}; ALTER TABLE app.accounts OWNER TO {owner}"
    ));
    let before = scene.print();
    let url = scene.db.url_as(&owner);
    let out = with_plan(scene.tool().url(&url), &plan("", &[EXPAND])).run().expect_code(77);
    let _ = out
        .stderr_has("permission denied for database")
        .stderr_has(&format!("GRANT CREATE ON DATABASE {}", scene.db.name()));
    scene.is_as(&before);
    let _ = scene.tool().url(&url).args(["doctor"]).run().expect_code(77).stdout_has("GRANT CREATE ON DATABASE");
}

#[test]
fn who_does_not_own_the_table_is_told_at_its_place() {
    let scene = Scene::new("not_owner", 20);
    let stranger = scene.db.role("stranger", "LOGIN");
    scene.db.sql(&format!(
        "GRANT CREATE ON DATABASE {} TO {stranger}; GRANT USAGE ON SCHEMA app TO {stranger}",
        scene.db.name()
    ));
    let before = scene.print();
    let out = with_plan(scene.tool().url(&scene.db.url_as(&stranger)), &plan("", &[EXPAND])).run().expect_code(77);
    let _ = out
        .stderr_has("plan.toml:")
        .stderr_has("TM0303")
        .stderr_has("GRANT postgres TO")
        .stderr_has("nothing was touched");
    scene.is_as(&before);
    assert!(!scene.db.one::<bool>("SELECT to_regnamespace('tenantmig') IS NOT NULL"));
}

#[test]
fn a_lease_that_is_held_is_75_and_names_the_holder() {
    let scene = Scene::new("held", 200);
    let holder = scene.holding("LOCK TABLE app.users IN SHARE MODE");
    let whole = plan("lock_timeout = \"150ms\"\nlock_retries = 200", &[EXPAND]);
    let mut first = scene.applying(&whole).spawn();
    first.wait_stderr("no lock at attempt 1");
    let pid = first.pid().to_string();
    for words in ["resume", "rollback --to start --yes"] {
        let out = scene.run(words).expect_code(75).stderr_has("another tenantmig holds the lease").stderr_has(&pid);
        let _ = out.stderr_has("since 20").stderr_has("tenantmig status").stderr_has("unlock");
    }
    let _ = scene.apply(&whole).expect_code(75).stderr_has(&pid);
    scene.stands("running");
    let _ = scene.run("status").expect_code(0).stdout_has(&pid).stdout_has("running");
    drop(holder);
    let _ = first.wait().expect_code(0);
    scene.every_row_once();
}

#[test]
fn unlock_takes_the_lease_and_the_former_holder_does_no_harm() {
    let scene = Scene::new("unlock", 200);
    let holder = scene.holding("LOCK TABLE app.users IN SHARE MODE");
    let mut first = scene.applying(&plan("lock_timeout = \"150ms\"\nlock_retries = 200", &[EXPAND])).spawn();
    first.wait_stderr("no lock at attempt 1");
    let run = scene.status()["run"].as_str().unwrap().to_owned();
    // Not without being told twice, and not for a run that is not the one.
    let out = scene.run(&format!("unlock --force {run}")).expect_code(4).stderr_has("ALIVE");
    let _ = out.stderr_has(&first.pid().to_string()).stderr_has(&format!("tenantmig unlock --force {run} --yes"));
    let wrong = "01a1fccc-197e-767e-8fc7-c6f03897750f";
    let _ = scene
        .run(&format!("unlock --force {wrong} --yes"))
        .expect_code(4)
        .stderr_has(&run)
        .stderr_has("tenantmig status");
    let _ = scene.run("unlock --force nonsense").expect_code(64);
    let before = scene.print();
    let out = scene.run(&format!("unlock --force {run} --yes")).expect_code(0).stdout_has("the lease is free");
    let _ = out.stderr_has("tenantmig resume");
    drop(holder);
    // Its next write meets the fence, whatever it was about to do.
    let out = first.wait().expect_code(75).stderr_has("lease").stderr_has("tenantmig status");
    let _ = out.nowhere_has("panicked");
    scene.is_as(&before);
    scene.stands("stopped half-way");
    let _ = scene.run("resume").expect_code(0);
    scene.every_row_once();
    let _ = scene.run(&format!("unlock --force {run} --yes")).expect_code(0).stdout_has("nobody holds the lease");
    let _ = scene.run(&format!("unlock --force {wrong} --yes")).expect_code(0).stdout_has("nobody holds the lease");
}

#[test]
fn a_killed_holder_is_followed_at_once() {
    let scene = Scene::new("dead_holder", 200);
    let holder = scene.holding("LOCK TABLE app.users IN SHARE MODE");
    let mut first = scene.applying(&plan("lock_timeout = \"150ms\"\nlock_retries = 200", &[EXPAND])).spawn();
    first.wait_stderr("no lock at attempt 1").signal(Signal::KILL);
    let _ = first.wait();
    drop(holder);
    scene.wait_until("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tenantmig%')");
    let _ = scene.run("status").expect_code(0).stdout_has("its last holder is gone");
    let _ = scene.run("resume").expect_code(0);
    scene.every_row_once();
}

#[test]
fn a_table_that_vanished_before_resume_is_told_and_nothing_else_is_lost() {
    let scene = Scene::new("vanished", 50);
    let _ = with_plan(scene.tool(), &plan("", &[MARK, EXPAND])).args(["--to", "mark"]).run().expect_code(0);
    scene.db.sql("DROP TABLE app.users");
    let _ = scene.run("resume").expect_code(4).stdout_has("- table app.users: it is gone");
    let out = scene.run("resume --accept-drift").expect_code(5).stdout_has("app.users").stdout_has("does not exist");
    let _ = out.stdout_has("rolled back cleanly to `mark`").nowhere_has("panicked");
    scene.stands("rolled back");
    assert!(scene.has_column("app.accounts", "marked"));
}

#[test]
fn a_table_that_vanished_before_a_rollback_is_no_reason_to_panic() {
    let scene = Scene::new("vanished_back", 50);
    let _ = scene.apply(&plan("", &[MARK, EXPAND])).expect_code(0);
    scene.db.sql("DROP TABLE app.users");
    // The column is gone with its table: there is nothing left to undo of it, and the rest is undone.
    let _ = scene.run("rollback --to start --yes").expect_code(0).nowhere_has("panicked");
    assert!(!scene.has_column("app.accounts", "marked"));
    scene.stands("rolled back");
    let out = scene.apply(&plan("", &[MARK, EXPAND])).nowhere_has("panicked").expect_code(65);
    let _ = out.stderr_has("the database has no table app.users").stderr_has("nothing was touched");
}

#[test]
fn a_backend_that_is_terminated_in_a_backfill_is_replaced() {
    let scene = Scene::new("terminated", 20_000);
    let mut run = scene.applying(&plan("", &[EXPAND])).spawn();
    scene.wait_until("SELECT to_regclass('tenantmig.migration_progress') IS NOT NULL");
    for rows in [500, 5_000, 10_000] {
        scene.wait_until(&format!("SELECT coalesce(max(rows_done), 0) >= {rows} FROM tenantmig.migration_progress"));
        // The worker, the watcher and the lease: whatever there is.
        scene.db.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tenantmig%'");
    }
    run.wait_stderr("connected again");
    let _ = run.wait().expect_code(0).stderr_has("the connection was lost").nowhere_has("panicked");
    scene.every_row_once();
    scene.stands("completed");
}

#[test]
fn a_backend_that_is_terminated_in_ddl_is_replaced() {
    let scene = Scene::new("terminated_ddl", 200);
    let holder = scene.holding("LOCK TABLE app.users IN SHARE MODE");
    let index = "[[phase]]\nid = \"index\"\n[[phase.step]]\nkind = \"create_index\"\ntable = \"app.users\"\ncolumns = [\"email\"]";
    let mut run = scene.applying(&plan("lock_timeout = \"20s\"", &[EXPAND, index])).spawn();
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tenantmig worker%'";
    scene.wait_for_a_waiter();
    scene.db.sql(kill);
    drop(holder);
    run.wait_stderr("connected again");
    let holder = scene.holding("UPDATE app.accounts SET id = id");
    let _ = run.wait().expect_code(0);
    drop(holder);
    scene.every_row_once();
    scene.no_wreck();
    scene.verified();
}

#[test]
fn a_build_whose_backend_is_terminated_leaves_no_wreck() {
    let scene = Scene::new("terminated_build", 200);
    let older = scene.holding("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM app.accounts");
    let index = "[[phase]]\nid = \"index\"\n[[phase.step]]\nkind = \"create_index\"\ntable = \"app.users\"\ncolumns = [\"email\"]";
    let mut run = scene.applying(&plan("", &[EXPAND, index])).spawn();
    scene.wait_for_a_waiter();
    scene.db.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tenantmig worker%'");
    run.wait_stderr("connected again");
    drop(older);
    let _ = run.wait().expect_code(0);
    scene.no_wreck();
    scene.verified();
}

#[test]
fn a_server_that_dies_and_comes_back_is_waited_for() {
    let mut own = Cluster::start(ClusterOptions::default()).unwrap();
    let url = own.url("postgres");
    let ask = |query: &'static str| {
        let url = url.clone();
        block_on(async move {
            let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.ok()?;
            tokio::spawn(connection);
            client.query_one(query, &[]).await.ok()?.try_get::<_, i64>(0).ok()
        })
    };
    let fill = "INSERT INTO app.users SELECT n, 1 + n % 5, 'user' || n FROM generate_series(1, 20000) n";
    let setup = format!("{SCHEMA} {fill}");
    let at = url.clone();
    block_on(async move {
        let (client, connection) = tokio_postgres::connect(&at, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute(&setup).await.unwrap();
    });
    let mut run = with_plan(Tool::without_database().url(&url), &plan("", &[EXPAND])).spawn();
    let begun = std::time::Instant::now();
    while ask("SELECT coalesce(max(rows_done), 0) FROM tenantmig.migration_progress").unwrap_or(0) < 2_000 {
        assert!(begun.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(10));
    }
    own.kill_9().unwrap();
    run.wait_stderr("the connection was lost");
    own.restart().unwrap();
    let _ = run.wait().expect_code(0).stderr_has("connected again").nowhere_has("panicked");
    let wrong = "SELECT count(*) FROM app.users WHERE tenant_id IS NULL OR touched <> 1";
    assert_eq!(ask(wrong), Some(0), "rows not written, or written twice");
}

#[test]
fn several_applies_at_once_are_one_run() {
    let scene = Scene::new("at_once", 2_000);
    let whole = plan("", &[EXPAND, MARK]);
    let all: Vec<_> = (0..4).map(|_| scene.applying(&whole).spawn()).collect();
    let all: Vec<_> = all.into_iter().map(|run| run.wait().nowhere_has("panicked")).collect();
    assert!(all.iter().any(|out| out.code == 0), "{}", all[0]);
    for out in all {
        assert!(out.code == 0 || (out.code == 75 && out.stderr.contains("holds the lease")), "{out}");
    }
    assert_eq!(scene.db.one::<i64>("SELECT count(*) FROM tenantmig.runs"), 1);
    scene.every_row_once();
    scene.stands("completed");
}

#[test]
fn a_role_with_too_few_connections_is_75_and_nothing_is_touched() {
    let scene = Scene::new("too_few", 20);
    for limit in [0, 1, 2] {
        let role =
            scene.db.role(&format!("limit{limit}"), &format!("LOGIN CONNECTION LIMIT {limit} IN ROLE pg_monitor"));
        scene.db.sql(&format!("GRANT CREATE ON DATABASE {} TO {role}; GRANT postgres TO {role}", scene.db.name()));
        let before = scene.print();
        let out = with_plan(scene.tool().url(&scene.db.url_as(&role)), &plan("", &[EXPAND])).run().expect_code(75);
        let _ = out.stderr_has("too many connections").stderr_has("next:");
        scene.is_as(&before);
    }
}

#[test]
fn a_database_that_is_read_only_is_told_and_not_touched() {
    let scene = Scene::new("read_only", 20);
    scene.db.sql(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", scene.db.name()));
    let out = scene.apply(&plan("", &[EXPAND])).expect_code(4).nowhere_has("panicked");
    let _ = out.stderr_has("read-only").stderr_has("default_transaction_read_only").stderr_has("primary");
    assert!(!scene.db.one::<bool>("SELECT to_regnamespace('tenantmig') IS NOT NULL"));
}
