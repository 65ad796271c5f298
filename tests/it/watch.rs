//! Tables are observed before they are enforced and watched after it, while an application writes: one that sets its tenant goes on
//! and is not disturbed, one that does not is let in again within seconds.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use std::thread::JoinHandle;
use std::time::Duration;

use tenantmig::demo::cluster::{Cluster, ClusterOptions};

use crate::harness::{Db, Output, Signal, Tool, block_on, cluster, connect, database};

const SCHEMA: &str = "
    CREATE SCHEMA app;
    CREATE TABLE app.orgs (id bigint PRIMARY KEY);
    INSERT INTO app.orgs SELECT generate_series(1, 3);
    CREATE TABLE app.notes (id bigserial, org_id bigint NOT NULL REFERENCES app.orgs) PARTITION BY RANGE (id);
    CREATE TABLE app.notes_1 PARTITION OF app.notes FOR VALUES FROM (0) TO (1000000);
    INSERT INTO app.notes (org_id) SELECT 1 + n % 3 FROM generate_series(1, 300) n;";

const PROTECTED: &str = "SELECT relrowsecurity OR relforcerowsecurity FROM pg_class WHERE oid = 'app.notes'::regclass";

/// An application that writes a row every 10 ms, in a transaction of its own, with or without saying for whom.
struct Writer {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<(u32, u32)>>,
}

