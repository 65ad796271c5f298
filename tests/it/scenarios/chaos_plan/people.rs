//! Scenarios 16 and 17: people with psql, who go around the middleware, or forget whose tenant they work in.

use std::time::Instant;

use crate::harness::{Db, Tool};
use crate::scenarios::{
    chaos_plan::client::{Client, OWN, TABLES, VICTIM, code},
    firm::{FUNDS, Firm},
    recovery::recovered,
};

/// A role of the firm's people, by what it is created with; it may read.
fn person(db: &Db, name: &str, attributes: &str) -> String {
    let role = db.role(name, attributes);
    db.sql(&format!("GRANT SELECT ON organizations, funds, portfoliocompanies, investments TO {role}"));
    role
}

/// The owner of the tables, who is no superuser and bypasses nothing.
fn owner(firm: &Firm) -> String {
    let owner = firm.db().role("owner", "LOGIN");
    let give = |table: &str| firm.sql(&format!("ALTER TABLE {table} OWNER TO {owner}"));
    TABLES.into_iter().for_each(give);
    owner
}

/// What the real psql prints for the document's statements.
fn psql(firm: &Firm, role: &str, script: &str) -> String {
    let psql = Tool::without_database().program("psql");
    let out =
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &firm.db().url_as(role), "-c", script]).run();
    if out.code == 0 { out.stdout } else { out.stderr }
}

/// The codes of an audit that takes this role for the application's.
fn audited(firm: &Firm, role: &str) -> Vec<String> {
    let out = firm.tool().args(["audit", "--app-role", role, "--format", "json"]).run();
    let all = out.json()["findings"].as_array().unwrap().clone();
    all.into_iter().map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn scenario_16_direct_database_access() {
    let firm = Firm::new("chaos_16");
    let (db, owner) = (firm.db(), owner(&firm));
    let (reader, admin) = (person(db, "reader", "LOGIN"), person(db, "admin", "LOGIN BYPASSRLS"));
    let _ = firm.applying().run().expect_code(0);
    let rows = |role: &str| psql(&firm, role, "SELECT count(*) FROM funds").trim().to_owned();
    // The document's statement by the real psql: nothing for the application's role, for one that may only read, and, under
    // FORCE, for the owner.
    for role in [firm.app(), &reader, &owner] {
        assert_eq!(psql(&firm, role, "SELECT * FROM funds"), "", "{role}");
    }
    // Everything for whom no policy binds, which is what such a role is for.
    assert_eq!((rows(&admin), rows("postgres")), (FUNDS.to_string(), FUNDS.to_string()));
    // Whoever may read may say who they are: the context is no password. It is that organization's rows then.
    let third: i64 = firm.one(&format!("SELECT count(*) FROM funds WHERE organization_id = '{VICTIM}'"));
    let script = format!("BEGIN; SET LOCAL app.current_org = '{VICTIM}'; SELECT count(*) FROM funds");
    assert_eq!(psql(&firm, &reader, &script).trim(), third.to_string());
    assert!(psql(&firm, &reader, &format!("{script}; UPDATE funds SET name = 'x'")).contains("permission denied"));
    // Roles are not settings: none of them becomes another.
    for (role, script) in [
        (firm.app(), format!("SET ROLE {admin}")),
        (&reader, format!("SET ROLE {owner}")),
        (firm.app(), "SET row_security = off; SELECT * FROM funds".to_owned()),
    ] {
        assert!(psql(&firm, role, &script).contains("ERROR"), "{role}: {script}");
    }
    // The detection query finds who is there by another way than the application's, by the name that each session gives itself.
    let visitor = Client::of(&firm.app_url());
    assert_eq!(visitor.funds(), Ok(0));
    let detection = format!(
        "SELECT count(*) FROM (SELECT
          usename,
          application_name,
          client_addr,
          state,
          query
        FROM pg_stat_activity
        WHERE usename = '{}'
        AND application_name NOT LIKE 'updog-api%'
        AND query NOT LIKE 'SET LOCAL%') AS detection",
        firm.app()
    );
    assert_eq!(firm.one::<i64>(&detection), 1);
    visitor.run("SET application_name = 'updog-api, honestly'").unwrap();
    assert_eq!(firm.one::<i64>(&detection), 0, "a name is whatever a session says");
    // The audit says who passes over policies; and it says so of a way there.
    assert!(audited(&firm, &admin).contains(&"TM0505".to_owned()));
    let bypasses = ["TM0505", "TM0506", "TM0507"].map(str::to_owned);
    let of_app = audited(&firm, firm.app());
    assert!(!bypasses.iter().any(|code| of_app.contains(code)), "{of_app:?}");
    firm.sql(&format!("GRANT {admin} TO {0}; GRANT {owner} TO {0}", firm.app()));
    let of_app = audited(&firm, firm.app());
    assert!(bypasses[1..].iter().all(|code| of_app.contains(code)), "{of_app:?}");
    assert_eq!(
        psql(&firm, firm.app(), &format!("SET ROLE {admin}; SELECT count(*) FROM funds")).trim(),
        FUNDS.to_string()
    );
    // An owner is bound as long as it wants to be. Who undoes FORCE is found by the next `verify`.
    assert_eq!(
        psql(&firm, &owner, "ALTER TABLE funds NO FORCE ROW LEVEL SECURITY; SELECT count(*) FROM funds").trim(),
        FUNDS.to_string()
    );
    let _ = firm.run("verify").expect_code(3).stdout_has("force");
}

