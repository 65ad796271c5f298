//! Backfills of tables that are not as most: with children, with a key that comes later, with rows that refuse the write.

use std::time::Duration;

use crate::harness::Signal;
use crate::scene::{EXPAND, Scene, plan};

#[test]
fn rows_of_a_child_table_get_their_own_parents_value() {
    for key in ["", "ALTER TABLE app.users ADD PRIMARY KEY (id);"] {
        let scene = Scene::new("children", 200);
        // The same ids and the same places in both tables, but other accounts.
        scene.db.sql(&format!(
            "ALTER TABLE app.users DROP CONSTRAINT users_pkey; {key}
             CREATE TABLE app.old_users () INHERITS (app.users);
             INSERT INTO app.old_users SELECT id, 1 + (account_id + 1) % 5, email FROM ONLY app.users;
             INSERT INTO app.old_users SELECT n, 1 + n % 5, 'old' || n FROM generate_series(1000, 9000) n"
        ));
        let _ = scene.apply(&plan("", &[EXPAND])).expect_code(0);
        let wrong: i64 = scene.db.one(
            "SELECT count(*) FROM app.users u JOIN app.accounts a ON a.id = u.account_id WHERE u.tenant_id IS DISTINCT FROM a.tenant_id",
        );
        assert_eq!(wrong, 0, "rows with the value of another row, with key: {key:?}");
    }
}

#[test]
fn a_key_that_came_after_the_stop_is_walked_from_its_beginning() {
    let scene = Scene::new("later_key", 20_000);
    scene.db.sql(
        "ALTER TABLE app.users DROP CONSTRAINT users_pkey;
         CREATE FUNCTION app.slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.05); RETURN NULL; END $$;
         CREATE TRIGGER slow BEFORE UPDATE ON app.users FOR EACH STATEMENT EXECUTE FUNCTION app.slow()",
    );
    let mut run = scene.applying(&plan("", &[EXPAND])).spawn();
    scene.wait_until("SELECT to_regclass('tenantmig.migration_progress') IS NOT NULL");
    scene.wait_until("SELECT coalesce(max(rows_done), 0) >= 1000 FROM tenantmig.migration_progress");
    run.signal(Signal::INT);
    let _ = run.wait().expect_code(130);
    scene.db.sql(
        "DROP TRIGGER slow ON app.users;
         ALTER TABLE app.users ADD COLUMN code uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY",
    );
    let _ = scene.run("resume").expect_code(0);
    scene.stands("completed");
}

#[test]
fn resume_walks_again_once_what_refused_the_rows_is_gone() {
    let scene = Scene::new("refused_rows", 200);
    scene.db.sql(
        "CREATE FUNCTION app.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
         CREATE TRIGGER a_refuse BEFORE UPDATE ON app.users FOR EACH ROW EXECUTE FUNCTION app.refuse()",
    );
    let pausing = EXPAND.replace("id = \"expand\"", "id = \"expand\"\non_failure = \"pause\"");
    let out = scene.apply(&plan("", &[&pausing])).expect_code(1);
    let _ = out.stdout_has("200 rows of").stdout_has("a trigger of the table turns the update away");
    scene.db.sql("DROP TRIGGER a_refuse ON app.users");
    let _ = scene.run("resume").expect_code(0);
    scene.every_row_once();
}

/// A server process that is stopped, and goes on at the test's end.
struct Frozen(i32);

impl Frozen {
    fn new(pid: i32) -> Self {
        let frozen = Self(pid);
        frozen.signal(Signal::STOP);
        frozen
    }

    fn signal(&self, signal: Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_raw(self.0).unwrap(), signal).unwrap();
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.signal(Signal::CONT);
    }
}

#[track_caller]
fn ends_though_the_server_does_not_answer(name: &str, phase: &str) {
    let scene = Scene::new(name, 200);
    let _holder = scene.holding("UPDATE app.users SET email = email WHERE id = 1");
    let safety = "lock_timeout = \"60s\"\nlock_retries = 1";
    let mut run = scene.applying(&plan(safety, &[phase])).timeout(Duration::from_secs(25)).spawn();
    scene.wait_for_a_waiter();
    let pid = scene.db.one(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tenantmig worker%'",
    );
    let _frozen = Frozen::new(pid);
    run.signal(Signal::INT).signal(Signal::INT);
    let _ = run.wait().expect_code(130).stderr_has("tenantmig resume");
}

#[test]
fn a_stop_does_not_wait_for_a_server_that_does_not_answer() {
    ends_though_the_server_does_not_answer("frozen_tx", EXPAND);
    let index = "[[phase]]\nid = \"index\"\n[[phase.step]]\nkind = \"create_index\"\ntable = \"app.users\"\ncolumns = [\"email\"]";
    ends_though_the_server_does_not_answer("frozen_build", index);
}

