//! The catalogue before and after, as a diff that can be read.

use maud::{Markup, html};

use super::parts::{or_why, table, when};
use crate::{
    evidence::model::{Compared, Evidence, ObjectChanged},
    report::quantity,
};

/// The prints, what the migration changed, what was changed since.
pub(super) fn catalogue(evidence: &Evidence) -> Markup {
    let of = &evidence.catalogue;
    let rows: Vec<Markup> = of
        .prints
        .iter()
        .map(|print| {
            html! { tr {
                th scope="row" { @if print.phase == "start" { "before the first phase" } @else { "after phase " (print.phase) } }
                td { (when(print.taken_at)) } td class="num" { (print.facts) } td class="mono" { (print.digest) }
            } }
        })
        .collect();
    let headings = [("Taken", false), ("At (UTC)", false), ("Facts", true), ("SHA-256 over the facts", false)];
    html! {
        p { "Of the tables that the plan touches, with what is below them and the functions that their policies call: columns, constraints, indexes, policies, triggers, rules, owners and the flags of row-level security. "
            "Grants, comments, storage and statistics are not among these facts." }
        @if rows.is_empty() { p { "The ledger has no print." } } @else { (table("Prints that the run kept", &headings, &rows)) }
        @if let Some(digest) = of.now.given() { p class="note" { "Now: " span class="mono" { (digest) } } }
        h3 { "Changed by the migration" }
        (compared(&of.migration))
        h3 { "Changed since" }
        (compared(&of.since))
    }
}

fn compared(of: &Compared) -> Markup {
    html! {
        (or_why(&of.changes, |changes| html! {
            p { "From " (of.from) " to " (of.to) ": "
                @if changes.is_empty() { "no difference." } @else { (quantity::counted(changes.len() as u64, "object differs", "objects differ")) "." } }
            @for object in changes { (changed(object)) }
        }))
    }
}

fn changed(object: &ObjectChanged) -> Markup {
    html! {
        details open[object.changes.len() <= 12] {
            summary { (object.object) " (" (quantity::counted(object.changes.len() as u64, "fact", "facts")) ")" }
            div class="diff" {
                @for change in &object.changes {
                    @if let Some(was) = &change.was { del { "- " (change.what) ": " (readable(&change.what, was)) } }
                    @if let Some(is) = &change.is { ins { "+ " (change.what) ": " (readable(&change.what, is)) } }
                }
            }
        }
    }
}

/// The command of a policy by its name: the catalogue has a letter for it.
fn readable(what: &str, value: &str) -> String {
    const COMMANDS: [(&str, &str); 5] =
        [("*", "ALL"), ("r", "SELECT"), ("a", "INSERT"), ("w", "UPDATE"), ("d", "DELETE")];
    if !what.starts_with("policy ") {
        return value.to_owned();
    }
    let named = COMMANDS.iter().find(|(letter, _)| value.contains(&format!("IVE FOR {letter} TO ")));
    named.map_or_else(
        || value.to_owned(),
        |(letter, name)| value.replacen(&format!("IVE FOR {letter} TO "), &format!("IVE FOR {name} TO "), 1),
    )
}
