//! Contexts that the plan chooses: one that raises where it is missing, and conditions beyond the tenant.

use tokio_postgres::error::SqlState;

use crate::harness::{Db, Output, Tool, block_on, database, pg_dump_fits};

const A: &str = "00000000-0000-0000-0000-00000000000a";
const B: &str = "00000000-0000-0000-0000-00000000000b";

/// A registry, notes of two tenants, and a role of the application.
fn scene(name: &str) -> (Db, String) {
    let db = database(name);
    db.sql(&format!(
        "CREATE SCHEMA app;
         CREATE TABLE app.tenants (id uuid PRIMARY KEY);
         INSERT INTO app.tenants VALUES ('{A}'), ('{B}');
         CREATE TABLE app.notes (id bigint PRIMARY KEY, owner uuid NOT NULL REFERENCES app.tenants, hidden boolean NOT NULL DEFAULT false);
         INSERT INTO app.notes SELECT n, CASE WHEN n % 3 = 0 THEN '{B}' ELSE '{A}' END::uuid, n = 4 FROM generate_series(1, 9) n"
    ));
    let role = db.role("app", "LOGIN");
    db.sql(&format!("GRANT USAGE ON SCHEMA app TO {role}; GRANT ALL ON app.notes TO {role}"));
    (db, role)
}

fn plan(tenancy: &str, table: &str) -> String {
    format!(
        "format = 1\nname = 'contexts'\n[tenancy]\nregistry = {{ table = 'app.tenants', key = 'id', type = 'uuid' }}\n\
         column = 'tenant_id'\nsetting = 'app.tenant_id'\n{tenancy}\n\
         [[table]]\nname = 'app.notes'\ntenant = {{ from = 'app.tenants', match = {{ owner = 'id' }} }}\n{table}\n"
    )
}

fn run(db: &Db, plan: &str, words: &str) -> Output {
    let tool = Tool::new(db);
    let _ = tool.file("plan.toml", plan);
    tool.args(words.split_whitespace()).run()
}

/// The number of visible notes of a fresh session with this context, or the error's code and hint.
fn seen(db: &Db, role: &str, context: Option<&str>) -> Result<i64, (SqlState, String)> {
    let (url, context) = (db.url_as(role), context.map(str::to_owned));
    block_on(async move {
        let (mut client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("a session");
        tokio::spawn(connection);
        let turn = client.transaction().await.expect("begin");
        if let Some(context) = context {
            turn.execute("SELECT set_config('app.tenant_id', $1, true)", &[&context]).await.expect("the context");
        }
        turn.query_one("SELECT count(*) FROM app.notes", &[]).await.map(|row| row.get(0)).map_err(|error| {
            let told = error.as_db_error().expect("the server's error");
            (told.code().clone(), told.hint().unwrap_or_default().to_owned())
        })
    })
}

#[test]
fn a_missing_context_raises_where_the_plan_says_so() {
    let (db, role) = scene("contexts_strict");
    let plan = plan("function = 'app.current_tenant'\non_unset = 'error'", "");
    let before = pg_dump_fits().then(|| db.pg_dump_schema());
    run(&db, &plan, "apply plan.toml --yes").expect_code(0);
    for context in [None, Some("")] {
        let (code, hint) = seen(&db, &role, context).expect_err("no context, no answer");
        assert_eq!(code, SqlState::INSUFFICIENT_PRIVILEGE, "{context:?}");
        assert_eq!(hint, "say it in the same transaction: SET LOCAL app.tenant_id = '…'");
    }
    assert_eq!(seen(&db, &role, Some(A)), Ok(6));
    assert_eq!(seen(&db, &role, Some(B)), Ok(3));
    assert_eq!(seen(&db, &role, Some("00000000-0000-0000-0000-00000000000c")), Ok(0), "a tenant that nobody is");
    let (code, _) = seen(&db, &role, Some("x' OR true --")).expect_err("garbage");
    assert_eq!(code, SqlState::INVALID_TEXT_REPRESENTATION);
    // An application that has not heard of tenants is refused aloud, and writes nothing that belongs to nobody.
    let written = db.sql_as(&role, &format!("INSERT INTO app.notes (id, owner) VALUES (10, '{A}')"));
    assert!(written.expect_err("no context").contains("42501"), "loud");
    run(&db, &plan, "verify").expect_code(0);
    run(&db, &plan, &format!("rollback --to start --accept-exposure --confirm {}", db.name())).expect_code(0);
    assert_eq!(pg_dump_fits().then(|| db.pg_dump_schema()), before);
}

#[test]
fn a_condition_beyond_the_tenant_binds_reads_and_writes() {
    let (db, role) = scene("contexts_extra");
    run(&db, &plan("", "extra = 'NOT hidden OR owner <> {tenant}'"), "apply plan.toml --yes").expect_code(0);
    assert_eq!(seen(&db, &role, Some(A)), Ok(5), "note 4 is hidden from its own tenant");
    assert_eq!(seen(&db, &role, Some(B)), Ok(3));
    assert_eq!(seen(&db, &role, None), Ok(0));
    let hide =
        format!("SELECT set_config('app.tenant_id', '{B}', false); UPDATE app.notes SET hidden = true WHERE id = 3");
    assert!(db.sql_as(&role, &hide).expect_err("the condition binds what is written").contains("42501"));
    // Another permissive policy opens nothing: the floor carries the condition as well.
    db.sql("CREATE POLICY careless ON app.notes USING (true)");
    assert_eq!(seen(&db, &role, Some(A)), Ok(5));
}
