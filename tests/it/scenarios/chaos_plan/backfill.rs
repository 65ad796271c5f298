//! Scenarios 1 and 2: the backfill's process, session or network fails.

use std::time::{Duration, Instant};

use crate::harness::{Path, Proxy, Running, Signal};
use crate::scenarios::{firm::Firm, recovery::recovered};
use crate::scene::with_plan;

/// The document's own time without a network.
const NETWORK_GONE: Duration = Duration::from_secs(15);

/// The end of each: everything is done, once, and another `apply` finds nothing to do and does nothing.
fn is_whole(firm: &Firm) {
    firm.no_partial_batch_left();
    firm.every_row_once();
    assert_eq!(firm.corruption(), None);
    let events = || firm.one::<i64>("SELECT count(*) FROM tenantmig.events");
    let before = events();
    let _ = firm.applying().run().expect_code(0);
    assert_eq!(events(), before, "a restart of what is complete did something");
    firm.stands("completed");
    firm.verified();
}

#[test]
fn scenario_1_migration_fails_at_50_percent_of_the_backfill() {
    let firm = Firm::new("chaos_1");
    let mut run = firm.backfilling(50);
    firm.no_partial_batch();
    // The document's statement; other databases of this server and the asking session itself are none of its business.
    let kill = "SELECT count(pg_terminate_backend(pid)) > 0 FROM pg_stat_activity WHERE query LIKE '%organization_id%' AND state = 'active'
                   AND datname = current_database() AND pid <> pg_backend_pid()";
    firm.wait_until(kill);
    let (begun, rows) = (Instant::now(), firm.rows());
    firm.no_partial_batch();
    firm.wait_for_rows_after(rows + 200);
    run.wait_stderr(" lost its session (");
    recovered("scenario 1, connection terminated", begun.elapsed());
    firm.go();
    let _ = run.wait().expect_code(0).nowhere_has("panicked");
    is_whole(&firm);
}

#[test]
fn scenario_1_the_process_is_killed_at_50_percent_of_the_backfill() {
    let firm = Firm::new("chaos_1_kill");
    let mut run = firm.backfilling(50);
    run.signal(Signal::KILL);
    let begun = Instant::now();
    assert_eq!(run.wait().code, 137);
    firm.wait_until(
        "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tenantmig%')",
    );
    firm.no_partial_batch();
    // Steps 1 and 2 of the recovery: there is one step under way, and nothing of its progress is stale: it is what the rows
    // say, so nothing is to be deleted. Step 3 is the same command again.
    let running: String =
        firm.one("SELECT string_agg(unit, ', ') FROM tenantmig.migration_progress WHERE status = 'running'");
    assert!(running.contains("fill"), "{running}");
    let rows = firm.rows();
    let again = firm.applying().spawn();
    firm.wait_for_rows_after(rows + 200);
    recovered("scenario 1, kill -9", begun.elapsed());
    firm.go();
    let _ = again.wait().expect_code(0);
    is_whole(&firm);
}

/// The network goes for 15 s in the middle of the backfill.
fn without_a_network(name: &str, gone: Path) -> (Firm, Proxy, Running, Duration) {
    let firm = Firm::new(name);
    let proxy = Proxy::to(firm.port());
    let tool = with_plan(firm.tool().url(&proxy.url(firm.name())), &firm.plan());
    let run = firm.backfilling_by(tool, 30);
    proxy.set(gone);
    if gone == Path::Refuse {
        proxy.reset();
    }
    let begun = Instant::now();
    // What the server was asked before is done; then nothing is, and the application goes on.
    std::thread::sleep(Duration::from_secs(2));
    let rows = firm.rows();
    firm.no_partial_batch();
    firm.sql("INSERT INTO funds (manager, name) VALUES ('tech-ventures', 'while the network was gone')");
    std::thread::sleep(NETWORK_GONE.saturating_sub(begun.elapsed()));
    assert_eq!(firm.rows(), rows, "rows were written through a network that was gone");
    // The detection query: there is no slot, since nothing is replicated here.
    let slots: i64 = firm.one(
        "SELECT count(*) FROM (SELECT
           slot_name,
           active,
           pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) AS lag_bytes
         FROM pg_replication_slots) AS slots WHERE slot_name LIKE 'gh_ost%'",
    );
    assert_eq!(slots, 0);
    proxy.set(Path::Open);
    let begun = Instant::now();
    // Nobody resumes it.
    firm.wait_for_rows_after(rows + 200);
    (firm, proxy, run, begun.elapsed())
}

/// The third step of the recovery compares the rows of the shadow table with the table's; here they are one table.
fn finishes(firm: &Firm, run: Running, said: &str) {
    firm.go();
    // "Alerts fire within 30 seconds": the run is over within that time, and it was said in it.
    let _ = run.wait().expect_code(0).stderr_has(said).nowhere_has("panicked");
    let count: i64 = firm
        .one("SELECT count(*) FROM funds WHERE name = 'while the network was gone' AND organization_id IS NOT NULL");
    assert_eq!(count, 1, "what the application wrote meanwhile is not there, or not filled");
    is_whole(firm);
}

#[test]
fn scenario_2_the_network_is_a_black_hole_for_15_s() {
    let (firm, _proxy, run, took) = without_a_network("chaos_2_hole", Path::BlackHole);
    recovered("scenario 2, black hole", took);
    finishes(&firm, run, " lost its session (");
}

#[test]
fn scenario_2_connections_are_reset_and_refused_for_15_s() {
    let (firm, _proxy, run, took) = without_a_network("chaos_2_reset", Path::Refuse);
    recovered("scenario 2, connections reset", took);
    finishes(&firm, run, "the connection was lost");
}
