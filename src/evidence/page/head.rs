//! What the page begins with: which run it is about, where that stands, what holds, and who worked.

use maud::{Markup, html};

use super::parts::{badge, class, sign, table, when};
use crate::{
    evidence::model::{Evidence, Tone},
    report::quantity,
};

/// The title, with the state of the run.
pub(super) fn head(evidence: &Evidence) -> Markup {
    let Evidence { state, plan, server, run, .. } = evidence;
    html! {
        p class="kicker" { "Evidence of a migration" }
        h1 { (plan.name) " on " (server.database) }
        p {
            span class={ "state " (class(state.tone)) } { span aria-hidden="true" { (sign(state.tone)) " " } (state.word) }
            " " (state.sentence) " "
            (state.units_done) " of " (quantity::counted(state.units as u64, "unit", "units")) " done."
        }
        dl class="facts" {
            dt { "Run" } dd class="mono" { (run.id) }
            dt { "Begun" } dd { (when(run.begun_at)) " UTC by " (run.begun_by) " on " (run.host) ", with tenantmig " (run.begun_with) }
            dt { "Last event" } dd { @if let Some(at) = run.last_event_at { (when(at)) " UTC" } @else { "none" } }
            dt { "Plan's fingerprint" } dd class="mono" { (plan.fingerprint) }
            dt { "Head of the log" } dd class="mono" { @if let Some(head) = &evidence.chain.head { (head) } @else { "none" } }
            dt { "Database" } dd { (server.database) " at " (server.at) ", PostgreSQL " (server.version) }
            dt { "Server's identity" } dd {
                "system identifier " (known(server.system_identifier)) ", timeline " (known(server.timeline))
            }
        }
    }
}

fn known(value: Option<i64>) -> String {
    value.map_or_else(|| "not told".to_owned(), |value| value.to_string())
}

/// The verdicts.
pub(super) fn summary(evidence: &Evidence) -> Markup {
    html! {
        p { "Each claim is computed from the ledger, or measured on the database when this page was made. "
            "What was not looked at is said to be so; it is not claimed." }
        ul class="verdicts" {
            @for verdict in &evidence.verdicts {
                li {
                    span { (verdict.claim) }
                    span { (badge(verdict.tone, &verdict.result)) }
                    span class="why" { (verdict.because) }
                }
            }
        }
    }
}

/// The people and processes behind the events.
pub(super) fn who(evidence: &Evidence) -> Markup {
    let actors: Vec<Markup> = evidence
        .actors
        .iter()
        .map(|actor| {
            html! { tr {
                th scope="row" { (actor.role) } td { (actor.host) } td class="num" { (actor.events) }
                td { (when(actor.first)) } td { (when(actor.last)) }
            } }
        })
        .collect();
    let headings = [("Role", false), ("Host", false), ("Events", true), ("First (UTC)", false), ("Last (UTC)", false)];
    html! {
        p { "Only the holder of the lease writes events; each holder has an epoch of its own, and every transaction of an earlier one is refused. "
            "Role and time are the server's words, not the client's." }
        (table("Who wrote the log", &headings, &actors))
        (terms(evidence))
        (requests(evidence))
        (approvals(evidence))
    }
}

fn terms(evidence: &Evidence) -> Markup {
    let rows: Vec<Markup> = evidence
        .terms
        .iter()
        .map(|term| {
            html! { tr {
                th scope="row" class="num" { (term.epoch) } td { (term.role) " on " (term.host) }
                td { a href={ "#event-" (term.first_event) } { (term.first_event) } " to " a href={ "#event-" (term.last_event) } { (term.last_event) } }
                td { (when(term.from)) } td { (when(term.to)) }
                td { @if let Some(what) = &term.took_over { (badge(Tone::Caution, "taken over")) " under way: " (what) } }
            } }
        })
        .collect();
    let headings = [
        ("Epoch", true),
        ("Holder", false),
        ("Events", false),
        ("From (UTC)", false),
        ("To (UTC)", false),
        ("Takeover", false),
    ];
    table("Holders of the lease that wrote events", &headings, &rows)
}

fn requests(evidence: &Evidence) -> Markup {
    if evidence.requests.is_empty() {
        return html! { p class="note" { "Nobody asked the run for a pause or another pace from outside." } };
    }
    let rows: Vec<Markup> = evidence
        .requests
        .iter()
        .map(|asked| {
            html! { tr {
                th scope="row" class="num" { (asked.number) } td { (when(asked.at)) } td { (asked.actor) " on " (asked.host) } td { (asked.what) }
                td {
                    @if let Some(event) = asked.event { "became event " a href={ "#event-" (event) } { (event) } }
                    @else if let Some(why) = &asked.refused { (badge(Tone::Caution, "refused")) " " (why) }
                    @else { "not taken yet" }
                }
            } }
        })
        .collect();
    let headings = [("Request", true), ("Asked (UTC)", false), ("By", false), ("What", false), ("Became", false)];
    table("What operators asked of the run", &headings, &rows)
}

/// Nothing where no phase waits for a person.
fn approvals(evidence: &Evidence) -> Markup {
    let rows: Vec<Markup> = evidence
        .approvals
        .iter()
        .map(|given| {
            html! { tr {
                th scope="row" class="num" { (given.number) } td { (given.phase) } td { (when(given.at)) } td { (given.by) " on " (given.host) }
                td { @if let Some(reason) = &given.reason { (reason) } }
                td {
                    @if let Some(event) = given.event { "event " a href={ "#event-" (event) } { (event) } }
                    @else { "none: it came too early or too late, or nothing waits for it yet" }
                }
            } }
        })
        .collect();
    let headings = [
        ("Approval", true),
        ("Phase", false),
        ("Given (UTC)", false),
        ("By", false),
        ("Reason", false),
        ("Let pass", false),
    ];
    html! { @if !rows.is_empty() { (table("What people approved", &headings, &rows)) } }
}
