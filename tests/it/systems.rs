//! The plans of the seed systems on small databases: up, down and up again while their application writes, and as if nothing
//! had happened in the end. (AlphaPulse's stands in tests/it/alphapulse.rs.)

use tenantmig::demo::systems::{System, Traffic};

use crate::harness::{Db, Output, Tool, database, pg_dump_fits, repo_path};

/// Rows of the first table; the writers choose among the first hundred.
const SCALE: u32 = 300;

async fn seeded(name: &str, system: &System) -> Db {
    let db = database(name);
    system.seed(&db.client().await, SCALE).await.unwrap();
    db
}

/// As the owner, on a thread of its own, so that the traffic goes on.
async fn tool(db: &Db, system: &System, arguments: &[&str]) -> Output {
    let tool = Tool::without_database().url(&db.url_as(system.owner)).args(arguments);
    tokio::task::spawn_blocking(|| tool.run()).await.unwrap()
}

/// Up with the old release at work, isolation, down with the new one, up and down again.
async fn there_and_back(name: &str) {
    let system = System::named(name).unwrap();
    let db = seeded(&format!("system {name}"), system).await;
    let plan = repo_path(&format!("plans/{name}.toml")).display().to_string();
    let before = pg_dump_fits().then(|| db.pg_dump_schema());

    let old = Traffic::old(system, &db.url_as(system.app));
    tool(&db, system, &["apply", &plan, "--yes"]).await.expect_code(0);
    let mut written = old.stop().await;
    assert_eq!(written.first_error, None);
    assert!(written.writes() > 20, "{}", written.writes());

    let new = Traffic::new(system, &db.url_as(system.app));
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    for table in system.isolated {
        let all = db.one::<i64>(&format!("SELECT count(*) FROM {table}"));
        let (mut sum, none) = (0, seen(&db, system, table, None));
        for tenant in system.tenants {
            let (mine, foreign) = seen(&db, system, table, Some(tenant));
            assert_eq!(foreign, 0, "{table} as {tenant}");
            sum += mine;
        }
        assert!(none.0 == 0 && sum >= all && all > 0, "{table}: {all} rows, {sum} seen, {} without a tenant", none.0);
    }
    let back = ["rollback", "--to", "start", "--confirm", db.name(), "--allow-data-loss", "--accept-exposure"];
    tool(&db, system, &back).await.expect_code(0);
    let new = new.stop().await;
    assert_eq!(new.first_error, None);
    assert!(new.writes() > 20, "{}", new.writes());
    written.merge(new);
    assert_eq!(written.lost(&db.client().await, system.kept).await.unwrap(), 0, "acknowledged writes are gone");
    assert_eq!(before, pg_dump_fits().then(|| db.pg_dump_schema()));

    let old = Traffic::old(system, &db.url_as(system.app));
    tool(&db, system, &["apply", &plan, "--yes"]).await.expect_code(0);
    tool(&db, system, &["apply", &plan, "--yes"]).await.expect_code(0).stdout_has("nothing was changed");
    tool(&db, system, &back).await.expect_code(0);
    written.merge(old.stop().await);
    assert_eq!(written.first_error, None);
    assert_eq!(written.lost(&db.client().await, system.kept).await.unwrap(), 0);
    assert_eq!(before, pg_dump_fits().then(|| db.pg_dump_schema()));
}

/// What the application sees: rows, and rows of somebody else.
fn seen(db: &Db, system: &System, table: &str, tenant: Option<&str>) -> (i64, i64) {
    let context = tenant.unwrap_or_default();
    let query = format!(
        "WITH c AS MATERIALIZED (SELECT set_config('{}', '{context}', true) AS v)
         SELECT (SELECT count(*) || ' ' || count(*) FILTER (WHERE {}::text <> '{context}') FROM {table}) FROM c WHERE c.v IS NOT NULL",
        system.setting, system.column
    );
    let answer: String = db.one_as(system.app, &query).unwrap();
    let (rows, foreign) = answer.split_once(' ').unwrap();
    (rows.parse().unwrap(), foreign.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn portfolio_there_and_back() {
    there_and_back("portfolio").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_chunks_there_and_back() {
    there_and_back("memory_chunks").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chat_there_and_back() {
    there_and_back("chat").await;
}
