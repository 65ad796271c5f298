//! A context function that falls back to the first tenant while old releases of the application run, and the swap that ends it:
//! no table is locked, and no session is for a moment without its rows or with another's.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use std::time::{Duration, Instant};

use crate::harness::{Db, Output, Tool, block_on, database, pg_dump_fits};

const A: &str = "00000000-0000-0000-0000-00000000000a";
const B: &str = "00000000-0000-0000-0000-00000000000b";

/// Notes of two tenants, six of A's and three of B's, and a role of the application.
fn scene(name: &str) -> (Db, String) {
    let db = database(name);
    db.sql(&format!(
        "CREATE SCHEMA app;
         CREATE TABLE app.tenants (id uuid PRIMARY KEY);
         INSERT INTO app.tenants VALUES ('{A}'), ('{B}');
         CREATE TABLE app.notes (id bigint PRIMARY KEY, owner uuid NOT NULL REFERENCES app.tenants);
         INSERT INTO app.notes SELECT n, CASE WHEN n % 3 = 0 THEN '{B}' ELSE '{A}' END::uuid FROM generate_series(1, 9) n"
    ));
    let role = db.role("app", "LOGIN");
    db.sql(&format!("GRANT USAGE ON SCHEMA app TO {role}; GRANT ALL ON app.notes TO {role}"));
    (db, role)
}

/// No trigger captures, so nothing of the way there and back takes a lock on the table.
fn plan(role: &str, unset: &str, fallback: &str) -> String {
    format!(
        "format = 1\nname = 'fallback'\n[tenancy]\nregistry = {{ table = 'app.tenants', key = 'id', type = 'uuid' }}\n\
         column = 'tenant_id'\nsetting = 'app.tenant_id'\nroles = ['{role}']\nfunction = 'app.current_tenant'\n\
         on_unset = '{unset}'\nfallback = '{fallback}'\n[fallback]\nquiet_for = '1s'\nquiet_wait = '300s'\n\
         [[table]]\nname = 'app.notes'\ntenant = {{ from = 'app.tenants', match = {{ owner = 'id' }} }}\nwrite_path = 'app'\n"
    )
}

fn run(db: &Db, plan: &str, words: &str) -> Output {
    let tool = Tool::new(db);
    let _ = tool.file("plan.toml", plan);
    tool.args(words.split_whitespace()).run()
}

/// The visible notes of a fresh session without a tenant, or the error's code.
fn seen(db: &Db, role: &str) -> Result<i64, String> {
    let url = db.url_as(role);
    block_on(async move {
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let row = client.query_one("SELECT count(*) FROM app.notes", &[]).await;
        row.map(|row| row.get(0)).map_err(|error| error.code().unwrap().code().to_owned())
    })
}

