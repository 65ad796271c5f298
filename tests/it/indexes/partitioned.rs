//! The index of a partitioned table: built partition by partition, whatever becomes of the partitions meanwhile, and taken
//! back as one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{PATIENT, SNAPSHOT, indexes_are_whole, writing};
use crate::harness::{Signal, block_on};
use crate::scene::{Scene, plan};

/// By month, the last one again by hash; `stood` is an index of the application's, equal to the one that is to come.
const SETUP: &str = "
    CREATE TABLE app.events (id bigint NOT NULL, at integer NOT NULL, note text) PARTITION BY RANGE (at);
    CREATE TABLE app.events_1 PARTITION OF app.events FOR VALUES FROM (1) TO (100);
    CREATE TABLE app.events_2 PARTITION OF app.events FOR VALUES FROM (100) TO (200);
    CREATE TABLE app.events_3 PARTITION OF app.events FOR VALUES FROM (200) TO (300) PARTITION BY HASH (at);
    CREATE TABLE app.events_3a PARTITION OF app.events_3 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
    CREATE TABLE app.events_3b PARTITION OF app.events_3 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
    INSERT INTO app.events SELECT n, 1 + n % 299, 'note ' || n FROM generate_series(1, 3000) n;
    CREATE INDEX stood ON app.events_2 (id, at);";

const INDEX: &str = "[[phase]]\nid = \"index\"\n[[phase.step]]\nkind = \"create_index\"\ntable = \"app.events\"\nname = \"events_by_id\"\ncolumns = [\"id\", \"at\"]";

/// Nobody is old, and waits are long.
const LONG: &str = "lock_timeout = \"2s\"\nlock_retries = 5\nindex_wait = \"60s\"";

fn scene(name: &str) -> Scene {
    let scene = Scene::new(name, 20);
    scene.db.sql(SETUP);
    scene
}

/// The parent's index and all below are valid, one for each table.
#[track_caller]
fn is_whole(scene: &Scene) {
    let lacking: Option<String> = scene.db.one(
        "SELECT string_agg(t.relid::text, ', ') FROM pg_partition_tree('app.events') t WHERE NOT EXISTS (
           SELECT FROM pg_partition_tree('app.events_by_id') i JOIN pg_index x ON x.indexrelid = i.relid
            WHERE x.indrelid = t.relid AND x.indisvalid AND x.indisready)",
    );
    assert_eq!(lacking, None, "tables without the index");
    scene.no_wreck();
}

fn waits_on(scene: &Scene, table: &str) {
    scene.wait_until(&format!(
        "SELECT EXISTS (SELECT FROM pg_stat_activity a JOIN pg_locks l USING (pid)
            WHERE a.datname = current_database() AND a.application_name LIKE 'tenantmig worker%'
              AND a.wait_event_type = 'Lock' AND l.relation = '{table}'::regclass)"
    ));
}

#[test]
fn every_partition_gets_its_own_and_the_undo_takes_no_other() {
    let scene = scene("parts");
    let before = scene.print();
    let whole = plan("", &[INDEX]);
    let out = scene.applying(&whole).run().expect_code(0);
    let _ = out.stderr_has("CREATE INDEX CONCURRENTLY events_1_events_by_id_").stderr_has("ATTACH PARTITION");
    is_whole(&scene);
    scene.verified();
    let parent: String = scene.db.one("SELECT coalesce((SELECT inhparent::regclass::text FROM pg_inherits WHERE inhrelid = 'app.stood'::regclass), 'none')");
    assert_eq!(parent, "none", "the application's own index was attached: the undo would drop it");
    let applied = scene.print();
    let _ = scene.apply(&whole).expect_code(0).stdout_has("nothing to do");
    let _ = scene.run("rollback --to start --yes").expect_code(0);
    scene.is_as(&before);
    let _ = scene.apply(&whole).expect_code(0);
    scene.is_as(&applied);
}

/// PostgreSQL refuses the database's own tablespace by its name on a partitioned table, where it would be without a word.
#[test]
fn the_tablespace_of_the_database_may_be_named() {
    let scene = scene("parts_tablespace");
    let before = scene.print();
    let wrong = plan("", &[&format!("{INDEX}\ntablespace = \"pg_defualt\"")]);
    let out = scene.apply(&wrong).expect_code(65).stderr_has("TM0304").stderr_has("no tablespace pg_defualt");
    let _ = out.stderr_has("did you mean `pg_default`?");
    assert!(!scene.db.one::<bool>("SELECT to_regnamespace('tenantmig') IS NOT NULL"));
    let whole = plan("", &[&format!("{INDEX}\ntablespace = \"pg_default\"")]);
    let _ = scene.apply(&whole).expect_code(0);
    is_whole(&scene);
    let _ = scene.apply(&whole).expect_code(0).stdout_has("nothing to do");
    let _ = scene.run("rollback --to start --yes").expect_code(0);
    scene.is_as(&before);
}

