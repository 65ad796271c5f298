//! The harness itself: what other tests rely on is tried here first.

use std::time::Duration;

use crate::harness::{Proxy, Signal, Tool, Verdict, block_on, cluster, database, pg_dump_fits};

#[tokio::test]
async fn a_database_belongs_to_one_test_and_goes_with_it() {
    let other = database("Same Name");
    let (name, role) = {
        let db = database("Same Name");
        assert_ne!(db.name(), other.name());
        let role = db.role("reader", "LOGIN");
        db.sql(&format!("CREATE TABLE t AS SELECT n FROM generate_series(1, 3) n; GRANT SELECT ON t TO {role}"));
        // Sync and async calls mix in one test.
        let client = db.client().await;
        assert_eq!(client.query_one("SELECT count(*) FROM t", &[]).await.unwrap().get::<_, i64>(0), 3);
        assert_eq!(db.one_as::<i64>(&role, "SELECT count(*) FROM t"), Ok(3));
        assert!(db.sql_as(&role, "DELETE FROM t").unwrap_err().starts_with("42501: "));
        assert!(db.url_as(&role).contains(&role));
        (db.name().to_owned(), role)
    };
    let left = format!(
        "SELECT (SELECT count(*) FROM pg_database WHERE datname = '{name}')
              + (SELECT count(*) FROM pg_roles WHERE rolname = '{role}')"
    );
    assert_eq!(other.one::<i64>(&left), 0);
}

#[test]
fn a_dump_and_a_checksum_tell_changes_from_none() {
    if !pg_dump_fits() {
        eprintln!("not run: pg_dump is older than the server");
        return;
    }
    let db = database("dump");
    db.psql("CREATE TABLE \"Größe\" (id int PRIMARY KEY, v text);\nCREATE SCHEMA tenantmig;\n");
    db.sql("INSERT INTO \"Größe\" VALUES (1, 'a'), (2, NULL)");
    let (schema, rows) = (db.pg_dump_schema(), db.checksum("\"Größe\""));
    assert!(schema.contains("CREATE TABLE public.\"Größe\""), "{schema}");
    // The tool's own schema does not count, nor does the order on disk.
    db.sql(
        "CREATE TABLE tenantmig.ledger (); DELETE FROM \"Größe\" WHERE id = 1; INSERT INTO \"Größe\" VALUES (1, 'a')",
    );
    assert_eq!((db.pg_dump_schema(), db.checksum("\"Größe\"")), (schema.clone(), rows.clone()));
    db.sql("UPDATE \"Größe\" SET v = '' WHERE id = 2; ALTER TABLE \"Größe\" ENABLE ROW LEVEL SECURITY");
    assert_ne!(db.pg_dump_schema(), schema);
    assert_ne!(db.checksum("\"Größe\""), rows);
}

#[test]
fn psql_stops_at_the_first_error() {
    let db = database("psql");
    let error = db.try_psql("CREATE TABLE a ();\nSELECT 1/0;\nCREATE TABLE b ();\n").unwrap_err();
    assert!(error.contains("division by zero"), "{error}");
    assert_eq!(db.one::<i64>("SELECT count(*) FROM pg_tables WHERE tablename IN ('a', 'b')"), 1);
    assert_eq!(db.psql("\\pset format unaligned\n\\pset tuples_only\nSELECT 40 + 2;\n"), "42\n");
}

#[test]
fn the_cluster_is_the_one_asked_for() {
    let db = database("version");
    let number: String = db.one("SHOW server_version_num");
    assert_eq!(number.parse::<u32>().unwrap() / 10_000, cluster().binaries().major());
    assert_eq!(db.one::<String>("SHOW listen_addresses"), "127.0.0.1");
}

#[test]
fn a_run_sees_its_database_and_nothing_of_the_machine() {
    let db = database("tool");
    let tool = Tool::new(&db).program("sh").stdin("from the test");
    let plan = tool.file("plans/a.toml", "format = 1\n");
    let script = "cat plans/a.toml; echo $HOME; echo $TENANTMIG_DATABASE_URL; cat; env | grep ^PG >&2; exit 4";
    let out = tool.args(["-c", script]).run().expect_code(4);
    let home = plan.ancestors().nth(2).unwrap().display();
    assert_eq!(out.stdout, format!("format = 1\n{home}\n{}\nfrom the test", db.url()), "{out}");
    assert_eq!(out.stderr, "", "{out}");
}

#[test]
fn a_run_can_be_waited_on_and_signalled() {
    let script = "trap 'echo stopping; exit 130' INT; echo ready >&2; while :; do sleep 0.05; done";
    let mut run = Tool::without_database().program("sh").args(["-c", script]).spawn();
    run.wait_stderr("ready").signal(Signal::INT).wait_stdout("stopping");
    run.wait().expect_code(130).nowhere_has("Terminated").stderr_has("ready").stdout_has("stopping");
    let mut run = Tool::without_database().program("sh").args(["-c", script]).spawn();
    run.wait_stderr("ready").signal(Signal::KILL);
    assert_eq!(run.wait().code, 137);
}

#[test]
#[should_panic(expected = "had not ended after")]
fn a_run_that_hangs_fails_its_test() {
    let tool = Tool::without_database().program("sleep").args(["60"]);
    let never = tool.timeout(Duration::from_millis(100)).run();
    panic!("ended by itself: {never}");
}

#[test]
fn the_built_program_is_found() {
    let built = std::path::Path::new(env!("CARGO_BIN_EXE_tenantmig"));
    let out = Tool::without_database().args(["--version"]).run();
    assert!(built.is_file() && out.command.starts_with("tenantmig "), "{out}");
    assert!(!out.stderr.contains("panicked"), "{out}");
}

/// The network as a fault: what was asked of the proxy is what the client meets.
#[test]
fn the_proxy_cuts_where_it_is_told() {
    let db = database("proxy");
    db.sql("CREATE TABLE t (n int)");
    let proxy = Proxy::to(cluster().port());
    let url = proxy.url(db.name());
    proxy.judge(|frame| match frame.text() {
        text if text.contains("VALUES (1)") => Verdict::Reset,
        text if text.contains("VALUES (2)") => Verdict::LoseAnswer,
        text if text.contains("VALUES (3)") => Verdict::Mute,
        text if text.contains("VALUES (4)") => Verdict::Swallow,
        _ => Verdict::Forward,
    });
    for (n, arrives, ends) in [(0, true, true), (1, false, true), (2, true, true), (3, true, false), (4, false, false)]
    {
        let url = url.clone();
        let ended = block_on(async move {
            let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
            tokio::spawn(connection);
            let insert = format!("INSERT INTO t VALUES ({n})");
            let answer = tokio::time::timeout(std::time::Duration::from_secs(1), client.batch_execute(&insert)).await;
            answer.is_ok_and(|answer| answer.is_ok() == (n == 0))
        });
        assert_eq!(ended, ends, "{n}");
        assert_eq!(db.one::<bool>(&format!("SELECT EXISTS (SELECT FROM t WHERE n = {n})")), arrives, "{n}");
    }
}
