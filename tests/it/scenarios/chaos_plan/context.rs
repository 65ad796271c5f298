//! Scenarios 6 and 8: the context is not there, because a request went around the middleware, or because its transaction failed.

use std::time::Instant;

use crate::harness::{Output, Pooler};
use crate::scenarios::{
    chaos_plan::client::{Client, OWN, TABLES, VICTIM, code},
    firm::{FUNDS, Firm},
    recovery::recovered,
};
use crate::scene::with_plan;

/// `verify`, which asks by SET ROLE and over a connection of the application's own.
fn verify(firm: &Firm) -> Output {
    firm.tool().env("TENANTMIG_APP_URL", firm.app_url()).args(["verify"]).run()
}

/// The middleware's bug, in the document's statement and in others: every one gets nothing, and writes nothing.
#[track_caller]
fn nothing_without_a_context(client: &Client) {
    for table in TABLES {
        assert_eq!(client.count(&format!("SELECT count(*) FROM {table}")), Ok(0), "{table}");
        assert_eq!(client.written(&format!("UPDATE {table} SET created_at = now()")), Ok(0), "{table}");
    }
    let joined =
        "SELECT count(*) FROM organizations o LEFT JOIN funds f ON f.organization_id = o.id WHERE f.id IS NOT NULL";
    assert_eq!(client.count(joined), Ok(0));
    assert_eq!(client.written("DELETE FROM investments"), Ok(0));
    // Neither by a key that is known nor under somebody's name.
    assert_eq!(client.count("SELECT count(*) FROM funds WHERE id = 1"), Ok(0));
    let insert = "INSERT INTO funds (manager, name) VALUES ('tech-ventures', 'nobody''s')";
    assert_eq!(code(client.written(insert)), "42501");
    let named =
        format!("INSERT INTO funds (manager, name, organization_id) VALUES ('tech-ventures', 'named', '{OWN}')");
    assert_eq!(code(client.written(&named)), "42501");
}

