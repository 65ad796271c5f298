//! `cycle` as a user runs it: what it lets pass, what it finds, what it refuses, and what it leaves behind.

use crate::harness::{Db, Output, Signal, Tool, database, repo_path};

const TABLES: &str = "
CREATE TABLE accounts (id bigint PRIMARY KEY, name text);
CREATE TABLE members (id bigint PRIMARY KEY, account_id bigint NOT NULL REFERENCES accounts);
CREATE TABLE notes (id bigint PRIMARY KEY, member_id bigint NOT NULL REFERENCES members, body text);
INSERT INTO accounts SELECT g, 'a' || g FROM generate_series(1, 20) g;
INSERT INTO members SELECT g, 1 + g % 20 FROM generate_series(1, 100) g;
INSERT INTO notes SELECT g, 1 + g % 100, 'n' || g FROM generate_series(1, 3000) g;
";

/// A database with the three tables under a plain owner.
fn owned(name: &str) -> (Db, String) {
    let db = database(name);
    let owner = db.role("owner", "LOGIN NOBYPASSRLS");
    db.sql(&format!("GRANT CREATE, USAGE ON SCHEMA public TO {owner}; SET ROLE {owner}; {TABLES}"));
    (db, owner)
}

fn minimal() -> String {
    std::fs::read_to_string(repo_path("plans/minimal.toml")).unwrap()
}

fn plan(steps: &str) -> String {
    format!("format = 1\nname = \"sample\"\n[[phase]]\nid = \"one\"\n{steps}\n")
}

fn cycle(tool: Tool, plan: &str, flags: &[&str]) -> Output {
    let path = tool.file("plan.toml", plan);
    tool.args(["cycle".as_ref(), path.as_os_str()]).args(["--accept-exposure"]).args(flags).run()
}

#[track_caller]
fn nothing_stays(db: &Db) {
    assert_eq!(db.one::<i64>("SELECT count(*) FROM pg_namespace WHERE nspname ~ 'tenantmig'"), 0, "a ledger stays");
}

#[test]
fn a_superuser_cycles_as_the_owner_of_the_tables() {
    let (db, owner) = owned("cycle_owner");
    let before = db.pg_dump_schema();
    let out = cycle(Tool::new(&db), &minimal(), &["--yes", "--format", "json"]).expect_code(0);
    let found = out.json();
    assert_eq!((found["role"].as_str(), found["role_is_plain"].as_bool()), (Some(owner.as_str()), Some(true)), "{out}");
    let legs: Vec<&str> = found["legs"].as_array().unwrap().iter().map(|leg| leg["leg"].as_str().unwrap()).collect();
    assert_eq!(legs, ["up 1", "down 1", "up 2", "down 2"]);
    assert_eq!((found["legs"][0]["rows"].as_i64(), found["legs"][2]["rows"].as_i64()), (Some(3000), Some(3000)));
    let same: Vec<bool> =
        found["comparisons"].as_array().unwrap().iter().map(|c| c["same"].as_bool().unwrap()).collect();
    assert_eq!(same, [true, true, true]);
    assert_eq!(found["not_compared"], serde_json::json!([]));
    assert_eq!(before, db.pg_dump_schema());
    nothing_stays(&db);
}

#[test]
fn a_plain_login_cycles_as_itself_and_says_what_it_cannot_see() {
    let (db, owner) = owned("cycle_plain");
    let refused = cycle(Tool::new(&db).url(&db.url_as(&owner)), &minimal(), &["--yes"]).expect_code(77);
    let _ = refused.stderr_has("GRANT CREATE ON DATABASE");
    db.sql(&format!("GRANT CREATE ON DATABASE {} TO {owner}", db.name()));
    let out = cycle(Tool::new(&db).url(&db.url_as(&owner)), &minimal(), &["--yes"]).expect_code(0);
    let _ = out
        .stdout_has("rows of public.notes not compared after up 1")
        .stdout_has("leaves nothing behind; the rows of 1 table");
    nothing_stays(&db);
}

/// The undo of a key within a tenant has a guard, which nobody but a role with BYPASSRLS measures under FORCE.
#[test]
fn a_guard_that_force_hides_is_measured_once_force_is_gone() {
    let (db, owner) = owned("cycle_guard");
    db.sql(&format!("ALTER TABLE notes ADD UNIQUE (body); GRANT CREATE ON DATABASE {} TO {owner}", db.name()));
    let before = db.pg_dump_schema();
    let unique = "    { kind = \"set_not_null\", table = \"public.notes\", column = \"account_id\" },\n";
    let scoped =
        format!("{unique}    {{ kind = \"scope_unique\", table = \"public.notes\", columns = [\"body\"] }},\n");
    let plan = minimal().replace(unique, &scoped);
    assert!(plan.contains("scope_unique"), "{plan}");
    let _ = cycle(Tool::new(&db).url(&db.url_as(&owner)), &plan, &["--yes"]).expect_code(0);
    assert_eq!(before, db.pg_dump_schema());
    nothing_stays(&db);
}

