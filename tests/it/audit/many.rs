//! A large catalogue, looked at by a role that may read nothing but the catalogue.

use std::time::{Duration, Instant};

use super::{audit, findings, server, told};
use crate::connections::{ask, execute};

const TABLES: usize = 2_000;

/// As asked for; on the slowest machine so far it is a tenth.
const BOUND: Duration = Duration::from_secs(30);

/// In pieces, since each table holds its locks until the end of its transaction.
const MAKE: &str = "
CREATE ROLE many_app LOGIN; CREATE ROLE many_auditor LOGIN;
CREATE SCHEMA many; GRANT USAGE ON SCHEMA many TO many_app;
CREATE TABLE many.tenants (id uuid PRIMARY KEY);
CREATE PROCEDURE make(up_to int) LANGUAGE plpgsql AS $$
DECLARE tenant text := 'tenant_id = (SELECT NULLIF(current_setting(''app.tenant_id'', true), '''')::uuid)';
BEGIN
  FOR n IN 1 .. up_to LOOP
    EXECUTE format('CREATE TABLE many.t%s (id bigint, tenant_id uuid NOT NULL REFERENCES many.tenants, a text, b numeric, PRIMARY KEY (id));
                    CREATE INDEX ON many.t%1$s (tenant_id, id)', n);
    EXECUTE format('CREATE POLICY tenant_isolation ON many.t%s USING (%s) WITH CHECK (%s);
                    CREATE POLICY tenant_floor ON many.t%1$s AS RESTRICTIVE USING (%2$s) WITH CHECK (%2$s);
                    ALTER TABLE many.t%1$s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
                    GRANT SELECT, INSERT, UPDATE, DELETE ON many.t%1$s TO many_app', n, tenant, tenant);
    IF n % 100 = 0 THEN COMMIT; END IF;
  END LOOP;
END $$;";

#[test]
fn two_thousand_tables_are_audited_by_a_role_that_only_reads_the_catalogue() {
    let server = server(&[]);
    let url = server.url("postgres");
    execute(&url, MAKE);
    execute(&url, &format!("CALL make({TABLES})"));
    execute(&url, "ALTER TABLE many.t1000 NO FORCE ROW LEVEL SECURITY; DROP POLICY tenant_isolation ON many.t2000");
    execute(
        &url,
        "REVOKE TEMPORARY ON DATABASE postgres FROM PUBLIC; ALTER ROLE many_auditor SET default_transaction_read_only = on",
    );
    let auditor = server.url_as("many_auditor", "postgres");
    let written = "SELECT pg_current_xact_id()::text::bigint";
    let before: i64 = ask(&url, written).unwrap();
    let from = Instant::now();
    let output = audit(&auditor, &["--format", "json"]).expect_code(3);
    let took = from.elapsed();
    println!("{TABLES} tables audited in {took:?}");
    let after: i64 = ask(&url, written).unwrap();
    assert_eq!(after, before + 1, "an audit takes no number of a transaction that writes");
    let found = findings(&output);
    let lines: Vec<(&str, &str)> =
        found.iter().map(|f| (f["code"].as_str().unwrap(), f["object"].as_str().unwrap())).collect();
    assert_eq!(lines, [("TM0503", "many.t2000"), ("TM0504", "many.t1000")], "{}", told(&found));
    let not_looked_for = output.json()["not_looked_for"].clone();
    // A query that failed would be told with the advice to try again.
    let asked = |one: &serde_json::Value| !one["advice"].as_str().is_some_and(|advice| advice.contains("try again"));
    assert!(not_looked_for.as_array().unwrap().iter().all(asked), "{output}");
    assert!(took < BOUND, "{took:?}");
}
