//! A rollback destroys nothing that the application wrote: the next apply brings it back.

use crate::harness::Signal;
use crate::scene::{EXPAND, Scene, plan, with_plan};

/// An hour of an application that knows tenants: users with tenants of their own, moved ones, ones that no account explains.
const HOUR: &str = "
    INSERT INTO app.users (id, account_id, email, tenant_id)
        SELECT 10000 + n, 1 + n % 7, 'new' || n, ('10000000-0000-0000-0000-00000000' || lpad((n % 50)::text, 4, '0'))::uuid
          FROM generate_series(1, 4000) n;
    UPDATE app.users SET tenant_id = ('20000000-0000-0000-0000-00000000' || lpad((id % 50)::text, 4, '0'))::uuid
     WHERE id <= 3000 AND id % 4 = 0;
    UPDATE app.users SET account_id = 1 + (account_id % 5), tenant_id = NULL WHERE id <= 3000 AND id % 4 = 1;
    UPDATE app.users u SET tenant_id = a.tenant_id FROM app.accounts a WHERE a.id = u.account_id AND u.tenant_id IS NULL;
    DELETE FROM app.users WHERE id % 17 = 0";

/// Who has which tenant.
const TENANTS: &str =
    "SELECT md5(string_agg(id || ' ' || coalesce(tenant_id::text, '-'), ',' ORDER BY id)) FROM app.users";

/// The backfill's value by an expression: a column that is filled from a parent has a gate, which lets no other tenant pass.
fn by_expression() -> String {
    EXPAND.replace(
        "from = { table = \"app.accounts\", match = { account_id = \"id\" } }",
        "sql = \"(SELECT a.tenant_id FROM app.accounts a WHERE a.id = row.account_id)\"",
    )
}

fn after_an_hour(name: &str, plan: &str) -> (Scene, String) {
    let scene = Scene::new(name, 3000);
    let _ = scene.apply(plan).expect_code(0);
    scene.db.sql(HOUR);
    let tenants = scene.db.one(TENANTS);
    (scene, tenants)
}

#[test]
fn tenants_that_the_application_wrote_come_back() {
    let text = plan("", &[&by_expression()]);
    let (scene, tenants) = after_an_hour("lossless", &text);
    for turn in 0..2 {
        let run = scene.run("rollback --to start --yes").expect_code(0);
        let _ = run.stderr_has("are kept in tenantmig.preimage_");
        assert!(!scene.has_column("app.users", "tenant_id"));
        // Small: what the backfill gives by itself is not kept.
        let kept: i64 = scene.db.one("SELECT rows_kept FROM tenantmig.preimages WHERE restored_at IS NULL");
        assert_eq!(
            kept,
            scene.db.one::<i64>("SELECT count(*) FROM app.users WHERE id > 3000 OR id % 4 = 0"),
            "turn {turn}"
        );
        let grants: i64 = scene.db.one(
            "SELECT count(*) FROM pg_class c, aclexplode(c.relacl) x WHERE c.relname LIKE 'preimage_%' AND x.grantee <> c.relowner",
        );
        assert_eq!(grants, 0);
        let _ = scene.apply(&text).expect_code(0);
        assert_eq!(scene.db.one::<String>(TENANTS), tenants, "turn {turn}");
    }
    assert_eq!(scene.db.one::<i64>("SELECT count(*) FROM tenantmig.preimages"), 1, "an older one is replaced");
    scene.verified();
    // Without what was kept the same check fails.
    let _ = scene.run("rollback --to start --yes").expect_code(0);
    scene.db.sql("DELETE FROM tenantmig.preimages; UPDATE app.users SET account_id = 1 WHERE account_id > 5");
    let _ = scene.apply(&text).expect_code(0);
    assert_ne!(scene.db.one::<String>(TENANTS), tenants);
}

#[test]
fn rows_that_changed_meanwhile_are_told_and_follow_their_source() {
    let text = plan("", &[&by_expression()]);
    let (scene, _) = after_an_hour("lossless_meanwhile", &text);
    let _ = scene.run("rollback --to start --yes").expect_code(0);
    let gone: i64 = scene
        .db
        .one("WITH d AS (DELETE FROM app.users WHERE id BETWEEN 10100 AND 10199 RETURNING 1) SELECT count(*) FROM d");
    // A user whose tenant was its account's follows the account.
    scene.db.sql("UPDATE app.users SET account_id = 3 WHERE id = 2");
    let run = scene.apply(&text).expect_code(0);
    let _ = run.stderr_has(&format!("{gone} rows are gone meanwhile"));
    let follows: bool =
        scene.db.one("SELECT u.tenant_id = a.tenant_id FROM app.users u, app.accounts a WHERE u.id = 2 AND a.id = 3");
    assert!(follows);
}

