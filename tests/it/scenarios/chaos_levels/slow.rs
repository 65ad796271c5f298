//! Level 1: a component is slow.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::scenarios::{firm::Firm, recovery::recovered, slow_path::SlowPath};
use crate::scene::with_plan;

/// What each message takes on the slow way, in either direction.
const DELAY: Duration = Duration::from_millis(150);
/// How long a server's processes stand still: longer than a batch may take.
const STALL: Duration = Duration::from_secs(4);

#[test]
fn level_1_the_network_is_slow() {
    let firm = Firm::new("level_1_network");
    let path = SlowPath::to(firm.port());
    let run = firm.backfilling_by(with_plan(firm.tool().url(&path.url(firm.name())), &firm.plan()), 20);
    path.delay(DELAY);
    // It goes on, at the way's speed; and nobody waits for a row that is locked while a message is on its way: the server never
    // waits for us in the middle of a batch.
    let rows = firm.rows();
    firm.wait_for_rows_after(rows + 100);
    for _ in 0..40 {
        let idle: i64 = firm.one(
            "SELECT count(*) FROM pg_stat_activity a JOIN pg_locks l USING (pid)
              WHERE a.datname = current_database() AND application_name LIKE 'tenantmig%' AND state LIKE 'idle in transaction%'
                AND l.relation = 'funds'::regclass AND l.mode = 'RowExclusiveLock'",
        );
        assert_eq!(idle, 0, "rows were locked while the server waited for a message");
        std::thread::sleep(Duration::from_millis(25));
    }
    // Another way in is as fast as ever.
    let _ = firm.run("status").expect_code(0).stdout_has("running");
    firm.wait_for_rows_after(rows + 500);
    path.delay(Duration::ZERO);
    let (begun, rows) = (Instant::now(), firm.rows());
    firm.wait_for_rows_after(rows + 500);
    recovered("level 1, slow network", begun.elapsed());
    firm.go();
    let out = run.wait().expect_code(0);
    assert!(!out.stderr.contains("the connection was lost"), "{out}");
    firm.every_row_once();
    firm.verified();
}

#[test]
fn level_1_the_server_stalls() {
    // Its own server: a process that stands still may hold a lock that all others wait for.
    let firm = Firm::alone(&[]);
    let run = firm.backfilling(20);
    let ours = "SELECT string_agg(pid::text, ' ') FROM pg_stat_activity WHERE application_name LIKE 'tenantmig%' AND backend_type = 'client backend'";
    let pids: String = firm.one(ours);
    let pids: Vec<Pid> = pids.split(' ').map(|pid| Pid::from_raw(pid.parse().unwrap()).unwrap()).collect();
    assert!(pids.len() >= 3, "{pids:?}");
    for pid in &pids {
        kill_process(*pid, Signal::STOP).unwrap();
    }
    std::thread::sleep(STALL);
    for pid in &pids {
        let _closed_meanwhile = kill_process(*pid, Signal::CONT);
    }
    let (begun, rows) = (Instant::now(), firm.rows());
    firm.wait_for_rows_after(rows + 500);
    recovered("level 1, server stalls", begun.elapsed());
    firm.go();
    let _ = run.wait().expect_code(0).nowhere_has("panicked");
    firm.every_row_once();
    firm.verified();
}
