//! The fingerprint sees every kind of change, and nothing where a user would see none.

use tenantmig::pg::fingerprint::{ColumnName, Fingerprint, TableData, TableName, catalog, data};
use tokio_postgres::Client;

use crate::harness::{Db, database};

const SCHEMA: &str = include_str!("fingerprint/schema.sql");

/// Changes, each followed by `--> ` and the start of a line of the diff.
const VISIBLE: &str = include_str!("fingerprint/visible.sql");

/// What only newer servers have: (first `server_version_num`, change, line).
const NEWER: &[(i32, &str, &str)] = &[
    (
        140_000,
        "ALTER TABLE app.users ALTER COLUMN email SET COMPRESSION pglz",
        "+column app.users.email compression: pglz",
    ),
    (140_000, "CREATE FUNCTION app.one() RETURNS int RETURN 1", "+    RETURN 1"),
    (
        150_000,
        "ALTER PUBLICATION fp_pub SET TABLE app.accounts (id, name) WHERE (id > 3)",
        "+publication fp_pub table app.accounts WHERE: (id > 3)",
    ),
    (150_000, "ALTER PUBLICATION fp_pub SET TABLES IN SCHEMA app", "+publication fp_pub schema app: published"),
    (150_000, "ALTER VIEW app.adults SET (security_invoker = true)", "+view app.adults options: security_invoker=true"),
    (
        180_000,
        "ALTER TABLE app.base ADD CONSTRAINT a_there NOT NULL a NOT VALID",
        "+constraint app.base.a_there: NOT NULL a NOT VALID",
    ),
    (
        180_000,
        "ALTER TABLE app.base ADD COLUMN v int GENERATED ALWAYS AS (a + 1) VIRTUAL",
        "+column app.base.v: integer GENERATED ALWAYS AS ((a + 1)) VIRTUAL",
    ),
    (
        180_000,
        "ALTER TABLE app.users ALTER CONSTRAINT users_account_id_fkey NOT ENFORCED",
        "+constraint app.users.users_account_id_fkey: FOREIGN KEY (account_id) REFERENCES app.accounts(id) NOT ENFORCED",
    ),
];

/// Statements after which everything is as before.
const INVISIBLE: &[&str] = &[
    "DROP INDEX app.users_age; CREATE INDEX users_age ON app.users (age) WHERE age > 20; COMMENT ON INDEX app.users_age IS 'for reports'",
    "DROP POLICY narrow ON app.users; CREATE POLICY narrow ON app.users AS RESTRICTIVE USING (true) WITH CHECK (age > 0)",
    "ALTER TABLE app.users DROP CONSTRAINT users_account_id_fkey; \
     ALTER TABLE app.users ADD CONSTRAINT users_account_id_fkey FOREIGN KEY (account_id) REFERENCES app.accounts NOT VALID; \
     ALTER TABLE app.users VALIDATE CONSTRAINT users_account_id_fkey",
    "ALTER TABLE app.base ADD COLUMN tenant_id uuid NOT NULL DEFAULT gen_random_uuid(); ALTER TABLE app.base DROP COLUMN tenant_id",
    "ALTER TABLE app.users ALTER COLUMN account_id SET NOT NULL; ALTER TABLE app.users ALTER COLUMN account_id DROP NOT NULL",
    "ALTER TABLE app.users NO FORCE ROW LEVEL SECURITY; ALTER TABLE app.users FORCE ROW LEVEL SECURITY",
    "DROP TRIGGER users_touch ON app.users; \
     CREATE TRIGGER users_touch BEFORE UPDATE ON app.users FOR EACH ROW EXECUTE FUNCTION app.touch(); \
     COMMENT ON TRIGGER users_touch ON app.users IS 'stamps'",
    "DROP AGGREGATE app.total(int); CREATE AGGREGATE app.total(int) (SFUNC = app.add, STYPE = int, INITCOND = '0')",
    "DROP VIEW app.adults; CREATE VIEW app.adults AS SELECT id, email FROM app.users WHERE age >= 18; REVOKE SELECT ON app.adults FROM fp_reader",
    // An ACL that says what the absent one means.
    "GRANT SELECT ON app.scratch TO fp_rw; REVOKE SELECT ON app.scratch FROM fp_rw",
    "GRANT SELECT (a) ON app.scratch TO fp_rw; REVOKE SELECT (a) ON app.scratch FROM fp_rw",
    "COMMENT ON TABLE app.base IS 'x'; COMMENT ON TABLE app.base IS NULL",
    // The order of rows, columns dropped and added in the order there was, vacuum, statistics, sequences.
    "CREATE TEMP TABLE kept AS TABLE app.accounts; DELETE FROM app.users; DELETE FROM app.accounts; \
     INSERT INTO app.accounts OVERRIDING SYSTEM VALUE SELECT * FROM kept ORDER BY id DESC; DROP TABLE kept; \
     INSERT INTO app.users (id, account_id, email, age, noted) SELECT * FROM saved",
    "ALTER TABLE app.child DROP COLUMN d; ALTER TABLE app.child ADD COLUMN d int; UPDATE app.child SET d = 3",
    "ANALYZE; SELECT nextval('app.numbers')",
    // What is excluded, and temporary.
    "CREATE TABLE tenantmig.more (a int); COMMENT ON TABLE tenantmig.more IS 'x'; INSERT INTO tenantmig.runs VALUES (1)",
    "CREATE TEMP TABLE base (a int)",
    "SET search_path = app, public; SET DateStyle = 'German'; SET TimeZone = 'Asia/Tokyo'; SET extra_float_digits = 0",
];

