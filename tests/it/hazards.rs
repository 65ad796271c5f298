//! What in a live schema bites is named before anything is touched: all of it on a leaky schema, nothing untrue on a clean one.

use std::{collections::BTreeSet, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use tenantmig::{
    demo::cluster::{Cluster, ClusterOptions},
    hazards,
    steps::EXAMPLE_SCHEMA,
};
use tokio_postgres::Client;

use crate::connections::execute;
use crate::harness::{Tool, block_on, cluster, connect, database, repo_path};

const SCHEMA: &str = include_str!("../fixtures/schemas/leaky.sql");

/// What only a server of another version shows: the fixed minors are data, and tested where they stand.
const OF_THE_VERSION: &str = "TM0440";

/// A server that keeps statistics of statements.
fn server() -> Cluster {
    let bindir = Some(cluster().bindir().to_owned());
    let extra_conf = vec![("shared_preload_libraries".to_owned(), "pg_stat_statements".to_owned())];
    Cluster::start(ClusterOptions { bindir, extra_conf, ..ClusterOptions::default() }).unwrap()
}

/// The plan of the leaky schema, looked at.
fn plan(url: &str, format: &str) -> crate::harness::Output {
    let file = repo_path("tests/fixtures/schemas/leaky.toml");
    let args = ["plan", file.to_str().unwrap(), "--format", format];
    Tool::without_database().url(url).args(args).run().expect_code(0)
}

fn codes(output: &crate::harness::Output) -> BTreeSet<String> {
    let found = output.json()["hazards"]["found"].clone();
    found.as_array().unwrap().iter().map(|hazard| hazard["code"].as_str().unwrap().to_owned()).collect()
}

/// What the application, the backup and others do, besides standing in the catalogue.
async fn live([app, backup, admin]: [String; 3], port: u16) -> Vec<Client> {
    let app = connect(&app).await;
    let upsert = "INSERT INTO shop.accounts (tenant_id, email)
                  VALUES ('00000000-0000-0000-0000-000000000001', 'a1@example.org') ON CONFLICT (email) DO NOTHING";
    app.batch_execute(upsert).await.unwrap();
    app.batch_execute("SELECT id FROM shop.accounts WHERE lower(email) = 'a1@example.org'").await.unwrap();
    let sink = app.copy_in::<_, &'static [u8]>("COPY shop.orders FROM STDIN").await.unwrap();
    futures_util::pin_mut!(sink);
    sink.close().await.unwrap();
    app.batch_execute("CREATE TEMP TABLE orders (id int)").await.unwrap();
    let backup = connect(&backup).await;
    let rows = backup.copy_out("COPY shop.accounts TO STDOUT").await.unwrap();
    futures_util::pin_mut!(rows);
    while rows.next().await.is_some() {}
    let admin = connect(&admin).await;
    for statement in [
        "SELECT pg_create_logical_replication_slot('leaky_slot', 'pgoutput')",
        "BEGIN",
        "INSERT INTO shop.carts VALUES (1)",
        "PREPARE TRANSACTION 'forgotten'",
    ] {
        admin.batch_execute(statement).await.unwrap();
    }
    let itself = format!(
        "CREATE SUBSCRIPTION leaky_sub CONNECTION 'host=127.0.0.1 port={port} user=postgres dbname=postgres' PUBLICATION leaky_feed
         WITH (create_slot = false, enabled = false, slot_name = NONE, copy_data = false)"
    );
    admin.batch_execute(&itself).await.unwrap();
    admin.batch_execute("BEGIN; SELECT 1").await.unwrap();
    vec![app, backup, admin]
}

#[test]
fn every_hazard_of_a_leaky_schema_is_named_before_anything_is_touched() {
    let server = server();
    let url = server.url("postgres");
    execute(&url, SCHEMA);
    // Without the extension the statements are not known, which is said once.
    let blind = plan(&url, "text");
    assert_eq!(blind.stdout.matches("pg_stat_statements is not installed").count(), 1, "{blind}");
    execute(&url, "CREATE EXTENSION pg_stat_statements");
    let sessions = block_on(live(
        [server.url_as("leaky_app", "postgres"), server.url_as("leaky_backup", "postgres"), url.clone()],
        server.port(),
    ));
    // The transaction is to be older than the plan's max_xact_age.
    std::thread::sleep(Duration::from_millis(100));
    let before = catalogue(&url);
    let json = plan(&url, "json");
    let found = codes(&json);
    let all: BTreeSet<String> =
        hazards::kinds().map(|kind| kind.code.to_owned()).filter(|code| code != OF_THE_VERSION).collect();
    let missing: Vec<_> = all.difference(&found).collect();
    assert!(missing.is_empty(), "not named: {missing:?}\n{json}");
    assert_eq!(json.json()["hazards"]["not_looked_for"], serde_json::json!([]), "{json}");
    // Each has its object, its reason and what helps; the text names them all.
    let text = plan(&url, "text");
    for code in &all {
        assert!(text.stdout.contains(&format!("{code} ")), "{code} is not in the text:\n{text}");
    }
    for named in [
        // security_invoker came with 15.
        if db_version(&url) >= 150_000 {
            "shop.v_big_orders: is security_invoker, but reads shop.v_orders"
        } else {
            "shop.v_big_orders: runs"
        },
        "shop.users.touch: fires before UPDATE",
        "which overwrites updated_at",
        "shop.readings_old: is a foreign partition of shop.readings",
        "leaky_app runs ON CONFLICT (email)",
        "leaky_app runs COPY FROM",
        "shop.accounts_lower: serves statements on shop.accounts that ran 1 times",
        "ALTER ROLE leaky_backup BYPASSRLS",
        "shop.orders: is hidden from a session by a temporary table",
        "prepared transaction 'forgotten'",
    ] {
        assert!(text.stdout.contains(named), "{named}:\n{text}");
    }
    // A plan that makes the index behind the tenant deals with it; one of another key does not.
    let text = std::fs::read_to_string(repo_path("tests/fixtures/schemas/leaky.toml")).unwrap();
    for (key, expect) in [("lower(email)", false), ("upper(email)", true)] {
        let index = format!(
            "[[phase]]\nid = \"more\"\n[[phase.step]]\nkind = \"create_index\"\ntable = \"shop.accounts\"\n\
             columns = [\"tenant_id\", {{ expr = \"{key}\" }}]\n"
        );
        let tool = Tool::without_database().url(&url);
        let file = tool.file("more.toml", &format!("{text}\n{index}"));
        let made = tool.args(["plan", file.to_str().unwrap(), "--format", "json"]).run().expect_code(0);
        assert_eq!(codes(&made).contains("TM0441"), expect, "{key}: {made}");
    }
    assert_eq!(catalogue(&url), before, "a survey changes nothing");
    drop(sessions);
}

fn db_version(url: &str) -> i32 {
    crate::connections::ask(url, "SELECT current_setting('server_version_num')::int4").unwrap()
}

/// The number of transactions that wrote something, as the next id tells, and the ledger's absence.
fn catalogue(url: &str) -> (i64, bool) {
    let of = |query: &str| crate::connections::ask::<i64>(url, query).unwrap();
    (
        of("SELECT txid_snapshot_xmax(txid_current_snapshot())"),
        of("SELECT count(*) FROM pg_namespace WHERE nspname = 'tenantmig'") == 0,
    )
}

const CLEAN: &str = r#"
format = 1
name = "clean"
[tenancy]
registry = { table = "app.accounts", key = "tenant_id", type = "uuid" }
column = "tenant_id"
setting = "app.tenant_id"
[[phase]]
id = "one"
  [[phase.step]]
  kind = "create_index"
  table = "app.users"
  columns = ["account_id"]
  [[phase.step]]
  kind = "backfill"
  table = "app.orders"
  column = "tenant_id"
  from = { table = "app.accounts", match = { account_id = "id" } }
"#;

#[test]
fn a_clean_schema_has_only_what_is_true_of_it() {
    let db = database("hazards_clean");
    db.sql(EXAMPLE_SCHEMA);
    let tool = Tool::new(&db);
    let file = tool.file("clean.toml", CLEAN);
    let output = tool.args(["plan", file.to_str().unwrap(), "--format", "json"]).run().expect_code(0);
    let found = output.json()["hazards"]["found"].clone();
    let found: BTreeSet<(String, String)> = found
        .as_array()
        .unwrap()
        .iter()
        .map(|hazard| (hazard["code"].as_str().unwrap().to_owned(), hazard["object"].as_str().unwrap().to_owned()))
        .filter(|(code, _)| code != OF_THE_VERSION)
        .collect();
    // No index leads from a child to its parent, and the other tables are in no step of this plan.
    let others: String = db.one(
        "SELECT string_agg(format('%I.%I', n.nspname, c.relname), '/') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname = 'app' AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname NOT IN ('accounts', 'users', 'orders')",
    );
    let ways = ["app.orders (account_id)", "app.users (account_id)"].map(|way| ("TM0413", way));
    let expect = ways.into_iter().chain(others.split('/').map(|table| ("TM0431", table)));
    let expect = expect.map(|(code, object)| (code.to_owned(), object.to_owned())).collect();
    assert_eq!(found, expect, "{output}");
}

const DEALT: &str = "
    CREATE SCHEMA app;
    CREATE TABLE app.tenants (id uuid PRIMARY KEY);
    CREATE TABLE app.countries (code text PRIMARY KEY);
    CREATE TABLE app.users (id bigint PRIMARY KEY, org uuid REFERENCES app.tenants, email text UNIQUE, \"Größe\" text, updated_at timestamptz);
    CREATE UNIQUE INDEX by_size ON app.users (lower(\"Größe\"));
    CREATE TABLE app.orders (id bigint, user_id bigint REFERENCES app.users ON DELETE CASCADE) PARTITION BY RANGE (id);
    CREATE TABLE app.orders_1 PARTITION OF app.orders FOR VALUES FROM (0) TO (100);
    GRANT SELECT ON app.orders_1 TO PUBLIC;
    CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.updated_at := now(); RETURN NEW; END';
    CREATE TRIGGER touch BEFORE UPDATE ON app.users FOR EACH ROW EXECUTE FUNCTION app.touch();";

/// What the plan deals with itself is no hazard; the same plan without those words names each.
#[test]
fn what_the_plan_deals_with_is_not_told() {
    const PLAN: &str = r#"
format = 1
name = "dealt"
[tenancy]
registry = { table = "app.tenants", key = "id", type = "uuid" }
column = "tenant_id"
setting = "app.tenant_id"
[[table]]
name = "app.users"
tenant = { from = "app.tenants", match = { org = "id" } }
#keep = ["updated_at"]
#unique = [{ columns = ["email"] }, { columns = [{ expr = "lower(\"Größe\")" }], constraint = "by_size" }]
[[table]]
name = "app.orders"
tenant = { from = "app.users", match = { user_id = "id" } }
#composite = [{ columns = ["user_id"], references = { table = "app.users", columns = ["id"] } }]
-enforce = false
#[[shared]]
#name = "app.countries"
#reason = "a lookup table"
"#;
    let db = database("hazards_dealt");
    db.sql(DEALT);
    let told = |kept: char, gone: char| {
        let lines = PLAN.lines().filter(|line| !line.starts_with(gone));
        let text: String = lines.map(|line| format!("{}\n", line.trim_start_matches(kept))).collect();
        let tool = Tool::new(&db);
        let file = tool.file("dealt.toml", &text);
        let output = tool.args(["plan", file.to_str().unwrap(), "--format", "json"]).run().expect_code(0);
        let mut codes = codes(&output);
        codes.retain(|code| ["TM0401", "TM0411", "TM0412", "TM0429", "TM0431"].contains(&code.as_str()));
        codes.into_iter().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(told('-', '#'), "TM0401 TM0411 TM0412 TM0429 TM0431");
    assert_eq!(told('#', '-'), "");
}
