//! A pool without a free server connection: that is temporary, is waited for, and ends with 75 where it lasts.

use std::time::Duration;

use tokio_postgres::{Client, NoTls};

use super::is_calm;
use crate::harness::{Pooler, block_on};
use crate::scene::{EXPAND, Scene, plan, with_plan};

/// PgBouncer closes a client that waits longer for a server connection.
const SETTINGS: &str = "default_pool_size = 2\nquery_wait_timeout = 2";

/// Transactions that keep the whole pool until they are dropped.
fn whole_pool(pooler: &Pooler, database: &str) -> Vec<Client> {
    let url = pooler.url(database);
    block_on(async move {
        let mut all = Vec::new();
        for _ in 0..2 {
            let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
            tokio::spawn(connection);
            client.batch_execute("BEGIN; SELECT 1").await.unwrap();
            all.push(client);
        }
        all
    })
}

#[test]
fn an_exhausted_pool_is_waited_for_in_mid_run() {
    let scene = Scene::new("pooler_exhausted", 3_000);
    let pooler = Pooler::start("transaction", SETTINGS);
    let plan = plan("", &[EXPAND]).replace("[backfill]", "[backfill]\ntarget_batch = \"1ms\"");
    scene.db.sql(
        "CREATE FUNCTION app.slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.02); RETURN NULL; END $$;
         CREATE TRIGGER slow AFTER UPDATE ON app.users FOR EACH STATEMENT EXECUTE FUNCTION app.slow()",
    );
    let mut running = with_plan(scene.tool().url(&pooler.url(scene.db.name())), &plan).spawn();
    scene.wait_until("SELECT EXISTS (SELECT FROM app.users LIMIT 1)");
    running.wait_stderr("fill app.users");
    let kept = whole_pool(&pooler, scene.db.name());
    std::thread::sleep(Duration::from_secs(5));
    drop(kept);
    let out = running.wait().expect_code(0);
    assert!(out.stderr.contains("query_wait_timeout") || out.stderr.contains("no answer"), "{out}");
    scene.every_row_once();
    scene.verified();
    is_calm(&pooler, &scene.db);
}

#[test]
fn at_the_start_it_is_75_and_the_next_apply_goes_on() {
    let scene = Scene::new("pooler_exhausted_start", 20);
    let pooler = Pooler::start("transaction", SETTINGS);
    let tool = || scene.tool().url(&pooler.url(scene.db.name()));
    let kept = whole_pool(&pooler, scene.db.name());
    let _ = with_plan(tool(), &plan("", &[EXPAND])).run().expect_code(75).stderr_has("no server connection to give");
    drop(kept);
    let _ = with_plan(tool(), &plan("", &[EXPAND])).run().expect_code(0);
    is_calm(&pooler, &scene.db);
}

#[test]
fn where_it_outlasts_reconnect_max_the_run_ends_with_75_and_resume_completes_it() {
    let scene = Scene::new("pooler_exhausted_long", 3_000);
    let pooler = Pooler::start("transaction", SETTINGS);
    let plan = plan("reconnect_max = \"2s\"", &[EXPAND]).replace("[backfill]", "[backfill]\ntarget_batch = \"1ms\"");
    scene.db.sql(
        "CREATE FUNCTION app.slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.05); RETURN NULL; END $$;
         CREATE TRIGGER slow AFTER UPDATE ON app.users FOR EACH STATEMENT EXECUTE FUNCTION app.slow()",
    );
    let tool = || scene.tool().url(&pooler.url(scene.db.name()));
    let mut running = with_plan(tool(), &plan).spawn();
    running.wait_stderr("fill app.users");
    let kept = whole_pool(&pooler, scene.db.name());
    let out = running.wait().expect_code(75).stderr_has("no connection was to be had").stderr_has("reconnect_max");
    let _ = out.stderr_has("tenantmig resume");
    drop(kept);
    // Nobody could give the lease back, and behind a pooler nothing but its expiry says that the holder is gone.
    let run: String = scene.db.one("SELECT run_id::text FROM tenantmig.runs");
    let _ = tool().args(["unlock", "--force", &run, "--yes"]).run();
    let _ = tool().args(["resume"]).run().expect_code(0);
    scene.every_row_once();
    scene.verified();
    is_calm(&pooler, &scene.db);
}

/// PgBouncer waits 120 s by default, longer than anybody connects: it accepts the login by itself and holds the first question.
#[test]
fn a_pool_that_lets_the_first_question_wait_is_told_as_such() {
    let scene = Scene::new("pooler_exhausted_mute", 5);
    let pooler = Pooler::start("transaction", "default_pool_size = 2");
    let kept = whole_pool(&pooler, scene.db.name());
    let tool = scene.tool().url(&pooler.url(scene.db.name())).env("PGCONNECT_TIMEOUT", "2");
    let out = tool.args(["status"]).run().expect_code(75).stderr_has("accepted the connection and did not answer");
    let _ = out.stderr_has("within 2s").stderr_has("no connection is free").stderr_has("TM0934");
    drop(kept);
    is_calm(&pooler, &scene.db);
}
