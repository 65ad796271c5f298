//! The server's disk is full, for real: a tmpfs of 32 MB with a tablespace on it. Nothing is lost, the application goes on,
//! what a failed step wrote is gone at once, and after space was made `resume` goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::harness::{Output, SmallDisk, Tool, block_on, connect};
use crate::scenarios::recovery::recovered;

const MEGABYTES: u32 = 32;
const ENOUGH_MEGABYTES: u32 = 200;
const MB: u64 = 1 << 20;
/// How long a writer rests between two writes.
const WRITER_PAUSE: Duration = Duration::from_millis(3);

/// An index of some 50 MB on a table of 300,000 rows.
const FUNDS: &str = "CREATE EXTENSION amcheck; CREATE SCHEMA app;
    CREATE TABLE app.funds (id bigint PRIMARY KEY, organization_id text NOT NULL, touched integer NOT NULL DEFAULT 0) WITH (fillfactor = 50)";
const FILL_FUNDS: &str = "INSERT INTO app.funds SELECT n, md5(n::text) || md5(n::text || 'b') || md5(n::text || 'c'), 0
    FROM generate_series(1, 300000) n; ANALYZE app.funds";

const INDEX: &str = r#"
[[phase]]
id = "indexes"
  [[phase.step]]
  kind = "create_index"
  name = "idx_test_large"
  table = "app.funds"
  columns = ["organization_id", "id"]
  tablespace = "small"
"#;

fn plan(head: &str, phases: &str) -> String {
    format!("format = 1\nname = \"full\"\n{head}\n{phases}")
}

fn tool(disk: &SmallDisk) -> Tool {
    Tool::without_database().url(&disk.url())
}

#[track_caller]
fn apply(disk: &SmallDisk, plan: &str) -> Output {
    let tool = tool(disk);
    tool.file("plan.toml", plan);
    tool.args(["apply", "plan.toml", "--yes"]).run()
}

#[track_caller]
fn resume(disk: &SmallDisk) -> Output {
    tool(disk).args(["resume"]).run()
}

/// An application that writes until it is told to stop; any error of the server ends it and is kept.
struct Writer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64, String>>,
}

impl Writer {
    /// `statement` is run again and again, with `{n}` counting from 1.
    fn begin(disk: &SmallDisk, statement: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (asked, url) = (stop.clone(), disk.url());
        let thread = std::thread::spawn(move || {
            block_on(async move {
                let client = connect(&url).await;
                let mut done = 0;
                while !asked.load(Ordering::Relaxed) {
                    let statement = statement.replace("{n}", &(done + 1).to_string());
                    match client.batch_execute(&statement).await {
                        Ok(()) => done += 1,
                        Err(error) => return Err(format!("after {done} writes: {:?}", error.as_db_error())),
                    }
                    tokio::time::sleep(WRITER_PAUSE).await;
                }
                Ok(done)
            })
        });
        Self { stop, thread }
    }

    /// Ends it; gives how often it wrote.
    #[track_caller]
    fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let done =
            self.thread.join().unwrap().unwrap_or_else(|error| panic!("a write of the application failed {error}"));
        assert!(done > 20, "only {done} writes: the application was not really at work");
        done
    }
}

#[track_caller]
fn no_wreck(disk: &SmallDisk) {
    let indexes: Option<String> = disk
        .one("SELECT string_agg(indexrelid::regclass::text, ', ') FROM pg_index WHERE NOT (indisvalid AND indisready)");
    assert_eq!(indexes, None, "a wreck is left");
}

#[track_caller]
fn index_is_good(disk: &SmallDisk) {
    disk.sql("SELECT bt_index_check('app.idx_test_large', true)");
    let place: String = disk.one(
        "SELECT s.spcname::text FROM pg_class c JOIN pg_tablespace s ON s.oid = c.reltablespace WHERE c.relname = 'idx_test_large'",
    );
    assert_eq!(place, "small");
}

/// What the wreck held is free again, but for what the file system itself needs.
#[track_caller]
fn space_is_back(disk: &SmallDisk, before: u64) {
    let free = disk.free();
    println!("free on the small disk: {:.1} MB before, {:.1} MB after the failure", mb(before), mb(free));
    assert!(free + MB > before, "{free} bytes are free, before the failure {before}");
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / MB as f64
}

/// The pause that a full disk causes, and what the user reads of it.
#[track_caller]
fn paused(out: Output) {
    let out = out.expect_code(75).stdout_has("the server's disk is full").stdout_has("53100");
    let _ = out.stderr_has("make room, then: tenantmig resume");
}

/// Scenario 4 of the chaos plan: the disk fills up while an index is built; the table is elsewhere and its writers go on.
#[test]
fn scenario_4_disk_space_runs_out_during_index_creation() {
    let disk = SmallDisk::new("scenario_4", MEGABYTES);
    disk.sql(FUNDS);
    disk.sql(FILL_FUNDS);
    let free = disk.free();
    let inserts = "INSERT INTO app.funds VALUES (1000000 + {n}, md5('{n}'))";
    let writers =
        [inserts, "UPDATE app.funds SET touched = touched + 1 WHERE id = {n}"].map(|s| Writer::begin(&disk, s));
    paused(apply(&disk, &plan("", INDEX)));
    no_wreck(&disk);
    space_is_back(&disk, free);
    // Too early: nothing is broken by another attempt.
    paused(resume(&disk));
    no_wreck(&disk);
    space_is_back(&disk, free);
    disk.resize(ENOUGH_MEGABYTES);
    let begun = Instant::now();
    let _ = resume(&disk).expect_code(0).stdout_has("done: plan `full` is applied");
    let recovery = begun.elapsed();
    let written: u64 = writers.into_iter().map(Writer::end).sum();
    index_is_good(&disk);
    println!("scenario 4: {written} writes of the application, 0 failed");
    recovered("scenario 4", recovery);
}

