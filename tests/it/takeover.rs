//! The lease changes hands: the sessions of the former holder are ended and nothing of it is written any more, whatever it was
//! at and however late it wakes.

use std::time::{Duration, Instant};

use tenantmig::{
    ledger::{self, Acquired, Hold, LedgerError, Purpose, Taker, Term},
    pg::{Bounds, connect::Connection, in_transaction},
    sql::Ident,
};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::connect::try_connect;
use crate::harness::{Db, Running, Signal, database};
use crate::scene::{EXPAND, Scene, plan};
use crate::throttle::{BRAKE, GO};

/// Who wrote rows, and when, by the name of the session: committed writes alone stay.
const WITNESS: &str =
    "CREATE TABLE app.writes (session text NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp());
    CREATE FUNCTION app.witness() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO app.writes (session) VALUES (current_setting('application_name')); RETURN NULL; END $$;
    CREATE TRIGGER witness AFTER UPDATE ON app.users FOR EACH STATEMENT EXECUTE FUNCTION app.witness();";

const INDEX: &str =
    "[[phase]]\nid = \"index\"\n[[phase.step]]\nkind = \"create_index\"\ntable = \"app.users\"\ncolumns = [\"email\"]";

fn schema() -> Ident {
    Ident::new("tenantmig").unwrap()
}

fn taker(holder: Uuid) -> Taker<'static> {
    Taker { holder, host: "here", purpose: Purpose::Apply, term: Term(Duration::from_secs(30)), pooled: false }
}

async fn acquire(session: &Connection, holder: Uuid) -> Result<Acquired, LedgerError> {
    ledger::acquire(session, &schema(), &taker(holder)).await
}

/// A database with a ledger, and a session that has its lease.
async fn held(name: &str, holder: Uuid) -> (Db, Connection, i64) {
    let db = database(name);
    let session = try_connect(&db.url(), None).await.unwrap();
    let bounds = Bounds { lock: Duration::from_secs(5), statement: Duration::from_secs(5) };
    in_transaction(&session, bounds, async |tx| ledger::install(tx, &schema()).await).await.unwrap();
    let acquired = acquire(&session, holder).await.unwrap();
    assert!(acquired.over.is_none());
    (db, session, acquired.epoch)
}

/// A session with this name in which `statement` was run.
async fn named(db: &Db, name: String, statement: &str) -> Client {
    let client = db.client().await;
    client.batch_execute(&format!("SET application_name = '{name}'")).await.unwrap();
    client.batch_execute(statement).await.unwrap();
    client
}

async fn pid(client: &Client) -> i32 {
    client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0)
}

const EXPIRE: &str = "UPDATE tenantmig.lease SET expires_at = clock_timestamp() - interval '1 s'";

#[tokio::test]
async fn a_successor_ends_the_sessions_of_the_one_it_follows_and_no_other() {
    let (old, new) = (Uuid::now_v7(), Uuid::now_v7());
    let (db, _lease, epoch) = held("takeover", old).await;
    let name = |of: Uuid| format!("tenantmig batch {} (job)", ledger::tag(of));
    let passed = "BEGIN; SELECT FROM tenantmig.lease FOR KEY SHARE";
    let zombie = named(&db, name(old), passed).await;
    let builds = named(&db, name(old), "SELECT 1").await;
    let builder = pid(&builds).await;
    let building = tokio::spawn(async move { builds.batch_execute("SELECT pg_sleep(60)").await });
    let others =
        [named(&db, name(Uuid::now_v7()), "SELECT 1").await, named(&db, format!("app {}", ledger::tag(old)), "").await];
    let session = try_connect(&db.url(), None).await.unwrap();
    let client = &session.client;
    client.batch_execute(&format!("SET application_name = '{}'", name(new))).await.unwrap();
    // While it is alive nothing happens to it, and its own process is never a stranger to it.
    assert!(matches!(acquire(&session, new).await, Err(LedgerError::Held(holder)) if holder.id == old));
    assert_eq!(pid(&zombie).await, pid(&zombie).await);
    db.sql(EXPIRE);
    let acquired = acquire(&session, new).await.unwrap();
    let (former, ended) = acquired.over.unwrap();
    assert_eq!((former.id, acquired.epoch), (old, epoch + 1));
    assert_eq!((ended.ended, ended.left.as_slice()), (2, [].as_slice()));
    assert!(building.await.unwrap().is_err(), "its statement goes on");
    assert!(zombie.batch_execute("COMMIT").await.is_err(), "its transaction goes on");
    let there = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {builder}");
    assert_eq!(db.one::<i64>(&there), 0);
    for other in &others {
        other.batch_execute("SELECT 1").await.unwrap();
    }
    let late = ledger::fence(client, &schema(), Hold { holder: old, epoch }).await;
    assert!(matches!(late, Err(LedgerError::Fenced { ours }) if ours == epoch));
    // The same process takes it anew after a silence: its own sessions live on.
    db.sql(EXPIRE);
    let again = acquire(&session, new).await.unwrap();
    assert_eq!((again.epoch, again.over), (epoch + 2, None));
    client.batch_execute("SELECT 1").await.unwrap();
}