/// Some 8 s.
#[test]
fn the_fallback_ends_and_comes_back_while_a_reader_holds_the_table() {
    let (db, role) = scene("fallback_ladder");
    let before = pg_dump_fits().then(|| db.pg_dump_schema());
    let plan = plan(&role, "deny", B);
    let _ = run(&db, &plan, "apply plan.toml --yes").expect_code(0);
    assert_eq!(seen(&db, &role), Ok(0), "strict");
    let _ = run(&db, &plan, "verify").expect_code(0);
    // A reader that has not ended: whoever needed a lock on the table would wait for it, and everybody after.
    let holding = {
        let url = db.url();
        block_on(async move {
            let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
            tokio::spawn(connection);
            client
                .batch_execute("BEGIN; LOCK TABLE app.notes IN ACCESS SHARE MODE; SELECT count(*) FROM app.notes")
                .await
                .unwrap();
            client
        })
    };
    // An old session with a statement prepared long ago.
    let over = Arc::new(AtomicBool::new(false));
    let (url, end) = (db.url_as(&role), over.clone());
    let old = std::thread::spawn(move || {
        block_on(async move {
            let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
            tokio::spawn(connection);
            let count = client.prepare("SELECT count(*) FROM app.notes").await.unwrap();
            let mut counts: Vec<i64> = Vec::new();
            while !end.load(Ordering::Relaxed) {
                let now = client.query_one(&count, &[]).await.unwrap().get(0);
                if counts.last() != Some(&now) {
                    counts.push(now);
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            counts
        })
    });
    let begun = Instant::now();
    let _ = run(&db, &plan, &format!("rollback --to fallback --confirm {}", db.name())).expect_code(0);
    assert_eq!(seen(&db, &role), Ok(3), "the fallback's rows, and no others");
    let _ = run(&db, &plan, "verify").expect_code(3).stdout_has("said no tenant").stdout_has("1 failed");
    let _ = run(&db, &plan, "apply plan.toml --yes").expect_code(0);
    assert_eq!(seen(&db, &role), Ok(0));
    // Bound of a hang, not of speed: the table's lock is waited for 2 s, several times.
    assert!(begun.elapsed() < Duration::from_secs(60));
    over.store(true, Ordering::Relaxed);
    let counts = old.join().unwrap();
    assert_eq!(counts, [0, 3, 0], "each swap at once, and nothing else in between");
    drop(holding);
    let _ = run(&db, &plan, &format!("rollback --to start --accept-exposure --confirm {}", db.name())).expect_code(0);
    assert_eq!(pg_dump_fits().then(|| db.pg_dump_schema()), before);
}

/// The first tenant of the rows is the fallback, and strict means an error. Some 4 s.
#[test]
fn a_session_without_a_tenant_is_refused_only_after_the_fallback() {
    let (db, role) = scene("fallback_strict");
    let plan = plan(&role, "error", A);
    let _ = run(&db, &plan, "apply plan.toml --yes").expect_code(0);
    assert_eq!(seen(&db, &role), Err("42501".to_owned()));
    let _ = run(&db, &plan, &format!("rollback --to enforce --confirm {}", db.name())).expect_code(0);
    assert_eq!(seen(&db, &role), Ok(6));
    let _ = run(&db, &plan, "verify").expect_code(0).stdout_has("0 failed");
    // What an old release writes is the fallback tenant's, and it cannot write for another.
    db.sql_as(&role, &format!("INSERT INTO app.notes (id, owner, tenant_id) VALUES (10, '{A}', '{A}')")).unwrap();
    let planted = db.sql_as(&role, &format!("INSERT INTO app.notes (id, owner, tenant_id) VALUES (11, '{B}', '{B}')"));
    assert!(planted.expect_err("another tenant's row").contains("42501"));
    // A policy beside the floor that opens all is found by the probes in this state as well.
    db.sql("DROP POLICY tenant_floor ON app.notes; CREATE POLICY careless ON app.notes USING (true)");
    let _ = run(&db, &plan, "verify").expect_code(3).stdout_has("rows");
}

/// A session that says no tenant and reads the notes every 20 ms.
struct Old {
    over: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Old {
    fn open(db: &Db, role: &str, application: &str, set: &str) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (url, set) = (format!("{}?application_name={application}", db.url_as(role)), set.to_owned());
        let end = over.clone();
        let thread = std::thread::spawn(move || {
            block_on(async move {
                let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
                tokio::spawn(connection);
                client.batch_execute(&set).await.unwrap();
                while !end.load(Ordering::Relaxed) {
                    client.batch_execute("BEGIN; SELECT count(*) FROM app.notes WHERE id > 0; ROLLBACK").await.unwrap();
                    client.query("SELECT 1 FROM app.notes WHERE owner <> $1", &[&uuid::Uuid::nil()]).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            });
        });
        Self { over, thread }
    }

    fn close(self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().expect("no statement failed");
    }
}

/// Some 25 s, of which the gate waits 15.
#[test]
fn who_still_falls_back_is_named_and_waited_for() {
    let (db, role) = scene("fallback_gate");
    let before = pg_dump_fits().then(|| db.pg_dump_schema());
    let plan = plan(&role, "deny", B);
    let tool = Tool::new(&db);
    let _ = tool.file("plan.toml", &plan);
    let desk = Old::open(&db, &role, "old-desk", "");
    // Never writes: its notes cannot be kept.
    let report = Old::open(&db, &role, "old-report", "SET default_transaction_read_only = on");
    let mut applying = tool.args(["apply", "plan.toml", "--yes"]).spawn();
    applying.wait_stderr(&format!("old-desk as {role} said no tenant and went on as that of the fallback, last at"));
    db.sql_as(&role, &format!("SET application_name = 'new-desk'; SET app.tenant_id = '{A}'; DO $$ BEGIN ASSERT (SELECT count(*) = 6 FROM app.notes); END $$"))
        .unwrap();
    desk.close();
    applying.wait_stderr(&format!("nobody went on as the tenant of the fallback for 1s (app.tenantmig_fallback): old-report as {role} fell back in a read-only transaction"));
    assert_eq!(seen(&db, &role), Ok(3), "the gate holds");
    report.close();
    let _ = applying.wait().expect_code(0);
    assert_eq!(seen(&db, &role), Ok(0), "strict");
    let noted = "SELECT string_agg(DISTINCT concat_ws(' ', application, username, host(address), statement), '; ')
                   FROM app.tenantmig_fallback WHERE pid <> 0 AND application <> ''";
    let statement = "SELECT ? FROM app.notes WHERE owner <> $1";
    assert_eq!(db.one::<String>(noted), format!("old-desk {role} 127.0.0.1 {statement}"));
    let _ = run(&db, &plan, "verify").expect_code(0);
    // Back to where it notes, for long enough that the notes are past: isolated, and nothing that the fallback itself is not found for.
    let back = |to: &str| run(&db, &plan, &format!("rollback --to {to} --confirm {}", db.name())).expect_code(0);
    let _ = back("fallback");
    let _ = run(&db, &plan, "verify").expect_code(0).stdout_has("0 failed");
    let noting = audited(&db, &plan);
    let _ = back("enforce");
    assert_eq!(noting, audited(&db, &plan));
    let _ = run(&db, &plan, &format!("rollback --to start --accept-exposure --confirm {}", db.name())).expect_code(0);
    assert_eq!(pg_dump_fits().then(|| db.pg_dump_schema()), before);
}

/// What audit finds in the database, and of what.
fn audited(db: &Db, plan: &str) -> Vec<String> {
    let found = run(db, plan, "audit --plan plan.toml --format json").json();
    let line = |finding: &serde_json::Value| format!("{} {}", finding["code"], finding["object"]);
    found["findings"].as_array().unwrap().iter().map(line).collect()
}

/// Up to the gate, which pauses for its log is young; some 5 s.
#[test]
fn no_statement_of_an_old_session_fails_for_its_note() {
    let (db, role) = scene("fallback_notes");
    // Nobody may look into the schema of the log.
    db.sql("CREATE SCHEMA ops");
    db.sql("CREATE FUNCTION app.many(owner uuid) RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE AS 'SELECT count(*) FROM app.notes n WHERE n.owner = $1'");
    let plan = plan(&role, "error", A)
        .replace("quiet_for = '1s'\nquiet_wait = '300s'", "quiet_for = '1h'\nquiet_wait = '0s'\nlog = 'ops.fallback'");
    let _ = run(&db, &plan, "apply plan.toml --yes")
        .expect_code(65)
        .stderr_has("app.many(uuid) is PARALLEL SAFE and names notes")
        .stderr_has("ALTER FUNCTION app.many(uuid) PARALLEL UNSAFE");
    db.sql("ALTER FUNCTION app.many(uuid) PARALLEL UNSAFE");
    let _ = run(&db, &plan, "apply plan.toml --yes").expect_code(1).stderr_has("is noted since");
    let sees = "DO $$ BEGIN ASSERT (SELECT count(*) = 6 FROM app.notes); END $$";
    for begin in [
        "BEGIN",
        "BEGIN READ ONLY",
        "BEGIN ISOLATION LEVEL SERIALIZABLE",
        "BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY",
    ] {
        db.sql_as(&role, &format!("{begin}; {sees}; COMMIT; {begin}; {sees}; ROLLBACK; {sees}")).unwrap();
        db.sql_as(&role, &format!("{begin}; SAVEPOINT s; {sees}; ROLLBACK TO s; {sees}; COMMIT")).unwrap();
    }
    let count = "SELECT count(*) FROM ops.fallback WHERE pid <> 0";
    let noted = db.one::<i64>(count);
    assert!(noted > 0);
    // One a slot of time, however often it falls back; and never more than five of one application.
    let often = format!("SET application_name = 'often'; {}", format!("{sees};").repeat(40));
    for _ in 0..8 {
        db.sql_as(&role, &often).unwrap();
    }
    let slots =
        "SELECT max(n) FROM (SELECT count(*) AS n FROM ops.fallback WHERE application = 'often' GROUP BY slot) s";
    assert!((1..=5).contains(&db.one::<i64>(slots)));
    // Who asks as the tenant is not noted, also for one that is none.
    for tenant in [A, "x' OR true"] {
        let set = format!("SET application_name = 'new'; SET app.tenant_id = '{}'", tenant.replace('\'', "''"));
        assert_eq!(db.sql_as(&role, &format!("{set}; {sees}")).is_ok(), tenant == A);
    }
    assert_eq!(db.one::<i64>("SELECT count(*) FROM ops.fallback WHERE application = 'new'"), 0);
    // Whatever becomes of the log, the application goes on.
    db.sql("ALTER TABLE ops.fallback RENAME COLUMN slot TO gone");
    db.sql_as(&role, sees).unwrap();
}
