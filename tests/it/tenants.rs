//! Plans of `[[table]]`s: each way to the tenant, up, isolation, down and up again; and what a constant one costs.

mod late;
mod sessions;

use tenantmig::demo::cluster::{Cluster, ClusterOptions};
use tokio_postgres::Client;

use crate::harness::{Db, Output, Tool, cluster, database, pg_dump_fits};

const SCHEMA: &str = "
    CREATE TABLE app.tenants (id uuid PRIMARY KEY, name text NOT NULL);
    INSERT INTO app.tenants SELECT ('00000000-0000-0000-0000-00000000000' || n)::uuid, 'tenant ' || n FROM generate_series(1, 3) n;
    CREATE TABLE app.users (id bigint PRIMARY KEY, company uuid NOT NULL REFERENCES app.tenants, email text NOT NULL UNIQUE);
    INSERT INTO app.users SELECT n, ('00000000-0000-0000-0000-00000000000' || 1 + n % 3)::uuid, 'u' || n FROM generate_series(1, 30) n;
    CREATE TABLE app.desks (user_id bigint REFERENCES app.users, code text, PRIMARY KEY (user_id, code));
    INSERT INTO app.desks SELECT n, c FROM generate_series(1, 30) n, unnest('{a,b}'::text[]) c;
    CREATE TABLE app.trades (id bigint PRIMARY KEY, user_id bigint NOT NULL, desk text NOT NULL,
        FOREIGN KEY (user_id, desk) REFERENCES app.desks (user_id, code));
    INSERT INTO app.trades SELECT n, 1 + n % 30, (ARRAY['a', 'b'])[1 + n % 2] FROM generate_series(1, 600) n;
    CREATE TABLE app.fills (id bigint PRIMARY KEY, trade_id bigint NOT NULL REFERENCES app.trades);
    INSERT INTO app.fills SELECT n, 1 + n % 600 FROM generate_series(1, 900) n;
    CREATE TABLE app.positions (id bigint PRIMARY KEY, last_trade_id bigint NOT NULL);
    INSERT INTO app.positions SELECT n, 1 + n FROM generate_series(1, 90) n;
    CREATE TABLE app.settings (key text PRIMARY KEY, value text);
    INSERT INTO app.settings SELECT 'k' || n, 'v' FROM generate_series(1, 50) n;
    CREATE TABLE app.countries (code text PRIMARY KEY);";

/// Written in the order in which nobody could carry it out.
const PLAN: &str = r#"
format = 1
name   = "tenants"

[tenancy]
registry = { table = "app.tenants", key = "id", type = "uuid" }
column   = "tenant_id"
setting  = "app.tenant_id"
function = "app.current_tenant"

[[table]]
name   = "app.tenants"
tenant = "self"

[[table]]
name   = "app.positions"
tenant = { sql = "SELECT t.tenant_id FROM app.trades t WHERE t.id = row.last_trade_id", needs = ["app.trades"] }

[[table]]
name      = "app.fills"
tenant    = { from = "app.trades", match = { trade_id = "id" } }
composite = [{ columns = ["trade_id"], references = { table = "app.trades", columns = ["id"] } }]

[[table]]
name   = "app.trades"
tenant = { from = "app.desks", match = { user_id = "user_id", desk = "code" } }
index  = [["tenant_id", "id"]]

[[table]]
name   = "app.desks"
tenant = { from = "app.users", match = { user_id = "id" } }

[[table]]
name   = "app.users"
tenant = { from = "app.tenants", match = { company = "id" } }
unique = [{ columns = ["email"] }]

[[table]]
name   = "app.settings"
tenant = { value = "00000000-0000-0000-0000-000000000001" }

[[shared]]
name   = "app.countries"
reason = "a lookup table"
"#;

const TABLES: [&str; 7] = ["tenants", "users", "desks", "trades", "fills", "positions", "settings"];

struct Company {
    db: Db,
    owner: String,
    app: String,
}

