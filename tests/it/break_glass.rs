//! Break-glass: the scripts that stand in for the tool are run by psql alone and leave what the tool leaves.

use tenantmig::pg::fingerprint::{ColumnName, Fingerprint, TableName};

use crate::harness::{Db, Tool, block_on, database, repo_path};

/// The roles that plans/alphapulse.toml asks for; shared by the cluster, so made once and left.
const ROLES: &str = "DO $$ BEGIN CREATE ROLE alphapulse_app LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;";

/// The demo's tables with rows that are the same each time.
const ALPHAPULSE_ROWS: &str = "
INSERT INTO users (email, full_name, created_at)
  SELECT format('u%s@%s.example', i, (ARRAY['alphapulse', 'northwind', 'borealis'])[1 + i % 3]), 'User ' || i, '2026-01-01' FROM generate_series(1, 60) i;
INSERT INTO trades (user_id, symbol, side, quantity, price, created_at)
  SELECT 1 + i % 60, 'BTC', 'buy', 1 + i, i, '2026-01-01' FROM generate_series(1, 12000) i;
INSERT INTO positions (user_id, symbol, quantity, created_at) SELECT 1 + i % 60, 'BTC', i, '2026-01-01' FROM generate_series(1, 100) i;
INSERT INTO orders (user_id, symbol, quantity, created_at) SELECT 1 + i % 60, 'BTC', i, '2026-01-01' FROM generate_series(1, 100) i;
INSERT INTO portfolio_snapshots (user_id, value, created_at) SELECT 1 + i % 60, i, '2026-01-01' FROM generate_series(1, 100) i;
INSERT INTO risk_metrics (user_id, metric, value, created_at) SELECT 1 + i % 60, 'm', i, '2026-01-01' FROM generate_series(1, 100) i;
INSERT INTO agent_signals (user_id, agent, signal, confidence, created_at) SELECT 1 + i % 60, 'a', 'buy', 0.5, '2026-01-01' FROM generate_series(1, 100) i;
";

const MINIMAL: &str = "
CREATE TABLE accounts (id bigint PRIMARY KEY, name text);
CREATE TABLE members (id bigint PRIMARY KEY, account_id bigint NOT NULL REFERENCES accounts);
CREATE TABLE notes (id bigint PRIMARY KEY, member_id bigint NOT NULL REFERENCES members, body text);
INSERT INTO accounts SELECT g, 'a' || g FROM generate_series(1, 20) g;
INSERT INTO members SELECT g, 1 + g % 20 FROM generate_series(1, 100) g;
INSERT INTO notes SELECT g, 1 + g % 100, 'n' || g FROM generate_series(1, 12000) g;
";

/// Names that need quotes, text that would end a comment or a literal, each source of a backfill.
const AWKWARD: &str = r#"
CREATE SCHEMA "It's";
CREATE TABLE "It's"."Select" (id int PRIMARY KEY, "Grouß" text);
CREATE TABLE "It's".child (id int PRIMARY KEY, parent int REFERENCES "It's"."Select");
INSERT INTO "It's"."Select" SELECT g, 'x' FROM generate_series(1, 50) g;
INSERT INTO "It's".child SELECT g, 1 + g % 50 FROM generate_series(1, 7000) g;
CREATE INDEX stood ON "It's".child (parent);
"#;
const AWKWARD_PLAN: &str = r#"
format = 1
name   = "awkward"

[[phase]]
id   = "one"
step = [
    { kind = "add_column", table = "\"It's\".\"Select\"", column = "\"Ten ant\"", type = "uuid" },
    { kind = "backfill", table = "\"It's\".\"Select\"", column = "\"Ten ant\"", value = "00000000-0000-0000-0000-00000000002a" },
    { kind = "add_column", table = "\"It's\".child", column = "\"Ten ant\"", type = "uuid" },
    { kind = "backfill", table = "\"It's\".child", column = "\"Ten ant\"", from = { table = "\"It's\".\"Select\"", match = { parent = "id" } } },
    { kind = "add_column", table = "\"It's\".child", column = "twice", type = "int" },
    { kind = "backfill", table = "\"It's\".child", column = "twice", sql = "row.id * 2" },
    { kind = "create_index", table = "\"It's\".child", columns = ["parent"], name = "stood" },
    { id = "view", kind = "sql", description = "two\nlines", up = "CREATE VIEW \"It's\".v AS SELECT 'a;b' AS \"$tenantmig$\" -- the end", down = "DROP VIEW \"It's\".v -- gone" },
    { id = "sure", kind = "assert", sql = "SELECT count(*) = 7000 FROM \"It's\".child WHERE twice = id * 2 -- all", message = "it's 100% 'twice'" },
]
gate = [{ kind = "nulls", table = "\"It's\".child", columns = ["\"Ten ant\""] }]
"#;

