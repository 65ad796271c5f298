//! A step or a gate fails: the matching rollback is carried out by itself, earlier phases stay, and after the cause is
//! mended a second apply completes.

use crate::harness::Output;
use crate::scene::{EXPAND, Scene, plan};

/// One way to fail in a second phase.
struct Case {
    name: &'static str,
    /// Prepares the database before the first apply.
    prepare: &'static str,
    safety: &'static str,
    /// The steps and gates of the phase that fails.
    phase: &'static str,
    /// What the summary says, among others the cause.
    says: &'static [&'static str],
    /// What the user does about it.
    mend: &'static str,
}

const CASES: &[Case] = &[
    Case {
        name: "unique",
        prepare: "UPDATE app.users SET email = 'twin@example.org' WHERE id IN (7, 8); UPDATE app.users SET touched = 0",
        safety: "",
        phase: r#"
            [[phase.step]]
            kind = "create_index"
            table = "app.users"
            columns = ["tenant_id"]
            [[phase.step]]
            id = "unique-email"
            kind = "create_index"
            table = "app.users"
            columns = ["email"]
            unique = true"#,
        says: &["unique-email", "23505", "twin@example.org", "CREATE UNIQUE INDEX CONCURRENTLY"],
        mend: "UPDATE app.users SET email = 'other@example.org' WHERE id = 8",
    },
    Case {
        name: "raises",
        prepare: "",
        safety: "",
        phase: r#"
            [[phase.step]]
            id = "view"
            kind = "sql"
            up = "CREATE VIEW app.v AS SELECT id FROM app.users"
            down = "DROP VIEW app.v"
            [[phase.step]]
            id = "raise"
            kind = "sql"
            up = "DO $$ BEGIN IF to_regclass('app.mended') IS NULL THEN RAISE EXCEPTION 'not like this'; END IF; END $$"
            down = "-- it changes nothing""#,
        says: &["step `raise`", "not like this", "P0001"],
        mend: "CREATE TABLE app.mended ()",
    },
    Case {
        name: "assert",
        prepare: "",
        safety: "",
        phase: r#"
            [[phase.step]]
            kind = "create_index"
            table = "app.users"
            columns = ["tenant_id"]
            [[phase.step]]
            id = "check"
            kind = "assert"
            sql = "SELECT to_regclass('app.mended') IS NOT NULL"
            message = "somebody mended it""#,
        says: &["step `check`", "somebody mended it", "false"],
        mend: "CREATE TABLE app.mended ()",
    },
    Case {
        name: "gate",
        prepare: "",
        safety: "",
        phase: r#"
            [[phase.step]]
            kind = "create_index"
            table = "app.users"
            columns = ["tenant_id"]
            [[phase.gate]]
            kind = "row_count"
            table = "app.accounts"
            min = 6"#,
        says: &["gate", "app.accounts", "5"],
        mend: "INSERT INTO app.accounts VALUES (6, gen_random_uuid())",
    },
    Case {
        name: "orphans_gate",
        prepare: "INSERT INTO app.accounts VALUES (9, '00000000-0000-0000-0000-000000000009');
                  INSERT INTO app.users VALUES (100000, 9, 'orphan')",
        safety: "",
        phase: r#"
            [[phase.step]]
            id = "lose-parent"
            kind = "sql"
            up = "DO $$ BEGIN IF to_regclass('app.mended') IS NULL THEN DELETE FROM app.accounts WHERE id = 9; END IF; END $$"
            down = "INSERT INTO app.accounts VALUES (9, '00000000-0000-0000-0000-000000000009') ON CONFLICT DO NOTHING"
            [[phase.gate]]
            kind = "orphans"
            table = "app.users"
            column = "tenant_id"
            parent = { table = "app.accounts", match = { account_id = "id" } }"#,
        says: &["gate", "app.users", "100000"],
        mend: "CREATE TABLE app.mended ()",
    },
];

fn phase(id: &str, on_failure: &str, body: &str) -> String {
    format!("[[phase]]\nid = \"{id}\"\n{on_failure}\n{body}\n")
}

#[track_caller]
fn says_all(out: Output, words: &[&str]) -> Output {
    words.iter().fold(out, |out, word| out.stdout_has(word))
}

