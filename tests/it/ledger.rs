//! The ledger's own tables: each migration with its twin, installs at once, and what the events refuse.

use std::sync::LazyLock;

use tenantmig::{
    ledger::{self, LedgerError, known_version},
    pg::fingerprint::{CatalogPrint, catalog, diff},
    sql::Ident,
};
use tokio_postgres::Client;

use crate::harness::{Db, Tool, database, repo_path};
use crate::scene::{EXPAND, MARK, Scene, plan};

static NAMES: LazyLock<Vec<Ident>> =
    LazyLock::new(|| ["tenantmig", "My Ledger\"s"].map(|name| Ident::new(name).unwrap()).into());

async fn facts(client: &Client) -> CatalogPrint {
    catalog(client, &[]).await.unwrap()
}

async fn install(db: &Db, schema: &Ident) -> Result<(), LedgerError> {
    let client = db.client().await;
    client.batch_execute("BEGIN; SET LOCAL lock_timeout = '10s'").await.unwrap();
    ledger::install(&client, schema).await?;
    Ok(client.batch_execute("COMMIT").await?)
}

#[track_caller]
fn same(before: &CatalogPrint, after: &CatalogPrint) {
    if let Some(diff) = diff(&before.lines, &after.lines) {
        panic!("{diff}");
    }
}

#[tokio::test]
async fn every_migration_has_a_twin_that_undoes_it() {
    let files = |folder: &str| {
        let entries = std::fs::read_dir(repo_path(folder)).unwrap();
        let mut names: Vec<String> = entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".sql"))
            .collect();
        names.sort();
        names
    };
    assert_eq!(files("migrations"), files("rollback"));
    let newest = files("migrations").len();
    for schema in NAMES.iter() {
        let db = database("ledger_pairs");
        let mut client = db.client().await;
        // By hand, one after the other: each pair is tried by itself.
        client.batch_execute("CREATE SCHEMA pairs; SET search_path = pairs").await.unwrap();
        let mut states = vec![facts(&client).await];
        for name in files("migrations") {
            client
                .batch_execute(&std::fs::read_to_string(repo_path(&format!("migrations/{name}"))).unwrap())
                .await
                .unwrap();
            states.push(facts(&client).await);
        }
        for name in files("rollback").iter().rev() {
            let made = states.pop().unwrap();
            same(&made, &facts(&client).await);
            client
                .batch_execute(&std::fs::read_to_string(repo_path(&format!("rollback/{name}"))).unwrap())
                .await
                .unwrap();
            assert!(made != *states.last().unwrap(), "{name} makes nothing");
            same(states.last().unwrap(), &facts(&client).await);
        }
        // By the program.
        install(&db, schema).await.unwrap();
        assert_eq!(ledger::version(&client, schema).await.unwrap(), i32::try_from(newest).ok());
        let installed = facts(&client).await;
        install(&db, schema).await.unwrap();
        same(&installed, &facts(&client).await);
        client.batch_execute("RESET search_path").await.unwrap();
        ledger::uninstall(&mut client, schema).await.unwrap();
        assert!(!ledger::exists(&client, schema).await.unwrap());
        install(&db, schema).await.unwrap();
        same(&installed, &facts(&client).await);
    }
}

#[tokio::test]
async fn four_installs_at_once_are_one() {
    let db = database("ledger_at_once");
    let schema = &NAMES[0];
    let (a, b, c, d) =
        tokio::join!(install(&db, schema), install(&db, schema), install(&db, schema), install(&db, schema));
    for result in [a, b, c, d] {
        result.unwrap();
    }
    assert_eq!(db.one::<i64>("SELECT count(*) FROM tenantmig.refinery_schema_history"), i64::from(known_version()));
    assert_eq!(db.one::<i64>("SELECT count(*) FROM tenantmig.lease"), 1);
}

#[tokio::test]
async fn a_newer_ledger_is_left_alone() {
    let db = database("ledger_newer");
    install(&db, &NAMES[0]).await.unwrap();
    db.sql("INSERT INTO tenantmig.refinery_schema_history (version, name, applied_on, checksum) VALUES (99, 'later', 'now', '1')");
    let error = install(&db, &NAMES[0]).await.unwrap_err();
    assert!(matches!(error, LedgerError::Newer { found: 99, known } if known == known_version()), "{error}");
    let tool = Tool::new(&db);
    let path = tool.file("plan.toml", PLAN);
    let _ =
        tool.args(["apply".as_ref(), path.as_os_str()]).args(["--yes"]).run().expect_code(4).stderr_has("version 99");
}

