//! What comes late: a statement whose sender has lost the lease since, and a cancel that was meant for the statement before.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::harness::{Fate, Proxy, Running, Signal, Verdict, cluster};
use crate::scene::{EXPAND, MARK, Scene, plan};

const FAILED: &str = "SELECT count(*) FROM tenantmig.events WHERE kind LIKE '%failed%'";
/// How long a run may take until it sends its build.
const HELD_MAX: Duration = Duration::from_secs(20);

const INDEX: &str =
    "[[phase]]\nid = \"index\"\n[[phase.step]]\nkind = \"create_index\"\ntable = \"app.users\"\ncolumns = [\"email\"]";

/// A proxy that holds the first CREATE INDEX CONCURRENTLY, and the number of its connection, once there is one.
fn holding_the_build() -> (Proxy, Arc<AtomicU64>) {
    let (proxy, held) = (Proxy::to(cluster().port()), Arc::new(AtomicU64::new(0)));
    let seen = held.clone();
    proxy.judge(move |frame| {
        let build = matches!(frame.tag, b'Q' | b'P') && frame.text().contains("CREATE INDEX CONCURRENTLY");
        let first = build && seen.compare_exchange(0, frame.connection, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        if first { Verdict::Hold } else { Verdict::Forward }
    });
    (proxy, held)
}

fn wait_for(run: &mut Running, held: &AtomicU64) -> u64 {
    let begun = Instant::now();
    while held.load(Ordering::SeqCst) == 0 {
        assert!(!run.has_ended() && begun.elapsed() < HELD_MAX, "it built nothing");
        std::thread::sleep(Duration::from_millis(20));
    }
    held.load(Ordering::SeqCst)
}

/// A process that stopped when it had sent its build, whose lease is over, and a role that may not end its session.
fn stopped_before_its_build(name: &str) -> (Scene, Running, Proxy, u64, String) {
    let scene = Scene::new(name, 200);
    let plain = scene.db.role("plain", "LOGIN");
    // Before the plan is begun: between two phases it would be a drift.
    scene.db.sql(&format!("ALTER TABLE app.users OWNER TO {plain}"));
    let _ = scene.applying(&plan("lease = \"3s\"", &[EXPAND, INDEX])).args(["--to", "expand"]).run().expect_code(0);
    scene.db.sql(&format!(
        "GRANT ALL ON SCHEMA app, tenantmig TO {plain}; GRANT ALL ON ALL TABLES IN SCHEMA tenantmig TO {plain};
         GRANT ALL ON ALL SEQUENCES IN SCHEMA tenantmig TO {plain}"
    ));
    let (proxy, held) = holding_the_build();
    let mut first = scene.tool().url(&proxy.url(scene.db.name())).args(["resume"]).spawn();
    let connection = wait_for(&mut first, &held);
    first.signal(Signal::STOP);
    scene.wait_until("SELECT expires_at < clock_timestamp() FROM tenantmig.lease");
    (scene, first, proxy, connection, plain)
}

fn one_index_and_nothing_else(scene: &Scene, mut first: Running) {
    first.signal(Signal::CONT);
    let _ = first.wait().expect_code(75).stderr_has("the lease was taken over");
    scene.no_wreck();
    scene.stands("completed");
    scene.verified();
    let indexes = "SELECT count(*) FROM pg_index WHERE indrelid = 'app.users'::regclass AND NOT indisprimary";
    assert_eq!(scene.db.one::<i64>(indexes), 1);
    assert_eq!(scene.db.one::<i64>(FAILED), 0);
}

/// CONCURRENTLY meets no fence, and this role may not end the session that it comes on: it is waited for.
#[test]
fn a_late_build_is_waited_for_by_a_successor_who_may_not_end_it() {
    let (scene, first, proxy, late, plain) = stopped_before_its_build("late_build");
    let older = scene.holding("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM app.accounts");
    proxy.decide(late, Fate::Go);
    scene.wait_for_a_waiter();
    let mut second = scene.tool().url(&scene.db.url_as(&plain)).args(["resume"]).spawn();
    second.wait_stderr("is still there").wait_stderr("being built by");
    drop(older);
    let _ = second.wait().expect_code(0);
    one_index_and_nothing_else(&scene, first);
}

/// The same, when the successor has already looked and is about to build itself.
#[test]
fn a_late_build_that_comes_between_the_look_and_the_deed_is_taken_for_the_deed() {
    let (scene, first, proxy, late, plain) = stopped_before_its_build("late_between");
    let (way, held) = holding_the_build();
    let url = scene.db.url_as(&plain).replace(&cluster().port().to_string(), &way.port().to_string());
    let mut second = scene.tool().url(&url).args(["resume"]).spawn();
    let own = wait_for(&mut second, &held);
    proxy.decide(late, Fate::Go);
    scene.wait_until(
        "SELECT count(*) = 1 FROM pg_index WHERE indrelid = 'app.users'::regclass AND NOT indisprimary AND indisvalid",
    );
    way.decide(own, Fate::Go);
    let _ = second.wait().expect_code(0);
    one_index_and_nothing_else(&scene, first);
}

/// A run that waits to write its next event.
fn waiting_to_write(scene: &Scene) -> (Running, tokio_postgres::Client, i32) {
    let _ = scene.applying(&plan("", &[EXPAND, MARK])).args(["--to", "expand"]).run().expect_code(0);
    let gate = scene.holding("LOCK TABLE tenantmig.events IN SHARE MODE");
    let run = scene.tool().args(["resume"]).spawn();
    let writer = "FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
        AND application_name LIKE 'tenantmig worker%'";
    scene.wait_until(&format!("SELECT EXISTS (SELECT {writer})"));
    let pid = scene.db.one(&format!("SELECT pid {writer}"));
    (run, gate, pid)
}

#[test]
fn a_cancel_that_hits_the_ledger_after_a_signal_ends_the_run_by_the_signal() {
    let scene = Scene::new("late_cancel_signal", 50);
    let (mut run, gate, pid) = waiting_to_write(&scene);
    run.signal(Signal::TERM);
    std::thread::sleep(Duration::from_millis(200));
    scene.db.sql(&format!("SELECT pg_cancel_backend({pid})"));
    std::thread::sleep(Duration::from_millis(200));
    scene.db.sql(&format!("SELECT pg_cancel_backend({pid})"));
    let _ = run.wait().expect_code(143);
    drop(gate);
    assert_eq!(scene.db.one::<i64>(FAILED), 0);
    let _ = scene.run("resume").expect_code(0);
    scene.verified();
}

#[test]
fn a_cancel_that_hits_the_ledger_costs_one_more_try() {
    let scene = Scene::new("late_cancel", 50);
    let (run, gate, pid) = waiting_to_write(&scene);
    scene.db.sql(&format!("SELECT pg_cancel_backend({pid})"));
    drop(gate);
    let _ = run.wait().expect_code(0);
    assert_eq!(scene.db.one::<i64>(FAILED), 0);
    scene.stands("completed");
    scene.verified();
}