#[tokio::test]
async fn who_may_not_end_a_session_is_told_what_to_do_and_goes_on() {
    let old = Uuid::now_v7();
    let (db, _lease, epoch) = held("takeover_role", old).await;
    let plain = db.role("plain", "LOGIN");
    db.sql(&format!(
        "GRANT USAGE ON SCHEMA tenantmig TO {plain}; GRANT SELECT ON ALL TABLES IN SCHEMA tenantmig TO {plain};
         GRANT UPDATE ON tenantmig.lease TO {plain}; {EXPIRE}"
    ));
    let zombie = named(&db, format!("tenantmig worker {}", ledger::tag(old)), "BEGIN; SELECT 1").await;
    let zombies = pid(&zombie).await;
    let session = try_connect(&db.url_as(&plain), None).await.unwrap();
    let acquired = acquire(&session, Uuid::now_v7()).await.unwrap();
    let (_, ended) = acquired.over.unwrap();
    assert_eq!((ended.ended, ended.left.len()), (0, 1), "{ended:?}");
    assert_eq!(ended.left[0].pid, zombies);
    assert!(ended.left[0].why.contains("must be a") || ended.left[0].why.contains("permission"), "{ended:?}");
    let late = ledger::fence(&zombie, &schema(), Hold { holder: old, epoch }).await;
    assert!(matches!(late, Err(LedgerError::Fenced { .. })), "{late:?}");
    // One that passed the fence keeps its transaction: it commits, or the successor waits in vain and says for whom.
    db.sql("UPDATE tenantmig.lease SET holder = gen_random_uuid()");
    let holder: String = db.one("SELECT holder::text FROM tenantmig.lease");
    db.sql(EXPIRE);
    let tag = ledger::tag(holder.parse().unwrap());
    let zombie =
        named(&db, format!("tenantmig worker {tag}"), "BEGIN; SELECT FROM tenantmig.lease FOR KEY SHARE").await;
    let error = acquire(&session, Uuid::now_v7()).await.unwrap_err();
    let LedgerError::InTheWay { pids, .. } = &error else { panic!("{error:?}") };
    assert_eq!(pids, &[pid(&zombie).await]);
    assert!(error.advice().unwrap().contains(&format!("pg_terminate_backend({})", pids[0])), "{error:?}");
}

/// A backfill under way in slow batches, whose process is then stopped for longer than its lease is good.
#[track_caller]
fn stopped_in_a_backfill(scene: &Scene, whole: &str) -> Running {
    scene.db.sql(&format!("{BRAKE} {WITNESS}"));
    let mut first = scene.applying(whole).spawn();
    scene.wait_until("SELECT to_regclass('tenantmig.backfill_ranges') IS NOT NULL");
    scene.wait_until("SELECT coalesce(sum(rows_done), 0) >= 300 FROM tenantmig.backfill_ranges");
    first.signal(Signal::STOP);
    first
}

const EXPIRED: &str = "SELECT expires_at < clock_timestamp() FROM tenantmig.lease";

