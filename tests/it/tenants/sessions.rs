//! The application of today and that of tomorrow, each with one session through the whole run, on a table of a constant tenant.

use std::sync::Arc;

use tokio_postgres::Client;

use super::{Company, PLAN};
use crate::harness::{block_on, connect};

/// The key of the row that the session writes without naming a tenant, or by what it is refused.
fn writes(session: &Arc<Client>, context: &'static str, key: &str) -> String {
    let (session, key) = (session.clone(), key.to_owned());
    block_on(async move {
        // An application that knows no tenant sets none.
        let set = if context.is_empty() { "" } else { "SELECT set_config('app.tenant_id', '{}', true);" };
        let set = set.replace("{}", context);
        let insert =
            format!("BEGIN; {set} INSERT INTO app.settings (key, value) VALUES ('{key}', 'meanwhile'); COMMIT");
        let Err(refused) = session.batch_execute(&insert).await else { return key };
        session.batch_execute("ROLLBACK").await.unwrap();
        refused.code().map_or_else(|| refused.to_string(), |state| state.code().to_owned())
    })
}

/// The last digit of the tenant.
fn whose(company: &Company, key: &str) -> String {
    company.db.one(&format!("SELECT right(tenant_id::text, 1) FROM app.settings WHERE key = '{key}'"))
}

/// What the ledger says is there. Under FORCE the owner, who bypasses nothing, cannot measure the gates over rows.
#[track_caller]
fn verified(company: &Company) {
    let _ = company.run(PLAN, "verify").stdout_has(" 0 failed");
}

#[test]
fn each_application_gets_its_own_tenant_at_every_boundary_of_a_constant_table() {
    const SECOND: &str = "00000000-0000-0000-0000-000000000002";
    let company = Company::new("tenants_sessions");
    let session = || {
        let url = company.db.url_as(&company.app);
        Arc::new(block_on(async move { connect(&url).await }))
    };
    let (today, tomorrow) = (session(), session());
    // Where the columns are, the whole way up and down: what the row of each session has.
    let up = [
        ("expand", "1", "1"),
        ("capture", "1", "2"),
        ("backfill", "1", "2"),
        ("index", "1", "2"),
        ("constrain", "1", "2"),
        ("enforce", "42501", "2"),
        ("contract", "42501", "2"),
    ];
    let look = |boundary: &str, way: &str, old: &str, new: &str| {
        for (session, context, expect) in [(&today, "", old), (&tomorrow, SECOND, new)] {
            let key = format!("{boundary} {way} {context}");
            let said = writes(session, context, &key);
            let said = if said == key { whose(&company, &key) } else { said };
            assert_eq!(said, expect, "{key}");
        }
    };
    for (phase, old, new) in up {
        company.run(PLAN, &format!("apply plan.toml --to {phase} --yes")).expect_code(0);
        look(phase, "up", old, new);
        verified(&company);
    }
    for (phase, old, new) in up.into_iter().rev().skip(1) {
        company
            .run(PLAN, &format!("rollback --to {phase} --accept-exposure --confirm {}", company.db.name()))
            .expect_code(0);
        look(phase, "down", old, new);
        verified(&company);
    }
    // What a session wrote for its own tenant is that one's again.
    let rows = "SELECT count(*) FROM app.settings WHERE tenant_id = '00000000-0000-0000-0000-000000000002'";
    let before: i64 = company.db.one(rows);
    company.run(PLAN, &format!("rollback --to start --accept-exposure --confirm {}", company.db.name())).expect_code(0);
    company.run(PLAN, "apply plan.toml --yes").expect_code(0);
    assert_eq!((before, company.db.one::<i64>(rows)), (11, 11));
}