/// The table lies on the same disk. Its rows' new versions fit into their pages, so that its writers need no room either.
#[test]
fn the_table_on_the_full_disk_goes_on_being_written() {
    let disk = SmallDisk::new("same_disk", 110);
    disk.sql(FUNDS);
    disk.sql("ALTER TABLE app.funds SET TABLESPACE small; ALTER INDEX app.funds_pkey SET TABLESPACE small");
    disk.sql(FILL_FUNDS);
    let free = disk.free();
    assert!(free > 5 * MB && free < 35 * MB, "the index of 50 MB must not fit: {free} bytes are free");
    let writer = Writer::begin(&disk, "UPDATE app.funds SET touched = touched + 1 WHERE id = 1 + {n} * 97 % 300000");
    paused(apply(&disk, &plan("", INDEX)));
    no_wreck(&disk);
    space_is_back(&disk, free);
    disk.sql("INSERT INTO app.funds SELECT 2000000 + n, 'x' FROM generate_series(1, 1000) n");
    disk.resize(ENOUGH_MEGABYTES);
    let _ = resume(&disk).expect_code(0);
    writer.end();
    index_is_good(&disk);
}

/// With `on_disk_full = "rollback"` it is a failure like any other.
#[test]
fn a_full_disk_rolls_back_where_the_plan_says_so() {
    let disk = SmallDisk::new("rolled_back", MEGABYTES);
    disk.sql(FUNDS);
    disk.sql(FILL_FUNDS);
    let free = disk.free();
    let _ = apply(&disk, &plan("[safety]\non_disk_full = \"rollback\"", INDEX)).expect_code(5).stdout_has("53100");
    no_wreck(&disk);
    space_is_back(&disk, free);
    disk.resize(ENOUGH_MEGABYTES);
    let _ = resume(&disk).expect_code(0);
    index_is_good(&disk);
}

/// A backfill grows the table until the disk is full: what was written stays, the rest follows, no row twice.
#[test]
fn a_backfill_that_fills_the_disk_goes_on_when_there_is_room() {
    let disk = SmallDisk::new("backfill", MEGABYTES);
    disk.sql(
        "CREATE SCHEMA app;
         CREATE TABLE app.users (id bigint, name text NOT NULL, touched integer NOT NULL DEFAULT 0, tenant_id text) TABLESPACE small;
         INSERT INTO app.users SELECT n, repeat('x', 80), 0, NULL FROM generate_series(1, 170000) n;
         CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.touched := OLD.touched + 1; RETURN NEW; END $$;
         CREATE TRIGGER touch BEFORE UPDATE ON app.users FOR EACH ROW EXECUTE FUNCTION app.touch();
         ANALYZE app.users",
    );
    println!("{:.1} MB are free before the backfill", mb(disk.free()));
    let fill = "[[phase]]\nid = \"fill\"\n[[phase.step]]\nkind = \"backfill\"\ntable = \"app.users\"\ncolumn = \"tenant_id\"\n\
                sql = \"repeat('t', 60)\"\nundo = \"keep\"";
    paused(apply(&disk, &plan("", fill)));
    let (done, all): (i64, i64) =
        (disk.one("SELECT count(tenant_id) FROM app.users"), disk.one("SELECT count(*) FROM app.users"));
    assert!(0 < done && done < all, "{done} of {all} rows were filled");
    let recorded: i64 = disk.one("SELECT sum(rows_done)::bigint FROM tenantmig.backfill_ranges");
    assert_eq!(recorded, done, "what the ledger says, and what is there");
    disk.resize(ENOUGH_MEGABYTES);
    let _ = resume(&disk).expect_code(0);
    let wrong: i64 = disk.one("SELECT count(*) FROM app.users WHERE touched <> 1 OR tenant_id IS NULL");
    assert_eq!(wrong, 0, "rows not written, or written twice");
}

/// The ledger itself lies on the full disk: nothing can be recorded, which is said; later the run goes on.
#[test]
fn a_full_disk_under_the_ledger_is_said_and_resumed_from() {
    let disk = SmallDisk::wholly_on_it("ledger", MEGABYTES);
    let step = |n: u32| format!("[[phase.step]]\nid = \"ask-{n}\"\nkind = \"assert\"\nsql = \"SELECT true\"\n");
    // More events than fit into the pages that the ledger has already.
    let steps: String = (0..60).map(step).collect();
    let phases = format!("[[phase]]\nid = \"first\"\n{}[[phase]]\nid = \"second\"\n{steps}", step(100));
    let first = tool(&disk);
    first.file("plan.toml", &plan("", &phases));
    let _ = first.args(["apply", "plan.toml", "--yes", "--to", "first"]).run().expect_code(0);
    disk.sql("CREATE TABLE filler (x text)");
    for rows in [1000, 10, 1] {
        let more = format!("INSERT INTO filler SELECT repeat('x', 1900) FROM generate_series(1, {rows})");
        while disk.try_sql(&more) != Err("53100".to_owned()) {}
    }
    let out = resume(&disk).expect_code(75);
    let _ = out.stderr_has("the ledger can record nothing").stderr_has("then: tenantmig resume");
    disk.sql("DROP TABLE filler");
    let _ = resume(&disk).expect_code(0);
    let _ = tool(&disk).args(["verify"]).run().expect_code(0);
}
