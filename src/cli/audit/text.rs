//! The audit for people.

use std::fmt::Write as _;

use super::report::Report;
use crate::{hazards::Survey, report::quantity};

/// What was looked at, the findings by class, what is waived, what is loose, and what was not looked for.
pub fn text(report: &Report) -> String {
    let tables = quantity::counted(report.tables as u64, "table", "tables");
    let mut out = format!("Audit of {tables}\n");
    let line = |out: &mut String, text: &str| {
        out.push_str("  ");
        out.push_str(text);
        out.push('\n');
    };
    report.tenancy.told.iter().for_each(|told| line(&mut out, told));
    out.push('\n');
    // In the survey's own form, which `plan` and `init` have as well.
    let survey = Survey { hazards: report.sorted.open.clone(), unmeasured: report.unmeasured.clone() };
    for text in survey.lines() {
        out.push_str(&text);
        out.push('\n');
    }
    for (finding, waiver) in &report.sorted.waived {
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "waived until {}: {} {}: {} ({})",
            waiver.expires, finding.code, finding.object, finding.what, waiver.reason
        );
    }
    report.loose().iter().for_each(|loose| {
        let _ = writeln!(out, "waivers: {loose}");
    });
    for (rule, why) in report.elsewhere() {
        let _ = writeln!(out, "not looked for: {} {}: {why}", rule.code, rule.title);
    }
    let _ = match report.sorted.open.len() {
        0 => writeln!(out, "\nno findings"),
        n => writeln!(
            out,
            "\n{}; tenantmig explain CODE says more about each class",
            quantity::counted(n as u64, "finding", "findings")
        ),
    };
    out
}