/// A plan with the database it is for.
struct Case {
    name: &'static str,
    plan: String,
    setup: String,
    /// Columns whose values are new with each apply.
    ignore: Vec<ColumnName>,
}

fn cases() -> Vec<Case> {
    let kept = |name: &str| std::fs::read_to_string(repo_path(&format!("plans/{name}.toml"))).unwrap();
    let seed = std::fs::read_to_string(repo_path("src/demo/seed.sql")).unwrap();
    let column = |column: &str| ColumnName {
        of: TableName { schema: "public".into(), table: "tenants".into() },
        column: column.into(),
    };
    vec![
        Case { name: "minimal", plan: kept("minimal"), setup: MINIMAL.into(), ignore: Vec::new() },
        Case {
            name: "alphapulse",
            plan: kept("alphapulse"),
            setup: format!("{ROLES}\n{seed}\n{ALPHAPULSE_ROWS}"),
            ignore: vec![column("created_at"), column("updated_at")],
        },
        Case { name: "awkward", plan: AWKWARD_PLAN.into(), setup: AWKWARD.into(), ignore: Vec::new() },
    ]
}

impl Case {
    fn database(&self, what: &str) -> Db {
        let db = database(&format!("bg_{}_{what}", self.name));
        db.psql(&self.setup);
        db
    }

    fn print(&self, db: &Db) -> Fingerprint {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            Fingerprint::take(&db.client().await, &["tenantmig".to_owned()], &self.ignore).await.unwrap()
        })
    }

    /// What `tenantmig plan PLAN …` prints for this database.
    fn script(&self, db: &Db, flags: &[&str]) -> String {
        let tool = Tool::new(db);
        let path = tool.file("plan.toml", &self.plan);
        tool.args(["plan".as_ref(), path.as_os_str()]).args(flags).run().expect_code(0).stdout
    }

    fn apply(&self, db: &Db) {
        let tool = Tool::new(db);
        let path = tool.file("plan.toml", &self.plan);
        let _done = tool.args(["apply".as_ref(), path.as_os_str()]).args(["--yes"]).run().expect_code(0);
    }
}

#[track_caller]
fn same(what: &str, before: &Fingerprint, after: &Fingerprint) {
    if let Some(diff) = before.diff(after) {
        panic!("{what}:\n{diff}");
    }
}

#[test]
fn kept_scripts_are_those_of_the_plans() {
    let toml = |entry: std::fs::DirEntry| entry.file_name().to_str().unwrap().strip_suffix(".toml").map(str::to_owned);
    let plans: Vec<String> =
        std::fs::read_dir(repo_path("plans")).unwrap().filter_map(|entry| toml(entry.unwrap())).collect();
    assert!(plans.len() >= 2, "{plans:?}");
    let files = |folder: &std::path::Path| {
        let read =
            |path: std::path::PathBuf| (path.file_name().unwrap().to_owned(), std::fs::read_to_string(path).unwrap());
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        entries.map(|entry| read(entry.unwrap().path())).collect::<std::collections::BTreeMap<_, _>>()
    };
    for plan in plans {
        let made = tempfile::tempdir().unwrap();
        let path = repo_path(&format!("plans/{plan}.toml"));
        let tool = Tool::without_database().args(["plan".as_ref(), path.as_os_str()]);
        let _made = tool.args(["--sql", "--undo", "--out-dir"]).args([made.path()]).run().expect_code(0);
        let kept = files(&repo_path(&format!("rollback/{plan}")));
        assert!(
            files(made.path()) == kept,
            "rollback/{plan} is not what the plan gives; after a look at the difference: \
             tenantmig plan plans/{plan}.toml --sql --undo --out-dir rollback/{plan}"
        );
    }
}

