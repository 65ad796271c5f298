//! A backfill beside a real streaming replica that lags, hangs or goes: it waits, says why, and goes on by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tenantmig::demo::cluster::{Cluster, ClusterOptions};
use tokio_postgres::types::FromSql;
use tokio_postgres::{Client, NoTls};

use crate::harness::{Replica, Running, Tool, block_on, cluster};
use crate::scenarios::recovery::recovered;
use crate::scene::{EXPAND, SCHEMA, with_plan};
use crate::throttle::{BRAKE, GO};

/// With the brake on, a batch of 100 rows takes a tenth of a second: the whole table some twenty.
const USERS: u32 = 20_000;
/// Within which a limit that was passed must be noticed.
const NOTICED: Duration = Duration::from_secs(2);
/// No batch is ever so long: who wrote nothing for this time waits.
const STILL: Duration = Duration::from_millis(1_500);
/// A signal must be calm for a second; looks, and the replay of some MiB of WAL, are the rest. Scenario 5 speaks of 5 to 30 min.
const GOES_ON: Duration = Duration::from_secs(15);
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

const ROWS: &str = "SELECT coalesce(sum(rows_done), 0)::bigint FROM tenantmig.backfill_ranges";
/// The bound of scenario 5, as it looks at it there.
const OVER_1_MIB: &str =
    "SELECT coalesce(bool_or(pg_current_wal_lsn() - replay_lsn > 1048576), false) FROM pg_stat_replication";
const CAUGHT_UP: &str =
    "SELECT coalesce(bool_and(pg_current_wal_lsn() - replay_lsn < 16384), false) FROM pg_stat_replication";

/// A cluster of the test's own, and its replica: other tests' writes would be lag here, and this replica's slot their signal.
struct Stage {
    // Dropped before the cluster, in whose folder its files lie.
    replica: Replica,
    primary: Cluster,
    client: Arc<Client>,
}

/// An application that writes some 1.5 MiB of WAL a second, until it is dropped.
struct Writer {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // A panic while another one unwinds would abort the run.
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(matches!(ended, Some(Ok(()))) || std::thread::panicking(), "the writer failed");
    }
}

fn connect(url: String) -> Arc<Client> {
    block_on(async move {
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        tokio::spawn(connection);
        Arc::new(client)
    })
}

fn run(client: &Arc<Client>, statements: &str) {
    let (client, statements) = (Arc::clone(client), statements.to_owned());
    block_on(async move { client.batch_execute(&statements).await.unwrap() });
}

fn one<T: for<'a> FromSql<'a> + Send + 'static>(client: &Arc<Client>, query: &str) -> T {
    let (client, query) = (Arc::clone(client), query.to_owned());
    block_on(async move { client.query_one(&query, &[]).await.unwrap().get(0) })
}

fn plan(throttle: &str) -> String {
    format!("format = 1\nname = \"lag\"\n[backfill]\nbatch_rows = 100\nworkers = 1\n[throttle]\n{throttle}\n{EXPAND}")
}

impl Stage {
    fn new() -> Self {
        let bindir = Some(cluster().bindir().to_owned());
        let primary = Cluster::start(ClusterOptions { bindir, ..ClusterOptions::default() }).unwrap();
        let client = connect(primary.url("postgres"));
        run(&client, SCHEMA);
        run(&client, BRAKE);
        run(
            &client,
            &format!(
                "INSERT INTO app.users SELECT n, 1 + n % 5, 'user' || n FROM generate_series(1, {USERS}) n;
                 CREATE TABLE app.written (text text); ANALYZE"
            ),
        );
        let replica = Replica::of(&primary, "tap");
        Self { replica, primary, client }
    }

    fn tool(&self) -> Tool {
        Tool::without_database().url(&self.primary.url("postgres"))
    }

