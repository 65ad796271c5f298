//! Behind PgBouncer: refused with clear words where sessions must be our own, looking is allowed.

use crate::harness::Pooler;
use crate::scene::{EXPAND, Scene, plan, with_plan};

#[test]
fn behind_a_pooler_apply_is_refused_with_clear_words() {
    for mode in ["transaction", "session"] {
        let scene = Scene::new(&format!("pooler_{mode}"), 50);
        let before = scene.print();
        let pooler = Pooler::start(mode, "");
        let url = pooler.url(scene.db.name());
        let out = with_plan(scene.tool().url(&url), &plan("", &[EXPAND])).run().expect_code(4);
        let out = out.stderr_has("pooler").stderr_has("--host").stderr_has("-p").nowhere_has("panicked");
        assert!(out.stderr.contains("next:"), "{out}");
        scene.is_as(&before);
        assert!(!scene.db.one::<bool>("SELECT to_regnamespace('tenantmig') IS NOT NULL"));
        // Looking needs no session of its own.
        let _ = scene.apply(&plan("", &[EXPAND])).expect_code(0);
        let _ = scene.tool().url(&url).args(["status"]).run().expect_code(0).stdout_has("completed");
        let _ = scene.tool().url(&url).args(["verify"]).run().expect_code(0);
        let _ = scene
            .tool()
            .url(&url)
            .args(["doctor"])
            .run()
            .expect_code(77)
            .stdout_has("a connection pooler stands between");
        let _ = scene
            .tool()
            .url(&url)
            .args(["rollback", "--to", "start", "--yes"])
            .run()
            .expect_code(4)
            .stderr_has("pooler");
        scene.stands("completed");
    }
}
