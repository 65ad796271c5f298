//! What an attacker would try because it looks harmless: each is told, and taken back it is silent.

use super::{audit, codes, findings, server, told};
use crate::{
    connections::execute,
    harness::{Output, cluster},
};

const SCHEMA: &str = "
    CREATE ROLE owner LOGIN; CREATE ROLE app LOGIN; CREATE ROLE above BYPASSRLS; CREATE ROLE web NOLOGIN;
    CREATE SCHEMA s AUTHORIZATION owner; SET ROLE owner;
    CREATE FUNCTION s.org() RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE AS $$ SELECT NULLIF(current_setting('app.org', true), '')::bigint $$;
    CREATE TABLE s.orgs (id bigint PRIMARY KEY); CREATE TABLE s.logins (who text PRIMARY KEY, org bigint);
    CREATE TABLE s.t (id bigint, org_id bigint NOT NULL REFERENCES s.orgs, PRIMARY KEY (org_id, id)) PARTITION BY LIST (org_id);
    CREATE TABLE s.t1 PARTITION OF s.t FOR VALUES IN (1); CREATE TABLE s.t2 PARTITION OF s.t DEFAULT;
    DO $$ DECLARE one text; BEGIN FOREACH one IN ARRAY ARRAY['t', 't1', 't2'] LOOP
      EXECUTE format('CREATE POLICY a ON s.%1$s USING (org_id = (SELECT s.org())) WITH CHECK (org_id = (SELECT s.org()));
        CREATE POLICY b ON s.%1$s AS RESTRICTIVE USING (org_id = (SELECT s.org())) WITH CHECK (org_id = (SELECT s.org()));
        ALTER TABLE s.%1$s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', one);
    END LOOP; END $$;
    GRANT USAGE ON SCHEMA s TO app, web; RESET ROLE;";

const APP: &str = "GRANT SELECT, INSERT, UPDATE, DELETE ON s.t TO app";

/// What is told after `sql`, which `back` takes away again.
#[track_caller]
fn check(url: &str, sql: &str, code: &str, object: &str, back: &str) -> Output {
    execute(url, sql);
    let output = audit(url, &["--format", "json"]).expect_code(3);
    let found = findings(&output);
    let is = |finding: &serde_json::Value| finding["code"] == code && finding["object"].as_str() == Some(object);
    assert!(found.iter().any(is), "{sql}: no {code} of {object}:\n{}", told(&found));
    execute(url, back);
    let left = findings(&audit(url, &["--format", "json"]));
    assert!(!codes(&left).contains(code), "{back}:\n{}", told(&left));
    output
}

#[test]
fn what_looks_harmless_is_told() {
    let server = server(&[]);
    let url = server.url("postgres");
    execute(&url, SCHEMA);
    execute(&url, APP);
    let found = findings(&audit(&url, &["--format", "json"]));
    assert!(found.is_empty(), "{}", told(&found));
    // The view's owner is bound by the table, and not by a partition whose protection is off, which nobody else may read.
    check(
        &url,
        "ALTER TABLE s.t2 DISABLE ROW LEVEL SECURITY; CREATE VIEW s.v AS SELECT * FROM s.t2; ALTER VIEW s.v OWNER TO owner; GRANT SELECT ON s.v TO app",
        "TM0527",
        "s.v",
        "ALTER TABLE s.t2 ENABLE ROW LEVEL SECURITY; DROP VIEW s.v",
    );
    check(
        &url,
        "ALTER TABLE s.t2 DISABLE ROW LEVEL SECURITY;
         CREATE FUNCTION s.f() RETURNS SETOF s.t2 LANGUAGE sql SECURITY DEFINER AS 'SELECT * FROM s.t2'; ALTER FUNCTION s.f() OWNER TO owner",
        "TM0529",
        "s.f()",
        "ALTER TABLE s.t2 ENABLE ROW LEVEL SECURITY; DROP FUNCTION s.f()",
    );
    let (gives, takes) = if cluster().binaries().major() < 16 {
        ("ALTER ROLE app CREATEROLE", "ALTER ROLE app NOCREATEROLE")
    } else {
        ("GRANT above TO app WITH ADMIN TRUE, INHERIT FALSE, SET FALSE", "REVOKE above FROM app")
    };
    check(&url, gives, "TM0506", "role app", takes);
    // A context function that finds a tenant where the session names none, or whose answer a table has.
    let function = |language: &str, body: &str| {
        format!("CREATE OR REPLACE FUNCTION s.org() RETURNS bigint LANGUAGE {language} STABLE AS $$ {body} $$")
    };
    let back = function("sql", "SELECT NULLIF(current_setting('app.org', true), '')::bigint");
    let first = "BEGIN IF NULLIF(current_setting('app.org', true), '') IS NULL THEN RETURN (SELECT id FROM s.orgs ORDER BY 1 LIMIT 1); END IF;
                 RETURN current_setting('app.org')::bigint; END";
    let number =
        "SELECT CASE WHEN current_setting('app.org', true) <> '' THEN current_setting('app.org')::bigint ELSE 1 END";
    let looked_up = "SELECT org FROM s.logins WHERE who = session_user";
    for (language, body) in [("plpgsql", first), ("sql", number), ("sql", looked_up)] {
        check(&url, &function(language, body), "TM0557", "function s.org()", &back);
    }
    // In canonical form that raises an error.
    let strict = "DECLARE tenant text := NULLIF(current_setting('app.org', true), ''); BEGIN
        IF tenant IS NULL THEN RAISE insufficient_privilege USING MESSAGE = 'app.org is not set'; END IF; RETURN tenant::bigint; END";
    execute(&url, &function("plpgsql", strict));
    let found = findings(&audit(&url, &["--format", "json"]));
    assert!(found.is_empty(), "{}", told(&found));
}

/// A plan's own policies on a column that is of a domain: the cast is the server's, and an index serves it.
#[test]
fn a_tenant_of_a_domain_is_canonical() {
    let server = server(&[]);
    let url = server.url("postgres");
    let read = "org_id = (SELECT NULLIF(current_setting('app.org', true), '')::bigint)";
    execute(
        &url,
        &format!(
            "CREATE ROLE owner; CREATE ROLE app LOGIN; CREATE SCHEMA s AUTHORIZATION owner; SET ROLE owner;
             CREATE DOMAIN s.positive AS bigint CHECK (VALUE > 0); CREATE DOMAIN s.tenant AS s.positive;
             CREATE TABLE s.t (id bigint, org_id s.tenant NOT NULL, PRIMARY KEY (org_id, id));
             CREATE POLICY a ON s.t USING ({read}) WITH CHECK ({read}); CREATE POLICY b ON s.t AS RESTRICTIVE USING ({read}) WITH CHECK ({read});
             ALTER TABLE s.t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; GRANT USAGE ON SCHEMA s TO app;
             GRANT SELECT, INSERT, UPDATE, DELETE ON s.t TO app; RESET ROLE"
        ),
    );
    let found = findings(&audit(&url, &["--format", "json"]));
    assert!(found.is_empty(), "{}", told(&found));
}

/// One role logs in, inherits nothing, and becomes by SET ROLE as whom it works: that role is the application's.
#[test]
fn an_application_that_takes_its_role_after_the_login() {
    let server = server(&[]);
    let url = server.url("postgres");
    execute(&url, SCHEMA);
    execute(&url, "CREATE ROLE gate LOGIN NOINHERIT; GRANT web TO gate; GRANT SELECT ON s.t TO web");
    let output = check(
        &url,
        "CREATE VIEW s.v AS SELECT * FROM s.t; GRANT SELECT ON s.v TO web",
        "TM0527",
        "s.v",
        "DROP VIEW s.v",
    );
    assert_eq!(output.json()["tenancy"]["roles"], serde_json::json!(["web"]), "{output}");
}
