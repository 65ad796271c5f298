//! Scenarios 7 and 14: what stands in the context is an attacker's. The token's signature is the application's to check, and so
//! is a parameter in place of pasted text; here the application did neither, and the database is all there is.

use crate::scenarios::{
    chaos_plan::client::{Client, OWN, TABLES, VICTIM, code},
    firm::{FUNDS, Firm},
};

/// One megabyte.
const OVERLONG_BYTES: usize = 1 << 20;
/// Longer values are tried on one table.
const LONG_BYTES: usize = 1000;

/// Values that are no organization: each is nobody's context, or no uuid at all.
const NOBODYS: &[&str] = &[
    // The document's, and what a template, a script or a database without a value leaves.
    "victim-org-id",
    "'; DROP TABLE funds; --",
    "undefined",
    "null",
    "NULL",
    "None",
    "NaN",
    "[object Object]",
    "{}",
    "",
    // Other types.
    "0",
    "1",
    "-1",
    "42",
    "1e9",
    "true",
    "infinity",
    "2025-11-11",
    "{\"orgId\": 1}",
    "\\x61",
    "(1,2)",
    "%",
    "*",
    "_",
    // Well-formed, and nobody's; the document's own fail-closed value among them.
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    // SQL, quotes and escapes.
    "' OR true --",
    "' OR '1'='1",
    "x') OR (true",
    "\"",
    "''",
    "\\",
    "\\'",
    "$$",
    "/*",
    "--",
    ";",
    "E'\\\\000'",
    "\\0",
    "\\x00",
    "%00",
    "\\u0000",
    "(SELECT id FROM organizations LIMIT 1)",
    "current_setting('app.current_org')",
    // Unicode: full-width digits, a hyphen that is none, a right-to-left mark, an emoji, a combining mark.
    "ａ1111111-1111-1111-1111-111111111111",
    "a1111111–1111–1111–1111–111111111111",
    "\u{200f}",
    "🏦",
    "a\u{301}",
    "\u{feff}",
];

/// Those, and ones that are made.
fn garbage() -> Vec<String> {
    let mut all: Vec<String> = NOBODYS.iter().map(|value| (*value).to_owned()).collect();
    // A real tenant, and more: nothing of what is around it is overlooked, and no list is a list.
    let around =
        ["{} ", " {}", "{}\n", "{}'", "{};", "{},VICTIM", "{} OR true", "{}0", "\t{}", "{}--", "{}/**/", "{}\u{200b}"];
    all.extend(around.map(|text| text.replace("{}", OWN).replace("VICTIM", VICTIM)));
    all.push(OWN[..35].to_owned());
    all.push("a".repeat(OVERLONG_BYTES));
    all.push(OWN.repeat(OVERLONG_BYTES / OWN.len()));
    all.push("'".repeat(OVERLONG_BYTES));
    all.push("🏦".repeat(OVERLONG_BYTES / 4));
    all
}

/// The first characters of a value, for messages.
fn short(value: &str) -> String {
    format!("{:?}, {} bytes", value.chars().take(50).collect::<String>(), value.len())
}

/// What a context that is nobody's may come to: no row, or the server's word that it is no uuid.
#[track_caller]
fn closed(answer: Result<i64, String>, what: &str) {
    match answer {
        Ok(0) => {}
        Err(error) if error.starts_with("22P02") => {}
        other => panic!("{what}: {other:?}"),
    }
}

/// Every command in the context that `set` makes, each in a transaction of its own.
#[track_caller]
fn nobody(client: &Client, value: &str, set: &dyn Fn(&Client) -> Result<(), String>) {
    let what = &short(value);
    let tried = |ask: &str| {
        client.run("BEGIN").unwrap();
        set(client).unwrap_or_else(|error| panic!("{what}: {error}"));
        let answer = client.written(ask).map(|rows| i64::try_from(rows).unwrap());
        client.run("ROLLBACK").unwrap();
        answer
    };
    // The server logs each refusal with the value in it.
    let tables = if value.len() > LONG_BYTES { &TABLES[..1] } else { &TABLES };
    for table in tables {
        closed(tried(&format!("SELECT id FROM {table}")), what);
        closed(tried(&format!("UPDATE {table} SET created_at = now()")), what);
    }
    closed(tried("DELETE FROM investments"), what);
    let insert = format!("INSERT INTO funds (manager, name, organization_id) VALUES ('x', 'x', '{VICTIM}')");
    assert!(["42501", "22P02"].contains(&code(tried(&insert)).as_str()), "{what}: {:?}", tried(&insert));
}

