//! Contact with the server is lost in ways that no error tells: silence, lost answers, a server that is away for longer than the
//! lease. Each is noticed within a stated bound, nothing is done twice, and the run goes on by itself. Each test prints its times.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tenantmig::demo::cluster::{Cluster, ClusterOptions};
use tokio_postgres::types::FromSql;

use crate::harness::{Path, Proxy, Signal, Tool, Verdict, block_on, cluster};
use crate::scene::{EXPAND, MARK, SCHEMA, Scene, plan, with_plan};

/// Silence is noticed by the heartbeat at the latest, after 20 s; the rest is for a machine that is busy.
const SILENCE_NOTICED: Duration = Duration::from_secs(30);
/// A session that alone is mute: 5 s outstanding, two looks 2 s apart, and a second for each.
const MUTE_NOTICED: Duration = Duration::from_secs(15);

const ROWS: &str = "SELECT coalesce(sum(rows_done), 0)::bigint FROM tenantmig.backfill_ranges";
const INDEX: &str =
    "[[phase]]\nid = \"index\"\n[[phase.step]]\nkind = \"create_index\"\ntable = \"app.users\"\ncolumns = [\"email\"]";
/// A batch takes a tenth of a second while this stands.
const BRAKE: &str = "CREATE TABLE app.brake (on_ boolean);
    CREATE FUNCTION app.slow() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF EXISTS (SELECT FROM app.brake) THEN PERFORM pg_sleep(0.1); END IF; RETURN NULL; END $$;
    CREATE TRIGGER slow BEFORE UPDATE ON app.users FOR EACH STATEMENT EXECUTE FUNCTION app.slow();
    INSERT INTO app.brake VALUES (true);";
pub const GO: &str = "DELETE FROM app.brake";

/// The tool, by way of a proxy in front of the shared cluster.
fn through(proxy: &Proxy, scene: &Scene) -> Tool {
    scene.tool().url(&proxy.url(scene.db.name()))
}

fn told(what: &str, since: Instant) {
    eprintln!("connections: {what}: {:.1} s", since.elapsed().as_secs_f64());
}

fn backfilling(scene: &Scene, rows: i64) {
    scene.wait_until("SELECT to_regclass('tenantmig.backfill_ranges') IS NOT NULL");
    scene.wait_until(&format!("SELECT ({ROWS}) >= {rows}"));
}

#[test]
fn a_black_hole_in_a_backfill_is_noticed_and_outlived() {
    let scene = Scene::new("hole_fill", 20_000);
    scene.db.sql(BRAKE);
    let proxy = Proxy::to(cluster().port());
    let mut run = with_plan(through(&proxy, &scene), &plan("", &[EXPAND, MARK])).spawn();
    backfilling(&scene, 500);
    let silent = Instant::now();
    proxy.set(Path::BlackHole);
    run.wait_stderr("the connection was lost");
    told("silence in a backfill noticed after", silent);
    assert!(silent.elapsed() < SILENCE_NOTICED);
    // Nobody is left who writes: the lease could be taken now.
    let before: i64 = scene.db.one(ROWS);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(scene.db.one::<i64>(ROWS), before, "rows are written without contact");
    scene.db.sql(GO);
    let open = Instant::now();
    proxy.set(Path::Open);
    run.wait_stderr("connected again");
    told("on again after the way was open for", open);
    let _ = run.wait().expect_code(0).nowhere_has("panicked");
    scene.every_row_once();
    scene.verified();
}

#[test]
fn a_black_hole_in_ddl_is_noticed_and_outlived() {
    let scene = Scene::new("hole_ddl", 200);
    let proxy = Proxy::to(cluster().port());
    let holder = scene.holding("LOCK TABLE app.users IN SHARE MODE");
    let mut run = with_plan(through(&proxy, &scene), &plan("lock_timeout = \"60s\"", &[EXPAND, MARK])).spawn();
    scene.wait_for_a_waiter();
    let silent = Instant::now();
    proxy.set(Path::BlackHole);
    run.wait_stderr("the connection was lost");
    told("silence in DDL noticed after", silent);
    assert!(silent.elapsed() < SILENCE_NOTICED);
    drop(holder);
    proxy.set(Path::Open);
    run.wait_stderr("connected again");
    let _ = run.wait().expect_code(0).nowhere_has("panicked");
    scene.every_row_once();
    scene.verified();
}