#[test]
fn scripts_do_and_undo_what_the_tool_does() {
    for case in cases() {
        let (by_hand, by_tool) = (case.database("hand"), case.database("tool"));
        let before = case.print(&by_hand);
        let (forward, back) = (case.script(&by_hand, &["--sql"]), case.script(&by_hand, &["--sql", "--undo"]));
        if case.name == "awkward" {
            // Made for a database without it; here the tool adopts what stood there and the script would meet it.
            by_hand.psql("DROP INDEX \"It's\".stood");
        }
        by_hand.psql(&forward);
        case.apply(&by_tool);
        let applied = case.print(&by_tool);
        same(&format!("{}: by psql and by the tool", case.name), &case.print(&by_hand), &applied);

        by_hand.psql(&back);
        if case.name == "awkward" {
            by_hand.psql("CREATE INDEX stood ON \"It's\".child (parent)");
        }
        same(&format!("{}: undone by psql", case.name), &before, &case.print(&by_hand));

        let back = Tool::new(&by_tool)
            .args(["rollback", "--to", "start", "--dry-run", "--sql", "--accept-exposure"])
            .run()
            .expect_code(0)
            .stdout;
        by_tool.psql(&back);
        same(&format!("{}: done by the tool, undone by psql", case.name), &before, &case.print(&by_tool));
    }
}

#[test]
fn a_check_stops_the_script() {
    let case = &cases()[0];
    let db = case.database("gate");
    let forward = case.script(&db, &["--sql"]);
    db.sql("ALTER TABLE members ALTER account_id DROP NOT NULL; UPDATE members SET account_id = NULL WHERE id = 7");
    let said = db.try_psql(&forward).unwrap_err();
    assert!(said.contains("account_id") && said.contains("null"), "{said}");
    assert!(!db.one::<bool>("SELECT relrowsecurity FROM pg_class WHERE relname = 'notes'"), "the script went on");

    let case = &cases()[2];
    let db = case.database("assert");
    let forward = case.script(&db, &["--sql"]).replace("= 7000", "= 7001");
    db.sql("DROP INDEX \"It's\".stood");
    let said = db.try_psql(&forward).unwrap_err();
    assert!(said.contains("not so: assert: it's 100% 'twice'"), "{said}");
}

/// Rows that are locked are neither left out nor waited for without end, and the script goes on when it is run again.
#[test]
fn a_backfill_meets_locked_rows() {
    let case = &cases()[0];
    let db = case.database("locked");
    let forward = case.script(&db, &["--sql", "--phase", "prepare-notes"]).replace("'2s'", "'200ms'");
    let backfill = &forward[forward.find("-- fill").unwrap()..forward.find("-- create index").unwrap()];
    db.sql("ALTER TABLE notes ADD account_id bigint");
    block_on({
        let (url, script) = (db.url(), backfill.to_owned());
        async move {
            let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
            tokio::spawn(connection);
            client.batch_execute("BEGIN; SELECT FROM notes WHERE id = 5 FOR UPDATE").await.unwrap();
            let (other, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
            tokio::spawn(connection);
            other.batch_execute("SET lock_timeout = '200ms'").await.unwrap();
            let error = other.batch_execute(&script).await.unwrap_err();
            assert_eq!(error.code().unwrap().code(), "55P03", "{error:?}");
            let left: i64 =
                other.query_one("SELECT count(*) FROM notes WHERE account_id IS NULL", &[]).await.unwrap().get(0);
            assert_eq!(left, 1);
            client.batch_execute("ROLLBACK").await.unwrap();
            other.batch_execute(&script).await.unwrap();
        }
    });
    assert_eq!(
        db.one::<i64>(
            "SELECT count(*) FROM notes n JOIN members m ON m.id = n.member_id WHERE n.account_id = m.account_id"
        ),
        12000
    );
}