    /// Applies the plan, and returns in the middle of its backfill.
    fn backfilling(&self, throttle: &str) -> Running {
        let applying = with_plan(self.tool(), &plan(throttle)).spawn();
        self.wait_until("SELECT to_regclass('tenantmig.backfill_ranges') IS NOT NULL");
        self.wait_until(&format!("SELECT ({ROWS}) >= 1000"));
        applying
    }

    fn wait_until(&self, query: &str) {
        let end = Instant::now() + PATIENCE;
        while !one::<bool>(&self.client, query) {
            assert!(Instant::now() < end, "never true: {query}");
            std::thread::sleep(POLL);
        }
    }

    fn rows(&self) -> i64 {
        one(&self.client, ROWS)
    }

    fn writer(&self) -> Writer {
        let over = Arc::new(AtomicBool::new(false));
        let (client, stop) = (connect(self.primary.url("postgres")), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                run(&client, "INSERT INTO app.written SELECT repeat(md5(n::text), 8) FROM generate_series(1, 100) n");
                std::thread::sleep(POLL);
            }
        });
        Writer { over, thread: Some(thread) }
    }

    /// Watches the rows until none has been written for a while; for how long some still were after the limit was passed,
    /// which was at `passed`, or at the first look at which the replica was more than 1 MiB behind.
    #[track_caller]
    fn stands_still(&self, passed: Option<Instant>) -> Duration {
        let end = Instant::now() + PATIENCE;
        let (mut passed, mut grew, mut rows) = (passed, Instant::now(), self.rows());
        while passed.is_none() || grew.elapsed() < STILL {
            if passed.is_none() && one(&self.client, OVER_1_MIB) {
                passed = Some(Instant::now());
            }
            let now = self.rows();
            if now > rows {
                (grew, rows) = (Instant::now(), now);
            }
            assert!(Instant::now() < end, "rows are written on and on: {rows}");
            std::thread::sleep(POLL);
        }
        assert!(rows < i64::from(USERS), "the backfill was over before it could wait");
        self.writes_nothing();
        let noticed = grew.saturating_duration_since(passed.unwrap());
        assert!(noticed < NOTICED, "rows were written for {noticed:?} after the limit was passed");
        noticed
    }

    /// Neither what the ledger counts nor the table itself changes for a second.
    #[track_caller]
    fn writes_nothing(&self) {
        let count = || -> (i64, i64) {
            (self.rows(), one(&self.client, "SELECT count(*) FROM app.users WHERE tenant_id IS NOT NULL"))
        };
        let before = count();
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(count(), before, "rows were written while it waited");
    }

    /// Waits until rows are written again; how long that took.
    #[track_caller]
    fn goes_on(&self) -> Duration {
        let (begin, rows) = (Instant::now(), self.rows());
        while self.rows() == rows {
            assert!(begin.elapsed() < GOES_ON, "still nothing is written after {:?}", begin.elapsed());
            std::thread::sleep(POLL);
        }
        begin.elapsed()
    }

    /// `status`, to programs and to people, says what is waited for; returns the reason.
    #[track_caller]
    fn status_waits_for(&self, signal: &str) -> String {
        let status = self.tool().args(["status", "--json"]).run().expect_code(0).json();
        let units = status["units"].as_array().unwrap();
        let pace = units.iter().map(|unit| &unit["pace"]).find(|pace| !pace.is_null()).unwrap_or(&Value::Null);
        assert_eq!((&pace["state"], &pace["signal"]), (&"waiting".into(), &signal.into()), "{status:#}");
        let shown = self.tool().args(["status"]).run().expect_code(0).stdout_has("waits since ");
        let _ = shown.stdout_has(&format!(" for {signal}: "));
        pace["why"].as_str().unwrap().to_owned()
    }

    /// How often an event of the kind is in the ledger.
    fn events(&self, kind: &str) -> i64 {
        one(&self.client, &format!("SELECT count(*) FROM tenantmig.events WHERE kind = '{kind}'"))
    }

    /// Waits until the event that a wait of a second leaves is there, and stderr has its words.
    #[track_caller]
    fn is_told(&self, applying: &mut Running, words: &str) {
        self.wait_until("SELECT EXISTS (SELECT FROM tenantmig.events WHERE kind = 'throttled')");
        applying.wait_stderr(words);
        assert_eq!(self.events("unthrottled"), 0);
    }

    /// Every user has its account's tenant and was written once, here and on the replica.
    #[track_caller]
    fn every_row_once(&self) {
        let wrong = "SELECT count(*) FROM app.users u JOIN app.accounts a ON a.id = u.account_id
                      WHERE u.tenant_id IS DISTINCT FROM a.tenant_id OR u.touched <> 1";
        assert_eq!(one::<i64>(&self.client, wrong), 0, "rows not written, or written twice");
        assert_eq!(self.rows(), i64::from(USERS));
        self.wait_until(CAUGHT_UP);
        let replica = connect(format!("postgres://postgres@127.0.0.1:{}/postgres", self.replica.port()));
        assert_eq!(one::<i64>(&replica, wrong), 0, "the replica has other rows");
    }

    /// Lets it run as fast as it can, to its end.
    #[track_caller]
    fn completes(&self, applying: Running) {
        run(&self.client, GO);
        let out = applying.wait().expect_code(0).stderr_has("goes on after a wait of ");
        // One wait, of which a failed look may have given another reason.
        assert_eq!(self.events("unthrottled"), 1, "{out}");
        assert_eq!(self.events("paused"), 0);
        self.every_row_once();
    }
}