fn literal(value: &str) -> String {
    format!("SET LOCAL app.current_org = '{}'", value.replace('\'', "''"))
}

#[test]
fn scenario_7_invalid_organization_in_the_token() {
    let firm = Firm::new("chaos_7");
    let _ = firm.applying().run().expect_code(0);
    let (before, all) = (firm.checksum(), garbage());
    let client = Client::of(&firm.app_url());
    let [own, victim] = [OWN, VICTIM]
        .map(|org| firm.one::<i64>(&format!("SELECT count(*) FROM funds WHERE organization_id = '{org}'")));
    for value in &all {
        // As a parameter, and as a literal that is rightly quoted.
        nobody(&client, value, &|client| client.tenant(value));
        nobody(&client, value, &|client| client.run(&literal(value)).map(|_| ()));
        // The session is none the worse: the next request gets its own rows.
        assert_eq!(client.tried(OWN, Client::funds), Ok(own), "after {}", short(value));
    }
    // Not for the transaction but for the session, and at its start.
    for value in ["victim-org-id", "' OR true --"] {
        let stale = Client::of(&firm.app_url());
        stale.run(&format!("SET app.current_org = '{}'", value.replace('\'', "''"))).unwrap();
        assert_eq!(code(stale.funds()), "22P02");
    }
    // Literals of other types are text by the time that they are read; two values are one too many.
    for (set, told) in [
        ("= 42", "22P02"),
        ("= true", "22P02"),
        ("= 4.2e1", "22P02"),
        ("TO victim", "22P02"),
        ("= 1, 2", "22023"),
        ("= NULL", "42601"),
    ] {
        let set = format!("SET LOCAL app.current_org {set}; SELECT count(*) FROM funds");
        assert_eq!(code(client.run(&format!("BEGIN; {set}"))), told, "{set}");
        client.run("ROLLBACK").unwrap();
    }
    client.run("BEGIN; SET LOCAL app.current_org = DEFAULT").unwrap();
    assert_eq!(client.funds(), Ok(0));
    client.run("ROLLBACK").unwrap();
    // A zero byte is refused before anything is set.
    let zero = client.tried("a\0b", Client::funds);
    assert_eq!(code(zero), "22021");
    // Spellings that PostgreSQL takes for the same uuid are that organization: its rows, exactly.
    for same in [VICTIM.to_uppercase(), format!("{{{VICTIM}}}"), VICTIM.replace('-', "")] {
        assert_eq!(client.tried(&same, Client::funds), Ok(victim), "{same}");
    }
    assert_eq!(firm.checksum(), before, "a context that is nobody's wrote something");
    eprintln!("scenario 7: {} values, each as a parameter and as a literal, 8 statements each: no row", all.len());
}

/// What an attacker who can paste SQL into the request tries next, each on its own; none of it is allowed to the application.
const ATTACKS: &[(&str, &str)] = &[
    ("DROP TABLE funds", "42501"),
    ("ALTER TABLE funds DISABLE ROW LEVEL SECURITY", "42501"),
    ("ALTER TABLE funds NO FORCE ROW LEVEL SECURITY", "42501"),
    ("ALTER TABLE funds OWNER TO CURRENT_USER", "42501"),
    ("DROP POLICY tenant_isolation ON funds", "42501"),
    ("ALTER POLICY tenant_isolation ON funds USING (true)", "42501"),
    ("CREATE POLICY mine ON funds USING (true)", "42501"),
    ("CREATE TRIGGER mine BEFORE UPDATE ON funds FOR EACH ROW EXECUTE FUNCTION touch()", "42501"),
    ("CREATE RULE mine AS ON SELECT TO funds DO INSTEAD SELECT 1", "42501"),
    ("SET session_replication_role = replica", "42501"),
    ("SET ROLE postgres", "42501"),
    ("SET SESSION AUTHORIZATION postgres", "42501"),
    ("ALTER ROLE CURRENT_USER BYPASSRLS", "42501"),
    ("ALTER ROLE CURRENT_USER SUPERUSER", "42501"),
    ("GRANT postgres TO CURRENT_USER", "42501"),
    ("CREATE ROLE mine BYPASSRLS", "42501"),
    ("ALTER SYSTEM SET row_security = off", "25001"),
    ("ALTER DATABASE DB SET app.current_org = 'x'", "42501"),
    ("TRUNCATE funds", "42501"),
    ("COPY funds TO PROGRAM 'cat'", "42501"),
    ("COPY funds FROM '/etc/hostname'", "42501"),
    ("SELECT pg_read_file('PG_VERSION')", "42501"),
    ("UPDATE pg_class SET relrowsecurity = false", "42501"),
    ("DELETE FROM pg_policy", "42501"),
    ("SELECT * FROM pg_authid", "42501"),
    ("SELECT * FROM pg_statistic", "42501"),
    ("LOAD 'plpgsql_check'", "42501"),
    // Allowed, and not what it seems: the policies are not off, the statement is refused.
    ("SET row_security = off; SELECT * FROM funds", "42501"),
    ("SELECT set_config('row_security', 'off', false); SELECT * FROM funds", "42501"),
];