/// A database with one of every object.
fn rich(name: &str) -> Db {
    let db = database(name);
    db.sql(SCHEMA);
    db
}

fn own() -> Vec<String> {
    vec!["tenantmig".to_owned()]
}

fn table(name: &str) -> TableName {
    TableName { schema: "app".to_owned(), table: name.to_owned() }
}

async fn take(client: &Client) -> Fingerprint {
    Fingerprint::take(client, &own(), &[]).await.expect("fingerprint")
}

/// Applies a change and compares; `expect` is the start of a line of the diff, or no diff at all. Returns the new
/// fingerprint and what is wrong, so that one run shows all that is.
async fn check(
    client: &Client,
    before: &Fingerprint,
    change: &str,
    expect: Option<&str>,
) -> (Fingerprint, Option<String>) {
    if let Err(error) = client.batch_execute(change).await {
        panic!("{change}: {:?}", error.as_db_error());
    }
    let after = take(client).await;
    let diff = before.diff(&after).unwrap_or_default();
    let met = match expect {
        None => diff.is_empty() && before.hash() == after.hash(),
        Some(line) => diff.lines().any(|l| l.starts_with(line)) && before.hash() != after.hash(),
    };
    let wrong = format!("{change}\nexpected: {}\n{diff}\n", expect.unwrap_or("no diff"));
    (after, (!met).then_some(wrong))
}

#[tokio::test]
async fn every_change_is_visible() {
    let db = rich("fp_visible");
    let client = db.client().await;
    let lines: Vec<&str> = VISIBLE.lines().filter(|l| !l.is_empty() && !l.starts_with("-- ")).collect();
    assert!(lines.len() > 100 && lines.len().is_multiple_of(2));
    let (mut before, mut wrongs) = (take(&client).await, Vec::new());
    for pair in lines.chunks(2) {
        let expect = pair[1].strip_prefix("--> ").expect("a change, then its line");
        let (after, wrong) = check(&client, &before, pair[0], Some(expect)).await;
        before = after;
        wrongs.extend(wrong);
    }
    assert!(wrongs.is_empty(), "{}", wrongs.join("\n"));
}

#[tokio::test]
async fn what_newer_servers_have_is_visible_on_them() {
    let db = rich("fp_newer");
    let client = db.client().await;
    let version: i32 = db.one("SELECT current_setting('server_version_num')::int");
    let (mut before, mut wrongs) = (take(&client).await, Vec::new());
    for (_, change, line) in NEWER.iter().filter(|(since, ..)| *since <= version) {
        let (after, wrong) = check(&client, &before, change, Some(line)).await;
        before = after;
        wrongs.extend(wrong);
    }
    assert!(wrongs.is_empty(), "{}", wrongs.join("\n"));
}