#[test]
fn scenario_5_replay_paused_in_the_middle_of_a_backfill() {
    let stage = Stage::new();
    // The document's own bound; that in time is left at 10 s.
    let mut applying = stage.backfilling("max_replica_lag_bytes = \"1MiB\"");
    assert_eq!(stage.events("throttled"), 0);
    stage.replica.pause_replay();
    let writer = stage.writer();
    let noticed = stage.stands_still(None);
    stage.is_told(&mut applying, "waits for replica lag: replica tap is ");
    let why = stage.status_waits_for("replica lag");
    assert!(why.ends_with(" of WAL behind (limit 1.0 MiB)"), "{why}");
    stage.replica.resume_replay();
    let went = stage.goes_on();
    drop(writer);
    eprintln!(
        "scenario 5, replay paused: rows stopped {noticed:?} after the lag passed 1 MiB (bound {NOTICED:?}; {why}); \
         they went on {went:?} after replay did"
    );
    recovered("scenario 5", went);
    stage.completes(applying);
}

#[test]
fn a_replay_that_is_behind_in_time_is_waited_for() {
    let stage = Stage::new();
    let mut applying = stage.backfilling("max_replica_lag = \"1s\"");
    stage.replica.pause_replay();
    let passed = Instant::now() + Duration::from_secs(1);
    let writer = stage.writer();
    let noticed = stage.stands_still(Some(passed));
    stage.is_told(&mut applying, " behind (limit 1 s)");
    let why = stage.status_waits_for("replica lag");
    stage.replica.resume_replay();
    let went = stage.goes_on();
    drop(writer);
    eprintln!("replay paused: rows stopped {noticed:?} after the lag passed 1 s ({why}), went on after {went:?}");
    stage.completes(applying);
}

#[test]
fn a_walreceiver_that_hangs_is_noticed() {
    let mut stage = Stage::new();
    let mut applying = stage.backfilling("max_replica_lag = \"1s\"");
    // Nothing but the backfill writes: its own WAL is enough to see that nobody confirms it.
    stage.replica.freeze_receiver();
    let noticed = stage.stands_still(Some(Instant::now() + Duration::from_secs(1)));
    stage.is_told(&mut applying, "waits for replica lag: ");
    let why = stage.status_waits_for("replica lag");
    assert!(why.contains("replica tap "), "{why}");
    stage.replica.thaw_receiver();
    let went = stage.goes_on();
    eprintln!("walreceiver stopped: rows stopped {noticed:?} after a second ({why}), went on after {went:?}");
    stage.completes(applying);
}