/// Functions of the attacker's own, of no cost, in a condition: what they are shown.
const LEAKY: &str = "
    CREATE TEMPORARY TABLE shown (manager text);
    CREATE FUNCTION pg_temp.show(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$
    BEGIN INSERT INTO shown VALUES ($1); RETURN true; END $$;";

#[test]
fn scenario_14_sql_injection() {
    let firm = Firm::new("chaos_14");
    let _ = firm.applying().run().expect_code(0);
    let before = firm.checksum();
    let policies: String = firm.one("SELECT string_agg(p::text, ' ' ORDER BY oid) FROM pg_policy p");
    // Rightly, as a parameter: it is a value, and no organization's.
    let client = Client::of(&firm.app_url());
    let malicious = "'; DROP TABLE funds; --";
    assert_eq!(code(client.tried(malicious, Client::funds)), "22P02");
    // Wrongly, as the document has it: pasted into the text. Now the attacker has the application's session, and no more than
    // the application may do: that is what the role, the owner and FORCE are for.
    let paste = |injected: &str| {
        Client::of(&firm.app_url()).run(&format!("BEGIN; SET LOCAL app.current_org = '{injected}'; COMMIT"))
    };
    assert_eq!(code(paste(malicious)), "42501");
    for (attack, told) in ATTACKS {
        let attack = attack.replace("DB", firm.name());
        let refused = paste(&format!("{OWN}'; {attack}; --"));
        assert_eq!(code(refused), *told, "{attack}");
    }
    // A function of the attacker's in the condition is asked about the tenant's own rows only: the policy comes first.
    client.run(LEAKY).unwrap();
    let third = client.tried(OWN, |client| {
        client.run("SELECT FROM funds WHERE pg_temp.show(manager)")?;
        assert_eq!(client.text("SELECT string_agg(DISTINCT manager, ' ') FROM shown")?, "tech-ventures");
        client.count("SELECT count(*) FROM shown")
    });
    assert_eq!(third, client.tried(OWN, Client::funds));
    assert_eq!(third.map(|third| third < FUNDS && third > 0), Ok(true));
    // COPY reads through the policy, a view and a function of one's own read as oneself.
    assert_eq!(client.written("CREATE TEMPORARY VIEW mine AS SELECT * FROM funds; SELECT * FROM mine"), Ok(0));
    let inline = "DO $$ BEGIN ASSERT NOT EXISTS (SELECT FROM funds); EXECUTE 'SELECT FROM funds'; END $$";
    client.run(inline).unwrap();
    // What the database cannot refuse: the attacker says to be another organization. The context is what the application's
    // session says, so whoever can run SQL there can choose it; then it is exactly that one's rows.
    let answer = Client::of(&firm.app_url());
    let chosen = format!("BEGIN; SET LOCAL app.current_org = '{OWN}'; SET LOCAL app.current_org = '{VICTIM}'; --'");
    answer.run(&chosen).unwrap();
    assert_eq!(answer.text("SELECT string_agg(DISTINCT manager, ' ') FROM funds"), Ok("green-capital".to_owned()));
    drop(answer);
    // All is as it was.
    assert_eq!(firm.checksum(), before);
    assert_eq!(firm.one::<String>("SELECT string_agg(p::text, ' ' ORDER BY oid) FROM pg_policy p"), policies);
    assert_eq!(firm.isolation(), (3, true));
    firm.verified();
    // The control: who owns the tables may do what the application may not, so an application must not be their owner.
    let app = firm.app();
    firm.sql(&format!("ALTER TABLE funds OWNER TO {app}"));
    assert!(paste(&format!("{OWN}'; ALTER TABLE funds DISABLE ROW LEVEL SECURITY; COMMIT; --")).is_ok());
    assert_eq!(client.funds(), Ok(FUNDS));
    let audit = firm.tool().args(["audit", "--app-role", app]).run().expect_code(3);
    let _ = audit.stdout_has("TM0504").stdout_has("TM0502");
}
