//! Rows that come after the backfill: those that have a tenant by now get it, the others stop the run in words or go aside.

use super::{Company, PLAN};

const SECOND: &str = "00000000-0000-0000-0000-000000000002";

/// A position whose trade is not there, and one whose trade came after it.
const LATE: &str =
    "INSERT INTO app.positions VALUES (201, 99999), (202, 700); INSERT INTO app.trades VALUES (700, 3, 'a')";

#[test]
fn late_rows_without_a_tenant_stop_the_run_in_words_and_those_with_one_get_it() {
    let company = Company::new("tenants_late");
    company.run(PLAN, "apply plan.toml --to index --yes").expect_code(0);
    company.db.sql_as(&company.app, LATE).unwrap();
    let stopped = company.run(PLAN, "apply plan.toml --yes").expect_code(5);
    let _ = stopped.stdout_has("app.positions.tenant_id is NULL: 1 rows, for example (201,99999,)").stdout_has(
        "Give them one (UPDATE app.positions SET tenant_id = … WHERE tenant_id IS NULL), or take them away",
    );
    company.db.sql_as(&company.app, "DELETE FROM app.positions WHERE id = 201").unwrap_err();
    company.db.sql("DELETE FROM app.positions WHERE id = 201");
    company.run(PLAN, "resume").expect_code(0);
    let whose = "SELECT p.tenant_id = t.tenant_id FROM app.positions p JOIN app.trades t ON t.id = p.last_trade_id WHERE p.id = 202";
    assert!(company.db.one::<bool>(whose));
}

/// As a child that is inserted while its parent moves in an open transaction.
#[test]
fn a_row_of_another_tenant_than_its_parent_is_told_with_the_update_that_mends_it() {
    let company = Company::new("tenants_stray");
    company.run(PLAN, "apply plan.toml --to index --yes").expect_code(0);
    // Fill 7 is of trade 8, which is of user 9 and hence of the first tenant.
    company.db.sql_as(&company.app, &format!("UPDATE app.fills SET tenant_id = '{SECOND}' WHERE id = 7")).unwrap();
    let mends = "UPDATE app.fills AS row SET tenant_id = parent.tenant_id FROM app.trades AS parent WHERE parent.id = row.trade_id \
                 AND row.tenant_id IS DISTINCT FROM parent.tenant_id";
    let stopped = company.run(PLAN, "apply plan.toml --yes").expect_code(5);
    let _ = stopped
        .stdout_has("app.fills.tenant_id differs from app.trades.tenant_id: 1 rows, for example (7,8,")
        .stdout_has(&format!("To take the parent's: {mends}"));
    company.db.sql_as(&company.app, mends).unwrap();
    company.run(PLAN, "resume").expect_code(0);
    company.is_isolated(0);
}

#[test]
fn late_rows_go_aside_where_the_plan_wants_it_and_come_back() {
    let company = Company::new("tenants_late_aside");
    let plan = PLAN.replace("[tenancy]", "[backfill]\non_orphan = \"quarantine\"\n\n[tenancy]");
    company.db.sql("INSERT INTO app.positions VALUES (200, 88888)");
    let before = company.db.checksum("app.positions");
    company.run(&plan, "apply plan.toml --to index --yes").expect_code(0);
    company.db.sql_as(&company.app, "INSERT INTO app.positions VALUES (201, 99999)").unwrap();
    company.run(&plan, "apply plan.toml --to constrain --yes").expect_code(0);
    let aside = "SELECT string_agg(id || ' ' || quarantine_reason, ', ') FROM app.";
    let early: String = company.db.one(&format!("{aside}positions_quarantined"));
    let late: String = company.db.one(&format!("{aside}positions_quarantined_late"));
    assert_eq!(early, "200 no tenant was found for it");
    assert_eq!(late, "201 no tenant was found for it, and it was written after the backfill");
    company
        .run(&plan, &format!("rollback --to start --accept-exposure --confirm {}", company.db.name()))
        .expect_code(0);
    company.db.sql("DELETE FROM app.positions WHERE id = 201");
    assert_eq!(company.db.checksum("app.positions"), before);
}