#[test]
fn a_mute_session_is_found_out_while_the_others_speak() {
    let scene = Scene::new("mute", 200);
    let proxy = Proxy::to(cluster().port());
    let muted = Arc::new(Mutex::new(None));
    let when = muted.clone();
    proxy.judge(move |frame| {
        let build =
            frame.application.starts_with("tenantmig worker") && frame.text().starts_with("CREATE INDEX CONCURRENTLY");
        let mut when = when.lock().unwrap();
        if build && when.is_none() {
            *when = Some(Instant::now());
            return Verdict::Mute;
        }
        Verdict::Forward
    });
    // The statement itself may take six hours.
    let mut run = with_plan(through(&proxy, &scene), &plan("", &[EXPAND, INDEX])).spawn();
    run.wait_stderr("its answer was lost");
    let since = muted.lock().unwrap().expect("the build was sent");
    told("a lost answer of a statement with hours of time found out after", since);
    assert!(since.elapsed() < MUTE_NOTICED);
    let _ = run.wait().expect_code(0).nowhere_has("panicked");
    scene.no_wreck();
    scene.verified();
    // The build was done before its answer was lost: it is recognised, not done again.
    assert_eq!(scene.db.one::<i64>("SELECT count(*) FROM tenantmig.events WHERE kind = 'failed'"), 0);
}

#[test]
fn a_lost_answer_of_any_commit_changes_nothing_about_the_end() {
    // Which COMMIT of the session that works loses its answer; batches and the lease commit otherwise.
    for (session, number) in
        [("tenantmig worker", 2), ("tenantmig worker", 4), ("tenantmig worker", 7), ("tenantmig lease", 1)]
    {
        let scene = Scene::new("commit", 300);
        let proxy = Proxy::to(cluster().port());
        let (seen, lost) = (AtomicU32::new(0), Arc::new(AtomicBool::new(false)));
        let told = lost.clone();
        proxy.judge(move |frame| {
            if frame.application.starts_with(session)
                && frame.text().starts_with("COMMIT")
                && seen.fetch_add(1, Ordering::SeqCst) + 1 == number
            {
                told.store(true, Ordering::SeqCst);
                return Verdict::LoseAnswer;
            }
            Verdict::Forward
        });
        let out = with_plan(through(&proxy, &scene), &plan("", &[EXPAND, MARK])).run().nowhere_has("panicked");
        assert!(lost.load(Ordering::SeqCst), "{session} sent no COMMIT number {number}:\n{out}");
        // What is lost before the run is opened ends the command, and the next one goes on.
        if out.code != 0 {
            let _ = out.expect_code(69).stderr_has("tenantmig");
            proxy.acquit();
            let _ = with_plan(through(&proxy, &scene), &plan("", &[EXPAND, MARK])).run().expect_code(0);
        }
        assert_eq!(scene.db.one::<i64>("SELECT count(*) FROM tenantmig.runs"), 1);
        scene.every_row_once();
        scene.verified();
    }
}

#[test]
fn a_lost_answer_of_batches_writes_no_row_twice() {
    let scene = Scene::new("batches_lost", 5_000);
    let proxy = Proxy::to(cluster().port());
    let batches = AtomicU32::new(0);
    proxy.judge(move |frame| {
        let batch = frame.application.starts_with("tenantmig batch") && frame.text().contains("tenantmig_kept");
        match batch.then(|| batches.fetch_add(1, Ordering::SeqCst) + 1) {
            Some(3 | 20) => Verdict::LoseAnswer,
            // Nothing tells of this one but the clock: a batch may take a second, and its answer five more.
            Some(9) => Verdict::Mute,
            Some(_) | None => Verdict::Forward,
        }
    });
    let out = with_plan(through(&proxy, &scene), &plan("", &[EXPAND])).run().expect_code(0).nowhere_has("panicked");
    let _ = out.stderr_has("lost its session").stderr_has("no answer for 6 s");
    scene.every_row_once();
    scene.verified();
}

/// A cluster of the test's own, filled, with a brake on its batches.
struct Own {
    cluster: Cluster,
}

impl Own {
    fn new(users: u32) -> Self {
        let bindir = Some(cluster().bindir().to_owned());
        let own = Self { cluster: Cluster::start(ClusterOptions { bindir, ..ClusterOptions::default() }).unwrap() };
        let fill = format!(
            "INSERT INTO app.users SELECT n, 1 + n % 5, 'user' || n FROM generate_series(1, {users}) n; ANALYZE;"
        );
        execute(&own.url(), &format!("{SCHEMA} {fill} {BRAKE}"));
        own
    }

    fn url(&self) -> String {
        self.cluster.url("postgres")
    }

    fn tool(&self) -> Tool {
        Tool::without_database().url(&self.url())
    }
}

pub fn execute(url: &str, statements: &str) {
    let (url, statements) = (url.to_owned(), statements.to_owned());
    block_on(async move {
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute(&statements).await.unwrap();
    });
}

pub fn ask<T: for<'a> FromSql<'a> + Send + 'static>(url: &str, query: &str) -> Option<T> {
    let (url, query) = (url.to_owned(), query.to_owned());
    block_on(async move {
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.ok()?;
        tokio::spawn(connection);
        client.query_one(&query, &[]).await.ok()?.try_get(0).ok()
    })
}

