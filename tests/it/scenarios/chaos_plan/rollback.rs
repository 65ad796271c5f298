//! Scenarios 18 to 20: back from row-level security, after it was in use, while it is in use, and with rows that are damaged.

use std::time::{Duration, Instant};

use crate::contention::sampler::Sampler;
use crate::scenarios::{
    firm::{Firm, try_sql},
    recovery::recovered,
    traffic::{Context, Seen, Traffic},
};

/// The hour of scenario 18, as transactions: more than a client of such an application makes in one.
const HOUR_TRANSACTIONS: usize = 2_000;
/// Clients of scenario 19 that begin the next transaction as soon as one is done.
const PEAK_CLIENTS: u32 = 12;
/// How long DDL may queue (`lock_timeout` of the plan), and how much longer a client may wait behind it: until the DDL that did
/// get its lock has committed, on a machine that others use.
const LOCK_WAIT: Duration = Duration::from_millis(300);
const TOLERANCE: Duration = Duration::from_millis(700);

const SLOW: &str =
    "BEGIN; SELECT count(*) FROM funds, portfoliocompanies, investments WHERE false; SELECT pg_sleep(2); COMMIT";

/// Everything that was acknowledged is there.
#[track_caller]
fn nothing_lost(firm: &Firm, seen: &Seen) {
    let ids = seen.inserted.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
    let there: i64 = firm.one(&format!("SELECT count(*) FROM investments WHERE id = ANY ('{{{ids}}}')"));
    assert_eq!(there, seen.inserted.len() as i64, "acknowledged rows are not there");
}

/// What the application does of itself after the rollback: it knows no context, and its rows have an organization.
#[track_caller]
fn works_without_context(firm: &Firm) {
    let traffic = Traffic::start(firm.app_url(), 2, Context::Unset, Duration::from_millis(5));
    std::thread::sleep(Duration::from_millis(300));
    let seen = traffic.stop();
    assert!(seen.errors.is_empty() && seen.took.len() > 10, "{:?}", seen.errors);
    nothing_lost(firm, &seen);
    assert_eq!(firm.one::<i64>("SELECT count(*) FROM investments WHERE organization_id IS NULL"), 0);
}

#[test]
fn scenario_18_rollback_after_an_hour_of_rls_operation() {
    let firm = Firm::new("chaos_18");
    let _ = firm.applying().run().expect_code(0);
    assert_eq!(firm.isolation(), (3, true));
    let traffic = Traffic::start(firm.app_url(), 8, Context::Set, Duration::ZERO);
    firm.wait_until(&format!("SELECT count(*) >= {HOUR_TRANSACTIONS} FROM investments WHERE amount = 1"));
    let seen = traffic.stop();
    assert!(seen.errors.is_empty(), "{:#?}", seen.errors);
    assert_eq!(seen.leaks, 0, "funds of other organizations were seen");
    let (counts, rows) = (firm.counts(), firm.checksum());
    assert_eq!(firm.corruption(), None);
    // It is asked for twice, since every session sees every row again.
    let _ = firm.run("rollback --to constraints --yes").expect_code(4).stderr_has("--accept-exposure");
    let back = "rollback --to constraints --yes --accept-exposure";
    let _ = firm.run(back).expect_code(4).stderr_has("row-level security off");
    assert_eq!(firm.isolation(), (3, true));
    let begun = Instant::now();
    let _ = firm.rolling_back().run().expect_code(0).stdout_has("rolled back to `constraints`");
    // Policies dropped; the columns remain, with their values; not a row is lost, orphaned or changed.
    assert_eq!(firm.isolation(), (0, false));
    assert_eq!((firm.counts(), firm.checksum()), (counts, rows));
    assert_eq!(firm.corruption(), None);
    works_without_context(&firm);
    firm.verified();
    recovered("scenario 18", begun.elapsed());
    nothing_lost(&firm, &seen);
    // And forward again, when the bug is mended.
    let _ = firm.applying().run().expect_code(0);
    assert_eq!(firm.isolation(), (3, true));
}