impl Company {
    fn new(name: &str) -> Self {
        let db = database(name);
        let app = db.role("app", "LOGIN NOBYPASSRLS");
        // Who migrates asks as the application whether the tenants are apart.
        let owner = db.role("owner", &format!("LOGIN NOBYPASSRLS IN ROLE {app}"));
        db.sql(&format!(
            "GRANT CREATE ON DATABASE {} TO {owner}; CREATE SCHEMA app AUTHORIZATION {owner}; SET ROLE {owner}; {SCHEMA}
             GRANT USAGE ON SCHEMA app TO {app}; GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA app TO {app}",
            db.name()
        ));
        Self { db, owner, app }
    }

    #[track_caller]
    fn run(&self, plan: &str, words: &str) -> Output {
        let tool = Tool::new(&self.db).url(&self.db.url_as(&self.owner));
        let _ = tool.file("plan.toml", plan);
        tool.args(words.split_whitespace()).run()
    }

    /// What the application sees of each table as a tenant; 0 is none.
    #[track_caller]
    fn seen(&self, tenant: u32) -> Vec<i64> {
        let context = if tenant == 0 { String::new() } else { format!("00000000-0000-0000-0000-00000000000{tenant}") };
        let of = |table: &&str| {
            let query = format!(
                "WITH c AS MATERIALIZED (SELECT set_config('app.tenant_id', '{context}', true) AS v)
                 SELECT (SELECT count(*) FROM app.{table}) FROM c WHERE c.v IS NOT NULL"
            );
            self.db.one_as(&self.app, &query).unwrap()
        };
        TABLES.iter().map(of).collect()
    }

    /// Three tenants, each with its own rows and nobody else's.
    #[track_caller]
    fn is_isolated(&self, more_of_first: i64) {
        assert_eq!(self.seen(0), [0; 7]);
        for tenant in 1..=3 {
            let more = if tenant == 1 { more_of_first } else { 0 };
            let settings = if tenant == 1 { 50 } else { 0 };
            assert_eq!(self.seen(tenant), [1, 10, 20, 200 + more, 300, 30, settings], "tenant {tenant}");
        }
        let foreign = "SET app.tenant_id = '00000000-0000-0000-0000-000000000001';
                       INSERT INTO app.settings (key, tenant_id) VALUES ('x', '00000000-0000-0000-0000-000000000002')";
        let refused = self.db.sql_as(&self.app, foreign).unwrap_err();
        assert!(refused.starts_with("42501"), "{refused}");
    }
}

#[test]
fn every_way_leads_there_and_back_and_there_again() {
    let company = Company::new("tenants");
    let before = pg_dump_fits().then(|| company.db.pg_dump_schema());
    let _ = company.run(PLAN, "validate plan.toml").expect_code(0).stdout_has("7 tables in 7 phases");
    let explicit = company.run(PLAN, "plan plan.toml --expand").expect_code(0).stdout;
    let _ = company.run(&explicit, "validate plan.toml").expect_code(0).stdout_has("7 phases");

    // The application of today writes on, and knows no tenant.
    company.run(PLAN, "apply plan.toml --to capture --yes").expect_code(0);
    company.db.sql_as(&company.app, "INSERT INTO app.trades VALUES (601, 3, 'a')").unwrap();
    company.run(PLAN, "apply plan.toml --yes").expect_code(0);
    company.is_isolated(1);
    company.run(PLAN, &format!("rollback --to start --accept-exposure --confirm {}", company.db.name())).expect_code(0);
    assert_eq!(before, pg_dump_fits().then(|| company.db.pg_dump_schema()));

    // The explicit form does the same.
    company.run(&explicit, "apply plan.toml --yes").expect_code(0);
    company.is_isolated(1);
}

/// Nothing follows what an expression reads: a row that has the tenant of before by now goes no further than `constrain`.
#[test]
fn a_row_whose_expression_gives_another_tenant_by_now_stops_the_run() {
    let company = Company::new("tenants_astray");
    company.run(PLAN, "apply plan.toml --to backfill --yes").expect_code(0);
    company.db.sql_as(&company.app, "UPDATE app.trades SET user_id = 9 WHERE id = 7").unwrap();
    let stopped = company.run(PLAN, "apply plan.toml --yes").expect_code(5);
    let _ = stopped.stdout_has("app.positions.tenant_id is not what its expression gives").stdout_has("to NULL");
    company.db.sql_as(&company.app, "UPDATE app.positions SET tenant_id = NULL WHERE last_trade_id = 7").unwrap();
    company.run(PLAN, "apply plan.toml --yes").expect_code(0);
}