pub fn wait_for_rows(url: &str, rows: i64) {
    let end = Instant::now() + Duration::from_secs(30);
    while ask(url, ROWS).unwrap_or(0) < rows {
        assert!(Instant::now() < end, "{rows} rows were never written");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub const WRONG: &str = "SELECT count(*) FROM app.users u JOIN app.accounts a ON a.id = u.account_id
    WHERE u.tenant_id IS DISTINCT FROM a.tenant_id OR u.touched <> 1";

#[test]
fn commits_that_wait_for_a_replica_fail_no_step() {
    let own = Own::new(20_000);
    let url = own.url();
    let synchronous = |standbys: &str| {
        execute(&url, &format!("ALTER SYSTEM SET synchronous_standby_names = '{standbys}'"));
        execute(&url, "SELECT pg_reload_conf()");
    };
    execute(&url, "ALTER SYSTEM SET synchronous_commit = on");
    let run = with_plan(own.tool(), &plan("", &[EXPAND])).spawn();
    wait_for_rows(&url, 500);
    // Nobody answers the commits for longer than a batch may take, and not so long that the lease is lost.
    synchronous("nobody");
    std::thread::sleep(Duration::from_secs(11));
    synchronous("");
    execute(&url, GO);
    let out = run.wait().expect_code(0).nowhere_has("panicked");
    assert_eq!(ask::<i64>(&url, WRONG), Some(0), "rows not written, or written twice:\n{out}");
}

#[test]
fn a_server_that_is_away_for_longer_than_the_lease_is_waited_for() {
    let mut own = Own::new(20_000);
    let url = own.url();
    let mut run = with_plan(own.tool(), &plan("", &[EXPAND, MARK])).spawn();
    wait_for_rows(&url, 500);
    let epoch: i64 = ask(&url, "SELECT epoch FROM tenantmig.lease").unwrap();
    own.cluster.kill_9().unwrap();
    run.wait_stderr("the connection was lost");
    std::thread::sleep(Duration::from_secs(40));
    own.cluster.restart().unwrap();
    let back = Instant::now();
    run.wait_stderr("connected again");
    told("on again after a server was back from 40 s away", back);
    execute(&url, GO);
    let out = run.wait().expect_code(0).nowhere_has("panicked");
    assert_eq!(ask::<i64>(&url, WRONG), Some(0), "rows not written, or written twice:\n{out}");
    let now: i64 = ask(&url, "SELECT epoch FROM tenantmig.lease").unwrap();
    assert!(now > epoch, "epoch {now} after {epoch}");
    let _ = own.tool().args(["verify"]).run().expect_code(0);
}

#[test]
fn a_server_that_stays_away_is_69_and_a_signal_ends_the_wait() {
    for signal in [false, true] {
        let mut own = Own::new(2_000);
        let url = own.url();
        let patience = if signal { "" } else { "reconnect_max = \"3s\"" };
        let mut run = with_plan(own.tool(), &plan(patience, &[EXPAND])).spawn();
        wait_for_rows(&url, 200);
        own.cluster.kill_9().unwrap();
        run.wait_stderr("the connection was lost");
        if signal {
            let asked = Instant::now();
            let _ = run.signal(Signal::TERM);
            let _ = run.wait().expect_code(143).stderr_has("tenantmig resume");
            told("a signal ended the wait for a server after", asked);
            assert!(asked.elapsed() < Duration::from_secs(5));
        } else {
            let _ = run.wait().expect_code(69).stderr_has("reconnect_max").stderr_has("tenantmig resume");
        }
        own.cluster.restart().unwrap();
        execute(&url, GO);
        let _ = own.tool().args(["resume"]).run().expect_code(0);
        assert_eq!(ask::<i64>(&url, WRONG), Some(0));
    }
}

#[test]
fn who_was_silent_for_too_long_finds_another_in_charge() {
    let scene = Scene::new("overtaken", 4_000);
    scene.db.sql(BRAKE);
    let proxy = Proxy::to(cluster().port());
    let whole = plan("", &[EXPAND, MARK]);
    let mut first = with_plan(through(&proxy, &scene), &whole).spawn();
    backfilling(&scene, 200);
    proxy.set(Path::BlackHole);
    first.wait_stderr("the connection was lost");
    // Its sessions are still there, behind the silence; the lease ends 30 s after the last heartbeat.
    scene.wait_until("SELECT expires_at < clock_timestamp() FROM tenantmig.lease");
    let mut second = scene.applying(&whole).spawn();
    scene.wait_until("SELECT epoch > 1 FROM tenantmig.lease");
    let pid = second.pid().to_string();
    proxy.set(Path::Open);
    let _ = first.wait().expect_code(75).stderr_has("the lease was taken over by").stderr_has(&pid);
    second.wait_stderr("fill");
    scene.db.sql(GO);
    let _ = second.wait().expect_code(0);
    scene.every_row_once();
    scene.verified();
}
