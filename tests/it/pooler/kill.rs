//! kill -9 of tenantmig behind a pooler: the pooler closes the server connection of a transaction whose client is gone.

use super::is_calm;
use crate::harness::{Pooler, Signal};
use crate::scene::{EXPAND, Scene, plan, with_plan};

#[test]
fn after_kill_9_in_a_backfill_every_row_is_written_once() {
    let scene = Scene::new("pooler_kill", 4_000);
    let pooler = Pooler::start("transaction", "default_pool_size = 2");
    scene.db.sql(
        "CREATE FUNCTION app.slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.05); RETURN NULL; END $$;
         CREATE TRIGGER slow AFTER UPDATE ON app.users FOR EACH STATEMENT EXECUTE FUNCTION app.slow()",
    );
    let tool = || scene.tool().url(&pooler.url(scene.db.name()));
    let mut running = with_plan(tool(), &plan("", &[EXPAND])).spawn();
    running.wait_stderr("fill app.users");
    scene.wait_until("SELECT coalesce(sum(rows_done), 0) > 200 FROM tenantmig.backfill_ranges");
    running.signal(Signal::KILL);
    let _ = running.wait();
    is_calm(&pooler, &scene.db);
    let done: i64 = scene.db.one("SELECT count(*) FROM app.users WHERE tenant_id IS NOT NULL");
    assert!(done < 4_000, "it was over before it was killed");
    // The pool's session says nothing of the holder: the expiry alone does, or a person.
    let _ = tool().args(["resume"]).run().expect_code(75).stderr_has("unlock --force");
    let run: String = scene.db.one("SELECT run_id::text FROM tenantmig.runs");
    let _ = tool().args(["unlock", "--force", &run, "--yes"]).run().expect_code(0);
    let _ = tool().args(["resume"]).run().expect_code(0);
    scene.every_row_once();
    scene.verified();
    is_calm(&pooler, &scene.db);
}
