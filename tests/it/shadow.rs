//! Row-level security in the shadow: what it would change is noted, nothing is hidden or refused, and the tables go from there to
//! enforced, and back, without a moment in which a session sees nothing or everything.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::harness::{Db, Output, Tool, block_on, database, pg_dump_fits};

const A: &str = "00000000-0000-0000-0000-00000000000a";
const B: &str = "00000000-0000-0000-0000-00000000000b";

/// Nine notes of two tenants, six of them A's, in two partitions; a role of the application.
fn scene(name: &str) -> (Db, String) {
    let db = database(name);
    db.sql(&format!(
        "CREATE SCHEMA app;
         CREATE TABLE app.tenants (id uuid PRIMARY KEY);
         INSERT INTO app.tenants VALUES ('{A}'), ('{B}');
         CREATE TABLE app.notes (id bigint PRIMARY KEY, owner uuid NOT NULL REFERENCES app.tenants, amount numeric) PARTITION BY RANGE (id);
         CREATE TABLE app.notes_1 PARTITION OF app.notes FOR VALUES FROM (0) TO (6);
         CREATE TABLE app.notes_2 PARTITION OF app.notes DEFAULT;
         INSERT INTO app.notes SELECT n, CASE WHEN n % 3 = 0 THEN '{B}' ELSE '{A}' END::uuid, n FROM generate_series(1, 9) n"
    ));
    let role = db.role("app", "LOGIN");
    db.sql(&format!("GRANT USAGE ON SCHEMA app TO {role}; GRANT ALL ON app.notes, app.notes_1, app.notes_2 TO {role}"));
    (db, role)
}

fn plan(role: &str, tenancy: &str, sections: &str) -> String {
    format!(
        "format = 1\nname = 'shadow'\n[tenancy]\nregistry = {{ table = 'app.tenants', key = 'id', type = 'uuid' }}\n\
         column = 'tenant_id'\nsetting = 'app.tenant_id'\nroles = ['{role}']\n{tenancy}\n{sections}\n\
         [[table]]\nname = 'app.notes'\ntenant = {{ from = 'app.tenants', match = {{ owner = 'id' }} }}\n"
    )
}

fn run(db: &Db, plan: &str, words: &str) -> Output {
    let tool = Tool::new(db);
    let _ = tool.file("plan.toml", plan);
    tool.args(words.split_whitespace()).run()
}

/// A session that counts the notes without end, as this tenant.
struct Reader {
    over: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<i64>>>,
    thread: JoinHandle<()>,
}

