//! Scenario 15: an API key is valid, and the organization that the request claims is not the key's. Keys and claims are the
//! application's; this is what the database does when the application is fooled, and when it is not.

use std::time::Instant;

use crate::scenarios::{
    chaos_plan::client::{Client, OWN, TABLES, VICTIM, code},
    firm::{Firm, ORGANIZATIONS},
    recovery::recovered,
};

/// The keys as the application keeps them, which it cannot read but by asking for the organization of one.
const KEYS: &str = "
    CREATE TABLE api_keys (key text PRIMARY KEY, organization_id uuid NOT NULL REFERENCES organizations);
    INSERT INTO api_keys VALUES ('sk_live_abc123', 'a1111111-1111-1111-1111-111111111111');
    CREATE FUNCTION organization_of(api_key text) RETURNS uuid LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
        AS $$ SELECT organization_id FROM api_keys WHERE key = api_key $$;";

/// What the session sees of each table: how many rows, and whose.
#[track_caller]
fn seen(client: &Client) -> Vec<(i64, String)> {
    let whose = |table: &str| {
        let ids = format!("SELECT coalesce(string_agg(DISTINCT organization_id::text, ' '), '') FROM {table}");
        (client.count(&format!("SELECT count(*) FROM {table}")).unwrap(), client.text(&ids).unwrap())
    };
    TABLES.map(whose).to_vec()
}

/// What an organization has, as the superuser counts it.
fn has(firm: &Firm, org: &str) -> Vec<(i64, String)> {
    let count = |table: &str| firm.one(&format!("SELECT count(*) FROM {table} WHERE organization_id = '{org}'"));
    TABLES.map(|table| (count(table), org.to_owned())).to_vec()
}

/// The tenant that the key says, as the transaction's.
const BY_KEY: &str =
    "BEGIN; SELECT set_config('app.current_org', coalesce(organization_of('sk_live_abc123')::text, ''), true)";

#[test]
fn scenario_15_wrong_organization_for_a_valid_key() {
    let firm = Firm::new("chaos_15");
    firm.sql(KEYS);
    let _ = firm.applying().run().expect_code(0);
    let client = Client::of(&firm.app_url());
    // Not fooled: the organization comes from the key alone, whatever the header says.
    client.run(BY_KEY).unwrap();
    assert_eq!(seen(&client), has(&firm, OWN));
    client.run("ROLLBACK").unwrap();
    assert_eq!(code(client.run("SELECT * FROM api_keys")), "42501");
    // Fooled: the header's organization. It is exactly that organization's rows, and not one of any other, the key's own included.
    let fooled = format!("BEGIN; SET LOCAL app.current_org = '{VICTIM}'");
    client.run(&fooled).unwrap();
    assert_eq!(seen(&client), has(&firm, VICTIM));
    let others = format!("organization_id IN ('{OWN}', '{}')", ORGANIZATIONS[2]);
    for table in TABLES {
        assert_eq!(client.count(&format!("SELECT count(*) FROM {table} WHERE {others}")), Ok(0));
        assert_eq!(client.written(&format!("UPDATE {table} SET created_at = now() WHERE {others}")), Ok(0));
    }
    // Rows cannot be carried over to the attacker's organization, by no command.
    for theft in [
        format!("UPDATE funds SET organization_id = '{OWN}'"),
        format!("INSERT INTO funds (manager, name, organization_id) SELECT manager, name, '{OWN}' FROM funds"),
        format!(
            "INSERT INTO funds (id, manager, name) SELECT id, manager, name FROM funds LIMIT 1 ON CONFLICT (id) DO UPDATE SET organization_id = '{OWN}'"
        ),
    ] {
        assert_eq!(code(client.run(&theft)), "42501", "{theft}");
        client.run(&format!("ROLLBACK; {fooled}")).unwrap();
    }
    // Its traces: what it writes is the victim's, and no row says who it was. What the session said last is to be seen as long as
    // it lives, with the organization where it is text.
    assert_eq!(client.written("INSERT INTO funds (manager, name) VALUES ('green-capital', 'by the attacker')"), Ok(1));
    client.run("COMMIT").unwrap();
    let whose: String = firm.one("SELECT organization_id::text FROM funds WHERE name = 'by the attacker'");
    assert_eq!(whose, VICTIM);
    let last = || {
        firm.one::<String>(&format!(
            "SELECT query FROM pg_stat_activity WHERE usename = '{}' AND datname = current_database()",
            firm.app()
        ))
    };
    client.run(&fooled).unwrap();
    assert!(last().contains(VICTIM), "{}", last());
    client.run("ROLLBACK; BEGIN").unwrap();
    client.tenant(VICTIM).unwrap();
    assert!(last().contains("set_config") && !last().contains(VICTIM), "a parameter is not shown: {}", last());
    client.run("ROLLBACK").unwrap();
    // The document's recovery: the key is revoked, and the next transaction of the same session is nobody's.
    let begun = Instant::now();
    firm.sql("DELETE FROM api_keys WHERE key = 'sk_live_abc123'");
    client.run(BY_KEY).unwrap();
    assert_eq!(client.funds(), Ok(0));
    recovered("scenario 15", begun.elapsed());
    firm.verified();
}