#[test]
fn scenario_6_context_not_set() {
    let firm = Firm::new("chaos_6");
    let unaware = Client::of(&firm.app_url());
    assert_eq!(unaware.funds(), Ok(FUNDS), "before the migration there is no context to be set");
    let _ = firm.applying().run().expect_code(0);
    let before = firm.checksum();
    // The session of before, and a fresh one, to which the setting is not even known.
    for client in [&unaware, &Client::of(&firm.app_url())] {
        nothing_without_a_context(client);
    }
    assert_eq!(firm.checksum(), before, "something was written without a context");
    let _ = verify(&firm).expect_code(0).stdout_has("0 failed").stdout_has("by its own login");
    // The negative control: a policy that is open where nobody says whose the request is. The same statement leaks, on a fresh
    // session at least, and `verify` says so.
    firm.sql("ALTER POLICY tenant_isolation ON funds USING (organization_id = coalesce(NULLIF(current_setting('app.current_org', true), '')::uuid, organization_id))");
    assert_eq!(Client::of(&firm.app_url()).funds(), Ok(FUNDS), "the check does not see a leak");
    let _ = verify(&firm).expect_code(3).stdout_has("P1 ");
    // The document's circuit breaker: the application's access is revoked. Its open sessions meet that with their next statement.
    let begun = Instant::now();
    let tables = TABLES.join(", ");
    firm.sql(&format!("REVOKE SELECT, INSERT, UPDATE, DELETE ON {tables} FROM {}", firm.app()));
    assert_eq!(code(unaware.funds()), "42501");
    recovered("scenario 6", begun.elapsed());
    // Mended, and open again.
    firm.sql("ALTER POLICY tenant_isolation ON funds USING (organization_id = (SELECT NULLIF(current_setting('app.current_org', true), '')::uuid))");
    firm.sql(&format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO {}", firm.app()));
    nothing_without_a_context(&unaware);
    let third: i64 = firm.one(&format!("SELECT count(*) FROM funds WHERE organization_id = '{OWN}'"));
    assert_eq!(unaware.tried(OWN, Client::funds), Ok(third));
    let _ = verify(&firm).expect_code(0).stdout_has("0 failed");
}

/// A phase before the policies: row-level security that hides nothing and notes who would see less.
const SHADOW: &str = r#"
[[phase]]
id   = "shadow"
step = [
    { kind = "shadow_log", table = "public.unaware" },
    { kind = "shadow_rls", table = "public.funds", log = "public.unaware" },
]
"#;

#[test]
fn scenario_6_the_bug_is_noted_before_it_hides_anything() {
    let firm = Firm::new("chaos_6_shadow");
    let (before, rls) = (firm.plan(), "[[phase]]\nid   = \"rls\"");
    let plan = before.replace(rls, &format!("{SHADOW}{rls}"));
    assert_ne!(plan, before);
    let _ = with_plan(firm.tool(), &plan).args(["--to", "shadow"]).run().expect_code(0);
    let client = Client::of(&firm.app_url());
    client.run("SET application_name = 'updog-api'").unwrap();
    // The document's statement, on its way around the middleware: it gets what it always got.
    assert_eq!(client.funds(), Ok(FUNDS));
    // A request with its context, which asks for its own.
    let own = format!("BEGIN; SET LOCAL app.current_org = '{OWN}'; SELECT count(*) FROM funds WHERE id = 2; COMMIT");
    assert_eq!(client.count(&own), Ok(1));
    let noted: String = firm
        .one("SELECT string_agg(concat_ws(' ', command, tenant, application, username, statement), '; ') FROM unaware WHERE command <> ''");
    assert_eq!(noted, format!("read missing updog-api {} SELECT count(*) FROM funds", firm.app()));
}

/// What each organization of the tests has, own first.
fn have(firm: &Firm) -> [i64; 2] {
    [OWN, VICTIM].map(|org| firm.one(&format!("SELECT count(*) FROM funds WHERE organization_id = '{org}'")))
}

#[test]
fn scenario_8_rolled_back_after_set_local() {
    let firm = Firm::new("chaos_8");
    let _ = firm.applying().run().expect_code(0);
    let ([own, victim], before) = (have(&firm), firm.checksum());
    let client = Client::of(&firm.app_url());
    // The route's error: what comes behind it in the transaction does not run at all, neither with the context nor without.
    for end in ["ROLLBACK", "COMMIT"] {
        client.run(&format!("BEGIN; SET LOCAL app.current_org = '{OWN}'")).unwrap();
        assert_eq!(client.funds(), Ok(own));
        assert_eq!(client.written("INSERT INTO funds (manager, name) VALUES ('tech-ventures', 'lost')"), Ok(1));
        assert_eq!(code(client.run("SELECT 1 / 0")), "22012");
        assert_eq!(code(client.funds()), "25P02");
        client.run(end).unwrap();
        // Without the middleware's care the next request finds an empty context and no row; with it, its own.
        let begun = Instant::now();
        assert_eq!((client.setting(), client.funds()), (String::new(), Ok(0)), "{end}");
        assert_eq!(client.tried(VICTIM, Client::funds), Ok(victim), "{end}");
        recovered("scenario 8", begun.elapsed());
    }
    // A savepoint keeps the context that stood when it was set: rolled back to, that is there again, and no other.
    client
        .run(&format!(
            "BEGIN; SET LOCAL app.current_org = '{OWN}'; SAVEPOINT s; SET LOCAL app.current_org = '{VICTIM}'"
        ))
        .unwrap();
    assert_eq!(client.funds(), Ok(victim));
    client.run("ROLLBACK TO s").unwrap();
    assert_eq!((client.setting(), client.funds()), (OWN.to_owned(), Ok(own)));
    client.run("ROLLBACK").unwrap();
    client.run(&format!("BEGIN; SAVEPOINT s; SET LOCAL app.current_org = '{OWN}'")).unwrap();
    client.run("ROLLBACK TO s").unwrap();
    assert_eq!((client.setting(), client.funds()), (String::new(), Ok(0)), "set behind the savepoint, gone with it");
    client.run(&format!("SAVEPOINT r; SET LOCAL app.current_org = '{OWN}'; RELEASE r")).unwrap();
    assert_eq!(client.funds(), Ok(own), "RELEASE keeps it");
    client.run("ROLLBACK").unwrap();
    // The block of an exception handler is a savepoint as well.
    let block = format!(
        "BEGIN; SET LOCAL app.current_org = '{OWN}';
         DO $$ BEGIN SET LOCAL app.current_org = '{VICTIM}'; PERFORM 1 / 0; EXCEPTION WHEN division_by_zero THEN NULL; END $$"
    );
    client.run(&block).unwrap();
    assert_eq!((client.setting(), client.funds()), (OWN.to_owned(), Ok(own)));
    client.run("ROLLBACK").unwrap();
    assert_eq!((client.funds(), firm.checksum()), (Ok(0), before), "what was rolled back is there");
}

/// The request dies with its client; the pool gives its server session to the next one.
#[test]
fn scenario_8_the_client_is_gone_in_the_middle_of_its_transaction() {
    let firm = Firm::new("chaos_8_gone");
    let _ = firm.applying().run().expect_code(0);
    let [own, victim] = have(&firm);
    let pooler = Pooler::start("transaction", "auth_user = postgres\ndefault_pool_size = 1");
    let url = pooler.url_as(firm.app(), firm.name());
    for failed in [false, true] {
        let client = Client::of(&url);
        client.run(&format!("BEGIN; SET LOCAL app.current_org = '{OWN}'; UPDATE funds SET name = 'half'")).unwrap();
        assert_eq!(client.funds(), Ok(own));
        if failed {
            assert_eq!(code(client.run("SELECT 1 / 0")), "22012");
        }
        drop(client);
        let next = Client::of(&url);
        assert_eq!((next.setting(), next.funds()), (String::new(), Ok(0)), "failed: {failed}");
        let seen = format!("BEGIN; SET LOCAL app.current_org = '{VICTIM}'; SELECT count(*) FROM funds; COMMIT");
        assert_eq!(next.count(&seen), Ok(victim));
    }
    assert_eq!(firm.one::<i64>("SELECT count(*) FROM funds WHERE name = 'half'"), 0);
}
