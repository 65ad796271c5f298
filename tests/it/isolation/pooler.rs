//! Over the application's own connection string through PgBouncer in transaction mode: B1 to B5, with the negative control.

use tenantmig::demo::alphapulse::APP;

use super::verify::Scene;
use crate::harness::{Pooler, block_on};

/// The role that PgBouncer knows, in place of the scene's.
fn scene(name: &str) -> Scene {
    let mut scene = Scene::new(name);
    scene.db.sql(&format!(
        "DO $$ BEGIN CREATE ROLE {APP} LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
         GRANT USAGE ON SCHEMA app TO {APP}; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA app TO {APP}"
    ));
    scene.app = APP.to_owned();
    scene
}

/// What is said of each B.
fn said(scene: &Scene, url: &str, code: u8) -> Vec<(String, String, String)> {
    let tool = scene.tool().url(&scene.db.url()).env("TENANTMIG_APP_URL", url);
    let all = tool.args(["verify", "--format", "json"]).run().expect_code(i32::from(code)).json();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let reports = all["checks"].as_array().unwrap().iter().filter(|c| c["isolation"]["way"] == "pooler");
    let probes = reports.flat_map(|c| c["isolation"]["probes"].as_array().unwrap().clone());
    let b = probes.filter(|p| text(&p["probe"]).starts_with('B'));
    b.map(|p| (text(&p["probe"]), text(&p["verdict"]), text(&p["why"]))).collect()
}

#[test]
fn what_a_pool_keeps_is_seen() {
    let scene = scene("pool_probes");
    let _ = scene.tool().url(&scene.db.url()).args(["apply", "plan.toml", "--yes"]).run().expect_code(0);
    let pooler = Pooler::start("transaction", "default_pool_size = 1");
    let url = pooler.url_as(APP, scene.db.name());
    let words = |said: &[(String, String, String)]| said.iter().map(|(p, v, _)| format!("{p} {v}")).collect::<Vec<_>>();
    let first = said(&scene, &url, 0);
    assert_eq!(words(&first), ["B1 holds", "B2 holds", "B3 weak", "B4 weak", "B5 holds"], "{first:?}");
    for what in ["prepared", "temporary", "WITH HOLD", "advisory"] {
        assert!(first[3].2.contains(what), "{first:?}");
    }
    // What the probes made is gone, or the second time would find it made already.
    assert_eq!(words(&said(&scene, &url, 0)), words(&first));
    // An application that sets its tenant for the session: the next client has it.
    let (tenant, to) = ("00000000-0000-0000-0000-000000000001", url.clone());
    block_on(async move {
        let (client, connection) = tokio_postgres::connect(&to, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute(&format!("SET app.org = '{tenant}'")).await.unwrap();
    });
    let stale = said(&scene, &url, 3);
    assert_eq!(stale[0].1, "leak", "{stale:?}");
    assert!(stale[0].2.contains(tenant), "{stale:?}");
    // A pooler that resets after each transaction.
    let resets = Pooler::start(
        "transaction",
        "default_pool_size = 1\nserver_reset_query = DISCARD ALL\nserver_reset_query_always = 1",
    );
    let clean = said(&scene, &resets.url_as(APP, scene.db.name()), 0);
    assert_eq!(words(&clean), ["B1 holds", "B2 holds", "B3 holds", "B4 holds", "B5 holds"], "{clean:?}");
}

/// What of the pooler is asked over a connection string of its own: the tables are asked directly, and the pool as it is.
#[test]
fn the_pooler_has_a_way_of_its_own() {
    let scene = scene("pool_own_way");
    let _ = scene.tool().url(&scene.db.url()).args(["apply", "plan.toml", "--yes"]).run().expect_code(0);
    let pooler = Pooler::start("transaction", "default_pool_size = 1");
    let verify = |url: &str, code: i32| {
        let tool = scene.tool().url(&scene.db.url()).env("TENANTMIG_APP_URL", scene.db.url_as(APP));
        tool.env("TENANTMIG_POOLER_URL", url).args(["verify", "--format", "json"]).run().expect_code(code).json()
    };
    let all = verify(&pooler.url_as(APP, scene.db.name()), 0);
    let of = |way: &str| {
        let checks = all["checks"].as_array().unwrap().iter().map(|check| &check["isolation"]);
        let probes = checks.filter(|asked| asked["way"] == way).flat_map(|asked| asked["probes"].as_array().unwrap());
        probes.map(|probe| probe["probe"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of("pooler"), ["B1", "B2", "B3", "B4", "B5"], "{all:#}");
    assert!(of("login").contains(&"P4".to_owned()) && !of("login").iter().any(|code| code.starts_with('B')), "{all:#}");
    // One that leads past the pooler tells nothing, and that is no success.
    let past = verify(&scene.db.url_as(APP), 77);
    assert!(past.to_string().contains("leads to the server itself"), "{past:#}");
}