#[test]
fn an_older_ledger_is_brought_up_to_date_by_whoever_goes_on() {
    let scene = Scene::new("ledger_older", 50);
    let _ = scene.applying(&plan("", &[EXPAND, MARK])).args(["--to", "expand"]).run().expect_code(0);
    let age = || {
        for (version, name) in
            [(6, "V6__approvals"), (5, "V5__measurements"), (4, "V4__kept"), (3, "V3__heads"), (2, "V2__ranges")]
        {
            let twin = std::fs::read_to_string(repo_path(&format!("rollback/{name}.sql"))).unwrap();
            let forget = format!("DELETE FROM refinery_schema_history WHERE version = {version}");
            scene.db.sql(&format!("SET search_path = tenantmig; {twin} {forget}"));
        }
    };
    age();
    for words in ["status", "throttle", "throttle --workers 2", "verify"] {
        let out = scene.run(words).expect_code(4).stderr_has("the ledger has version 1");
        let _ = out.stderr_has("resume and rollback bring it up to date");
    }
    let _ = scene.run("resume").expect_code(0);
    scene.stands("completed");
    scene.verified();
    age();
    let _ = scene.run("rollback --to start --yes").expect_code(0);
    scene.stands("rolled back");
}

const PLAN: &str = r#"
format = 1
name   = "sample"
[[phase]]
id   = "one"
step = [{ id = "s", kind = "sql", up = "SELECT 1", down = "SELECT 1" }]
"#;

#[tokio::test]
async fn events_can_only_be_added() {
    let db = database("ledger_events");
    let tool = Tool::new(&db);
    let path = tool.file("plan.toml", PLAN);
    let _ = tool.args(["apply".as_ref(), path.as_os_str()]).args(["--yes"]).run().expect_code(0);
    let owner = db.client().await;
    for change in [
        "UPDATE tenantmig.events SET kind = 'x'",
        "DELETE FROM tenantmig.events",
        "TRUNCATE tenantmig.events",
        "DELETE FROM tenantmig.events WHERE false",
    ] {
        let error = owner.batch_execute(change).await.expect_err(change);
        assert!(error.as_db_error().unwrap().message().contains("append-only"), "{change}: {error}");
    }
    assert!(db.one::<i64>("SELECT count(*) FROM tenantmig.events") >= 2);
}

#[test]
fn a_ledger_with_an_awkward_name_works() {
    let db = database("ledger_awkward");
    let tool = Tool::new(&db).env("TENANTMIG_LEDGER_SCHEMA", NAMES[1].as_str());
    let path = tool.file("plan.toml", PLAN);
    let _ = tool.args(["apply".as_ref(), path.as_os_str()]).args(["--yes"]).run().expect_code(0);
    let tool = || Tool::new(&db).env("TENANTMIG_LEDGER_SCHEMA", NAMES[1].as_str());
    let _ = tool().args(["status"]).run().expect_code(0).stdout_has("completed");
    let _ = tool().args(["rollback", "--to", "start", "--yes"]).run().expect_code(0);
    let _ = tool().args(["verify"]).run().expect_code(0);
}

#[test]
fn who_may_not_make_the_schema_is_told_so() {
    let db = database("ledger_create");
    let plain = db.role("plain", "LOGIN");
    let tool = Tool::new(&db).url(&db.url_as(&plain));
    let path = tool.file("plan.toml", PLAN);
    let run = |tool: Tool| tool.args(["apply".as_ref(), path.as_os_str()]).args(["--yes"]).run();
    let _ = run(tool).expect_code(77).stderr_has("42501");
    // One that somebody made for the role is enough.
    db.sql(&format!("CREATE SCHEMA tenantmig AUTHORIZATION {plain}"));
    let tool = Tool::new(&db).url(&db.url_as(&plain));
    let path = tool.file("plan.toml", PLAN);
    let _ = tool.args(["apply".as_ref(), path.as_os_str()]).args(["--yes"]).run().expect_code(0);
}