#[test]
fn a_kill_while_it_keeps_or_writes_back_loses_nothing() {
    let slow = EXPAND.replace(
        "from = { table = \"app.accounts\", match = { account_id = \"id\" } }",
        "sql = \"app.tenant_of(row.account_id)\"",
    );
    let text = plan("", &[&slow]);
    let scene = Scene::new("lossless_kill", 25_000);
    let tenant_of = |wait: &str| {
        format!(
            "CREATE OR REPLACE FUNCTION app.tenant_of(bigint) RETURNS uuid LANGUAGE plpgsql AS $$
             BEGIN {wait} RETURN (SELECT tenant_id FROM app.accounts WHERE id = $1); END $$"
        )
    };
    scene.db.sql(&tenant_of(""));
    let _ = scene.apply(&text).expect_code(0);
    scene.db.sql("UPDATE app.users SET tenant_id = gen_random_uuid() WHERE id % 3 = 0");
    scene.db.sql(&tenant_of("PERFORM pg_sleep(0.0001);"));
    let mut run = scene.tool().args(["rollback", "--to", "start", "--yes"]).spawn();
    scene.wait_until("SELECT to_regclass('tenantmig.preimage_1') IS NOT NULL");
    scene.wait_until("SELECT count(*) > 0 FROM tenantmig.preimage_1");
    run.signal(Signal::KILL);
    assert_eq!(run.wait().code, 137);
    let kept: i64 = scene.db.one("SELECT count(*) FROM tenantmig.preimage_1");
    assert!((1..25_000 / 3).contains(&kept), "{kept}: it was not met in the middle");
    // The application goes on: a trigger follows it.
    scene.db.sql("UPDATE app.users SET tenant_id = gen_random_uuid() WHERE id IN (3, 20001)");
    scene.db.sql("INSERT INTO app.users (id, account_id, email, tenant_id) VALUES (30000, 77, 'x', gen_random_uuid())");
    let tenants: String = scene.db.one(TENANTS);
    scene.db.sql(&tenant_of(""));
    let _ = scene.run("resume").expect_code(0);
    let left: i64 = scene.db.one("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'tenantmig%'");
    assert_eq!((left, scene.has_column("app.users", "tenant_id")), (0, false));
    // On the way forward somebody holds a row of the last batch; the first ones are written back.
    let holder = scene.holding("UPDATE app.users SET email = 'held' WHERE id = 24999");

    let mut run = with_plan(scene.tool(), &text).spawn();

    scene.wait_for_a_waiter();
    run.signal(Signal::KILL);
    assert_eq!(run.wait().code, 137);
    drop(holder);
    let _ = scene.run("resume").expect_code(0);
    assert_eq!(scene.db.one::<String>(TENANTS), tenants);
    scene.verified();
}

#[test]
fn without_a_key_the_rollback_says_what_is_lost() {
    let scene = Scene::new("lossless_keyless", 200);
    scene.db.sql("ALTER TABLE app.users DROP CONSTRAINT users_pkey");
    let text = plan("", &[EXPAND]);
    let _ = scene.apply(&text).expect_code(0);
    // Nothing but what the backfill gives: nothing is lost.
    let _ = scene.run("rollback --to start --yes").expect_code(0);
    let _ = scene.apply(&text).expect_code(0);
    scene.db.sql("UPDATE app.users SET tenant_id = gen_random_uuid() WHERE id <= 7");
    let run = scene.run("rollback --to start --yes").expect_code(4);
    let _ = run.stderr_has("app.users.tenant_id").stderr_has(": 7").stderr_has("--allow-data-loss");
    assert!(scene.has_column("app.users", "tenant_id"));
    let _ = scene.run("rollback --to start --yes --allow-data-loss").expect_code(0);
    let given: String = scene.db.one(
        "SELECT event -> 'rollback_requested' -> 'consents' -> 0 ->> 'consent' FROM tenantmig.events WHERE kind = 'rollback_requested' ORDER BY number DESC LIMIT 1",
    );
    assert_eq!(given, "data_loss");
}
