//! The primary is lost in the middle of a backfill and its replica is promoted: the run goes on there by itself. The old primary,
//! back and writable as ever, is taken for nothing: neither by the run under way nor by any later command.

use std::time::{Duration, Instant};

use tenantmig::demo::cluster::{Cluster, ClusterOptions};

use crate::connections::{GO, WRONG, ask, execute, wait_for_rows};
use crate::harness::{Replica, Signal, Tool, cluster};
use crate::scene::{EXPAND, MARK, SCHEMA, plan, with_plan};
use crate::throttle::BRAKE;

/// Within which the run is to write again after the promotion.
const GOES_ON: Duration = Duration::from_secs(30);
const USERS: u32 = 20_000;

const TERMINATE: &str =
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'tenantmig%'";

fn on(port: u16) -> String {
    format!("postgres://postgres@127.0.0.1:{port}/postgres")
}

/// A filled primary and its replica.
fn stage() -> (Replica, Cluster) {
    let bindir = Some(cluster().bindir().to_owned());
    let primary = Cluster::start(ClusterOptions { bindir, ..ClusterOptions::default() }).unwrap();
    let fill =
        format!("INSERT INTO app.users SELECT n, 1 + n % 5, 'user' || n FROM generate_series(1, {USERS}) n; ANALYZE;");
    execute(&primary.url("postgres"), &format!("{SCHEMA} {fill} {BRAKE}"));
    let replica = Replica::of(&primary, "next");
    (replica, primary)
}

#[test]
fn a_promoted_replica_is_gone_on_with_and_the_old_primary_refused() {
    let (mut replica, mut primary) = stage();
    let (old, new) = (on(primary.port()), on(replica.port()));
    let both = format!("postgres://postgres@127.0.0.1:{},127.0.0.1:{}/postgres", primary.port(), replica.port());
    // The replica that becomes the primary is missed afterwards, which the backfill would wait for.
    let text = plan("", &[EXPAND, MARK]) + "\n[throttle]\nreplicas = 0\n";
    let mut run = with_plan(Tool::without_database().url(&both), &text).spawn();
    wait_for_rows(&old, 1_000);
    primary.kill_9().unwrap();
    let promoted = Instant::now();
    replica.promote();
    let before: i64 = ask(&new, "SELECT coalesce(sum(rows_done), 0)::bigint FROM tenantmig.backfill_ranges").unwrap();
    wait_for_rows(&new, before + 1_000);
    eprintln!(
        "failover: rows were written on the promoted replica {:.1} s after its promotion began",
        promoted.elapsed().as_secs_f64()
    );
    assert!(promoted.elapsed() < GOES_ON);
    run.wait_stderr("a failover happened");
    // The old primary comes back, first in the list. The run loses its sessions, and looks for a server again.
    primary.restart().unwrap();
    let stood: i64 = ask(&old, "SELECT count(*) FROM tenantmig.events").unwrap();
    execute(&new, TERMINATE);
    let lost = Instant::now();
    wait_for_rows(&new, before + 3_000);
    eprintln!(
        "failover: rows were written again {:.1} s after the sessions were lost beside the stale primary",
        lost.elapsed().as_secs_f64()
    );
    // Others see through it as well.
    let status = Tool::without_database().url(&both).args(["status"]).run().expect_code(0);
    let _ =
        status.stderr_has("stale primary").stderr_has(&format!("127.0.0.1:{}", primary.port())).stdout_has("running");
    run.signal(Signal::TERM);
    let _ = run.wait().expect_code(143);
    execute(&new, GO);
    let resumed = Tool::without_database().url(&both).args(["resume"]).run().expect_code(0);
    let _ = resumed.stderr_has("stale primary").stderr_has("take it out of service");
    assert_eq!(ask::<i64>(&new, WRONG), Some(0), "rows not written, or written twice");
    assert_eq!(ask::<i64>(&old, "SELECT count(*) FROM tenantmig.events"), Some(stood), "the stale primary was written");
    let _ = Tool::without_database().url(&both).args(["verify"]).run().expect_code(0);
    assert_eq!(ask::<i64>(&new, "SELECT timeline FROM tenantmig.lease"), Some(2));
    replica.stop();
}

#[test]
fn a_copy_of_the_database_is_refused_until_it_is_meant() {
    let own =
        Cluster::start(ClusterOptions { bindir: Some(cluster().bindir().to_owned()), ..ClusterOptions::default() });
    let own = own.unwrap();
    let url = own.url("postgres");
    execute(
        &url,
        &format!("{SCHEMA} INSERT INTO app.users SELECT n, 1 + n % 5, 'user' || n FROM generate_series(1, 50) n"),
    );
    let tool = || Tool::without_database().url(&url);
    let whole = plan("", &[EXPAND, MARK]);
    let _ = with_plan(tool(), &whole).args(["--to", "expand"]).run().expect_code(0);
    let known: i64 = ask(&url, "SELECT system_identifier FROM tenantmig.lease").expect("the server says who it is");
    // What a restored dump looks like: the ledger says that it was written on another server.
    execute(&url, "UPDATE tenantmig.lease SET system_identifier = system_identifier + 1, timeline = 9");
    for words in ["resume", "rollback --to start --yes"] {
        let out = tool().args(words.split(' ')).run().expect_code(4);
        let _ = out.stderr_has("another server").stderr_has(&known.to_string()).stderr_has("--accept-server");
    }
    let _ = with_plan(tool(), &whole).run().expect_code(4).stderr_has("--accept-server");
    let _ = tool().args(["resume", "--accept-server"]).run().expect_code(0);
    assert_eq!(ask::<i64>(&url, "SELECT system_identifier FROM tenantmig.lease"), Some(known));
    let _ = with_plan(tool(), &whole).run().expect_code(0);
    // The same server, but from before a failover.
    execute(&url, "UPDATE tenantmig.lease SET timeline = 7");
    let _ = tool().args(["resume"]).run().expect_code(4).stderr_has("stale primary").stderr_has("timeline 7");
    assert_eq!(ask::<i64>(&url, WRONG), Some(0));
}