/// What a table is made of, and how much was written on the server: file, bytes of its rows, transactions that wrote them, WAL.
#[derive(Debug, PartialEq)]
struct Heap {
    file: u32,
    bytes: i64,
    writers: i64,
    wal: i64,
}

async fn heap(client: &Client, table: &str) -> Heap {
    let query = format!(
        "SELECT pg_relation_filenode('{table}'), pg_relation_size('{table}'), (SELECT count(DISTINCT xmin::text) FROM {table}),
                (pg_current_wal_insert_lsn() - '0/0')::bigint"
    );
    let row = client.query_one(&query, &[]).await.unwrap();
    Heap { file: row.get(0), bytes: row.get(1), writers: row.get(2), wal: row.get(3) }
}

/// On a server of its own, where nobody else writes WAL.
#[tokio::test(flavor = "multi_thread")]
async fn a_constant_tenant_writes_no_row() {
    const ROWS: u32 = 200_000;
    // The ledger and the catalogue write some; a table of 25 MB that was written would be in the WAL whole.
    const WAL_BYTES_MAX: i64 = 5_000_000;
    let bindir = Some(cluster().bindir().to_owned());
    let own =
        tokio::task::spawn_blocking(|| Cluster::start(ClusterOptions { bindir, ..ClusterOptions::default() }).unwrap());
    let own = own.await.unwrap();
    let url = own.url("postgres");
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
        .batch_execute(&format!(
            "CREATE SCHEMA app; CREATE TABLE app.tenants (id uuid PRIMARY KEY);
             INSERT INTO app.tenants VALUES ('00000000-0000-0000-0000-000000000001');
             CREATE TABLE app.events (id bigint PRIMARY KEY, body text);
             INSERT INTO app.events SELECT n, repeat('x', 80) FROM generate_series(1, {ROWS}) n"
        ))
        .await
        .unwrap();
    for statement in ["VACUUM ANALYZE app.events", "CHECKPOINT"] {
        client.batch_execute(statement).await.unwrap();
    }
    let plan = PLAN.split("[[table]]").next().unwrap().to_owned()
        + "[[table]]\nname = \"app.events\"\ntenant = { value = \"00000000-0000-0000-0000-000000000001\" }\nindex = []\n";
    let before = heap(&client, "app.events").await;
    assert!(before.bytes > 4 * WAL_BYTES_MAX, "{before:?}");
    for command in ["apply plan.toml --to expand --yes", "apply plan.toml --yes"] {
        let (url, plan) = (url.clone(), plan.clone());
        let run = tokio::task::spawn_blocking(move || {
            let tool = Tool::without_database().url(&url);
            let _ = tool.file("plan.toml", &plan);
            tool.args(command.split(' ')).run()
        });
        run.await.unwrap().expect_code(0);
        let after = heap(&client, "app.events").await;
        assert_eq!((after.file, after.bytes, after.writers), (before.file, before.bytes, before.writers), "{command}");
        assert!(after.wal - before.wal < WAL_BYTES_MAX, "{command}: {} bytes of WAL", after.wal - before.wal);
    }
    let filled: i64 = client
        .query_one("SELECT count(*) FROM app.events WHERE tenant_id = '00000000-0000-0000-0000-000000000001'", &[])
        .await
        .unwrap()
        .get(0);
    let default: String = client
        .query_one(
            "SELECT pg_get_expr(d.adbin, d.adrelid) || a.attnotnull FROM pg_attrdef d JOIN pg_attribute a ON (a.attrelid, a.attnum) = (d.adrelid, d.adnum)
              WHERE d.adrelid = 'app.events'::regclass",
            &[],
        )
        .await
        .unwrap()
        .get(0);
    assert_eq!((filled, default.as_str()), (i64::from(ROWS), "app.current_tenant()true"));
}
