//! The moments: each kind of step while it waits for a lock, and every other wait and work there is.

use super::{Moment, elsewhere};
use crate::harness::Running;
use crate::scene::{EXPAND, MARK, Scene};

const LOCKED: &str = "lock_timeout = \"30s\"\nlock_retries = 50";
const INDEX: &str =
    "[[phase]]\nid = \"index\"\n[[phase.step]]\nkind = \"create_index\"\ntable = \"app.users\"\ncolumns = [\"email\"]";
/// As long as it is not mended, what asks for it takes a minute.
const SLEEP: &str = "pg_sleep(CASE WHEN to_regclass('app.mended') IS NULL THEN 60 ELSE 0 END)";
const SLOW_ROWS: &str = "CREATE FUNCTION app.slow() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN IF to_regclass('app.mended') IS NULL THEN PERFORM pg_sleep(0.05); END IF; RETURN NULL; END $$;
    CREATE TRIGGER slow BEFORE UPDATE ON app.users FOR EACH STATEMENT EXECUTE FUNCTION app.slow()";

fn step(text: &str) -> String {
    format!("[[phase]]\nid = \"one\"\n[[phase.step]]\n{text}")
}

fn a_lock(scene: &Scene, _: &mut Running) {
    scene.wait_until(
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
            AND application_name LIKE 'tenantmig worker%' AND wait_event_type = 'Lock')",
    );
}

fn a_sleep(scene: &Scene, _: &mut Running) {
    scene.wait_until(
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
            AND application_name LIKE 'tenantmig%' AND wait_event = 'PgSleep')",
    );
}

fn batches(scene: &Scene, _: &mut Running) {
    scene.wait_until("SELECT to_regclass('tenantmig.backfill_ranges') IS NOT NULL");
    scene.wait_until("SELECT coalesce(sum(rows_done), 0) > 300 FROM tenantmig.backfill_ranges");
}

fn mend(scene: &Scene) {
    scene.db.sql("CREATE TABLE app.mended ()");
}

/// A step of every kind that waits for `lock`.
fn waiting(name: &'static str, text: &str, arrange: fn(&Scene) -> Vec<tokio_postgres::Client>) -> Moment {
    Moment {
        name,
        phases: vec![step(text)],
        safety: LOCKED,
        users: 50,
        arrange,
        back: false,
        reach: a_lock,
        free: |_| (),
    }
}

fn users_locked(scene: &Scene) -> Vec<tokio_postgres::Client> {
    vec![scene.holding("LOCK TABLE app.users IN SHARE UPDATE EXCLUSIVE MODE")]
}

fn working(name: &'static str, phases: Vec<String>, arrange: fn(&Scene) -> Vec<tokio_postgres::Client>) -> Moment {
    Moment { name, phases, safety: "", users: 50, arrange, back: false, reach: a_sleep, free: mend }
}

fn older(scene: &Scene) -> Vec<tokio_postgres::Client> {
    vec![scene.holding("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM app.accounts")]
}

#[test]
fn ddl_that_waits_for_a_lock() {
    waiting(
        "ddl_waits",
        "kind = \"add_column\"\ntable = \"app.users\"\ncolumn = \"tenant_id\"\ntype = \"uuid\"",
        users_locked,
    )
    .check();
}

#[test]
fn row_security_that_waits_for_a_lock() {
    waiting("enable", "kind = \"enable_rls\"\ntable = \"app.users\"", users_locked).check();
    waiting("force", "kind = \"force_rls\"\ntable = \"app.users\"", users_locked).check();
    let policy = "kind = \"create_policy\"\ntable = \"app.users\"\nname = \"p\"\nusing = \"email = (SELECT NULLIF(current_setting('app.tenant_id', true), ''))\"";
    waiting("policy", policy, users_locked).check();
}

#[test]
fn constraints_that_wait_for_a_lock() {
    let key = "kind = \"add_foreign_key\"\ntable = \"app.users\"\ncolumns = [\"account_id\"]\nreferences = { table = \"app.accounts\", columns = [\"id\"] }";
    waiting("foreign_key", key, users_locked).check();
    waiting("not_null", "kind = \"set_not_null\"\ntable = \"app.users\"\ncolumn = \"email\"", |scene| {
        scene.db.sql("ALTER TABLE app.users ALTER email DROP NOT NULL");
        users_locked(scene)
    })
    .check();
}

#[test]
fn a_table_that_somebody_else_is_making() {
    let table = "kind = \"create_table\"\ntable = \"app.made\"\ncolumns = [{ name = \"id\", type = \"bigint\" }]\nprimary_key = [\"id\"]";
    waiting("table", table, |scene| vec![scene.holding("CREATE TABLE app.made (x int)")]).check();
}