/// The document's function, which it does not show: the tenant by its short name, for the session.
const SWITCH: &str = "
    CREATE FUNCTION switch_tenant(tenant text) RETURNS text LANGUAGE sql
        AS $$ SELECT set_config('app.current_org', (SELECT id::text FROM organizations WHERE slug = tenant), false) $$;
    UPDATE funds SET vintage_year = 2015 WHERE id % 2 = 0;";

/// The document's careless statement.
const CARELESS: &str = "UPDATE funds SET status = 'archived' WHERE vintage_year < 2020";

#[test]
fn scenario_17_wrong_tenant_context() {
    let firm = Firm::new("chaos_17");
    firm.sql(SWITCH);
    let (owner, ops) = (owner(&firm), firm.db().role("ops", "LOGIN BYPASSRLS"));
    firm.sql(&format!(
        "GRANT SELECT ON organizations, brake TO {owner}, {ops}; GRANT SELECT, UPDATE ON funds TO {ops}"
    ));
    let _ = firm.applying().run().expect_code(0);
    let (archived, before) = ("SELECT count(*) FROM funds WHERE status = 'archived'", firm.checksum());
    let of = |org: &str, what: &str| {
        firm.one::<i64>(&format!("SELECT count(*) FROM funds WHERE organization_id = '{org}' AND {what}"))
    };
    let old = of(OWN, "vintage_year < 2020");
    // An admin, who owns the tables; FORCE binds owners. The tenant of before is still set.
    let admin = Client::of(&firm.db().url_as(&owner));
    admin.run("SELECT switch_tenant('tech-ventures')").unwrap();
    assert_eq!(admin.written(CARELESS), Ok(old as u64));
    assert_eq!((firm.one::<i64>(archived), of(OWN, "status = 'archived'")), (old, old), "others were touched");
    // Without any WHERE at all it is that tenant's rows too, and they stay that tenant's.
    let all = of(OWN, "true");
    assert_eq!(admin.written("BEGIN; UPDATE funds SET name = name"), Ok(all as u64));
    admin.run("ROLLBACK").unwrap();
    assert_eq!(code(admin.run(&format!("UPDATE funds SET organization_id = '{VICTIM}'"))), "42501");
    admin.run("BEGIN; DELETE FROM investments; DELETE FROM portfoliocompanies").unwrap();
    assert_eq!(admin.count("SELECT count(*) FROM portfoliocompanies"), Ok(0));
    admin.run("ROLLBACK").unwrap();
    // Without a tenant it is nobody's.
    admin.run("RESET app.current_org").unwrap();
    assert_eq!(admin.written(CARELESS), Ok(0));
    // The document's recovery, in the same context: by the ids, and nobody else's are reached by a mistake in them.
    let begun = Instant::now();
    admin.run("SELECT switch_tenant('tech-ventures')").unwrap();
    let back = "UPDATE funds SET status = 'active' WHERE id IN (SELECT id FROM funds WHERE status = 'archived')";
    assert_eq!(admin.written(back), Ok(old as u64));
    recovered("scenario 17", begun.elapsed());
    assert_eq!(firm.checksum(), before);
    // What RLS does not do: a role that bypasses touches every tenant's, whatever the context says.
    let admin = Client::of(&firm.db().url_as(&ops));
    admin.run("SELECT switch_tenant('tech-ventures')").unwrap();
    let everybodys: i64 = firm.one("SELECT count(*) FROM funds WHERE vintage_year < 2020");
    assert!(everybodys > 2 * old);
    assert_eq!(admin.written(CARELESS), Ok(everybodys as u64));
    assert!(of(VICTIM, "status = 'archived'") > 0);
    assert!(audited(&firm, &ops).contains(&"TM0505".to_owned()));
}
