//! plans/alphapulse.toml and plans/minimal.toml on small databases: forward, isolation, a failure, back, under traffic.

use std::path::PathBuf;

use tenantmig::demo::{
    alphapulse::{APP, OWNER, TABLES, TENANTS},
    seed::{RESOLVE_DUPLICATES, Scale, add_duplicates, seed},
    traffic::Traffic,
};

use crate::harness::{Db, Output, Tool, database, pg_dump_fits, repo_path};

/// Some 8,000 rows: more than one batch of trades takes more users, and nothing here needs it.
const SMALL: Scale = Scale { users: 300 };

fn plan() -> String {
    path("plans/alphapulse.toml")
}

fn path(relative: &str) -> String {
    let path: PathBuf = repo_path(relative);
    path.display().to_string()
}

async fn alphapulse(name: &str) -> Db {
    let db = database(name);
    seed(&db.client().await, SMALL).await.unwrap();
    db
}

/// As the owner of the tables, who is neither superuser nor BYPASSRLS. From a thread of its own, so that the traffic of a
/// test goes on meanwhile.
async fn tool(db: &Db, arguments: &[&str]) -> Output {
    let tool = Tool::without_database().url(&db.url_as(OWNER)).args(arguments);
    tokio::task::spawn_blocking(|| tool.run()).await.unwrap()
}

/// What the application sees of `table` in the context of `tenant`; without one, what it sees with none.
fn seen(db: &Db, tenant: Option<&str>, table: &str) -> i64 {
    let context = tenant.unwrap_or_default();
    // set_config in a CTE that is read first: one statement, as `one_as` takes it.
    let query = format!(
        "WITH c AS MATERIALIZED (SELECT set_config('app.current_tenant_id', '{context}', true) AS v)
         SELECT (SELECT count(*) FROM {table}) FROM c WHERE c.v IS NOT NULL"
    );
    db.one_as(APP, &query).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn forward_and_back_under_traffic_nothing_is_lost_and_all_is_as_before() {
    let db = alphapulse("alphapulse").await;
    let before = pg_dump_fits().then(|| db.pg_dump_schema());
    let traffic = Traffic::start(&db.url_as(APP), SMALL);

    tool(&db, &["apply", &plan(), "--yes"]).await.expect_code(0);
    for table in TABLES {
        assert_eq!(seen(&db, None, table), 0, "{table}");
        let mine = |tenant: &tenantmig::demo::alphapulse::Tenant| seen(&db, Some(&tenant.id.to_string()), table);
        // The application goes on writing, so there may be more by now, and never less.
        assert!(TENANTS.iter().map(mine).sum::<i64>() >= SMALL.rows(table), "{table}");
    }
    let foreign = "INSERT INTO trades (user_id, symbol, side, quantity, price, tenant_id)
                   VALUES (1, 'SPY', 'buy', 1, 1, '00000000-0000-0000-0000-000000000002')";
    let context = "SET app.current_tenant_id = '00000000-0000-0000-0000-000000000001'";
    let refused = db.sql_as(APP, &format!("{context}; {foreign}")).unwrap_err();
    assert!(refused.starts_with("42501"), "{refused}");

    tool(&db, &["apply", &plan(), "--yes"]).await.expect_code(0).stdout_has("nothing was changed");
    tool(&db, &["status"]).await.expect_code(0).stdout_has("completed");

    tool(&db, &["rollback", "--to", "schema", "--confirm", db.name(), "--accept-exposure"]).await.expect_code(0);
    let bound: i64 = db.one("SELECT count(*) FROM pg_class WHERE relrowsecurity OR relforcerowsecurity");
    let columns: i64 = db.one("SELECT count(*) FROM pg_attribute WHERE attname = 'tenant_id' AND attrelid >= 16384");
    assert_eq!((bound, columns >= 7), (0, true));
    tool(&db, &["apply", &plan(), "--yes"]).await.expect_code(0);
    tool(&db, &["rollback", "--to", "start", "--confirm", db.name(), "--accept-exposure"]).await.expect_code(0);

    let report = traffic.stop().await;
    assert_eq!(report.writers.first_error, None);
    assert_eq!(report.readers.first_error, None);
    assert_eq!(report.readers.foreign_rows, 0);
    let kept = report.receipts.compare(&db.client().await, SMALL, 0).await.unwrap();
    assert!(kept.rows > 0 && kept.lost == 0 && kept.changed == 0 && kept.unexplained == 0, "{kept:?}");
    assert_eq!(before, pg_dump_fits().then(|| db.pg_dump_schema()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unique_index_over_duplicates_takes_its_phase_back_and_leaves_the_first() {
    let db = alphapulse("alphapulse duplicates").await;
    let client = db.client().await;
    assert_eq!(add_duplicates(&client).await.unwrap(), 3);
    tool(&db, &["apply", &plan(), "--yes"]).await.expect_code(5).stderr_has("users_tenant_email_key");
    let wrecks: i64 = db
        .one("SELECT count(*) FROM pg_index WHERE NOT indisvalid OR indexrelid::regclass::text LIKE 'idx_%_tenant_%'");
    let nulls: i64 = db.one("SELECT count(*) FROM trades WHERE tenant_id IS NULL");
    assert_eq!((wrecks, nulls), (0, 0));
    client.batch_execute(RESOLVE_DUPLICATES).await.unwrap();
    tool(&db, &["apply", &plan(), "--yes"]).await.expect_code(0);
    tool(&db, &["rollback", "--to", "start", "--confirm", db.name(), "--accept-exposure"]).await.expect_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_minimal_plan_isolates_one_table() {
    let db = database("minimal");
    db.sql(
        "CREATE TABLE accounts (id bigint PRIMARY KEY);
         CREATE TABLE members (id bigint PRIMARY KEY, account_id bigint NOT NULL REFERENCES accounts);
         CREATE TABLE notes (id bigint PRIMARY KEY, member_id bigint NOT NULL REFERENCES members, text text);
         INSERT INTO accounts VALUES (1), (2);
         INSERT INTO members VALUES (11, 1), (21, 2), (22, 2);
         INSERT INTO notes SELECT i, (ARRAY[11, 21, 22])[1 + i % 3], 'note ' || i FROM generate_series(1, 90) i",
    );
    let app = db.role("app", "LOGIN");
    db.sql(&format!("GRANT SELECT ON notes TO {app}"));
    let before = pg_dump_fits().then(|| db.pg_dump_schema());
    let run = |arguments: Vec<String>| Tool::new(&db).args(arguments).run();
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();

    run(words(&format!("apply {} --yes", path("plans/minimal.toml")))).expect_code(0);
    let count = |context: &str| -> i64 {
        db.one_as(
            &app,
            &format!(
                "WITH c AS MATERIALIZED (SELECT set_config('app.account_id', '{context}', true) AS v)
             SELECT (SELECT count(*) FROM notes) FROM c WHERE c.v IS NOT NULL"
            ),
        )
        .unwrap()
    };
    assert_eq!((count(""), count("1"), count("2")), (0, 30, 60));
    run(words(&format!("rollback --to start --accept-exposure --confirm {}", db.name()))).expect_code(0);
    assert_eq!(before, pg_dump_fits().then(|| db.pg_dump_schema()));
}

#[test]
fn the_demo_tells_which_steps_it_can_make_fail() {
    let run = Tool::without_database().args(["demo", "--fail-at", "no-such-step"]).run();
    run.expect_code(64).stderr_has("no-such-step").stderr_has("users_tenant_email_key");
}
