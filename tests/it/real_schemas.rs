//! One database with what schemas in use have: partitions of every kind at several levels, inheritance, tables without a key,
//! natural keys, generated and identity columns, domains, enums, triggers, views, rules, publications and mixed-case names.

use crate::harness::{Db, Output, database, pg_dump_fits};
use crate::scene::{Scene, with_plan};

/// Each with the column that names the account, its partitions and children, and further keys of its backfill.
const TABLES: &[(&str, &str, &[&str], &str)] = &[
    (
        "app.events",
        "account_id",
        &[
            "app.events_q1",
            "\"Archiv\".\"Q 2%\"",
            "app.q2_trade",
            "app.q2_trade_0",
            "app.q2_trade_1",
            "\"Archiv\".\"Rest\"",
            "app.events_q3",
        ],
        "keep = ['updated_at']",
    ),
    ("app.regions", "account_id", &["app.regions_n", "app.regions_rest"], ""),
    ("app.docs", "account_id", &["app.invoices", "app.notes", "app.reminders"], ""),
    ("app.nokey", "account_id", &[], ""),
    ("app.\"Mixed Case\"", "\"Account\"", &[], ""),
];

const TENANCY: &str = "[tenancy]\ncolumn = 'tenant_id'\nsetting = 'app.tenant_id'\n\
    registry = { table = 'app.tenants', key = 'id', type = 'uuid' }\n";

fn whole_plan() -> String {
    let step =
        |kind: &str, table: &str, rest: &str| format!("[[phase.step]]\nkind = '{kind}'\ntable = '{table}'\n{rest}\n");
    let phase = |id: &str, steps: &dyn Fn(&str, &str, &str) -> String| {
        let all: String = TABLES.iter().map(|(table, account, _, keys)| steps(table, account, keys)).collect();
        format!("[[phase]]\nid = '{id}'\n{all}")
    };
    let column = phase("columns", &|t, _, _| step("add_column", t, "column = 'tenant_id'\ntype = 'uuid'"));
    let fill = phase("fill", &|t, account, keys| {
        let from = format!("from = {{ table = 'app.accounts', match = {{ '{account}' = 'id' }} }}");
        step("backfill", t, &format!("column = 'tenant_id'\n{from}\n{keys}"))
    });
    let constrain = phase("constrain", &|t, account, _| {
        step("create_index", t, &format!("columns = ['tenant_id', '{account}']"))
            + &step(
                "add_foreign_key",
                t,
                "columns = ['tenant_id']\nreferences = { table = 'app.tenants', columns = ['id'] }",
            )
            + &step("set_not_null", t, "column = 'tenant_id'")
    });
    let enforce = phase("enforce", &|t, _, _| step("enforce_rls", t, ""));
    format!(
        "format = 1\nname = 'real'\n[safety]\nlock_timeout = '500ms'\n{TENANCY}[backfill]\nbatch_rows = 100\n{column}{fill}{constrain}{enforce}"
    )
}

/// A database with the schema, and the application's role.
fn stage(name: &str) -> (Scene, String) {
    let scene = Scene { db: database(name) };
    scene.db.sql(include_str!("real_schemas/schema.sql"));
    let app = scene.db.role("app", "LOGIN NOSUPERUSER NOBYPASSRLS");
    scene.db.sql(&format!(
        "GRANT USAGE ON SCHEMA app, \"Archiv\" TO {app};
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA app, \"Archiv\" TO {app}"
    ));
    (scene, app)
}

fn as_tenant<T>(db: &Db, app: &str, tenant: u32, query: &str) -> Result<T, String>
where
    T: for<'a> tokio_postgres::types::FromSql<'a> + Send + 'static,
{
    let url = format!("{}?options=-c%20app.tenant_id%3D00000000-0000-0000-0000-00000000000{tenant}", db.url_as(app));
    let (query, url) = (query.to_owned(), url);
    crate::harness::block_on(async move {
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.query_one(&query, &[]).await.map(|row| row.get(0)).map_err(|error| format!("{:?}", error.as_db_error()))
    })
}

