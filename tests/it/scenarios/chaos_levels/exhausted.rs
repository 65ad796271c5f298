//! Level 4: two failures at once, a failure under load, and a pool that has too few sessions for everyone.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::harness::{Pooler, Signal, block_on};
use crate::scenarios::{
    firm::{Firm, said, session},
    recovery::recovered,
    traffic::{Context, Traffic},
};

/// The document's numbers: a hundred operations at once, over a pool of fewer.
const OPERATIONS: usize = 100;
const POOL: usize = 5;
/// What the document accepts of errors in the transition.
const ERRORS_PERCENT: usize = 5;

#[test]
fn level_4_the_server_and_the_process_fail_at_once() {
    let mut firm = Firm::alone(&[]);
    let mut run = firm.backfilling(40);
    firm.server().kill_9().unwrap();
    run.signal(Signal::KILL);
    let _ = run.wait().expect_code(137);
    let _ = firm.run("resume").expect_code(69).stderr_has("next:");
    firm.server().restart().unwrap();
    let begun = Instant::now();
    firm.no_partial_batch();
    let rows = firm.rows();
    let again = firm.tool().args(["resume"]).spawn();
    firm.wait_for_rows_after(rows + 500);
    recovered("level 4, two failures at once", begun.elapsed());
    firm.go();
    let _ = again.wait().expect_code(0);
    firm.every_row_once();
    firm.verified();
}

#[test]
fn level_4_sessions_fail_under_load() {
    let firm = Firm::new("level_4_load");
    let traffic = Traffic::start(firm.app_url(), 8, Context::Unset, Duration::from_millis(2));
    // Without its last phase: the application sets no context yet.
    let run = firm.backfilling_by(firm.applying().args(["--to", "constraints"]), 20);
    let ours = "FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tenantmig%'";
    let mut longest = Duration::ZERO;
    for _ in 0..3 {
        let rows = firm.rows();
        // Sessions that were ended a moment ago may not be back yet.
        while firm.one::<i64>(&format!("SELECT count(pg_terminate_backend(pid)) {ours}")) == 0 {
            std::thread::sleep(Duration::from_millis(10));
        }
        let begun = Instant::now();
        firm.wait_for_rows_after(rows + 300);
        longest = longest.max(begun.elapsed());
    }
    recovered("level 4, failure under load", longest);
    firm.go();
    let _ = run.wait().expect_code(0).nowhere_has("panicked");
    let seen = traffic.stop();
    let (done, failed) = (seen.took.len(), seen.errors.len());
    eprintln!("level 4, failure under load: {done} transactions, {failed} errors, p99 {:.1?}", seen.quantile(0.99));
    assert!(done > 100 && failed * 100 < (done + failed) * ERRORS_PERCENT, "{:#?}", seen.errors);
    assert!(seen.not_retryable().is_empty(), "{:#?}", seen.not_retryable());
    firm.every_row_at_most_once();
    assert_eq!(firm.corruption(), None);
    firm.verified();
}

#[test]
fn level_4_the_pool_is_exhausted() {
    let firm = Firm::new("level_4_pool");
    let pooler = Pooler::start("transaction", &format!("auth_user = postgres\ndefault_pool_size = {POOL}"));
    let run = firm.backfilling(10);
    let (url, begun) = (pooler.url_as(firm.app(), firm.name()), Instant::now());
    // All queue, and all come to their turn.
    let told: Vec<Result<(), String>> = block_on(async move {
        let mut all = JoinSet::new();
        for number in 0..OPERATIONS {
            let url = url.clone();
            all.spawn(async move {
                let client = session(&url).await?;
                let write = format!("BEGIN; INSERT INTO investments (fund_id, amount) VALUES (1 + {number}, 1); SELECT pg_sleep(0.02); COMMIT");
                client.batch_execute(&write).await.map_err(|error| said(&error))
            });
        }
        all.join_all().await
    });
    recovered("level 4, pool exhaustion", begun.elapsed());
    assert!(told.iter().all(Result::is_ok), "{told:#?}");
    assert_eq!(
        firm.one::<i64>("SELECT count(*) FROM investments WHERE amount = 1 AND id > 1000000"),
        OPERATIONS as i64
    );
    let idle: i64 = firm.one(&format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{}'", firm.app()));
    assert!(idle <= POOL as i64, "{idle} sessions of a pool of {POOL}");
    firm.go();
    let _ = run.wait().expect_code(0);
    firm.every_row_once();
    firm.verified();
}
