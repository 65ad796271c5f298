//! Rows copied into another table while the old application goes on writing into theirs.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use std::time::Duration;

use crate::harness::{Db, Signal};
use crate::scene::{Scene, plan};

const TABLES: &str = "
    CREATE TABLE app.old (id bigint PRIMARY KEY, said text NOT NULL);
    INSERT INTO app.old SELECT n, 'said ' || n FROM generate_series(1, 20000) n;
    CREATE TABLE app.new (id bigint PRIMARY KEY, body varchar(100) NOT NULL, kind text NOT NULL DEFAULT 'text');
    INSERT INTO app.new SELECT -n, 'theirs ' || n FROM generate_series(1, 100) n;
    ANALYZE app.old";

const COPY: &str = r#"
[[phase]]
id = "merge"
  [[phase.step]]
  id = "copy"
  kind = "copy_rows"
  from = "app.old"
  into = "app.new"
  columns = { id = "row.id", body = "row.said" }
  key = ["id"]
"#;

/// The same in both, and nothing but that and what stood there before.
const SAME: &str = "SELECT (SELECT coalesce(jsonb_agg(to_jsonb(o) ORDER BY o.id), '[]') FROM (SELECT id, said FROM app.old) o)
    = (SELECT coalesce(jsonb_agg(jsonb_build_object('id', n.id, 'said', n.body) ORDER BY n.id), '[]') FROM app.new n WHERE n.id > 0)
   AND (SELECT count(*) FROM app.new WHERE id < 0) = 100";

fn scene(name: &str) -> Scene {
    let scene = Scene::new(name, 0);
    scene.db.sql(TABLES);
    scene
}

/// Inserts, changes and deletes rows of the old table, also under an older snapshot, until it is dropped. A write that the
/// server asks to try again is tried again.
struct Old(Arc<AtomicBool>, Vec<std::thread::JoinHandle<u32>>);

impl Old {
    fn start(db: &Db) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let writers = (0..3).map(|number| {
            let (stop, url) = (stop.clone(), db.url());
            std::thread::spawn(move || write(&stop, &url, number))
        });
        Self(stop.clone(), writers.collect())
    }

    /// How many writes were made.
    fn stop(self) -> u32 {
        self.0.store(true, Ordering::Relaxed);
        self.1.into_iter().map(|writer| writer.join().unwrap()).sum()
    }
}

fn write(stop: &AtomicBool, url: &str, number: i64) -> u32 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let (mut done, mut n) = (0, 0_i64);
        while !stop.load(Ordering::Relaxed) {
            n += 1;
            let (id, new) = (1 + (n * 7919) % 6000 * 3 + number, 100_000 + n * 3 + number);
            let level = if n % 2 == 0 { "READ COMMITTED" } else { "REPEATABLE READ" };
            let work = match n % 4 {
                0 => format!("INSERT INTO app.old VALUES ({new}, 'new')"),
                1 => format!("DELETE FROM app.old WHERE id = {id}"),
                2 => format!("UPDATE app.old SET said = said || '!' WHERE id = {id}"),
                _ => format!("UPDATE app.old SET id = {new} WHERE id = {id}"),
            };
            // The snapshot is taken, and then some time goes by.
            let script = format!(
                "BEGIN ISOLATION LEVEL {level}; SELECT 1 FROM app.old LIMIT 1; SELECT pg_sleep(0.002); {work}; COMMIT"
            );
            match client.batch_execute(&script).await {
                Ok(()) => done += 1,
                Err(error) => {
                    let state = error.code().unwrap_or_else(|| panic!("{error}")).code().to_owned();
                    assert!(["40001", "40P01"].contains(&state.as_str()), "{error:?}");
                    client.batch_execute("ROLLBACK").await.unwrap();
                }
            }
        }
        done
    })
}

#[test]
fn copies_stay_true_to_rows_that_are_written_meanwhile_and_go_with_the_undo() {
    let scene = scene("copy_live");
    let before = scene.db.checksum("app.new");
    let catalog = scene.print();
    let old = Old::start(&scene.db);
    let mut run = scene.applying(&plan("lock_timeout = \"500ms\"\nlock_retries = 20", &[COPY])).spawn();
    scene.wait_until("SELECT to_regclass('tenantmig.migration_progress') IS NOT NULL");
    scene.wait_until("SELECT coalesce(max(rows_done), 0) >= 1000 FROM tenantmig.migration_progress");
    run.signal(Signal::KILL);
    let _ = run.wait();
    let _ = scene.run("resume").expect_code(0);
    scene.db.sql("SELECT pg_sleep(0.2)");
    let (same, copied): (bool, i64) =
        (scene.db.one(SAME), scene.db.one("SELECT count(*) FROM app.old_new_copied WHERE id < 100000"));
    assert!(same && copied > 1000, "{copied}");
    scene.verified();
    let _ = scene.run("rollback --to start --yes").expect_code(0);
    assert!(old.stop() > 50);
    assert_eq!(scene.db.checksum("app.new"), before);
    assert_eq!(scene.print().catalog, catalog.catalog);
}

#[test]
fn a_row_of_the_same_key_stops_the_copy_and_the_old_applications_insert() {
    let scene = scene("copy_collision");
    scene.db.sql("INSERT INTO app.new VALUES (7, 'another'), (8, 'said 8')");
    let before = scene.db.checksum("app.new");
    let out = scene.apply(&plan("", &[COPY])).expect_code(5);
    let _ = out.stdout_has("1 rows of app.old do not stand in app.new as they are").stdout_has("said 7");
    assert_eq!(scene.db.checksum("app.new"), before);
    // Its row is the same: it is left as it is, and stays.
    scene.db.sql("UPDATE app.new SET body = 'said 7' WHERE id = 7");
    let before = scene.db.checksum("app.new");
    let _ = scene.apply(&plan("", &[COPY])).expect_code(0);
    scene.db.sql("INSERT INTO app.new VALUES (200000, 'new')");
    let refused = scene.db.try_psql("INSERT INTO app.old VALUES (200000, 'old')").unwrap_err();
    assert!(refused.contains("another row has its key there"), "{refused}");
    scene.db.sql("DELETE FROM app.new WHERE id = 200000; INSERT INTO app.old VALUES (200000, 'old'); TRUNCATE app.old");
    let left: i64 = scene.db.one("SELECT count(*) FROM app.new WHERE id > 0");
    assert_eq!(left, 2, "TRUNCATE takes the copies along, and no other row");
    let _ = scene.run("rollback --to start --yes").expect_code(0);
    assert_eq!(scene.db.checksum("app.new"), before);
}

#[test]
fn a_copy_that_was_deleted_in_the_target_does_not_come_again() {
    let scene = scene("copy_deleted");
    let run = scene
        .applying(&plan("lock_timeout = \"5s\"\nlock_retries = 20", &[COPY]))
        .timeout(Duration::from_secs(25))
        .spawn();
    // Not before the trigger is there, which waits for everyone who writes.
    scene.wait_until("SELECT EXISTS (SELECT FROM pg_trigger WHERE tgname = 'old_new_copy')");
    let held = scene.holding("UPDATE app.old SET said = said WHERE id = 20000");
    scene.wait_until("SELECT count(*) = 19999 FROM app.old_new_copied");
    scene.db.sql("DELETE FROM app.new WHERE id = 1");
    drop(held);
    let _ = run.wait().expect_code(5).stdout_has("1 rows of app.old do not stand in app.new as they are");
    let left: i64 = scene.db.one("SELECT count(*) FROM app.new");
    assert_eq!(left, 100);
}