#[test]
fn a_stopped_process_that_wakes_after_a_takeover_writes_nothing() {
    let scene = Scene::new("takeover_stopped", 20_000);
    let whole = plan("lease = \"3s\"", &[EXPAND]);
    let mut first = stopped_in_a_backfill(&scene, &whole);
    let tag: String = scene.db.one("SELECT '#' || right(holder::text, 8) FROM tenantmig.lease");
    scene.wait_until(EXPIRED);
    let mut second = scene.tool().args(["resume"]).spawn();
    second.wait_stderr("the lease is taken over from apply by ").wait_stderr("of it ended");
    scene.wait_until(&format!("SELECT EXISTS (SELECT FROM app.writes WHERE session NOT LIKE '%{tag}%')"));
    let theirs = format!("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '%{tag}%'");
    assert_eq!(scene.db.one::<i64>(&theirs), 0, "sessions of the stopped process are still there");
    let (epoch, taken): (i64, String) = (
        scene.db.one("SELECT epoch FROM tenantmig.lease"),
        scene.db.one("SELECT acquired_at::text FROM tenantmig.lease"),
    );
    let purpose: String = scene.db.one("SELECT purpose FROM tenantmig.lease");
    assert_eq!(purpose, "resume");
    let status = scene.status();
    assert_eq!((&status["lease"]["run"], &status["lease"]["epoch"]), (&status["run"], &serde_json::json!(epoch)));
    first.signal(Signal::CONT);
    let out = first.wait().expect_code(75).stderr_has("the lease was taken over by resume by ").stderr_has(" since 20");
    let _ = out.stderr_has(&format!("process {}", second.pid())).nowhere_has("panicked");
    scene.db.sql(GO);
    let _ = second.wait().expect_code(0);
    for (what, query) in [
        ("events", format!("SELECT count(*) FROM tenantmig.events WHERE at >= '{taken}' AND epoch < {epoch}")),
        ("rows", format!("SELECT count(*) FROM app.writes WHERE at >= '{taken}' AND session LIKE '%{tag}%'")),
    ] {
        assert_eq!(scene.db.one::<i64>(&query), 0, "{what} of the stopped process after the takeover");
    }
    assert!(scene.db.one::<bool>(&format!("SELECT EXISTS (SELECT FROM app.writes WHERE session LIKE '%{tag}%')")));
    scene.every_row_once();
    scene.stands("completed");
    scene.verified();
}

#[test]
fn a_stopped_process_leaves_its_index_build_to_its_successor() {
    let scene = Scene::new("takeover_build", 200);
    let _ = scene.applying(&plan("lease = \"3s\"", &[EXPAND, INDEX])).args(["--to", "expand"]).run().expect_code(0);
    let older = scene.holding("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM app.accounts");
    let mut first = scene.tool().args(["resume"]).spawn();
    scene.wait_for_a_waiter();
    first.signal(Signal::STOP);
    scene.wait_until(EXPIRED);
    // Its build is ended with its session, and the wreck of it is known for one.
    let mut second = scene.tool().args(["resume"]).spawn();
    second.wait_stderr("of it ended").wait_stderr("clearing what an earlier attempt left");
    first.signal(Signal::CONT);
    let _ = first.wait().expect_code(75).stderr_has("the lease was taken over by resume by ");
    drop(older);
    let _ = second.wait().expect_code(0);
    scene.no_wreck();
    scene.stands("completed");
    scene.verified();
}

#[test]
fn a_process_that_is_unlocked_names_nobody_and_leaves() {
    let scene = Scene::new("takeover_unlock", 20_000);
    let mut first = stopped_in_a_backfill(&scene, &plan("", &[EXPAND]));
    let run = scene.status()["run"].as_str().unwrap().to_owned();
    let out = scene.run(&format!("unlock --force {run} --yes")).expect_code(0).stdout_has("sessions of it ended");
    assert!(!out.stdout.contains(" 0 sessions"), "{out}");
    first.signal(Signal::CONT);
    let _ = first.wait().expect_code(75).stderr_has("the lease was taken over and is free again");
    scene.db.sql(GO);
    let _ = scene.run("resume").expect_code(0);
    scene.every_row_once();
}

/// What a failover that lost the last takeover leaves: the same number, and another holder.
#[test]
fn an_epoch_that_came_twice_turns_the_former_holder_away() {
    let scene = Scene::new("takeover_same_epoch", 20_000);
    scene.db.sql(BRAKE);
    let first = scene.applying(&plan("", &[EXPAND])).spawn();
    scene.wait_until("SELECT to_regclass('tenantmig.backfill_ranges') IS NOT NULL");
    scene.wait_until("SELECT coalesce(sum(rows_done), 0) >= 300 FROM tenantmig.backfill_ranges");
    let other = Uuid::now_v7();
    scene.db.sql(&format!("SELECT FROM tenantmig.lease FOR UPDATE; UPDATE tenantmig.lease SET holder = '{other}', host = 'elsewhere', purpose = 'rollback'"));
    let (rows, events) = (scene.db.one::<i64>("SELECT count(tenant_id) FROM app.users"), scene.events());
    let _ = first.wait().expect_code(75).stderr_has("the lease was taken over by rollback by ").stderr_has("elsewhere");
    assert_eq!(scene.db.one::<i64>("SELECT count(tenant_id) FROM app.users"), rows);
    assert_eq!(scene.events(), events);
    assert_eq!(scene.db.one::<Uuid>("SELECT holder FROM tenantmig.lease"), other, "it gave back what is another's");
}

