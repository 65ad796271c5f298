//! The audit as Markdown, for a merge request or a wiki.

use std::fmt::Write as _;

use super::report::Report;
use crate::{hazards::Hazard, report::quantity};

/// A table of the findings, then each class with its statements.
pub fn markdown(report: &Report) -> String {
    let tables = quantity::counted(report.tables as u64, "table", "tables");
    let findings = quantity::counted(report.sorted.open.len() as u64, "finding", "findings");
    let mut out = format!("# Isolation audit\n\n{findings} in {tables}.\n\n");
    // Writing to a String cannot fail.
    report.tenancy.told.iter().for_each(|told| {
        let _ = writeln!(out, "- {}", plain(told));
    });
    if !report.sorted.open.is_empty() {
        out.push_str("\n| Code | Severity | Object | What |\n|---|---|---|---|\n");
    }
    for Hazard { code, severity, object, what, .. } in &report.sorted.open {
        let _ = writeln!(out, "| {code} | {} | {} | {} |", severity.word(), cell(object), cell(what));
    }
    for group in report.sorted.open.chunk_by(|a, b| a.code == b.code) {
        let Some(first) = group.first() else { continue };
        let _ =
            write!(out, "\n## {} {}\n\nWhy: {}.\n\nWhat helps: {}.\n", first.code, first.title, first.why, first.fix);
        let fixes: Vec<&String> = group.iter().filter_map(|finding| finding.sql.as_ref()).collect();
        if !fixes.is_empty() {
            let text: String = fixes.iter().map(|fix| format!("{fix};\n")).collect();
            let _ = write!(out, "\n```sql\n{text}```\n");
        }
    }
    out.push_str("\n## Not looked for, waived\n\n");
    for (finding, waiver) in &report.sorted.waived {
        let _ = writeln!(
            out,
            "- waived until {}: {} {} ({})",
            waiver.expires,
            finding.code,
            plain(&finding.object),
            plain(&waiver.reason)
        );
    }
    report.loose().iter().for_each(|loose| {
        let _ = writeln!(out, "- waivers: {}", plain(loose));
    });
    for unmeasured in &report.unmeasured {
        let _ = writeln!(out, "- not looked for: {}: {}", unmeasured.codes.join(", "), unmeasured.why);
    }
    for (rule, why) in report.elsewhere() {
        let _ = writeln!(out, "- not looked for: {} {}: {why}", rule.code, rule.title);
    }
    out
}

fn cell(text: &str) -> String {
    plain(text).replace('|', "\\|")
}

/// In one line, and no markup: whoever may create a table chooses its name.
fn plain(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_markup() {
        assert_eq!(cell("a|b\n<script>&"), "a\\|b &lt;script&gt;&amp;");
    }
}
