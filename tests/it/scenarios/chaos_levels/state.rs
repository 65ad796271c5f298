//! Level 3: corrupted state. Nothing of it is believed that the rows and the catalogue do not bear out.

use std::time::Instant;

use crate::harness::Signal;
use crate::scenarios::{firm::Firm, recovery::recovered};

#[test]
fn level_3_the_progress_is_edited_by_hand() {
    let firm = Firm::new("level_3_progress");
    let mut run = firm.backfilling(30);
    run.signal(Signal::INT);
    let _ = run.wait().expect_code(130);
    // Somebody who wants it done writes that it is.
    firm.sql(
        "UPDATE tenantmig.migration_progress SET status = 'done' WHERE status = 'running';
         UPDATE tenantmig.backfill_ranges SET stripes_done = stripes",
    );
    let out = firm.run("verify").expect_code(3).stdout_has("migration_progress says done, the events say running");
    assert!(out.stdout.contains("1 failed"), "{out}");
    let begun = Instant::now();
    firm.go();
    // It goes by its events, and by what a count over the whole table finds due.
    let _ = firm.run("resume").expect_code(0).nowhere_has("panicked");
    recovered("level 3, progress edited", begun.elapsed());
    firm.every_row_once();
    firm.verified();
}

#[test]
fn level_3_the_catalogue_is_edited_by_hand() {
    let firm = Firm::new("level_3_catalogue");
    let _ = firm.applying().run().expect_code(0);
    firm.sql(
        "DROP INDEX idx_funds_org_id; ALTER TABLE investments DISABLE ROW LEVEL SECURITY;
         DROP POLICY tenant_isolation ON funds; CREATE POLICY tenant_isolation ON funds USING (true)",
    );
    let out = firm.run("verify").expect_code(3).stdout_has("6 failed");
    for deed in [
        "create index idx_funds_org_id",
        "enable row-level security on public.investments",
        "create policy tenant_isolation on public.funds",
    ] {
        assert!(out.stdout.lines().any(|line| line.starts_with('✗') && line.contains(deed)), "{deed}\n{out}");
    }
    // Back and forth: what is there is taken back, what is not is not missed, and then all of it is there again. The policy is not
    // the plan's, but it bears its name: it goes.
    let begun = Instant::now();
    let back = ["rollback", "--to", "backfill", "--confirm", firm.name(), "--accept-exposure"];
    let _ = firm.tool().args(back).run().expect_code(0);
    assert_eq!(firm.isolation(), (0, false));
    let _ = firm.applying().run().expect_code(0);
    recovered("level 3, catalogue edited", begun.elapsed());
    assert_eq!(firm.isolation(), (3, true));
    firm.verified();
}
