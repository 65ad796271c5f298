//! What `apply` leaves behind has no finding: the plans of this repository, and every form of the tenancy.

use tenantmig::demo::{
    alphapulse::{APP, OWNER},
    seed::{Scale, seed},
    systems::System,
};

use super::{OF_THE_VERSION, audit, findings, told};
use crate::harness::{Db, Tool, database, repo_path};

/// What a plan leaves that an audit tells: a code, its objects and why.
type Left = (&'static str, &'static str, &'static str);

/// Keys that the documents' plans leave as they are: true findings, which their owners know of.
const KEYS: &[Left] = &[
    ("TM0534", "*", "foreign keys without the tenant"),
    ("TM0535", "*", "numbers and e-mail addresses that are unique over all tenants"),
];

/// The plan is about one table of two.
const OTHERS: &[Left] = &[
    ("TM0501", "public.conversations", "not in the plan"),
    ("TM0554", "public.conversations", "not in the plan"),
    ("TM0553", "public.idx_memory_chunks_embedding_*", "GIN, in the place of a vector's index"),
];

const REPLACED: &[Left] = &[("TM0546", "public.messages", "chat_messages takes its place")];

/// Nothing, neither with what the plan says nor with what is inferred, but what is waived.
#[track_caller]
fn nothing(url: &str, plan: &str, app: &str, waived: &[&[Left]]) {
    let version = OF_THE_VERSION.map(|code| (code, "*", "the server's minor version"));
    let waiver = |(code, object, reason): &Left| {
        format!("[[waiver]]\ncode = \"{code}\"\nobject = \"{object}\"\nreason = \"{reason}\"\nexpires = 2999-12-31\n")
    };
    let waivers: String = waived.iter().copied().flatten().chain(&version).map(waiver).collect();
    for arguments in [["--plan", plan], ["--app-role", app]] {
        let tool = Tool::without_database().url(url);
        let file = tool.file("waivers.toml", &waivers).display().to_string();
        let output = tool.args(["audit", "--waivers", &file, "--format", "json"]).args(arguments).run();
        assert!(output.json()["findings"] == serde_json::json!([]), "{arguments:?}\n{}", told(&findings(&output)));
        output.expect_code(0);
    }
}

fn apply(url: &str, plan: &str) {
    Tool::without_database().url(url).args(["apply", plan, "--yes"]).run().expect_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn alphapulse_has_none_but_its_keys() {
    let db = database("audit_alphapulse");
    seed(&db.client().await, Scale { users: 50 }).await.unwrap();
    let plan = repo_path("plans/alphapulse.toml").display().to_string();
    apply(&db.url_as(OWNER), &plan);
    nothing(&db.url(), &plan, APP, &[KEYS]);
}

async fn system(name: &str, left: &[&[Left]]) {
    let system = System::named(name).unwrap();
    let db = database(&format!("audit_{name}"));
    system.seed(&db.client().await, 50).await.unwrap();
    let plan = repo_path(&format!("plans/{name}.toml")).display().to_string();
    apply(&db.url_as(system.owner), &plan);
    nothing(&db.url(), &plan, system.app, left);
}

#[tokio::test(flavor = "multi_thread")]
async fn portfolio_has_none_but_its_keys() {
    system("portfolio", &[KEYS]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_chunks_has_none_but_of_another_table() {
    system("memory_chunks", &[OTHERS]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chat_has_none_but_its_keys() {
    system("chat", &[KEYS, REPLACED]).await;
}

const SCHEMA: &str = "
    CREATE TABLE app.tenants (id KEY PRIMARY KEY, name text);
    INSERT INTO app.tenants SELECT n::text::KEY, 'tenant ' || n FROM unnest(KEYS) n;
    CREATE TABLE app.users (id bigint PRIMARY KEY, tenant KEY NOT NULL REFERENCES app.tenants, email text UNIQUE);
    CREATE TABLE app.notes (id bigint PRIMARY KEY, user_id bigint NOT NULL REFERENCES app.users);
    CREATE TABLE app.events (id bigint, user_id bigint NOT NULL, PRIMARY KEY (id)) PARTITION BY RANGE (id);
    CREATE TABLE app.events_1 PARTITION OF app.events FOR VALUES FROM (0) TO (1000);
    CREATE TABLE app.events_2 PARTITION OF app.events FOR VALUES FROM (1000) TO (2000);
    INSERT INTO app.users SELECT row_number() OVER (), id, 'u' || id FROM app.tenants;
    INSERT INTO app.events SELECT n, 1 + n % (SELECT count(*) FROM app.tenants) FROM generate_series(1, 1500) n;
    CREATE VIEW app.names AS SELECT id, email FROM app.users;
    GRANT SELECT ON ALL TABLES IN SCHEMA app TO APP;
    GRANT SELECT, INSERT, UPDATE, DELETE ON app.users, app.notes, app.events TO APP;";

const PLAN: &str = r#"
format = 1
name   = "forms"
[tenancy]
registry = { table = "app.tenants", key = "id", type = "KEY" }
column   = "tenant_id"
setting  = "app.tenant_id"
roles    = ["APP"]
FUNCTION
[[table]]
name   = "app.tenants"
tenant = "self"
[[table]]
name   = "app.users"
tenant = { from = "app.tenants", match = { tenant = "id" } }
unique = [{ columns = ["email"] }]
[[table]]
name   = "app.events"
tenant = { from = "app.users", match = { user_id = "id" } }
[[table]]
name   = "app.notes"
tenant = { from = "app.users", match = { user_id = "id" } }
composite = [{ columns = ["user_id"], references = { table = "app.users", columns = ["id"] } }]
"#;

const CALLED: &str = "function = \"app.current_tenant\"";

/// As its owner, whom FORCE binds: a view of that role isolates, without security_invoker.
#[test]
fn every_form_of_the_tenancy_has_no_finding() {
    for (name, key, keys, function) in [
        (
            "uuid",
            "uuid",
            "ARRAY['00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000002']",
            CALLED,
        ),
        ("bigint", "bigint", "ARRAY[1, 2, 3]", "function = \"app.current_tenant\"\non_unset = \"error\""),
        ("text", "text", "ARRAY['one', 'two']", ""),
    ] {
        let db = database(&format!("audit_{name}"));
        let (owner, app) = (db.role("owner", "LOGIN"), db.role("app", "LOGIN"));
        db.sql(&format!("ALTER DATABASE {} OWNER TO {owner}; CREATE SCHEMA app AUTHORIZATION {owner}; GRANT USAGE ON SCHEMA app TO {app}", db.name()));
        let fill = |text: &str| {
            text.replace("KEYS", keys)
                .replace("KEY PRIMARY", &format!("{key} PRIMARY"))
                .replace("::KEY", &format!("::{key}"))
                .replace("tenant KEY", &format!("tenant {key}"))
                .replace("\"KEY\"", &format!("\"{key}\""))
                .replace("APP", &app)
                .replace("FUNCTION", function)
        };
        db.sql_as(&owner, &fill(SCHEMA)).unwrap();
        let tool = Tool::without_database();
        let plan = tool.file("forms.toml", &fill(PLAN)).display().to_string();
        // A superuser's, because the gate `isolation` looks at the protected registry.
        apply(&db.url(), &plan);
        nothing(&db.url(), &plan, &app, &[]);
        spoilt(&db, &owner, &app);
    }
}

/// The same is not silent by nature.
fn spoilt(db: &Db, owner: &str, app: &str) {
    db.sql_as(owner, "ALTER TABLE app.events_2 NO FORCE ROW LEVEL SECURITY; GRANT SELECT ON app.events_2 TO PUBLIC")
        .unwrap();
    let found = findings(&audit(&db.url(), &["--app-role", app, "--format", "json"]).expect_code(3));
    assert!(found.iter().any(|finding| finding["code"] == "TM0531"), "{}", told(&found));
}