#[tokio::test]
async fn what_comes_back_as_it_was_is_invisible() {
    let db = rich("fp_invisible");
    let client = db.client().await;
    let saved = "CREATE TEMP TABLE saved AS SELECT id, account_id, email, age, noted FROM app.users ORDER BY id DESC";
    client.batch_execute(saved).await.expect("saved rows");
    let (mut before, mut wrongs) = (take(&client).await, Vec::new());
    for change in INVISIBLE {
        let (after, wrong) = check(&client, &before, change, None).await;
        before = after;
        wrongs.extend(wrong);
    }
    assert!(wrongs.is_empty(), "{}", wrongs.join("\n"));
    let own = |l: &String| l.contains("tenantmig");
    assert!(!before.lines().iter().any(own), "the tool's own schema is excluded");
}

#[tokio::test]
async fn a_wrecked_index_is_visible() {
    let db = rich("fp_wreck");
    let client = db.client().await;
    let before = take(&client).await;
    let wreck = client.batch_execute("CREATE UNIQUE INDEX CONCURRENTLY wreck ON app.base (a)").await;
    assert!(wreck.is_err(), "the table holds duplicates");
    let diff = before.diff(&take(&client).await).expect("a difference");
    assert!(diff.contains("+index app.wreck state: invalid, not ready, live"), "{diff}");
}

/// FORCE makes a table's owner see what its policies let through. It must be said, not counted.
#[tokio::test]
async fn rows_behind_a_policy_are_unreadable_and_not_zero() {
    let db = rich("fp_policy");
    let client = db.client().await;
    let owner = "ALTER SCHEMA app OWNER TO fp_owner; ALTER TABLE app.users OWNER TO fp_owner; SET SESSION AUTHORIZATION fp_owner";
    client.batch_execute(owner).await.expect("owner");
    let print = data(&client, Some(&[table("users"), table("base"), table("gone")]), &own(), &[]).await.expect("data");
    let why: Vec<(&str, &str)> = print.unreadable().map(|(name, why)| (name.table.as_str(), why)).collect();
    assert_eq!(why.len(), 3, "{why:?}");
    assert_eq!(why[0], ("base", "permission denied for table base (42501)"));
    assert!(why[1].0 == "gone" && why[1].1.contains("no such table"), "{why:?}");
    assert_eq!(why[2], ("users", "query would be affected by row-level security policy for table \"users\" (42501)"));
    client.batch_execute("ALTER TABLE app.users NO FORCE ROW LEVEL SECURITY").await.expect("no force");
    let print = data(&client, Some(&[table("users")]), &own(), &[]).await.expect("data");
    assert!(matches!(&print.tables[0].1, TableData::Rows { count: 10, .. }), "{print:?}");
}

#[tokio::test]
async fn ignored_columns_do_not_count() {
    let db = rich("fp_ignored");
    let client = db.client().await;
    let ignored = [ColumnName { of: table("users"), column: "noted".to_owned() }];
    let before = data(&client, None, &own(), &ignored).await.expect("data");
    client.batch_execute("UPDATE app.users SET noted = now() + interval '1 day'").await.expect("update");
    assert_eq!(before, data(&client, None, &own(), &ignored).await.expect("data"));
    assert_ne!(before, data(&client, None, &own(), &[]).await.expect("data"));
}

#[tokio::test]
async fn nothing_stays_behind_in_the_session() {
    let db = rich("fp_session");
    let client = db.client().await;
    client.batch_execute("SET search_path = app; SET row_security = on; SET ROLE fp_reader").await.expect("settings");
    catalog(&client, &own()).await.expect("the catalogue is readable for an ordinary role");
    let row = client
        .query_one("SELECT current_setting('search_path'), current_setting('row_security')", &[])
        .await
        .expect("settings");
    assert_eq!((row.get(0), row.get(1)), ("app", "on"));
    // Refused inside a transaction.
    client.batch_execute("RESET ROLE; RESET search_path").await.expect("reset");
    client.batch_execute("VACUUM app.base").await.expect("no transaction is left open");
}
