//! `init` on the four databases that the demo migrates: what it asks, what option answers, and that the plan is carried out as it
//! stands. The database is one tenant's then; two more come, and each sees its own rows.

use tenantmig::demo::{
    alphapulse,
    seed::{Scale, seed},
    systems::System,
};

use super::{Scene, isolation, plan::Written};
use crate::harness::database;

/// Rows of the first table.
const SCALE: u32 = 30;

async fn system(name: &str) -> Scene {
    let system = System::named(name).unwrap();
    let db = database(&format!("init_{name}"));
    system.seed(&db.client().await, SCALE).await.unwrap();
    Scene { db, owner: system.owner.to_owned(), app: system.app.to_owned() }
}

/// Asked first, which names the option; answered by it, the plan goes up and down twice and up.
#[track_caller]
fn answered(scene: &Scene, asks: &str, flags: &[&str]) -> Written {
    let _ = scene.init(&[]).expect_code(3).stderr_has(asks);
    let written = Written::read(&scene.init(flags).expect_code(0).stdout);
    scene.carried_out(&written);
    written
}

/// Two tenants more, each with a third of the rows of every table.
fn three(scene: &Scene, written: &Written, others: &str) {
    scene.db.sql(others);
    let (registry, key, ty) = &written.registry;
    for (table, _) in written.tables.iter().filter(|(table, _)| table != registry) {
        // Rows of keys within the tenant would have to move together; whom a row is seen by does not depend on them.
        scene.db.sql(&format!(
            "SET session_replication_role = replica;
             WITH t AS (SELECT {key} AS id, row_number() OVER (ORDER BY {key}) - 1 AS n FROM {registry} LIMIT 3),
                  r AS (SELECT ctid AS at, row_number() OVER () % 3 AS n FROM {table})
             UPDATE {table} x SET {} = t.id::{ty} FROM r JOIN t USING (n) WHERE x.ctid = r.at;
             RESET session_replication_role",
            written.column
        ));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trading_company_without_a_table_of_tenants() {
    let db = database("init_alphapulse");
    seed(&db.client().await, Scale { users: 30 }).await.unwrap();
    let scene = Scene { db, owner: alphapulse::OWNER.to_owned(), app: alphapulse::APP.to_owned() };
    // Edited in one line, or by the option: the same plan.
    let asked = scene.init(&[]).expect_code(3).stdout;
    let question = asked.lines().find(|line| line.starts_with("tenant = { question")).unwrap();
    let written = answered(&scene, "init --new-registry public.tenants", &["--new-registry", "public.tenants"]);
    let settled = asked.replace(question, "tenant = \"self\"");
    assert_eq!(Written::read(&settled).tables, written.tables);
    assert_eq!((written.tables.len(), written.registry.0.as_str()), (8, "public.tenants"));
    written.has_way("public.trades", "00000000-0000-0000-0000-000000000001");
    three(&scene, &written, "INSERT INTO tenants (name) VALUES ('two'), ('three')");
    isolation::holds(&scene, &written);
}

#[tokio::test(flavor = "multi_thread")]
async fn funds_of_one_of_three_organizations() {
    let scene = system("portfolio").await;
    let one = "a1111111-1111-1111-1111-111111111111";
    let flags = ["--tenant-table", "organizations", "--tenant-value", one, "--column", "organization_id"];
    let asks = format!("init --tenant-table public.organizations --tenant-value {one}");
    let _ = scene
        .init(&["--tenant-table", "organizations", "--tenant-value", "z"])
        .expect_code(3)
        .stderr_has("no row whose id is z");
    let _ = scene.init(&["--new-registry", "funds"]).expect_code(3).stderr_has("public.funds is there already");
    let _ = scene.init(&["--new-registry", "firms", "--tenant-value", "z"]).expect_code(64).stderr_has("is no uuid");
    let written = answered(&scene, &asks, &flags);
    assert_eq!((written.tables.len(), written.shared.len()), (4, 0));
    assert!(written.text.contains("composite = [{"));
    three(&scene, &written, "");
    isolation::holds(&scene, &written);
}

#[tokio::test(flavor = "multi_thread")]
async fn conversations_of_users_who_are_the_tenants() {
    let scene = system("memory_chunks").await;
    // Of thirty users three are enough to look as.
    scene.db.sql("DELETE FROM conversations WHERE user_hash NOT IN ('alice', 'bob', 'carol'); DELETE FROM users WHERE user_hash NOT IN ('alice', 'bob', 'carol')");
    let flags = ["--tenant-table", "users", "--column", "user_hash", "--setting", "app.user_hash"];
    let written = answered(&scene, "what may be meant: public.users", &flags);
    written.has_way("public.conversations", "user_hash");
    written.is_shared("public.alembic_version");
    isolation::holds(&scene, &written);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_of_one_firm() {
    let scene = system("chat").await;
    let flags = ["--new-registry", "public.firms", "--tenant-value", "00000000-0000-0000-0000-00000000000a"];
    let written = answered(&scene, "init --new-registry public.tenants", &flags);
    assert_eq!((written.tables.len(), written.registry.0.as_str()), (7, "public.firms"));
    written.has_way("public.messages", "00000000-0000-0000-0000-00000000000a");
    three(&scene, &written, "INSERT INTO firms (name) VALUES ('two'), ('three')");
    isolation::holds(&scene, &written);
}