/// Every table by its own name, as each of the tenants and as nobody.
fn isolated(scene: &Scene, app: &str) {
    let every = TABLES.iter().flat_map(|(table, _, below, _)| std::iter::once(table).chain(*below));
    for table in every {
        let count = format!("SELECT count(*) FROM {table}");
        let mut seen = 0;
        for tenant in 1..=3 {
            let own = format!(
                "SELECT count(*) FILTER (WHERE tenant_id <> '00000000-0000-0000-0000-00000000000{tenant}') FROM {table}"
            );
            assert_eq!(as_tenant::<i64>(&scene.db, app, tenant, &own), Ok(0), "{table}");
            seen += as_tenant::<i64>(&scene.db, app, tenant, &count).unwrap();
        }
        assert!(seen > 0, "{table}: nobody sees anything");
        assert_eq!(seen, scene.db.one::<i64>(&count), "{table}");
        assert_eq!(scene.db.one_as::<i64>(app, &count), Ok(0), "{table} without a tenant");
        // Blind, so that only WITH CHECK can refuse it. Not every partition has rows of every tenant.
        let steal =
            format!("DO $$ BEGIN UPDATE {table} SET tenant_id = '00000000-0000-0000-0000-000000000009'; END $$");
        let taken = (1..=3).filter(|tenant| as_tenant::<i64>(&scene.db, app, *tenant, &count).unwrap() > 0);
        for tenant in taken {
            let out = as_tenant::<i64>(&scene.db, app, tenant, &steal);
            assert!(out.as_ref().is_err_and(|why| why.contains("42501")), "{table}: {out:?}");
        }
    }
}

/// The statements between BEGIN and COMMIT of what the gate found.
fn mending(out: &Output) -> Vec<String> {
    let lines = out.stdout.lines().filter_map(|line| line.split_once("BEGIN; "));
    lines.filter_map(|(_, rest)| rest.split_once("; COMMIT")).map(|(sql, _)| sql.to_owned()).collect()
}

#[test]
fn everything_up_isolated_and_down_again() {
    let (scene, app) = stage("real_schemas");
    let dump = || if pg_dump_fits() { scene.db.pg_dump_schema() } else { String::new() };
    let (before, dumped) = (scene.print(), dump());
    let planned = scene.tool();
    planned.file("plan.toml", &whole_plan());
    let _ = planned
        .args(["plan", "plan.toml"])
        .run()
        .expect_code(0)
        .stdout_has("5 partitions. ACCESS EXCLUSIVE on the table and each");
    let _ = with_plan(scene.tool(), &whole_plan()).run().expect_code(0);
    scene.verified();
    let stamped: i64 = scene.db.one("SELECT count(*) FROM app.events WHERE updated_at <> '2026-01-01 00:00:00+00'");
    assert_eq!(stamped, 0, "the backfill left its mark in updated_at");
    isolated(&scene, &app);
    let key = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND conrelid = ANY (SELECT relid FROM pg_partition_tree('app.events'))";
    assert_eq!(scene.db.one::<i64>(key), 8, "one key each");
    assert_eq!(scene.db.one::<i64>(&format!("{key} AND (NOT convalidated OR conparentid = 0)")), 1, "the root's");

    // A partition and a child that came later are named, with what mends it.
    scene.db.sql(&format!(
        "CREATE TABLE app.\"New\" PARTITION OF app.events FOR VALUES FROM ('2026-10-01') TO ('2027-01-01');
         CREATE TABLE app.drafts () INHERITS (app.notes); GRANT SELECT ON app.\"New\", app.drafts TO {app};
         INSERT INTO app.events (id, at, account_id, kind, amount, tenant_id)
             SELECT 5000 + n, '2026-11-01', n + 2, 'trade', n, ('00000000-0000-0000-0000-00000000000' || n)::uuid FROM generate_series(1, 3) n"
    ));
    let new = "SELECT count(*) FROM app.\"New\"";
    assert_eq!(as_tenant::<i64>(&scene.db, &app, 2, new), Ok(3), "it leaks until it is mended");
    let out = scene.run("verify").stdout_has("app.\"New\"").stdout_has("app.drafts");
    let statements = mending(&out);
    assert_eq!(statements.len(), 2, "{}", out.stdout);
    for sql in statements {
        scene.db.sql(&sql);
    }
    assert_eq!(as_tenant::<i64>(&scene.db, &app, 2, new), Ok(1));
    scene.verified();

    let name = scene.db.name();
    let _ = scene.run(&format!("rollback --to start --accept-exposure --confirm {name}")).expect_code(0);
    let left: i64 = scene.db.one("SELECT count(*) FROM pg_class WHERE relrowsecurity OR relforcerowsecurity");
    assert_eq!(left, 0, "what came later is open again as well");
    scene.db.sql("DROP TABLE app.\"New\", app.drafts");
    scene.is_as(&before);
    assert_eq!(dump(), dumped);
}