/// What only fails in production: a gate that reads rows which FORCE hides from the owner.
#[test]
fn what_a_plain_role_cannot_do_fails_and_is_taken_back() {
    let (db, _) = owned("cycle_force");
    let one_phase = minimal().replace("]\n\n[[phase]]\nid   = \"isolate-notes\"\nstep = [\n", "");
    assert!(one_phase.matches("[[phase]]").count() == 1, "{one_phase}");
    let before = db.pg_dump_schema();
    let out = cycle(Tool::new(&db), &one_phase, &["--yes"]).expect_code(5);
    let _ = out
        .stdout_has("row-level security policy for table \"notes\"")
        .stdout_has("catalogue the same: start and after the failure");
    assert_eq!(before, db.pg_dump_schema());
    nothing_stays(&db);
    let _ = cycle(Tool::new(&db), &one_phase, &["--yes", "--as-superuser"]).expect_code(0).stderr_has("WARNING");
}

#[test]
fn differences_are_found_and_shown() {
    let (db, owner) = owned("cycle_diff");
    // A plan that needs no table names nobody who could migrate.
    let as_owner = ["--yes", "--role", owner.as_str()];
    // An undo that forgets, and a backfill of a column that stood there before.
    let forgets = plan(
        r#"step = [{ id = "s", kind = "sql", up = "CREATE TABLE IF NOT EXISTS public.left_over (id int)", down = "SELECT 1" }]"#,
    );
    let out = cycle(Tool::new(&db), &forgets, &as_owner).expect_code(3);
    let _ = out
        .stdout_has("catalogue DIFFER: start (-) and after down 1 (+)")
        .stdout_has("+table public.left_over")
        .stderr_has("`down`");
    nothing_stays(&db);
    db.sql("ALTER TABLE notes ADD known bigint");
    let fills = plan(r#"step = [{ kind = "backfill", table = "public.notes", column = "known", value = "7" }]"#);
    let out = cycle(Tool::new(&db), &fills, &["--yes"]).expect_code(3);
    let _ = out.stdout_has("rows of").stdout_has("data public.notes").stderr_has("by design");
    // Another value each time in a table that the plan makes is no difference.
    let makes = plan(
        r#"step = [{ kind = "create_table", table = "public.registry", columns = [{ name = "id", type = "int" }, { name = "at", type = "timestamptz", default = "clock_timestamp()" }], primary_key = ["id"], seed = [{ id = 1 }] }]"#,
    );
    let out = cycle(Tool::new(&db), &makes, &as_owner).expect_code(0);
    let _ = out.stdout_has("left out between the ups").stdout_has("public.registry.at");
}

#[test]
fn what_a_cycle_refuses() {
    let (db, owner) = owned("cycle_refusals");
    let dump = db.pg_dump_schema();
    let check = |plan: &str, flags: &[&str], code: i32, says: &str| {
        let _ = cycle(Tool::new(&db), plan, flags).expect_code(code).stderr_has(says);
        assert_eq!(dump, db.pg_dump_schema());
        nothing_stays(&db);
    };
    check(&minimal(), &[], 4, "--yes");
    check(&minimal(), &["--yes", "--role", "postgres"], 4, "--as-superuser");
    check(&minimal(), &["--yes", "--role", "nobody_here"], 4, "no role nobody_here");
    let fixed =
        plan(r#"step = [{ id = "s", kind = "sql", up = "SELECT 1", down = false, irreversible = "it sends mail" }]"#);
    check(&fixed, &["--yes", "--role", &owner], 4, "it sends mail");
    let none = plan(r#"step = [{ id = "s", kind = "sql", up = "SELECT 1", down = "SELECT 1" }]"#);
    check(&none, &["--yes"], 4, "--role");
    db.sql("ALTER TABLE members OWNER TO postgres");
    let _ = cycle(Tool::new(&db), &minimal(), &["--yes"]).expect_code(4).stderr_has("several owners");
    db.sql(&format!("ALTER TABLE members OWNER TO {owner}"));
    let tool = Tool::new(&db);
    let path = tool.file("plan.toml", &minimal());
    let _ = tool.args(["apply".as_ref(), path.as_os_str()]).args(["--yes"]).run().expect_code(0);
    let _ = cycle(Tool::new(&db), &minimal(), &["--yes"]).expect_code(4).stderr_has("is applied here");
    // Standing there without a ledger that knows of it: nothing would be tried.
    db.sql("DROP SCHEMA tenantmig CASCADE; ALTER TABLE notes NO FORCE ROW LEVEL SECURITY");
    let made =
        plan(r#"step = [{ kind = "add_column", table = "public.notes", column = "account_id", type = "bigint" }]"#);
    let _ = cycle(Tool::new(&db), &made, &["--yes"]).expect_code(4).stdout_has("nothing was tried");
}

#[test]
fn a_cycle_that_is_stopped_says_how_to_go_back() {
    let (db, owner) = owned("cycle_stopped");
    let before = db.pg_dump_schema();
    let slow = plan(
        r#"step = [
            { kind = "add_column", table = "public.notes", column = "extra", type = "bigint" },
            { id = "slow", kind = "sql", up = "SELECT pg_sleep(60)", down = "SELECT 1" },
        ]"#,
    );
    let tool = Tool::new(&db);
    let path = tool.file("plan.toml", &slow);
    let mut running = tool.args(["cycle".as_ref(), path.as_os_str()]).args(["--yes", "--accept-exposure"]).spawn();
    running.wait_stderr("pg_sleep");
    running.signal(Signal::INT).signal(Signal::INT);
    let out = running.wait().expect_code(130);
    let back = format!("tenantmig --role {owner} --ledger-schema tenantmig_cycle rollback --to start");
    let _ = out.stderr_has("up 1 of the cycle, and 2 of 3 units stand").stderr_has(&back);
    let _ = cycle(Tool::new(&db), &slow, &["--yes"]).expect_code(4).stderr_has(&back);
    let _ = Tool::new(&db).args(back.split(' ').skip(1)).args(["--yes"]).run().expect_code(0);
    let quick = slow.replace("pg_sleep(60)", "1");
    let _ = cycle(Tool::new(&db), &quick, &["--yes"]).expect_code(0);
    assert_eq!(before, db.pg_dump_schema());
    nothing_stays(&db);
}

/// Reading every row may take long: a signal ends that too, and before the first leg nothing stands.
#[tokio::test]
async fn a_fingerprint_is_interrupted() {
    let (db, _) = owned("cycle_print");
    let holder = db.client().await;
    db.sql("CREATE TABLE held ()");
    holder.batch_execute("BEGIN; LOCK held").await.unwrap();
    let tool = Tool::new(&db);
    let path = tool.file("plan.toml", &minimal());
    let mut running = tool.args(["cycle".as_ref(), path.as_os_str()]).args(["--yes", "--accept-exposure"]).spawn();
    let begun = std::time::Instant::now();
    while db.one::<i64>("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'held'::regclass") == 0 {
        assert!(begun.elapsed().as_secs() < 60, "the fingerprint never came to the table");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    running.signal(Signal::INT).signal(Signal::INT);
    let out = running.wait().expect_code(130);
    let _ = out.nowhere_has("rollback --to").stderr_has("nothing was changed");
    nothing_stays(&db);
}

#[test]
fn a_cycle_that_is_stuck_keeps_its_ledger_until_it_is_undone() {
    let (db, owner) = owned("cycle_stuck");
    let fails = plan(r#"step = [{ id = "s", kind = "sql", up = "SELECT 1", down = "DROP TABLE public.missing" }]"#);
    let as_owner = ["--yes", "--role", owner.as_str()];
    let back = format!("tenantmig --role {owner} --ledger-schema tenantmig_cycle rollback --to start");
    let _ = cycle(Tool::new(&db), &fails, &as_owner).expect_code(6).stdout_has("down 1").stderr_has(&back);
    db.sql(&format!("CREATE TABLE missing (); ALTER TABLE missing OWNER TO {owner}"));
    let _ = Tool::new(&db).args(back.split(' ').skip(1)).args(["--yes"]).run().expect_code(0);
    // What is left of the ledger, or of a cycle that was killed before it had one, is no obstacle.
    let _ = cycle(Tool::new(&db), &minimal(), &["--yes"]).expect_code(0);
    db.sql("CREATE SCHEMA tenantmig_cycle");
    let _ = cycle(Tool::new(&db), &minimal(), &["--yes"]).expect_code(0);
    nothing_stays(&db);
    db.sql("CREATE SCHEMA tenantmig_cycle CREATE TABLE mine ()");
    let _ = cycle(Tool::new(&db), &minimal(), &["--yes"]).expect_code(4).stderr_has("no cycle's ledger");
    assert!(db.one::<bool>("SELECT to_regclass('tenantmig_cycle.mine') IS NOT NULL"));
}

#[test]
fn a_throwaway_database_needs_no_server() {
    let tool = Tool::without_database();
    let sql = tool.file("schema.sql", TABLES);
    let out = cycle(tool, &minimal(), &["--on-demo", sql.to_str().unwrap()]).expect_code(0);
    let _ = out.stdout_has("neither superuser nor BYPASSRLS").stdout_has("leaves nothing behind");
    let tool = Tool::without_database();
    let sql = tool.file("schema.sql", "CREATE TABLE a (id int);\nCREATE EXTENSION no_such_thing;");
    let _ = cycle(tool, &minimal(), &["--on-demo", sql.to_str().unwrap()]).expect_code(1).stderr_has("no_such_thing");
}