#[test]
fn a_walk_finds_every_row_along_any_key() {
    let keys = [
        ("char(12)", "'K' || n"),
        ("text COLLATE \"C\"", "chr(33 + n % 90) || n"),
        ("text COLLATE cased", "CASE n % 2 WHEN 0 THEN 'k' ELSE 'K' END || n"),
        ("ext.citext COLLATE \"C\"", "chr(33 + n % 90) || n"),
        ("timestamptz", "'2025-01-01'::timestamptz + n * interval '37.123456 min'"),
        ("numeric(20,7)", "n / 7.0"),
        ("float8", "sqrt(n)"),
        ("bytea", "sha256(n::text::bytea)"),
        ("inet", "'10.0.0.0'::inet + n"),
        ("interval", "n * interval '-1 day 3 hour'"),
        ("app.code", "'K' || n"),
        ("ext.ltree", "('a' || n % 7 || '.b' || n)::ext.ltree"),
    ];
    let scene = Scene::new("keys", 0);
    scene.db.sql(&format!(
        "CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext; CREATE EXTENSION ltree SCHEMA ext; CREATE DOMAIN app.code AS text CHECK (value <> '');
         CREATE COLLATION cased (provider = icu, locale = 'en-US-u-kf-upper');
         ALTER DATABASE {} SET extra_float_digits = 0; ALTER DATABASE {} SET intervalstyle = 'sql_standard'; ALTER DATABASE {} SET datestyle = 'SQL, DMY'", scene.db.name(), scene.db.name(), scene.db.name()
    ));
    let mut bad = Vec::new();
    for (ty, value) in keys {
        scene.db.sql(&format!(
            "DROP TABLE app.users; CREATE TABLE app.users (a integer NOT NULL, k {ty} NOT NULL, account_id bigint NOT NULL, UNIQUE (a, k));
             INSERT INTO app.users SELECT 1, {value}, 1 + n % 5 FROM generate_series(1, 1234) n"
        ));
        let out = scene.apply(&plan("", &[EXPAND]));
        let swept = out.stderr.contains("sweep");
        if out.code != 0 || swept {
            bad.push(format!("{ty}: {} {}", out.code, out.stdout));
        }
        if out.code == 0 {
            let _ = scene.run("rollback --to start --yes").expect_code(0);
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

/// One value for all is a default, which the server keeps in its catalogue.
#[test]
fn a_column_with_one_value_for_all_is_added_without_writing_a_row() {
    let scene = Scene::new("constant", 1_000);
    scene.db.sql("CREATE TABLE app.was AS SELECT id, xmin::text AS version, ctid::text AS place FROM app.users");
    let step = "[[phase]]\nid = \"a\"\n[[phase.step]]\nkind = \"add_column\"\ntable = \"app.users\"\ncolumn = \"region\"\n\
                type = \"text\"\ndefault = \"'eu'\"\n";
    let _ = scene.apply(&plan("", &[step])).expect_code(0);
    let (filled, written): (i64, i64) = (
        scene.db.one("SELECT count(*) FROM app.users WHERE region = 'eu'"),
        scene.db.one("SELECT count(*) FROM app.users u JOIN app.was w USING (id) WHERE (u.xmin::text, u.ctid::text) <> (w.version, w.place)"),
    );
    assert_eq!((filled, written), (1_000, 0));
}

#[test]
fn a_query_that_gives_no_number_is_refused_before_anything_is_touched() {
    let scene = Scene::new("bad_query", 10);
    let throttle = "[throttle]\nquery = { sql = \"(SELECT n FROM nowhere)\", max = 5 }\n";
    let out = scene.apply(&format!("{}\n{throttle}", plan("", &[EXPAND]))).expect_code(65);
    let _ = out.stderr_has("\"nowhere\" does not exist").stderr_has("nothing was touched");
    assert!(scene.db.one::<bool>("SELECT to_regnamespace('tenantmig') IS NULL"));
}

#[test]
fn a_published_table_that_takes_no_update_is_refused_before_anything_is_touched() {
    let scene = Scene::new("published", 10);
    scene.db.sql("ALTER TABLE app.users DROP CONSTRAINT users_pkey; CREATE PUBLICATION everything FOR TABLE app.users");
    let out = scene.apply(&plan("", &[EXPAND])).expect_code(4);
    let _ = out.stderr_has("app.users is published").stderr_has("ALTER TABLE app.users REPLICA IDENTITY FULL");
    assert!(scene.db.one::<bool>("SELECT to_regnamespace('tenantmig') IS NULL"));
    scene.db.sql("ALTER TABLE app.users REPLICA IDENTITY FULL");
    let _ = scene.apply(&plan("", &[EXPAND])).expect_code(0);
}