#[test]
fn the_key_of_a_partitioned_table_reads_each_row_once() {
    let (scene, _) = stage("real_key");
    scene.db.sql("SELECT pg_stat_reset()");
    let key = "[[phase]]\nid = 'key'\n[[phase.step]]\nkind = 'add_foreign_key'\ntable = 'app.events'\ncolumns = ['account_id']\n\
               references = { table = 'app.accounts', columns = ['id'] }";
    let _ = with_plan(scene.tool(), &format!("format = 1\nname = 'key'\n{key}")).run().expect_code(0);
    let keys = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated AND confrelid = 'app.accounts'::regclass";
    assert_eq!(scene.db.one::<i64>(keys), 8);
    let scans = "SELECT sum(seq_scan)::bigint FROM pg_stat_user_tables WHERE relid = ANY (SELECT relid FROM pg_partition_tree('app.events') WHERE isleaf)";
    scene.wait_until(&format!("SELECT ({scans}) >= 5"));
    assert_eq!(scene.db.one::<i64>(scans), 5, "five leaves, each read once");
}

#[test]
fn what_would_refuse_a_backfill_is_named_before_anything_is_touched() {
    let (scene, _) = stage("real_refused");
    scene.db.sql(
        "CREATE RULE soft AS ON UPDATE TO app.nokey DO INSTEAD NOTHING;
         CREATE FOREIGN DATA WRAPPER none; CREATE SERVER elsewhere FOREIGN DATA WRAPPER none;
         CREATE FOREIGN TABLE app.regions_far PARTITION OF app.regions FOR VALUES IN ('far') SERVER elsewhere",
    );
    let fill = |table: &str, column: &str| {
        let step = format!(
            "[[phase.step]]\nkind = 'backfill'\ntable = '{table}'\ncolumn = '{column}'\nvalue = '1'\nundo = 'keep'"
        );
        with_plan(scene.tool(), &format!("format = 1\nname = 'fill'\n[[phase]]\nid = 'a'\n{step}")).run()
    };
    let refused = |out: Output, words: &[&str]| {
        let out = words.iter().fold(out.stderr_has("nothing was touched"), |out, word| out.stderr_has(word));
        let _ = out.expect_code(4);
        let ledger: bool = scene.db.one("SELECT to_regnamespace('tenantmig') IS NOT NULL");
        assert!(!ledger, "a ledger was made");
    };
    let before = scene.print();
    refused(fill("app.nokey", "note"), &["rule soft of app.nokey", "DISABLE RULE"]);
    refused(fill("app.regions", "region"), &["app.regions_far is a foreign table"]);
    refused(fill("app.events", "vat"), &["vat of", "is generated"]);
    scene.is_as(&before);
    scene.db.sql("ALTER PUBLICATION pub ADD TABLE app.notes");
    refused(fill("app.docs", "title"), &["app.notes", "replica identity"]);
}

#[test]
fn a_foreign_partition_stops_it_until_nobody_may_use_it() {
    let (scene, app) = stage("real_foreign");
    scene.db.sql(&format!(
        "CREATE FOREIGN DATA WRAPPER none; CREATE SERVER elsewhere FOREIGN DATA WRAPPER none;
         ALTER TABLE app.regions ADD COLUMN tenant_id uuid;
         CREATE FOREIGN TABLE app.regions_far PARTITION OF app.regions FOR VALUES IN ('far') SERVER elsewhere;
         GRANT SELECT ON app.regions_far TO {app}"
    ));
    let before = scene.print();
    let step = "[[phase]]\nid = 'a'\n[[phase.step]]\nkind = 'enforce_rls'\ntable = 'app.regions'";
    let plan = format!("format = 1\nname = 'far'\n{TENANCY}{step}");
    let out = with_plan(scene.tool(), &plan).run().expect_code(5);
    // By the step itself, before it changed anything: the gate would find it as well.
    let out = out.stdout_has("something else stands in its place");
    let _ = out.stdout_has("app.regions_far").stdout_has(&format!("REVOKE ALL ON app.regions_far FROM {app}"));
    scene.is_as(&before);
    scene.db.sql(&format!("REVOKE ALL ON app.regions_far FROM {app}"));
    let _ = scene.run("resume").expect_code(0);
    scene.verified();
    scene.db.sql(&format!("GRANT SELECT ON app.regions_far TO {app}"));
    let _ = scene.run("verify").expect_code(3).stdout_has("foreign table").stdout_has("app.regions_far");
}
