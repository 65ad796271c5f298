//! The audit as SARIF 2.1.0, as code scanning services read it. A database has no files: a finding's place is a logical one.

use serde_json::{Value, json};

use super::report::Report;
use crate::{
    audit::{Look, rules},
    hazards::{Hazard, Severity},
};

/// One run, with every class as a rule; what is waived is there and suppressed.
pub fn sarif(report: &Report) -> Value {
    let known: Vec<Value> = rules()
        .iter()
        .filter(|rule| !matches!(rule.look, Look::Elsewhere(_)))
        .map(|rule| {
            json!({
                "id": rule.code,
                "shortDescription": { "text": rule.title },
                "fullDescription": { "text": rule.why },
                "help": { "text": rule.fix },
                "defaultConfiguration": { "level": level(rule.severity) },
                "properties": { "severity": rule.severity.word() },
            })
        })
        .collect();
    let mut results: Vec<Value> = report.sorted.open.iter().map(result).collect();
    results.extend(report.sorted.waived.iter().map(|(finding, waiver)| {
        let mut value = result(finding);
        value["suppressions"] =
            json!([{ "kind": "external", "status": "accepted", "justification": format!("{}, until {}", waiver.reason, waiver.expires) }]);
        value
    }));
    let notes: Vec<Value> = report
        .loose()
        .into_iter()
        .map(|text| json!({ "level": "warning", "message": { "text": text } }))
        .chain(report.unmeasured.iter().map(|unmeasured| {
            let text = format!("not looked for: {}: {}", unmeasured.codes.join(", "), unmeasured.why);
            json!({ "level": "note", "message": { "text": text } })
        }))
        .chain(report.elsewhere().into_iter().map(|(rule, why)| {
            let text = format!("not looked for: {} {}: {why}", rule.code, rule.title);
            json!({ "level": "note", "message": { "text": text } })
        }))
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "tenantmig", "version": env!("CARGO_PKG_VERSION"), "rules": known } },
            "invocations": [{ "executionSuccessful": report.failed.is_empty(), "toolExecutionNotifications": notes }],
            "results": results,
        }],
    })
}

fn result(finding: &Hazard) -> Value {
    let Hazard { code, severity, object, what, evidence, sql, fix, .. } = finding;
    let mut text = format!("{object}: {what}");
    if let Some(evidence) = evidence {
        text.push_str(&format!(" ({evidence})"));
    }
    json!({
        "ruleId": code,
        "level": level(*severity),
        "message": { "text": text },
        "locations": [{ "logicalLocations": [{ "fullyQualifiedName": object, "kind": "object" }] }],
        "partialFingerprints": { "object/v1": format!("{code}:{object}:{what}") },
        "properties": { "severity": severity.word(), "fix": sql.clone().unwrap_or_else(|| (*fix).to_owned()) },
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::Break | Severity::High => "error",
        Severity::Slow | Severity::Medium => "warning",
        Severity::Low => "note",
    }
}