#[test]
fn a_replica_that_is_stopped_is_waited_for_until_it_is_back() {
    let mut stage = Stage::new();
    let mut applying = stage.backfilling("");
    let stopped = Instant::now();
    stage.replica.stop();
    let noticed = stage.stands_still(Some(stopped));
    stage.is_told(&mut applying, "0 replicas are connected (expected 1)");
    assert_eq!(stage.status_waits_for("replicas"), "0 replicas are connected (expected 1)");
    // The session that looks is lost; what it knew of the replicas is not, and the wait does not end for a look.
    let rows = stage.rows();
    let ended =
        "SELECT bool_or(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'tenantmig pace%'";
    assert_eq!(one::<Option<bool>>(&stage.client, ended), Some(true));
    std::thread::sleep(NOTICED);
    stage.writes_nothing();
    assert_eq!(stage.rows(), rows, "rows were written after a look that failed");
    stage.replica.start();
    let went = stage.goes_on();
    eprintln!("replica stopped: rows stopped after {noticed:?}, went on {went:?} after it streamed again");
    stage.completes(applying);
}

#[test]
fn beyond_the_critical_lag_the_run_is_paused_and_resume_completes_it() {
    let stage = Stage::new();
    let applying = stage.backfilling("max_replica_lag = \"1s\"\ncritical_replica_lag = \"3s\"");
    stage.replica.pause_replay();
    let writer = stage.writer();
    let paused = applying.wait().expect_code(75).stderr_has("waits for replica lag: ").stderr_has("tenantmig resume");
    let _ = paused.stderr_has("replica tap is ").stderr_has(" behind (critical limit 3 s)");
    assert_eq!((stage.events("throttled"), stage.events("paused")), (1, 1));
    assert!(stage.rows() < i64::from(USERS));
    stage.writes_nothing();
    let status = stage.tool().args(["status", "--json"]).run().expect_code(0).json();
    assert_eq!(status["state"], "paused", "{status:#}");
    drop(writer);
    stage.replica.resume_replay();
    stage.wait_until(CAUGHT_UP);
    run(&stage.client, GO);
    let _ = stage.tool().args(["resume"]).run().expect_code(0);
    stage.every_row_once();
}

#[test]
fn a_role_that_cannot_see_the_lag_is_told_before_the_start() {
    let mut stage = Stage::new();
    run(
        &stage.client,
        "CREATE ROLE filler LOGIN BYPASSRLS; GRANT CREATE ON DATABASE postgres TO filler; GRANT ALL ON SCHEMA app TO filler;
         ALTER TABLE app.users OWNER TO filler; ALTER TABLE app.accounts OWNER TO filler; ALTER TABLE app.brake OWNER TO filler",
    );
    let tool = stage.tool().url(&stage.primary.url_as("filler", "postgres"));
    let mut applying = with_plan(tool, &plan("max_replica_lag = \"1s\"")).spawn();
    applying.wait_stderr("replica lag cannot be seen by this role: GRANT pg_monitor TO filler");
    stage.wait_until("SELECT to_regclass('tenantmig.backfill_ranges') IS NOT NULL");
    stage.wait_until(&format!("SELECT ({ROWS}) >= 1000"));
    // That there is a replica it does see.
    let stopped = Instant::now();
    stage.replica.stop();
    stage.stands_still(Some(stopped));
    assert_eq!(stage.status_waits_for("replicas"), "0 replicas are connected (expected 1)");
    stage.replica.start();
    stage.goes_on();
    run(&stage.client, GO);
    let out = applying.wait().expect_code(0);
    let at = |words: &str| out.stderr.find(words).unwrap_or_else(|| panic!("stderr lacks {words:?}:\n{out}"));
    assert!(at("GRANT pg_monitor TO filler") < at("plan lag begins"), "told too late:\n{out}");
    stage.every_row_once();
}