/// The plan without a database cannot know; the script asks.
#[test]
fn the_scripts_for_psql_do_and_undo_the_same() {
    let scene = scene("parts_script");
    let before = scene.print();
    let script = |flags: &[&str]| {
        let tool = scene.tool();
        tool.file("plan.toml", &plan("", &[INDEX]));
        tool.args(["plan", "plan.toml", "--sql"]).args(flags).run().expect_code(0).stdout
    };
    let (forward, back) = (script(&[]), script(&["--undo"]));
    scene.db.psql(&forward);
    is_whole(&scene);
    let by_hand = scene.print();
    scene.db.psql(&back);
    scene.is_as(&before);
    let _ = scene.apply(&plan("", &[INDEX])).expect_code(0);
    scene.is_as(&by_hand);
    let real = scene.run("rollback --to start --dry-run --sql").expect_code(0).stdout;
    scene.db.psql(&real);
    scene.is_as(&before);
}

#[test]
fn duplicates_in_one_partition_take_all_of_it_back() {
    let scene = scene("parts_unique");
    scene.db.sql("INSERT INTO app.events SELECT id, at, 'twin' FROM app.events_2 LIMIT 1");
    let before = scene.print();
    let out = scene.apply(&plan("", &[&format!("{INDEX}\nunique = true")])).expect_code(5);
    let _ = out.stdout_has("23505").stdout_has("rolled back cleanly to `start`").stdout_has("app.events_2");
    scene.is_as(&before);
    scene.no_wreck();
    scene.db.sql("DELETE FROM app.events WHERE note = 'twin'");
    let _ = scene.run("resume").expect_code(0);
    is_whole(&scene);
}

/// Killed at the second partition, with the backend; forward and back.
#[test]
fn a_kill_between_partitions_is_resumed_either_way() {
    for way in ["resume", "rollback --to start --yes"] {
        let scene = scene("parts_kill");
        let before = scene.print();
        let holder = scene.holding("LOCK TABLE app.events_2 IN ROW EXCLUSIVE MODE");
        let mut run = scene.applying(&plan(LONG, &[INDEX])).spawn();
        waits_on(&scene, "app.events_2");
        run.signal(Signal::KILL);
        let _ = run.wait();
        let resumed = scene.tool().args(way.split(' ')).spawn();
        std::thread::sleep(std::time::Duration::from_millis(300));
        drop(holder);
        let _ = resumed.wait().expect_code(0);
        if way == "resume" {
            is_whole(&scene);
            scene.verified();
            let _ = scene.run("rollback --to start --yes").expect_code(0);
        }
        scene.is_as(&before);
        scene.no_wreck();
    }
}

/// While the last build waits, one partition comes, one that is done is detached, one that is not is dropped.
#[test]
fn partitions_may_come_and_go_meanwhile() {
    let scene = scene("parts_change");
    let holder = scene.holding("LOCK TABLE app.events_2 IN ROW EXCLUSIVE MODE");
    let run = scene.applying(&plan(LONG, &[INDEX])).spawn();
    waits_on(&scene, "app.events_2");
    scene.db.sql(
        "CREATE TABLE app.events_4 PARTITION OF app.events FOR VALUES FROM (300) TO (400);
         INSERT INTO app.events SELECT n, 300 + n % 100, 'new' FROM generate_series(1, 500) n;
         ALTER TABLE app.events DETACH PARTITION app.events_1; DROP TABLE app.events_3",
    );
    drop(holder);
    let _ = run.wait().expect_code(0);
    is_whole(&scene);
    assert_eq!(scene.db.one::<i64>("SELECT count(*) FROM pg_index WHERE indrelid = 'app.events_1'::regclass"), 1);
    scene.verified();
    let _ = scene.run("rollback --to start --yes").expect_code(0);
    let left: Option<String> = scene.db.one("SELECT string_agg(indexname, ', ') FROM pg_indexes WHERE schemaname = 'app' AND tablename LIKE 'events%' AND indexname <> 'stood'");
    assert_eq!(left, None, "of what was ours, also on the partition that was detached");
}

