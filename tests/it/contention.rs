//! An application beside a backfill: it meets no error, no deadlock, and no wait of more than a batch; and the backfill ends.
//!
//! A writer that meets a row of a batch waits until the batch commits, so a batch's duration bounds the wait: 50 ms are aimed
//! at, 100 ms promised. That is a bound on time, and tests share machines. So it is not measured at the writer, whose statement
//! takes longer for any reason, but in the server's locks, less the time in which the batch had no processor
//! (`contention/sampler.rs`). The statements' own times are printed and not judged.

mod application;
pub mod sampler;

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use self::{
    application::{Application, Writing, session},
    sampler::Sampler,
};
use crate::harness::{Output, block_on, database};
use crate::scene::{SCHEMA, Scene, with_plan};

const USERS: i64 = 300_000;
/// The promise, and what a machine that others use adds to a batch beside its wait for a processor: cold caches, slow disks,
/// and the time that passes between a wait's end and the sample that sees it.
const WAIT_MAX: Duration = Duration::from_millis(100);
const TOLERANCE: Duration = Duration::from_millis(50);
/// Until all but held rows are written, on a busy machine.
const END_MAX: Duration = Duration::from_secs(60);
/// Neighbours that only a scene's own sessions touch, some pages of them.
const RESERVED: Range<i64> = 130_000..130_200;

const PLAN: &str = "format = 1\nname = \"contention\"\n[[phase]]\nid = \"expand\"\n[[phase.step]]\nid = \"fill\"\nkind = \"backfill\"\n\
    table = \"app.users\"\ncolumn = \"tenant_id\"\nfrom = { table = \"app.accounts\", match = { account_id = \"id\" } }\n";

/// One scene at a time: each has more sessions at work than the machine has cores.
static STAGE: Mutex<()> = Mutex::new(());

/// Many users. The trigger counts what the tool writes, and nobody else's writes.
fn scene(name: &str) -> Scene {
    let db = database(name);
    db.sql(SCHEMA);
    db.sql(&format!(
        "ALTER TABLE app.users ADD COLUMN tenant_id uuid;
         INSERT INTO app.users SELECT n, 1 + n % 5, 'user' || n || '@example.org' FROM generate_series(1, {USERS}) n;
         CREATE OR REPLACE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF current_setting('application_name') LIKE 'tenantmig%' THEN NEW.touched := OLD.touched + 1; END IF;
             RETURN NEW; END $$"
    ));
    db.sql("VACUUM ANALYZE app.users");
    Scene { db }
}

/// Writers with any rows but the reserved ones, many enough to meet batches all the time.
fn everywhere() -> Vec<Writing> {
    let ids = (1..=USERS).filter(|id| !RESERVED.contains(id)).collect();
    vec![Writing { writers: 6, ids: Arc::new(ids), every: Duration::from_millis(10) }]
}

/// Twenty rows all over the table, which the backfill meets all the time, and twenty neighbours, of which it has several in one
/// batch; each are updated 200 times a second, by ten writers.
fn hot_spots() -> Vec<Writing> {
    let apart = (0..20).map(|n| 5_003 + n * (USERS / 20)).collect();
    let together = RESERVED.take(20).collect();
    [apart, together].map(|ids| Writing { writers: 10, ids: Arc::new(ids), every: Duration::from_millis(100) }).to_vec()
}

/// Applies the plan beside the application, with what `before` set up; `during` plays its part while it runs.
#[track_caller]
fn play<T>(
    name: &str,
    writing: &[Writing],
    before: impl FnOnce(&Scene) -> T,
    during: impl FnOnce(&Scene, T),
) -> Output {
    let _stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let scene = scene(name);
    let props = before(&scene);
    let (application, sampler) = (Application::start(&scene.db, writing), Sampler::start(&scene.db));
    let run = with_plan(scene.tool(), PLAN).args(["--format", "ndjson"]).spawn();
    during(&scene, props);
    let out = run.wait();
    let (seen, waits) = (application.stop(), sampler.stop());
    let (longest, fair) = (waits.longest(), waits.longest_fair());
    println!(
        "{name}: {} statements, p50 {:.1?}, p99 {:.1?}, worst {:.1?}; {} waits for the backfill in {} samples, longest {:.0?} \
         ({:.0?} of it without a processor): {}; {}",
        seen.statements.len(),
        seen.quantile(0.5),
        seen.quantile(0.99),
        seen.quantile(1.0),
        waits.count(),
        waits.samples,
        longest.length,
        longest.starved,
        longest.what,
        batches(&out)
    );
    let out = out.expect_code(0);
    assert!(seen.errors.is_empty(), "{:#?}", seen.errors);
    assert!(seen.statements.len() > 100, "the application did nothing");
    assert!(fair.fair() < WAIT_MAX + TOLERANCE, "a wait for the backfill: {fair:?}");
    scene.every_row_once();
    out
}