#[test]
fn scenario_19_rollback_during_peak_traffic() {
    let firm = Firm::new("chaos_19");
    let _ = firm.applying().run().expect_code(0);
    let traffic = Traffic::start(firm.app_url(), PEAK_CLIENTS, Context::Set, Duration::ZERO);
    firm.wait_until("SELECT count(*) >= 200 FROM investments WHERE amount = 1");
    let sampler = Sampler::start(firm.db());
    // A request that is slow, as there always is one: the rollback cannot have its locks at once, and nobody may queue behind it
    // for longer than lock_timeout.
    let at = firm.app_url();
    let slow = std::thread::spawn(move || try_sql(&at, SLOW));
    firm.wait_until(
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep')",
    );
    let begun = Instant::now();
    let run = firm.rolling_back().spawn();
    // The detection query as it stands, but that it counts: it can be asked at any moment, and nobody waits for it.
    let detection = "SELECT count(*) FROM (SELECT
          pid,
          state,
          wait_event_type,
          wait_event,
          query
        FROM pg_stat_activity
        WHERE state = 'active'
        AND query NOT LIKE 'SELECT%') AS detection";
    let asked: i64 = firm.one(detection);
    let out = run.wait().expect_code(0).nowhere_has("panicked");
    assert_eq!(firm.isolation(), (0, false));
    recovered("scenario 19", begun.elapsed());
    // No pool has to be drained or refilled, no server to be restarted: the same sessions go on.
    std::thread::sleep(Duration::from_millis(500));
    let (seen, waits) = (traffic.stop(), sampler.stop());
    let longest = waits.longest_fair();
    eprintln!(
        "scenario 19: {} transactions, {} errors, p50 {:.1?}, p99 {:.1?}, worst {:.1?}; {} waits for the rollback, longest {:.0?}; \
         {asked} sessions active",
        seen.took.len(),
        seen.errors.len(),
        seen.quantile(0.5),
        seen.quantile(0.99),
        seen.quantile(1.0),
        waits.count(),
        longest.length,
    );
    assert!(seen.not_retryable().is_empty(), "{:#?}\n{out}", seen.not_retryable());
    slow.join().unwrap().unwrap();
    assert!(waits.count() > 0, "nobody met a lock of the rollback");
    assert!(longest.fair() < LOCK_WAIT + TOLERANCE, "a wait for the rollback: {longest:?}");
    assert!(seen.took.len() > 200, "the application did nothing");
    nothing_lost(&firm, &seen);
    assert_eq!(firm.corruption(), None);
    works_without_context(&firm);
    firm.verified();
}

/// Damages as a lost table file or a careless hand does: foreign keys do not look.
fn damage(firm: &Firm, statements: &str) {
    firm.sql(&format!("SET session_replication_role = replica; {statements}"));
}

#[test]
fn scenario_20_rollback_discovers_data_corruption_and_nothing_proceeds() {
    let firm = Firm::new("chaos_20");
    let _ = firm.applying().run().expect_code(0);
    firm.sql("CREATE TABLE backup AS SELECT * FROM funds WHERE id IN (2, 3)");
    // Two funds with companies are gone, and a company is another organization's.
    damage(
        &firm,
        "DELETE FROM funds WHERE id IN (2, 3); UPDATE portfoliocompanies SET organization_id = (SELECT id FROM organizations WHERE slug = 'tech-ventures') WHERE fund_id = 4",
    );
    let _ = firm.rolling_back().run().expect_code(0);
    // The document's own checks, and ours with a row of each.
    let found = firm.corruption().unwrap();
    for check in ["Orphaned portfoliocompanies: 2", "Org mismatch portfoliocompanies: 1", "Orphaned investments: "] {
        assert!(found.contains(check), "{found}");
    }
    let out = firm.run("verify").expect_code(3).stdout_has("no row of public.portfoliocompanies is an orphan");
    let out = out.stdout_has("portfoliocompanies without a row in public.funds: 2; e.g. (1,2,\"company 1\"");
    let out = out.stdout_has(
        "portfoliocompanies.organization_id differs from public.funds.organization_id (to take the parent's: UPDATE",
    );
    let out = out.stdout_has("IS DISTINCT FROM parent.organization_id): 1; e.g. (3,4,");
    let _ = out.stdout_has("public.investments without a row in public.funds: 4; e.g. (");
    // DO NOT PROCEED: neither forward again,
    let before = firm.checksum();
    let out = firm.applying().run().expect_code(5).stdout_has("check_data_integrity() finds nothing");
    let _ = out.stdout_has("rolled back cleanly to `constraints`");
    assert_eq!((firm.isolation(), firm.checksum()), ((0, false), before));
    // Restored from the backup, it goes on.
    let begun = Instant::now();
    firm.sql(
        "SET session_replication_role = replica; INSERT INTO funds SELECT * FROM backup;
              UPDATE portfoliocompanies c SET organization_id = f.organization_id FROM funds f WHERE f.id = c.fund_id",
    );
    firm.verified();
    let _ = firm.run("resume").expect_code(0);
    recovered("scenario 20, after the rollback", begun.elapsed());
    assert_eq!((firm.corruption(), firm.isolation()), (None, (3, true)));
}

#[test]
fn scenario_20_data_corruption_before_the_migration_stops_it() {
    let firm = Firm::new("chaos_20_before");
    firm.sql("CREATE TABLE backup AS SELECT * FROM funds WHERE id = 2");
    damage(&firm, "DELETE FROM funds WHERE id = 2");
    let before = firm.checksum();
    let out = firm.applying().run().expect_code(5).stdout_has("rolled back cleanly to `start`");
    let _ = out.stdout_has("1 rows of public.portfoliocompanies have no value").stdout_has("company 1");
    assert_eq!(firm.checksum(), before);
    let begun = Instant::now();
    firm.sql("INSERT INTO funds SELECT * FROM backup");
    let _ = firm.run("resume").expect_code(0);
    recovered("scenario 20, before the migration", begun.elapsed());
    assert_eq!(firm.corruption(), None);
    firm.verified();
}
