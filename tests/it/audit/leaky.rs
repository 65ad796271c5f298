//! A database with every class that can be made: the audit names each, and its own statements silence it.

use std::collections::BTreeSet;

use tenantmig::audit::{Look, Rule, rules};
use tokio_postgres::SimpleQueryMessage;

use super::{OF_THE_VERSION, ROLES, SCHEMA, audit, codes, findings, server, told};
use crate::connections::execute;
use crate::harness::{block_on, connect};

/// Only statements of the application show it, and only a release of the application mends it.
const OF_THE_APPLICATION: &str = "TM0543";

/// What the database shows: every class but those that are looked for elsewhere, or by a plan's own queries.
fn shown() -> BTreeSet<&'static str> {
    let shows = |rule: &&Rule| !matches!(rule.look, Look::Elsewhere(_) | Look::Probes(_));
    let rules = rules().into_iter().filter(shows).map(|rule| rule.code);
    rules.filter(|code| !OF_THE_VERSION.contains(code)).collect()
}

/// A COPY as the application runs it: refused, and in the statistics all the same where the table has no row-level security.
fn copy(url: &str) {
    use futures_util::SinkExt as _;
    let url = url.to_owned();
    block_on(async move {
        let app = connect(&url).await;
        let sink = app.copy_in::<_, &'static [u8]>("COPY iso.t01 FROM STDIN").await.unwrap();
        futures_util::pin_mut!(sink);
        sink.close().await.unwrap();
    });
}

/// One after the other, as somebody would by psql; several statements of one fix are one transaction.
fn mend(url: &str, statements: Vec<String>) {
    let url = url.to_owned();
    block_on(async move {
        let admin = connect(&url).await;
        for statement in statements {
            let answer: Result<Vec<SimpleQueryMessage>, _> = admin.simple_query(&statement).await;
            answer.unwrap_or_else(|error| panic!("{statement}\n{error:?}"));
        }
    });
}

#[test]
fn every_class_is_found_and_its_own_fix_silences_it() {
    let server = server(&[("shared_preload_libraries", "pg_stat_statements")]);
    let url = server.url("postgres");
    execute(&url, SCHEMA);
    execute(&url, "CREATE EXTENSION pg_stat_statements");
    copy(&server.url_as("iso_app", "postgres"));

    let arguments: Vec<&str> = ROLES.into_iter().chain(["--format", "json"]).collect();
    let output = audit(&url, &arguments).expect_code(3);
    let found = findings(&output);
    assert_eq!(codes(&found), shown(), "{}", told(&found));
    for finding in &found {
        let said = |key: &str| finding[key].as_str().is_some_and(|text| !text.is_empty());
        assert!(["object", "what", "why", "fix", "severity"].into_iter().all(said), "{finding}");
        let code = finding["code"].as_str().unwrap();
        assert!(said("sql") || code == OF_THE_APPLICATION, "no statement mends {finding}");
    }
    // Where the object is named after its class, that class is the one that is told of it.
    for number in
        ["01", "02", "03", "04", "10", "12", "13", "14", "15", "16", "17", "18", "19", "27", "28", "31", "32", "34"]
            .into_iter()
            .chain(["33", "35", "36", "44", "46", "48", "50", "52", "53", "54", "56", "58"])
    {
        let (code, names) =
            (format!("TM05{number}"), ["t", "v", "m", "f"].map(|letter| format!("iso.{letter}{number}")));
        let is = |finding: &&serde_json::Value| {
            finding["code"] == code.as_str()
                && names.iter().any(|name| finding["object"].as_str().unwrap().starts_with(name))
        };
        assert!(found.iter().any(|finding| is(&finding)), "{code} is not told of {names:?}:\n{}", told(&found));
    }
    let text = audit(&url, &ROLES).expect_code(3);
    for code in shown() {
        assert!(text.stdout.contains(&format!("{code} ")), "{code} is not in the text:\n{text}");
    }

    let fixes = |found: &[serde_json::Value]| -> Vec<String> {
        found.iter().filter_map(|finding| finding["sql"].as_str().map(str::to_owned)).collect()
    };
    mend(&url, fixes(&found));
    let left = findings(&audit(&url, &arguments));
    let left: Vec<_> = left.into_iter().filter(|finding| finding["code"] != OF_THE_APPLICATION).collect();
    assert!(left.is_empty(), "still there:\n{}", told(&left));
}
