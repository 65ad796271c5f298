//! The plan's own text, and how somebody who does not trust this page checks it.

use maud::{Markup, html};

use crate::evidence::model::Evidence;

/// Both.
pub(super) fn appendix(evidence: &Evidence) -> Markup {
    let Evidence { plan, chain, server, run, .. } = evidence;
    html! {
        dl class="facts" {
            dt { "Name" } dd { (plan.name) }
            dt { "File" } dd { @if let Some(path) = &plan.path { (path) } @else { "not kept" } }
            dt { "Fingerprint" } dd { span class="mono" { (plan.fingerprint) } br; span class="soft" { "over what the plan means; comments and spacing do not count" } }
            dt { "SHA-256 of the text" } dd class="mono" { (plan.text_sha256) }
            @for (name, value) in &plan.tenancy { dt { (name) } dd { (value) } }
        }
        details { summary { "The plan's text, as the ledger keeps it" } pre { (plan.text) } }
        h3 { "How to check this page" }
        p { "The log ends at event " @if let Some(event) = chain.head_event { (event) } @else { (chain.events) } " with the head below. A link is SHA-256 over the link before it and the event's own row; "
            "the first begins at a digest over the run's own row: plan, program and baselines. Ask the database for it:" }
        pre { "SELECT number, digest FROM " (server.ledger_schema) ".event_heads\n WHERE run_id = '" (run.id) "';" }
        @if let Some(head) = &chain.head { p class="mono" { (head) } }
        p { "The same head means the same log as this page was made from. " code { "tenantmig status" } " and " code { "tenantmig verify" } " refuse a log whose chain does not hold. "
            "The chain finds accidents and careless hands. It is no proof against somebody who may write to the ledger and computes it anew: keep this page, or its head, where that person cannot write." }
        h3 { "What this page does not show" }
        ul {
            li { "Waits for locks and lost connections that were overcome: they are told while a run works, and not kept." }
            li { "Ranges of backfills that were taken back: they go with the undo. The log keeps when it was and how many rows were written." }
            li { "Passwords: what looks like one is left out of statements, definitions and the plan's text; digests are over the whole text." }
            li { "Rows of the application, but for the examples that gates and failures named." }
        }
    }
}
