//! Waivers, forms of the report, exit codes and explanations.

use serde_json::Value;
use tenantmig::audit::rules;

use super::{audit, codes, findings, told};
use crate::harness::{Db, Tool, database};

/// Two tables without protection, and one publication.
fn open(name: &str) -> (Db, String) {
    let db = database(name);
    let app = db.role("app", "LOGIN");
    db.sql(&format!(
        "CREATE SCHEMA app; GRANT USAGE ON SCHEMA app TO {app};
         CREATE TABLE app.a (id bigint PRIMARY KEY, tenant_id uuid NOT NULL); CREATE INDEX ON app.a (tenant_id);
         CREATE TABLE app.b (LIKE app.a INCLUDING ALL); GRANT SELECT ON app.a, app.b TO {app}"
    ));
    (db, app)
}

fn waivers(lines: &[(&str, &str)]) -> String {
    lines
        .iter()
        .map(|(object, expires)| {
            format!("[[waiver]]\ncode = \"TM0501\"\nobject = \"{object}\"\nreason = \"moves out in spring\"\nexpires = {expires}\n")
        })
        .collect()
}

#[test]
fn a_waiver_holds_until_its_day_and_loose_ends_are_told() {
    let (db, _) = open("audit_waivers");
    let run = |lines: &[(&str, &str)], form: &str| {
        let tool = Tool::new(&db);
        let file = tool.file("audit.toml", &waivers(lines)).display().to_string();
        tool.args(["audit", "--waivers", &file, "--format", form]).run()
    };
    let output = run(&[("app.a", "2999-01-31")], "json").expect_code(3);
    let found = findings(&output);
    assert!(found.len() == 1 && found[0]["object"] == "app.b", "{}", told(&found));
    assert_eq!(output.json()["waived"][0]["waiver"]["reason"], "moves out in spring", "{output}");
    let loose = run(&[("app.*", "2020-01-31"), ("app.c", "2999-01-31")], "text").expect_code(3);
    loose
        .stdout_has("expired on 2020-01-31")
        .stdout_has("app.c waives nothing")
        .stdout_has("app.a: has")
        .stdout_has("app.b: has");
    run(&[("app.*", "soon")], "text").expect_code(64);
    let wrong = run(&[("app.*", "2020-01-31\nuntil = 1")], "text").expect_code(64);
    assert!(wrong.stderr.contains("until"), "{wrong}");
}

#[test]
fn every_form_names_what_was_found() {
    let (db, _) = open("audit_forms");
    let run = |form: &str| audit(&db.url(), &["--format", form]).expect_code(3).stdout;
    let text = run("text");
    assert!(
        text.contains("the tenant column is tenant_id: 2 tables have it") && text.contains("fix: CREATE POLICY"),
        "{text}"
    );
    let lines: Vec<Value> = run("ndjson").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.last().unwrap()["kind"], "end");
    let sarif: Value = serde_json::from_str(&run("sarif")).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    let run_of = &sarif["runs"][0];
    let known: Vec<&str> =
        run_of["tool"]["driver"]["rules"].as_array().unwrap().iter().map(|rule| rule["id"].as_str().unwrap()).collect();
    let results = run_of["results"].as_array().unwrap();
    assert!(results.iter().all(|result| known.contains(&result["ruleId"].as_str().unwrap())), "{sarif:#}");
    let place = &results[0]["locations"][0]["logicalLocations"][0]["fullyQualifiedName"];
    assert!(place == "app.a" && results[0]["level"] == "error", "{sarif:#}");
    let junit = run("junit");
    for part in [
        "<testsuite name=\"isolation\"",
        "failures=\"",
        "TM0501 a tenant&apos;s table",
        "<skipped message=\"it lives in sessions",
    ] {
        assert!(junit.contains(part) || junit.contains(&part.replace("&apos;", "'")), "{part}:\n{junit}");
    }
    let markdown = run("markdown");
    assert!(
        markdown.contains("| TM0501 | critical | app.a |") && markdown.contains("```sql\nCREATE POLICY"),
        "{markdown}"
    );
    // Other commands have no such form.
    Tool::new(&db).args(["status", "--format", "sarif"]).run().expect_code(64);
}

#[test]
fn roles_and_tenancy_are_inferred_or_asked_for() {
    let (db, app) = open("audit_roles");
    let found = audit(&db.url(), &["--format", "json"]).expect_code(3);
    assert_eq!(found.json()["tenancy"]["roles"], serde_json::json!([app]), "{found}");
    assert_eq!(codes(&findings(&found)).into_iter().collect::<Vec<_>>(), ["TM0501"], "{found}");
    db.sql("DROP TABLE app.a, app.b; CREATE TABLE app.c (id int)");
    let nothing = audit(&db.url(), &[]).expect_code(4);
    assert!(nothing.stderr.contains("--column"), "{nothing}");
    let clean = audit(&db.url(), &["--column", "tenant_id", "--format", "json"]);
    assert!(findings(&clean).is_empty(), "{clean}");
}

#[test]
fn every_code_is_explained() {
    let explain = |arguments: &[&str]| Tool::without_database().args(["explain"]).args(arguments).run();
    let all = explain(&[]).expect_code(0);
    for rule in rules() {
        assert!(all.stdout.contains(rule.code), "{all}");
    }
    explain(&["TM0501"]).expect_code(0).stdout_has("whoever may read the table reads every tenant's rows");
    explain(&["tm0425"]).expect_code(0).stdout_has("TRUNCATE empties the table");
    explain(&["TM0520"]).expect_code(0).stdout_has("audit does not look for it");
    explain(&["TM0103"]).expect_code(0).stdout_has("for example:").stdout_has("told by: validate, plan and apply");
    explain(&["TM0307"]).expect_code(0).stdout_has("GRANT app_rw TO deploy");
    explain(&["TM9999"]).expect_code(64);
}