#[track_caller]
fn rolls_back_the_phase(case: &Case) {
    let scene = Scene::new(case.name, 300);
    scene.db.sql(case.prepare);
    let whole = plan(case.safety, &[EXPAND, &phase("second", "", case.phase)]);
    let expand_only = plan(case.safety, &[EXPAND]);
    // What the first phase alone leaves is what must stay.
    let other = Scene::new(case.name, 300);
    other.db.sql(case.prepare);
    let _ = other.apply(&expand_only).expect_code(0);
    let out = scene.apply(&whole).expect_code(5).stdout_has("rolled back cleanly to `expand`").stderr_has("next:");
    says_all(out, case.says).stdout_has("phase `second`").nowhere_has("panicked");
    scene.is_as(&other.print());
    scene.no_wreck();
    scene.stands("rolled back");
    scene.db.sql(case.mend);
    let _ = scene.apply(&whole).expect_code(0).stdout_has("is applied");
    scene.stands("completed");
    scene.no_wreck();
    scene.verified();
}

#[test]
fn a_unique_index_over_duplicates_is_rolled_back_without_a_wreck() {
    rolls_back_the_phase(&CASES[0]);
}

#[test]
fn a_statement_that_raises_rolls_its_phase_back() {
    rolls_back_the_phase(&CASES[1]);
}

#[test]
fn an_assertion_that_is_false_rolls_its_phase_back() {
    rolls_back_the_phase(&CASES[2]);
}

#[test]
fn a_gate_that_fails_rolls_its_phase_back() {
    rolls_back_the_phase(&CASES[3]);
}

#[test]
fn a_gate_that_finds_orphans_rolls_its_phase_back() {
    rolls_back_the_phase(&CASES[4]);
}

#[test]
fn rollback_all_undoes_every_phase() {
    for case in CASES {
        let scene = Scene::new(&format!("all_{}", case.name), 300);
        scene.db.sql(case.prepare);
        let before = scene.print();
        let whole = plan(case.safety, &[EXPAND, &phase("second", "on_failure = \"rollback_all\"", case.phase)]);
        let out = scene.apply(&whole).expect_code(5).stdout_has("rolled back cleanly to `start`");
        says_all(out, case.says).stdout_has("nothing of the plan");
        scene.is_as(&before);
        scene.no_wreck();
        scene.stands("rolled back");
        scene.db.sql(case.mend);
        let _ = scene.apply(&whole).expect_code(0);
        scene.stands("completed");
    }
}

#[test]
fn pause_keeps_everything_and_resume_goes_on_after_mending() {
    for case in CASES {
        let scene = Scene::new(&format!("pause_{}", case.name), 300);
        scene.db.sql(case.prepare);
        let whole = plan(case.safety, &[EXPAND, &phase("second", "on_failure = \"pause\"", case.phase)]);
        let out = scene.apply(&whole).expect_code(1).stdout_has("paused").stderr_has("tenantmig resume");
        let _ = says_all(out, case.says);
        assert!(scene.has_column("app.users", "tenant_id"));
        scene.no_wreck();
        scene.stands("paused");
        scene.db.sql(case.mend);
        if case.name == "orphans_gate" {
            scene.db.sql("INSERT INTO app.accounts VALUES (9, '00000000-0000-0000-0000-000000000009')");
        }
        let _ = scene.run("resume").expect_code(0).stdout_has("is applied");
        scene.stands("completed");
    }
}

#[test]
fn a_paused_run_can_be_rolled_back_to_the_start() {
    for case in CASES {
        let scene = Scene::new(&format!("back_{}", case.name), 300);
        scene.db.sql(case.prepare);
        let before = scene.print();
        let whole = plan(case.safety, &[EXPAND, &phase("second", "on_failure = \"pause\"", case.phase)]);
        let _ = scene.apply(&whole).expect_code(1);
        let _ = scene.run("rollback --to start --yes").expect_code(0).stdout_has("rolled back to `start`");
        scene.is_as(&before);
        scene.stands("rolled back");
    }
}

#[test]
fn an_index_build_that_waits_too_long_is_rolled_back_without_a_wreck() {
    let scene = Scene::new("index_wait", 300);
    let index = "[[phase.step]]\nid = \"slow\"\nkind = \"create_index\"\ntable = \"app.users\"\ncolumns = [\"email\"]";
    let whole = plan(
        "index_wait = \"300ms\"\nlock_timeout = \"150ms\"\nlock_retries = 1",
        &[EXPAND, &phase("second", "", index)],
    );
    let _ = scene.apply(&plan("", &[EXPAND])).expect_code(0);
    let before = scene.print();
    let _ = scene.run("rollback --to start --yes").expect_code(0);
    // An older transaction that has a snapshot: CONCURRENTLY waits for its end.
    let older = scene.holding("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM app.accounts");
    let out = scene.apply(&whole).expect_code(5).stdout_has("rolled back cleanly to `expand`");
    let _ = out.stdout_has("step `slow`").stdout_has("CONCURRENTLY").stdout_has("lock");
    scene.no_wreck();
    scene.is_as(&before);
    drop(older);
    let _ = scene.run("resume").expect_code(0);
    scene.stands("completed");
    scene.verified();
}