const END_THE_LEASES: &str =
    "SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a JOIN tenantmig.lease l ON a.pid = l.backend_pid";

#[test]
fn a_holder_that_lost_only_the_session_of_its_lease_is_alive() {
    let scene = Scene::new("takeover_session", 20_000);
    scene.db.sql(BRAKE);
    let whole = plan("", &[EXPAND]);
    let first = scene.applying(&whole).spawn();
    scene.wait_until("SELECT to_regclass('tenantmig.backfill_ranges') IS NOT NULL");
    scene.wait_until("SELECT coalesce(sum(rows_done), 0) >= 300 FROM tenantmig.backfill_ranges");
    let epoch: i64 = scene.db.one("SELECT epoch FROM tenantmig.lease");
    let lost: i32 = scene.db.one("SELECT backend_pid FROM tenantmig.lease");
    // The second one looks at the very moment: it waits for the row, which is free once the session is gone.
    let gate = scene.holding("LOCK TABLE tenantmig.lease IN ACCESS EXCLUSIVE MODE");
    let second = scene.applying(&whole).spawn();
    scene.wait_until(
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
            AND application_name LIKE 'tenantmig lease%' AND wait_event_type = 'Lock')",
    );
    scene.db.sql(&format!("SELECT pg_terminate_backend({lost})"));
    drop(gate);
    let _ = second.wait().expect_code(75).stderr_has("holds the lease");
    let renewed = Instant::now();
    scene.wait_until(&format!("SELECT backend_pid <> {lost} FROM tenantmig.lease"));
    assert!(renewed.elapsed() < Duration::from_secs(3), "it waited for the next heartbeat");
    scene.db.sql(END_THE_LEASES);
    scene.db.sql(GO);
    let _ = first.wait().expect_code(0).nowhere_has("connected again");
    assert_eq!(scene.db.one::<i64>("SELECT epoch FROM tenantmig.lease"), epoch, "another one had it meanwhile");
    scene.every_row_once();
    scene.stands("completed");
}

#[test]
fn the_successor_of_a_killed_process_waits_for_its_sessions_and_not_for_the_expiry() {
    let scene = Scene::new("takeover_killed", 20_000);
    scene.db.sql(BRAKE);
    let mut first = scene.applying(&plan("", &[EXPAND])).spawn();
    scene.wait_until("SELECT to_regclass('tenantmig.backfill_ranges') IS NOT NULL");
    scene.wait_until("SELECT coalesce(sum(rows_done), 0) >= 300 FROM tenantmig.backfill_ranges");
    // One of its sessions is in the middle of a statement, which the server does not see the end of at once.
    let gate = scene.holding("LOCK TABLE tenantmig.migration_progress IN ACCESS EXCLUSIVE MODE");
    scene.wait_for_a_waiter();
    first.signal(Signal::KILL);
    let killed = Instant::now();
    let _ = first.wait();
    // Before 14 the server does not look for its clients during a statement, and the successor waits for the expiry.
    if scene.db.one::<i32>("SELECT current_setting('server_version_num')::int") < 140_000 {
        let second = scene.run("resume").expect_code(75).stderr_has("another tenantmig holds the lease");
        drop((second, gate));
        scene.db.sql(GO);
        let _ = scene.run("resume --wait 60s").expect_code(0);
        return scene.every_row_once();
    }
    let second = scene.tool().args(["resume"]).spawn();
    scene.wait_until("SELECT purpose = 'resume' FROM tenantmig.lease");
    let after = killed.elapsed();
    eprintln!("takeover: the lease was had {:.1} s after kill -9", after.as_secs_f64());
    assert!(after < Duration::from_secs(6), "{after:?}");
    drop(gate);
    scene.db.sql(GO);
    let _ = second.wait().expect_code(0);
    scene.every_row_once();
}