impl Writer {
    fn start(url: String, says: bool) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&ends);
        let thread = std::thread::spawn(move || {
            block_on(async move {
                let client = connect(&url).await;
                let (mut written, mut refused) = (0, 0);
                let whom = if says { "SELECT set_config('app.org', '2', true);" } else { "" };
                while !over.load(Ordering::Relaxed) {
                    let insert = format!("BEGIN;{whom} INSERT INTO app.notes (org_id) VALUES (2); COMMIT");
                    match client.batch_execute(&insert).await {
                        Ok(()) => written += 1,
                        Err(_) => {
                            refused += 1;
                            client.batch_execute("ROLLBACK").await.unwrap();
                        }
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                (written, refused)
            })
        });
        Self { ends, thread: Some(thread) }
    }

    /// How many of its rows were written, and how many refused.
    fn stop(mut self) -> (u32, u32) {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}

fn plan(app: &str, watch: &str) -> String {
    format!(
        "format = 1\nname = \"watched\"\n\
         [tenancy]\nregistry = {{ table = \"app.orgs\", key = \"id\", type = \"bigint\" }}\ncolumn = \"org_id\"\n\
         setting = \"app.org\"\nroles = [\"{app}\"]\n\
         [[phase]]\nid = \"enforce\"\n\
         [[phase.step]]\nkind = \"observe\"\ntables = [\"app.notes\"]\nfor = \"6s\"\n\
         [[phase.step]]\nkind = \"enforce_rls\"\ntable = \"app.notes\"\n\
         [[phase.step]]\nkind = \"watch\"\ntables = [\"app.notes\"]\n{watch}\n"
    )
}

struct Scene {
    db: Db,
    app: String,
}

impl Scene {
    fn new(name: &str) -> Self {
        let db = database(name);
        let app = db.role("app", "LOGIN");
        db.sql(SCHEMA);
        db.sql(&format!(
            "GRANT USAGE ON SCHEMA app TO {app}; GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA app TO {app};
             GRANT USAGE ON ALL SEQUENCES IN SCHEMA app TO {app}"
        ));
        Self { db, app }
    }

    fn writer(&self, says: bool) -> Writer {
        Writer::start(self.db.url_as(&self.app), says)
    }

    fn tool(&self, watch: &str) -> Tool {
        let tool = Tool::new(&self.db);
        tool.file("plan.toml", &plan(&self.app, watch));
        tool
    }

    fn apply(&self, watch: &str) -> Output {
        self.tool(watch).args(["apply", "plan.toml", "--yes"]).run()
    }

    fn is_protected(&self) -> bool {
        self.db.one(PROTECTED)
    }
}

#[test]
fn an_application_that_is_not_ready_is_let_in_again() {
    let scene = Scene::new("watch_collapse");
    let writer = scene.writer(false);
    let out = scene.apply("for = \"10min\"").expect_code(5);
    let out = out.stdout_has("writes to app.notes fell from").stdout_has("transactions are rolled back");
    let _ = out.stdout_has("rolled back");
    assert!(!scene.is_protected());
    let kept: Vec<bool> = (0..2)
        .map(|n| scene.db.one(&format!("SELECT over FROM tenantmig.measurements ORDER BY 1 OFFSET {n} LIMIT 1")))
        .collect();
    assert_eq!(kept, [false, true]);
    let (written, refused) = writer.stop();
    assert!(written > 0 && refused > 0, "{written} written, {refused} refused");
}

/// The time begins anew after a kill; a question of the plan's own is asked all the time.
#[test]
fn one_that_is_ready_goes_on_also_when_the_process_is_killed() {
    let scene = Scene::new("watch_ready");
    let writer = scene.writer(true);
    let watch = "for = \"6s\"\nsql = \"SELECT count(*) < 10 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'\"";
    let mut run = scene.tool(watch).args(["apply", "plan.toml", "--yes"]).spawn();
    let _ = run.wait_stderr("waiting: watch for");
    run.signal(Signal::KILL);
    let _ = run.wait();
    assert!(scene.is_protected());
    let out = Tool::new(&scene.db).args(["resume", "--yes"]).run().expect_code(0);
    let _ = out.stderr_has("rows a second are written");
    assert!(scene.is_protected());
    let (written, refused) = writer.stop();
    assert!(written > 0 && refused == 0, "{written} written, {refused} refused");
}

#[test]
fn a_question_that_is_not_true_any_more_takes_the_change_back_and_a_quiet_table_tells_nothing() {
    let scene = Scene::new("watch_question");
    let out = scene.apply("for = \"5s\"").expect_code(0);
    let _ = out.stderr_has("not compared: app.notes: 0 rows in").stderr_has("too few to tell");
    assert!(scene.is_protected());
    let again = format!("rollback --to start --accept-exposure --confirm {}", scene.db.name());
    let _ = Tool::new(&scene.db).args(again.split(' ')).run().expect_code(0);
    let asks = "for = \"10min\"\nsql = \"SELECT NOT relrowsecurity FROM pg_class WHERE oid = 'app.notes'::regclass\"";
    let _ = scene.apply(asks).expect_code(5).stdout_has("the answer is false");
    assert!(!scene.is_protected());
}

/// Only the server's log knows of a SELECT that is refused: nothing is written, and one of many transactions fails.
#[test]
fn what_is_refused_is_counted_in_the_servers_log() {
    let extra_conf = [("logging_collector", "on"), ("log_destination", "csvlog"), ("log_directory", "log")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
    let bindir = Some(cluster().bindir().to_owned());
    let own = Cluster::start(ClusterOptions { bindir, extra_conf, ..ClusterOptions::default() }).unwrap();
    let url = own.url("postgres");
    let sql = |statements: String| {
        let url = url.clone();
        block_on(async move { connect(&url).await.batch_execute(&statements).await.unwrap() });
    };
    sql(format!(
        "{SCHEMA} CREATE ROLE app LOGIN; GRANT USAGE ON SCHEMA app TO app; GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA app TO app;
         GRANT USAGE ON ALL SEQUENCES IN SCHEMA app TO app"
    ));
    // Ready, but for a report that names a table which it may not read any more.
    let writers: Vec<Writer> = (0..2).map(|_| Writer::start(own.url_as("app", "postgres"), true)).collect();
    let ends = Arc::new(AtomicBool::new(false));
    let reports = {
        let (ends, url) = (Arc::clone(&ends), own.url_as("app", "postgres"));
        std::thread::spawn(move || {
            block_on(async move {
                let client = connect(&url).await;
                while !ends.load(Ordering::Relaxed) {
                    let protected: bool = client.query_one(PROTECTED, &[]).await.unwrap().get(0);
                    if protected {
                        // Refused, but for one that comes when it is let in again.
                        let _ = client.batch_execute("SET row_security = off; TABLE app.notes").await;
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            });
        })
    };
    let tool = Tool::without_database().url(&url);
    tool.file("plan.toml", &plan("app", "for = \"10min\"\nrollback_points = 100\ndenied_per_minute = 20"));
    let out = tool.args(["apply", "plan.toml", "--yes"]).run();
    ends.store(true, Ordering::Relaxed);
    reports.join().unwrap();
    let _ = out.expect_code(5).stdout_has("statements were refused with 42501").nowhere_has("fell from");
    for writer in writers {
        assert_eq!(writer.stop().1, 0);
    }
}

#[test]
fn the_canary_watches_each_table_that_is_enforced() {
    let head = plan("app_rw", "").split("[[phase]]").next().unwrap().to_owned();
    let tables = "[[table]]\nname = \"app.orgs\"\ntenant = \"self\"\n[[table]]\nname = \"app.notes\"\n\
                  tenant = { from = \"app.orgs\", match = { org = \"id\" } }\n";
    let steps = |canary: &str| {
        let tool = Tool::without_database();
        tool.file("plan.toml", &format!("{head}[canary]\n{canary}\n{tables}"));
        let out = tool.args(["plan", "plan.toml", "--expand"]).run().expect_code(0).stdout;
        // The explicit form is a plan as well.
        let tool = Tool::without_database();
        tool.file("plan.toml", &out);
        let _ = tool.args(["validate", "plan.toml"]).run().expect_code(0);
        let enforce = out.split("\"enforce\"").nth(1).unwrap().split("[[phase]]").next().unwrap().to_owned();
        let lines = enforce.lines().map(str::trim).filter(|line| line.starts_with("{ kind"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(
        steps("watch = \"2min\"\nwrites_percent = 50"),
        [
            r#"{ kind = "observe", tables = ["app.orgs", "app.notes"], for = "30s" },"#,
            r#"{ kind = "enforce_rls", table = "app.orgs", column = "id" },"#,
            r#"{ kind = "watch", tables = ["app.orgs"], for = "2m", writes_percent = 50 },"#,
            r#"{ kind = "enforce_rls", table = "app.notes" },"#,
            r#"{ kind = "watch", tables = ["app.notes"], for = "2m", writes_percent = 50 },"#,
        ]
    );
    assert_eq!(
        steps("watch = \"2min\"\nobserve = \"1min\"\nall_at_once = true"),
        [
            r#"{ kind = "observe", tables = ["app.orgs", "app.notes"], for = "1m" },"#,
            r#"{ kind = "enforce_rls", table = "app.orgs", column = "id" },"#,
            r#"{ kind = "enforce_rls", table = "app.notes" },"#,
            r#"{ kind = "watch", tables = ["app.orgs", "app.notes"], for = "2m" },"#,
        ]
    );
    // Without tables there is nothing to watch, and that is said.
    let tool = Tool::without_database();
    let phase = "[[phase]]\nid = \"one\"\n[[phase.step]]\nkind = \"assert\"\nsql = \"SELECT true\"\n";
    tool.file("plan.toml", &format!("{head}[canary]\nphase = \"one\"\nwatch = \"2min\"\n{phase}"));
    let _ = tool.args(["validate", "plan.toml"]).run().expect_code(65).stderr_has("TM0398");
}