#[test]
fn a_statement_over_its_deadline_is_rolled_back() {
    let scene = Scene::new("deadline", 300);
    let slow = "[[phase.step]]\nid = \"slow\"\nkind = \"sql\"\nup = \"SELECT pg_sleep(CASE WHEN to_regclass('app.mended') IS NULL THEN 60 ELSE 0 END)\"\ndown = \"-- it changes nothing\"";
    let whole = plan("statement_deadline = \"500ms\"", &[EXPAND, &phase("second", "", slow)]);
    let out = scene.apply(&whole).expect_code(5).stdout_has("rolled back cleanly to `expand`");
    let _ = out.stdout_has("57014").stdout_has("statement_deadline").stdout_has("pg_sleep");
    scene.stands("rolled back");
    scene.db.sql("CREATE TABLE app.mended ()");
    let _ = scene.run("resume").expect_code(0);
    scene.stands("completed");
}

#[test]
fn an_index_build_over_its_deadline_leaves_no_wreck() {
    let scene = Scene::new("build_deadline", 300);
    // An immutable function, as far as PostgreSQL believes, so slow that the build cannot end in time.
    scene.db.sql(
        "CREATE FUNCTION app.slow(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
            BEGIN IF to_regclass('app.mended') IS NULL THEN PERFORM pg_sleep(0.05); END IF; RETURN $1; END $$",
    );
    let index = "[[phase.step]]\nid = \"slow\"\nkind = \"create_index\"\ntable = \"app.users\"\nname = \"users_slow\"\ncolumns = [{ expr = \"app.slow(email)\" }]";
    let whole = plan("statement_deadline = \"700ms\"", &[EXPAND, &phase("second", "", index)]);
    let out = scene.apply(&whole).expect_code(5).stdout_has("rolled back cleanly to `expand`");
    let _ = out.stdout_has("57014").stdout_has("users_slow");
    scene.no_wreck();
    assert!(!scene.db.one::<bool>("SELECT to_regclass('app.users_slow') IS NOT NULL"));
    scene.db.sql("CREATE TABLE app.mended ()");
    let _ = scene.apply(&whole).expect_code(0);
    scene.stands("completed");
    scene.no_wreck();
}

#[test]
fn an_orphan_stops_the_backfill_and_rolls_its_phase_back() {
    let scene = Scene::new("orphan", 300);
    scene.db.sql("INSERT INTO app.users VALUES (100000, 77, 'nobody@example.org')");
    let before = scene.print();
    let out = scene.apply(&plan("", &[EXPAND])).expect_code(5).stdout_has("rolled back cleanly to `start`");
    let _ =
        out.stdout_has("step `fill`").stdout_has("1 rows of app.users have no value").stdout_has("nobody@example.org");
    scene.is_as(&before);
    scene.stands("rolled back");
    scene.db.sql("INSERT INTO app.accounts VALUES (77, gen_random_uuid())");
    let _ = scene.apply(&plan("", &[EXPAND])).expect_code(0);
    scene.stands("completed");
}

#[test]
fn an_answer_that_is_not_one_boolean_is_told_as_such() {
    let scene = Scene::new("answer", 3);
    let check = |query: &str, says: &str| {
        let step = format!("[[phase.step]]\nid = \"ask\"\nkind = \"assert\"\nsql = \"{query}\"");
        let _ = scene.apply(&plan("", &[&phase("asks", "", &step)])).expect_code(5).stdout_has(says);
        let _ = scene.run("rollback --to start --yes");
    };
    check("SELECT true FROM app.users", "the answer has more than one row");
    check("SELECT true FROM app.users WHERE false", "the answer has no row");
    check("SELECT true, false", "the answer has 2 columns, not one");
    check("SELECT 1 -- one", "the answer is of type integer, not boolean");
    check("SELECT NULL::boolean", "the answer is NULL");
    scene.db.sql("CREATE DOMAIN app.yes AS boolean; CREATE TYPE app.mood AS ENUM ('true')");
    check("SELECT false::app.yes", "the answer is false");
    check("SELECT 'true'::app.mood", "the answer is of type app.mood, not boolean");
    check("SELECT 'a'", "the answer is of type text, not boolean");
    check("SELECT ROW(true)", "the answer is of type record, not boolean");
}
