//! The phases with their units, and the gates and guards between them.

use maud::{Markup, html};

use super::parts::{badge, class, table, when};
use crate::{
    evidence::model::{Evidence, Gate, Phase, Tone, Unit},
    report::quantity,
};

/// A table a phase.
pub(super) fn steps(evidence: &Evidence) -> Markup {
    html! {
        p { "A unit is the smallest thing that is done, undone and recorded as one. The lock is the strongest that the deed takes. "
            "Waits for locks are told while a run works and are not kept; how often a unit was begun is." }
        @for phase in &evidence.phases {
            h3 { "Phase " (phase.id) }
            p class="note" { "When a step or gate fails: " (phase.on_failure) "." }
            (units(phase))
        }
    }
}

fn units(phase: &Phase) -> Markup {
    let rows: Vec<Markup> = phase.units.iter().map(unit).collect();
    let headings =
        [("Unit", false), ("State", false), ("Lock", false), ("Rows", true), ("Begun", true), ("Took", true)];
    table(&format!("Units of phase {}", phase.id), &headings, &rows)
}

fn unit(unit: &Unit) -> Markup {
    let lock = if unit.hold.is_empty() { unit.lock.clone() } else { format!("{}, {}", unit.lock, unit.hold) };
    html! { tr class=[(unit.tone == Tone::Bad).then_some("bad-row")] {
        td class="title" {
            (unit.title)
            @if let Some(found) = &unit.found { span class="detail" { b { "stood there" } ": " (found) } }
            @if let Some(loses) = &unit.loses { span class="detail" { b { "an undo loses" } ": " (loses) } }
            (statements(unit))
        }
        td { (badge(unit.tone, &unit.state)) }
        td { (lock) @for on in &unit.tables { span class="detail" { "on " (on) } } }
        td class="num" { @if let Some(rows) = unit.rows { (quantity::count(rows)) } }
        td class="num" { (unit.attempts) @if unit.attempts == 1 { " time" } @else { " times" } }
        td class="num" { @if let Some(ms) = unit.took_ms { (quantity::millis(ms)) } }
    } }
}

fn statements(unit: &Unit) -> Markup {
    html! {
        @if !unit.sql.is_empty() || !unit.undo.is_empty() || !unit.restores.is_empty() {
            details {
                summary { "SQL of the deed and of its undo" }
                @for sql in &unit.sql { pre { (sql) ";" } }
                @for sql in &unit.undo { pre { "-- undo\n" (sql) } }
                @for sql in &unit.restores { pre { "-- undo, brings back what stood there\n" (sql) } }
            }
        }
    }
}

/// All gates with what they measured, the guards of the way back, and who consented to what.
pub(super) fn gates(evidence: &Evidence) -> Markup {
    let rows = |gates: fn(&Phase) -> &Vec<Gate>| -> Vec<Markup> {
        evidence.phases.iter().flat_map(|phase| gates(phase).iter().map(move |of| gate(phase, of))).collect()
    };
    let (passing, after) = (rows(|phase| &phase.gates), rows(|phase| &phase.after_undo));
    let headings = [("Phase", false), ("What must hold", false), ("Stands", false), ("Measured", false)];
    html! {
        p { "A gate passes when its query finds no row, or when the person approves whom it waits for. A rollback forgets the gates of the phases that it undoes, so that they are measured anew." }
        @if passing.is_empty() { p { "The plan has no gate." } } @else { (table("Gates, each with every measurement", &headings, &passing)) }
        @if !after.is_empty() { (table("Gates after an undo", &headings, &after)) }
        (guards(evidence))
        (consents(evidence))
    }
}

fn gate(phase: &Phase, gate: &Gate) -> Markup {
    let (tone, word) = match (gate.passes, gate.looks.last()) {
        (true, _) => (Tone::Good, "passed"),
        (false, Some(look)) if !look.passed => (Tone::Bad, "failed"),
        (false, Some(_)) => (Tone::Plain, "forgotten"),
        (false, None) => (Tone::Plain, "not measured"),
    };
    html! { tr class=[(tone == Tone::Bad).then_some("bad-row")] {
        td { (phase.id) }
        td class="title" {
            (gate.title)
            @if let Some(baseline) = gate.baseline { span class="detail" { b { "before the run" } ": " (baseline) } }
            @if !gate.query.is_empty() { details { summary { "Query" } pre { (gate.query) } } }
        }
        td { (badge(tone, word)) }
        td {
            @for look in &gate.looks {
                span class="detail" {
                    a href={ "#event-" (look.event) } { "event " (look.event) } ", " (when(look.at)) ": "
                    @if let Some(who) = &look.approved { "approved by " (who) }
                    @else if look.passed { "found nothing" } @else { span class=(class(Tone::Bad)) { (look.found.join("; ")) } }
                }
            }
        }
    } }
}

fn guards(evidence: &Evidence) -> Markup {
    let all = evidence.phases.iter().flat_map(|phase| phase.guards.iter().map(move |guard| (phase, guard)));
    let rows: Vec<Markup> = all
        .map(|(phase, guard)| {
            html! { tr {
                td { (phase.id) }
                td class="title" { (guard.title) @if let Some(of) = &guard.of { span class="detail" { "of " (of) } } }
                td { @if let Some(consent) = &guard.consent { code { (consent) } } @else { "nobody" } }
            } }
        })
        .collect();
    let headings =
        [("Phase", false), ("What must hold before the phase is undone", false), ("Who may go on all the same", false)];
    html! {
        @if rows.is_empty() { p class="note" { "No guard stands before the undo of a phase." } }
        @else { (table("Guards of the way back", &headings, &rows)) }
    }
}

fn consents(evidence: &Evidence) -> Markup {
    let given: Vec<_> = evidence
        .events
        .iter()
        .flat_map(|event| {
            event.details.iter().filter(|(label, _)| label == "consent").map(move |(_, text)| (event, text))
        })
        .collect();
    html! {
        h3 { "Consents" }
        @if given.is_empty() { p { "Nobody had to consent to a loss or an exposure." } }
        ul { @for (event, text) in given { li { a href={ "#event-" (event.number) } { "event " (event.number) } ": " (text) } } }
    }
}