/// The last partition that is not attached yet is dropped: nothing is left to attach, and the parent becomes valid none the less.
#[test]
fn a_partition_that_is_dropped_last_leaves_no_invalid_parent() {
    let scene = scene("parts_dropped");
    // The last build waits. A reader of another partition holds its index, which is then attached last, and not had.
    let builder = scene.holding("LOCK TABLE app.events_3b IN ROW EXCLUSIVE MODE");
    let safety = "lock_timeout = \"150ms\"\nlock_retries = 50\nindex_wait = \"60s\"";
    let mut run = scene.applying(&plan(safety, &[INDEX])).spawn();
    waits_on(&scene, "app.events_3b");
    let reader = scene.holding("SELECT count(*) FROM app.events_2");
    drop(builder);
    run.wait_stderr("no lock at attempt 1 of 51");
    block_on(async move { reader.batch_execute("DROP TABLE app.events_2; COMMIT").await.unwrap() });
    let _ = run.wait().expect_code(0);
    is_whole(&scene);
}

/// The undo needs ACCESS EXCLUSIVE on every partition for a moment: it does not queue behind a reader for longer than
/// lock_timeout, and is tried again.
#[test]
fn the_undo_waits_for_a_reader_only_for_moments() {
    let scene = scene("parts_reader");
    let before = scene.print();
    let _ = scene.apply(&plan("lock_timeout = \"150ms\"\nlock_retries = 50", &[INDEX])).expect_code(0);
    let holder = scene.holding("SELECT count(*) FROM app.events_1 /* a report */");
    let mut run = scene.tool().args(["rollback", "--to", "start", "--yes"]).spawn();
    run.wait_stderr("no lock at attempt 2 of 51");
    drop(holder);
    let _ = run.wait().expect_code(0).stderr_has("a report");
    scene.is_as(&before);
}

#[test]
fn a_foreign_partition_is_refused_with_the_reason() {
    let scene = scene("parts_foreign");
    scene.db.sql(
        "CREATE FOREIGN DATA WRAPPER nowhere; CREATE SERVER nowhere FOREIGN DATA WRAPPER nowhere;
         CREATE FOREIGN TABLE app.events_far PARTITION OF app.events FOR VALUES FROM (900) TO (1000) SERVER nowhere",
    );
    let before = scene.print();
    let out = scene.apply(&plan("", &[INDEX])).expect_code(5).stdout_has("foreign table app.events_far");
    let _ = out.stdout_has("never becomes valid");
    scene.is_as(&before);
}

#[test]
fn the_gate_looks_into_the_partitions() {
    let scene = scene("parts_gate");
    let holder = scene.holding(SNAPSHOT);
    let failed =
        scene.db.try_psql("SET lock_timeout = '100ms';\nCREATE INDEX CONCURRENTLY theirs ON app.events_3a (note);");
    assert!(failed.unwrap_err().contains("lock timeout"));
    drop(holder);
    let out = scene.apply(&plan("", &[INDEX])).expect_code(5);
    let _ = out.stdout_has("DROP INDEX CONCURRENTLY app.theirs");
    // A parent whose index is incomplete.
    scene.db.sql("DROP INDEX app.theirs; CREATE INDEX half ON ONLY app.events (note)");
    let out = scene.apply(&plan("", &[INDEX])).expect_code(5);
    let _ = out.stdout_has("app.half").stdout_has("ATTACH PARTITION");
    scene.db.sql("DROP INDEX app.half");
    let _ = scene.run("resume").expect_code(0);
}

#[test]
fn an_old_writer_of_one_partition_is_named_before_anything_is_begun() {
    let scene = scene("parts_old");
    let before = scene.print();
    let holder = scene.holding("UPDATE app.events_3b SET note = note");
    super::grow_old();
    let out = scene.apply(&plan(super::SOON, &[INDEX])).expect_code(5).stdout_has("not begun").stdout_has("the-holder");
    let _ = out.nowhere_has("CREATE INDEX events_by_id ON ONLY app.events");
    scene.is_as(&before);
    drop(holder);
    let _ = scene.apply(&plan(PATIENT, &[INDEX])).expect_code(0);
    is_whole(&scene);
}

#[test]
fn the_indexes_that_were_built_under_writers_have_every_row() {
    let scene = scene("parts_writers");
    let stop = Arc::new(AtomicBool::new(false));
    let writer = writing(
        &scene,
        &stop,
        &[
            "UPDATE app.events SET at = 1 + (at + 97) % 299 WHERE id = 1 + (random() * 2999)::int",
            "INSERT INTO app.events SELECT 10000 + (random() * 1e9)::int, 1 + (random() * 298)::int, 'new'",
            "DELETE FROM app.events WHERE id = 1 + (random() * 2999)::int",
        ],
    );
    let run = scene.apply(&plan("", &[INDEX]));
    stop.store(true, Ordering::Relaxed);
    assert!(writer.join().unwrap() > 10, "nobody wrote meanwhile");
    let _ = run.expect_code(0);
    is_whole(&scene);
    indexes_are_whole(&scene);
}