/// How many batches a run had, and the longest.
fn batches(out: &Output) -> String {
    let lines = out.stdout.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let millis: Vec<u64> =
        lines.filter(|line| line["kind"] == "batch").filter_map(|line| line["millis"].as_u64()).collect();
    format!("{} batches, longest {} ms", millis.len(), millis.iter().max().copied().unwrap_or_default())
}

fn open(scene: &Scene, statements: &str) -> Client {
    let (url, statements) = (scene.db.url(), statements.to_owned());
    block_on(async move {
        let client = session(&url).await;
        client.batch_execute(&statements).await.unwrap();
        client
    })
}

/// Runs statements in an open session, which must not fail.
fn go_on(client: Client, statements: &str) -> Client {
    let statements = statements.to_owned();
    block_on(async move {
        client.batch_execute(&statements).await.unwrap();
        client
    })
}

fn wait_until_rows_are_written(scene: &Scene) {
    scene.wait_until("SELECT to_regclass('tenantmig.migration_progress') IS NOT NULL");
    scene.wait_until("SELECT EXISTS (SELECT FROM app.users WHERE tenant_id IS NOT NULL)");
}

/// Rows without a value are no more than those that somebody holds. Asked seldom, since each question reads the table.
fn wait_until_the_rest_is_written(scene: &Scene, held: usize) {
    let end = Instant::now() + END_MAX;
    while !scene.db.one::<bool>(&format!("SELECT count(*) <= {held} FROM app.users WHERE tenant_id IS NULL")) {
        assert!(Instant::now() < end, "the backfill does not come to its end");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn update(id: i64) -> String {
    format!("UPDATE app.users SET email = email WHERE id = {id}")
}

#[test]
fn a_held_row_lock_and_who_waits_for_it() {
    let row = RESERVED.start + 100;
    let during = |scene: &Scene, holder: Client| {
        // Another writer of the row waits for the holder, and must not come to wait for us on top.
        let url = scene.db.url();
        let second = std::thread::spawn(move || {
            block_on(async move { session(&url).await.batch_execute(&update(row)).await.unwrap() });
        });
        std::thread::sleep(Duration::from_secs(3));
        wait_until_rows_are_written(scene);
        drop(go_on(holder, "COMMIT"));
        second.join().unwrap();
    };
    let _ = play("held_row", &everywhere(), |scene| open(scene, &format!("BEGIN; {}", update(row))), during);
}

#[test]
fn an_old_snapshot() {
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM app.users";
    let during = |scene: &Scene, reader: Client| {
        wait_until_rows_are_written(scene);
        wait_until_the_rest_is_written(scene, 0);
        // It still sees what it saw: nothing of the backfill.
        let seen = "DO $$ BEGIN ASSERT (SELECT count(tenant_id) = 0 FROM app.users); END $$; COMMIT";
        drop(go_on(reader, seen));
    };
    let _ = play("old_snapshot", &everywhere(), |scene| open(scene, begin), during);
}

/// It takes row after row against the order of the heap, so that each side soon has what the other wants.
#[test]
fn a_long_transaction_that_locks_more_and_more() {
    let rows: Vec<i64> = RESERVED.rev().step_by(10).collect();
    let begin = format!("BEGIN; {}", update(rows[0]));
    let during = |scene: &Scene, mut long: Client| {
        wait_until_rows_are_written(scene);
        for id in &rows[1..] {
            long = go_on(long, &update(*id));
            std::thread::sleep(Duration::from_millis(100));
        }
        wait_until_the_rest_is_written(scene, rows.len());
        drop(go_on(long, "COMMIT"));
    };
    let _ = play("long", &everywhere(), |scene| open(scene, &begin), during);
}

#[test]
fn fifty_more_sessions() {
    let before = |scene: &Scene| {
        let idle = (0..20).map(|_| open(scene, "SELECT count(*) FROM app.accounts"));
        let in_transaction = (0..20).map(|_| open(scene, "BEGIN; SELECT count(*) FROM app.accounts"));
        let sessions: Vec<Client> = idle.chain(in_transaction).collect();
        let writing =
            everywhere().into_iter().map(|it| Writing { writers: 10, every: Duration::from_millis(200), ..it });
        (sessions, Application::start(&scene.db, &writing.collect::<Vec<_>>()))
    };
    let during = |scene: &Scene, (sessions, writers): (Vec<Client>, Application)| {
        wait_until_rows_are_written(scene);
        wait_until_the_rest_is_written(scene, 0);
        let seen = writers.stop();
        assert!(seen.errors.is_empty(), "{:#?}", seen.errors);
        drop(sessions);
    };
    let _ = play("fifty", &everywhere(), before, during);
}

#[test]
fn two_hot_spots() {
    let _ = play("hot_spots", &hot_spots(), |_| (), |_, ()| ());
}
