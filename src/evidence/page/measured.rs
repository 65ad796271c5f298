//! What was measured on the database while the page was made, each part optional: isolation, deeds and gates, audit, latency.

use maud::{Markup, html};

use super::parts::{badge, class, or_why, scroll, sign, table};
use crate::evidence::model::{Audit, Cell, Checked, Evidence, Finding, Latency, Matrix, Probed};

/// Table × command × context.
pub(super) fn isolation(evidence: &Evidence) -> Markup {
    html! {
        p { "What a session of the application sees and can write, by what it says of its tenant. Every probe is rolled back." }
        (or_why(&evidence.isolation, matrix))
    }
}

fn matrix(matrix: &Matrix) -> Markup {
    // The rows of one table as one role stand together.
    let groups = matrix.rows.chunk_by(|a, b| (&a.table, &a.role) == (&b.table, &b.role));
    html! {
        p { (matrix.how) }
        (scroll("Isolation matrix", &html! {
            table class="wide matrix" {
                caption { "Isolation, table by table: each answer, and what it means" }
                thead { tr {
                    th scope="col" { "Table" } th scope="col" { "Command" }
                    @for context in &matrix.contexts { th scope="col" { (context) } }
                } }
                @for group in groups {
                    tbody {
                        @for (i, row) in group.iter().enumerate() {
                            tr {
                                @if i == 0 { th scope="rowgroup" rowspan=(group.len()) { (row.table) span class="detail" { "as " (row.role) } } }
                                th scope="row" { (row.command) }
                                @for cell in &row.cells { (field(cell.as_ref())) }
                            }
                        }
                    }
                }
            }
        }))
        (probes(matrix))
    }
}

fn field(cell: Option<&Cell>) -> Markup {
    html! {
        @if let Some(cell) = cell {
            td class=(class(cell.tone)) { span aria-hidden="true" { (sign(cell.tone)) " " } (cell.result) span class="detail" { (cell.why) } }
        } @else {
            td class="soft" { "—" }
        }
    }
}

fn probes(matrix: &Matrix) -> Markup {
    let groups = matrix.probes.chunk_by(|a, b| (&a.table, &a.role) == (&b.table, &b.role));
    let row = |i: usize, group: &[Probed]| {
        let probe = &group[i];
        html! { tr {
            @if i == 0 { th scope="rowgroup" rowspan=(group.len()) { (probe.table) span class="detail" { "as " (probe.role) } } }
            td { (probe.code) } td class="title" { (probe.title) span class="detail" { "expected: " (probe.expected) } }
            td { (badge(probe.tone, &probe.result)) } td class="title" { (probe.why) }
        } }
    };
    let rows: Vec<Markup> = groups.flat_map(|group| (0..group.len()).map(move |i| row(i, group))).collect();
    let headings = [("Table", false), ("Probe", false), ("Asked", false), ("Result", false), ("Because", false)];
    html! { @if !rows.is_empty() { (table("Every probe of every table", &headings, &rows)) } }
}

/// Deeds and gates, audit and latency.
pub(super) fn now(evidence: &Evidence) -> Markup {
    html! {
        h3 { "Deeds and gates, again" }
        (or_why(&evidence.verified, |all| verified(all)))
        h3 { "Audit" }
        (or_why(&evidence.audit, audit))
        h3 { "Latency of the application's queries" }
        (or_why(&evidence.latency, |all| latency(all)))
    }
}

fn verified(all: &[Checked]) -> Markup {
    let rows: Vec<Markup> = all
        .iter()
        .map(|checked| {
            html! { tr {
                td { @if let Some(phase) = &checked.phase { (phase) } }
                td class="title" { (checked.what) @for detail in &checked.details { span class="detail" { (detail) } } }
                td { (badge(checked.tone, &checked.result)) }
            } }
        })
        .collect();
    table(
        "Every deed looked for in the catalogue, every gate measured again",
        &[("Phase", false), ("What", false), ("Result", false)],
        &rows,
    )
}

fn audit(of: &Audit) -> Markup {
    html! {
        @if of.findings.is_empty() { p { "No finding." } } @else { (findings(&of.findings)) }
        @for unmeasured in &of.unmeasured {
            p { (badge(crate::evidence::Tone::Caution, "not measured")) " " (unmeasured.codes.join(", ")) ": " (unmeasured.why)
                @if let Some(advice) = &unmeasured.advice { " — " (advice) } }
        }
    }
}

fn findings(all: &[Finding]) -> Markup {
    let rows: Vec<Markup> = all
        .iter()
        .map(|finding| {
            html! { tr {
                th scope="row" { (finding.code) } td { (finding.severity) } td { (finding.object) }
                td class="title" {
                    (finding.what)
                    @if let Some(waived) = &finding.waived { span class="detail" { b { "waived" } ": " (waived) } }
                    @if !finding.fix.is_empty() { details { summary { "What mends it" } pre { (finding.fix) } } }
                }
            } }
        })
        .collect();
    table(
        "Findings of the audit",
        &[("Code", false), ("Severity", false), ("Object", false), ("Finding", false)],
        &rows,
    )
}

fn latency(all: &[Latency]) -> Markup {
    let rows: Vec<Markup> = all
        .iter()
        .map(|probe| {
            html! { tr {
                th scope="row" { (probe.probe) } td class="num" { (format!("{:.1} ms", probe.before_ms)) }
                td class="num" { (format!("{:.1} ms", probe.after_ms)) } td { (probe.budget) } td { (badge(probe.tone, if probe.tone == crate::evidence::Tone::Bad { "over" } else { "within" })) }
            } }
        })
        .collect();
    let headings = [("Probe", false), ("p95 before", true), ("p95 after", true), ("Budget", false), ("Result", false)];
    table("Latency before and after", &headings, &rows)
}