#[test]
fn a_pause_before_the_next_try() {
    Moment {
        name: "retry_pause",
        phases: vec![MARK.to_owned()],
        safety: "lock_timeout = \"50ms\"\nlock_retries = 99",
        users: 5,
        arrange: |scene| vec![scene.holding("LOCK TABLE app.accounts")],
        back: false,
        reach: |_, run| {
            run.wait_stderr("attempt 4 of");
        },
        free: |_| (),
    }
    .check();
}

#[test]
fn sql_that_executes() {
    working(
        "sql_works",
        vec![step(&format!("id = \"s\"\nkind = \"sql\"\nup = \"SELECT {SLEEP}\"\ndown = \"SELECT 1\""))],
        |_| vec![],
    )
    .check();
}

#[test]
fn an_assertion_that_executes() {
    let ask = format!("id = \"a\"\nkind = \"assert\"\nsql = \"SELECT {SLEEP} IS NOT NULL\"");
    working("assert_works", vec![step(&ask)], |_| vec![]).check();
}

#[test]
fn a_gate_that_is_measured() {
    let gate = format!("{MARK}\n[[phase.gate]]\nkind = \"nulls\"\ntable = \"app.slow\"\ncolumns = [\"tenant_id\"]");
    working("gate", vec![gate], |scene| {
        scene.db.sql(&format!("CREATE VIEW app.slow AS SELECT 1 AS id, ((SELECT {SLEEP}) IS NULL)::text AS tenant_id"));
        vec![]
    })
    .check();
}

#[test]
fn an_index_build_that_waits() {
    let moment = Moment { name: "build_waits", safety: "", ..waiting("", "", older) };
    Moment { phases: vec![INDEX.to_owned()], ..moment }.check();
}

#[test]
fn an_index_build_that_works() {
    let index = INDEX
        .replace("[\"email\"]", "[{ expr = \"app.slow(email)\" }]")
        .replace("kind =", "name = \"users_slow\"\nkind =");
    working("build_works", vec![index], |scene| {
        scene.db.sql(&format!(
            "CREATE FUNCTION app.slow(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
                IF current_query() LIKE 'CREATE INDEX%' THEN PERFORM {SLEEP}; END IF; RETURN $1; END $$"
        ));
        vec![]
    })
    .check();
}

#[test]
fn an_index_that_is_dropped_concurrently() {
    Moment {
        name: "drop_index",
        phases: vec![INDEX.to_owned()],
        safety: "",
        back: true,
        ..waiting("", "", |scene| vec![scene.holding("SELECT FROM app.users LIMIT 1")])
    }
    .check();
}

#[test]
fn ddl_of_a_rollback_that_waits() {
    Moment { name: "undo_waits", phases: vec![EXPAND.to_owned()], back: true, ..waiting("", "", users_locked) }.check();
}

#[test]
fn batches_of_a_backfill() {
    Moment {
        name: "backfill",
        phases: vec![EXPAND.to_owned()],
        safety: "",
        users: 8_000,
        arrange: |scene| {
            scene.db.sql(SLOW_ROWS);
            vec![]
        },
        back: false,
        reach: batches,
        free: mend,
    }
    .check();
}

#[test]
fn a_sweep_that_waits_for_a_row() {
    Moment {
        name: "sweep",
        phases: vec![EXPAND.to_owned()],
        safety: "",
        users: 300,
        arrange: |scene| {
            // Before the row is locked: the DDL would wait for it.
            scene.db.sql("ALTER TABLE app.users ADD tenant_id uuid");
            vec![scene.holding("SELECT FROM app.users WHERE id = 7 FOR UPDATE")]
        },
        back: false,
        reach: |_, run| {
            run.wait_stderr("sweep 4");
        },
        free: |_| (),
    }
    .check();
}

#[test]
fn a_backfill_that_is_throttled() {
    Moment {
        name: "throttled",
        phases: vec![EXPAND.to_owned()],
        safety: "",
        users: 8_000,
        arrange: |scene| {
            scene.db.sql(SLOW_ROWS);
            vec![]
        },
        back: false,
        reach: |scene, run| {
            batches(scene, run);
            let _ = scene.run("throttle --hold because").expect_code(0);
            scene.wait_until("SELECT EXISTS (SELECT FROM tenantmig.events WHERE kind = 'throttled')");
        },
        free: |scene| {
            mend(scene);
            let _ = scene.run("throttle --release");
        },
    }
    .check();
}

#[test]
fn a_server_that_is_waited_for() {
    Moment {
        name: "reconnect",
        phases: vec![EXPAND.to_owned()],
        safety: "",
        users: 8_000,
        arrange: |scene| {
            scene.db.sql(SLOW_ROWS);
            vec![]
        },
        back: false,
        reach: |scene, run| {
            batches(scene, run);
            let name = scene.db.name();
            elsewhere(scene, &format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"));
            elsewhere(scene, &format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' AND application_name LIKE 'tenantmig%'"));
            run.wait_stderr("connection");
        },
        free: |scene| {
            elsewhere(scene, &format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", scene.db.name()));
            mend(scene);
        },
    }
    .check();
}
