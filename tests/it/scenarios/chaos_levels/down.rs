//! Level 2: a component is down, at the start, during the run, and back again; and out of one host's reach only.

use std::time::{Duration, Instant};

use tenantmig::demo::cluster::Mode;

use crate::harness::{Path, Proxy};
use crate::scenarios::{firm::Firm, recovery::recovered};
use crate::scene::with_plan;

/// How long the server is down.
const DOWN: Duration = Duration::from_secs(3);
/// Within which the lease's own session is there again: it is renewed every 5 s.
const HEARTBEAT: Duration = Duration::from_secs(10);

#[test]
fn level_2_the_server_is_down_at_the_start() {
    let mut firm = Firm::alone(&[]);
    firm.server().stop(Mode::Fast).unwrap();
    // There is nothing to fall back to: it says so at once, with what to do, and does nothing.
    let out = firm.applying().run().expect_code(69).stderr_has("refused").stderr_has("next:");
    let _ = out.nowhere_has("panicked");
    firm.server().restart().unwrap();
    let begun = Instant::now();
    assert!(!firm.one::<bool>("SELECT to_regnamespace('tenantmig') IS NOT NULL"));
    let _ = firm.applying().run().expect_code(0);
    recovered("level 2, down at the start", begun.elapsed());
    firm.every_row_once();
}

#[test]
fn level_2_the_server_is_down_during_the_run() {
    let mut firm = Firm::alone(&[]);
    let mut run = firm.backfilling(30);
    firm.server().kill_9().unwrap();
    run.wait_stderr("the connection was lost");
    std::thread::sleep(DOWN);
    firm.server().restart().unwrap();
    let (begun, rows) = (Instant::now(), firm.rows());
    firm.no_partial_batch();
    firm.wait_for_rows_after(rows + 500);
    recovered("level 2, down during the run", begun.elapsed());
    firm.go();
    let _ = run.wait().expect_code(0).stderr_has("connected again").nowhere_has("panicked");
    firm.every_row_once();
    firm.verified();
}

#[test]
fn level_2_reconnection_restores_every_function() {
    let mut firm = Firm::alone(&[]);
    let mut run = firm.backfilling(30);
    firm.server().stop(Mode::Fast).unwrap();
    run.wait_stderr("the connection was lost");
    firm.server().restart().unwrap();
    let (begun, rows) = (Instant::now(), firm.rows());
    run.wait_stderr("connected again");
    firm.wait_for_rows_after(rows + 500);
    recovered("level 2, reconnection", begun.elapsed());
    // The lease is held and renewed, and what operators ask is heard.
    let end = Instant::now() + HEARTBEAT;
    loop {
        let status = firm.run("status --json").expect_code(0).json();
        if (&status["state"], &status["lease"]["alive"]) == (&"running".into(), &true.into()) {
            break;
        }
        assert!(Instant::now() < end, "{status:#}");
    }
    let _ =
        firm.tool().args(["throttle", "--hold", "after the restart"]).run().expect_code(0).stdout_has("taken by apply");
    let rows = firm.rows();
    std::thread::sleep(Duration::from_millis(700));
    assert!(firm.rows() <= rows + 100, "it was not held");
    let _ = firm.run("throttle --release").expect_code(0);
    firm.go();
    let _ = run.wait().expect_code(0);
    firm.every_row_once();
    firm.verified();
}

/// Two hosts, of which one no longer reaches the server: there the document accepts that both go on and disagree; here the one
/// that cannot be reached loses its right to write, whatever it had sent.
#[test]
fn level_2_a_partition_between_one_host_and_the_server() {
    let firm = Firm::new("level_2_partition");
    let proxy = Proxy::to(firm.port());
    let cut_off = firm.backfilling_by(with_plan(firm.tool().url(&proxy.url(firm.name())), &firm.plan()), 30);
    proxy.set(Path::BlackHole);
    let run = firm.run("status --json").expect_code(0).json()["run"].as_str().unwrap().to_owned();
    let _ = firm.run("resume").expect_code(75).stderr_has("holds the lease");
    let begun = Instant::now();
    let _ = firm.run(&format!("unlock --force {run} --yes")).expect_code(0);
    let rows = firm.rows();
    let other = firm.tool().args(["resume"]).spawn();
    firm.wait_for_rows_after(rows + 500);
    recovered("level 2, partial partition", begun.elapsed());
    // What was kept back on the way arrives now.
    proxy.set(Path::Open);
    let _ = cut_off.wait().expect_code(75).stderr_has("lease").nowhere_has("panicked");
    firm.no_partial_batch();
    firm.go();
    let _ = other.wait().expect_code(0);
    firm.every_row_once();
    firm.verified();
}
