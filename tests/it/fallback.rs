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
         on_unset = '{unset}'\nfallback = '{fallback}'\n\
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
    let _ = run(&db, &plan, &format!("rollback --to enforce --confirm {}", db.name())).expect_code(0);
    assert_eq!(seen(&db, &role), Ok(3), "the fallback's rows, and no others");
    let _ = run(&db, &plan, "verify").expect_code(0);
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