impl Reader {
    fn open(db: &Db, role: &str, application: &str, context: &str) -> Self {
        let (over, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (url, context) = (format!("{}?application_name={application}", db.url_as(role)), context.to_owned());
        let (end, counts) = (over.clone(), seen.clone());
        let thread = std::thread::spawn(move || {
            block_on(async move {
                let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
                tokio::spawn(connection);
                client.batch_execute(&format!("SET app.tenant_id = '{context}'")).await.unwrap();
                // Prepared once: what is planned already must see each change as well.
                let count = client.prepare("SELECT count(*) FROM app.notes WHERE amount < 100").await.unwrap();
                while !end.load(Ordering::Relaxed) {
                    let now = client.query_one(&count, &[]).await.unwrap().get(0);
                    counted(&counts, now);
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            });
        });
        Self { over, seen, thread }
    }

    /// The counts, each that differed from the one before.
    fn close(self) -> Vec<i64> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().expect("no answer was an error");
        self.seen.lock().unwrap().clone()
    }
}

/// Keeps a count that differs from the one before.
fn counted(counts: &Mutex<Vec<i64>>, now: i64) {
    let mut counts = counts.lock().unwrap();
    if counts.last() != Some(&now) {
        counts.push(now);
    }
}

fn noted(db: &Db, application: &str) -> Vec<String> {
    let rows = format!(
        "SELECT array_agg(DISTINCT concat_ws(' ', command, tenant, username = session_user, statement) ORDER BY 1)
           FROM app.tenantmig_shadow WHERE application = '{application}'"
    );
    db.one::<Option<Vec<String>>>(&rows.replace(" ORDER BY 1)", ")")).unwrap_or_default()
}

/// Some 20 s, of which the gate waits 13.
#[test]
fn the_gate_waits_for_the_last_who_would_lose_rows_and_no_answer_is_wrong_on_the_way() {
    let (db, role) = scene("shadow_whole");
    let before = pg_dump_fits().then(|| db.pg_dump_schema());
    let plan = plan(&role, "", "[shadow]\nfor = '1s'\nwait = '60s'");
    let tool = Tool::new(&db);
    let _ = tool.file("plan.toml", &plan);
    let (old, new) = (Reader::open(&db, &role, "old-desk", ""), Reader::open(&db, &role, "new-desk", A));
    let mut applying = tool.args(["apply", "plan.toml", "--yes"]).spawn();
    applying.wait_stderr(&format!("old-desk as {role} read app.notes without a tenant, last at"));
    assert_eq!(old.close(), [9], "nothing is hidden");
    let _ = applying.wait().expect_code(0);
    assert_eq!(noted(&db, "old-desk"), ["read missing f SELECT count(*) FROM app.notes WHERE amount < ?"]);
    // A scan that met another tenant's rows; the gate did not wait for it.
    assert_eq!(noted(&db, "new-desk"), ["read other f SELECT count(*) FROM app.notes WHERE amount < ?"]);
    assert_eq!(db.one::<i64>("SELECT count(*) FROM pg_policy WHERE polname = 'tenant_shadow'"), 0);
    let _ = run(&db, &plan, "verify").expect_code(0);
    // Back into the shadow in one transaction: from its own rows to all, by way of nothing.
    let back = format!("rollback --to shadow --accept-exposure --confirm {}", db.name());
    let _ = run(&db, &plan, &back).expect_code(0);
    assert_eq!(new.close(), [9, 6, 9]);
    let state = "SELECT string_agg(concat_ws(' ', c.relname, p.polname, c.relrowsecurity, c.relforcerowsecurity), ', ' ORDER BY c.relname, p.polname)
                   FROM pg_class c JOIN pg_policy p ON p.polrelid = c.oid";
    let shadowed = "notes tenant_shadow t f, notes_1 tenant_shadow t f, notes_2 tenant_shadow t f";
    assert_eq!(db.one::<String>(state), shadowed);
    let _ = run(&db, &plan, "verify").expect_code(0);
    let _ = run(&db, &plan, &format!("rollback --to start --accept-exposure --confirm {}", db.name())).expect_code(0);
    assert_eq!(pg_dump_fits().then(|| db.pg_dump_schema()), before);
}

/// Up to the shadow, whose gate finds its log too young and pauses; some 5 s.
#[test]
fn nothing_is_hidden_and_nothing_refused_whatever_the_context_says() {
    let (db, role) = scene("shadow_contexts");
    let strict = "function = 'app.current_tenant'\non_unset = 'error'";
    let plan = plan(&role, strict, "[shadow]\nfor = '1h'\nwait = '0s'");
    let _ = run(&db, &plan, "apply plan.toml --yes").expect_code(1);
    let hostile = format!("{} OR true --", "x''".repeat(2000));
    for context in ["", A, B, "00000000-0000-0000-0000-00000000000c", "x'' OR true --", "7", &hostile] {
        let set = format!("SET application_name = 'any'; SET app.tenant_id = '{context}'");
        let sees = |what: &str| db.sql_as(&role, &format!("{set}; DO $$ BEGIN ASSERT ({what}); END $$")).unwrap();
        sees("SELECT count(*) = 9 FROM app.notes");
        sees("SELECT count(*) = 5 FROM app.notes_1");
        // In a read-only transaction nothing is noted, and nothing fails.
        db.sql_as(&role, &format!("{set}; BEGIN READ ONLY; SELECT count(*) FROM app.notes; COMMIT")).unwrap();
        db.sql_as(&role, &format!("{set}; BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM app.notes; COMMIT"))
            .unwrap();
        db.sql_as(
            &role,
            &format!(
                "{set}; INSERT INTO app.notes (id, owner, tenant_id) VALUES (90, '{A}', '{A}'), (91, '{B}', '{B}');
                 UPDATE app.notes SET tenant_id = '{B}', owner = '{B}' WHERE id = 90; DELETE FROM app.notes WHERE id >= 90"
            ),
        )
        .unwrap();
    }
    let cases =
        "SELECT string_agg(DISTINCT command || ' ' || tenant, ', ') FROM app.tenantmig_shadow WHERE relation <> ''";
    assert_eq!(
        db.one::<String>(cases),
        "read missing, read other, read unreadable, write missing, write other, write unreadable"
    );
    let secret: i64 = db.one(&format!(
        "SELECT count(*) FROM app.tenantmig_shadow WHERE statement LIKE '%{A}%' OR statement ~ '[0-9]{{2}}'"
    ));
    assert_eq!(secret, 0, "a literal was kept");
    // Whatever becomes of the log, the application goes on.
    db.sql("ALTER TABLE app.tenantmig_shadow RENAME COLUMN slot TO gone");
    db.sql_as(&role, "SELECT count(*) FROM app.notes").unwrap();
    db.sql("ALTER TABLE app.tenantmig_shadow RENAME COLUMN gone TO slot");
    let _ = run(&db, &plan, &format!("rollback --to start --accept-exposure --confirm {}", db.name())).expect_code(0);
}

/// A policy that hides nothing would open what hides something. Some 3 s.
#[test]
fn no_shadow_falls_on_what_is_protected_already() {
    let (db, role) = scene("shadow_protected");
    db.sql("ALTER TABLE app.notes_2 ENABLE ROW LEVEL SECURITY; CREATE POLICY theirs ON app.notes_2 USING (id < 8)");
    let plan = plan(&role, "", "[shadow]\nfor = '1s'\nwait = '0s'");
    let told = run(&db, &plan, "apply plan.toml --yes");
    let told = told.expect_code(5);
    let _ =
        told.stderr_has("app.notes_2 has row-level security already, and a policy that hides nothing would open it");
    db.sql_as(&role, "DO $$ BEGIN ASSERT (SELECT count(*) = 2 FROM app.notes_2); END $$").unwrap();
}
