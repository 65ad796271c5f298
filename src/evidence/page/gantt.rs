//! The course of the run: a bar for each deed and each undo, phase by phase.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::{
    axis::{Axis, n},
    parts::{scroll, when},
};
use crate::{
    evidence::model::{Evidence, Span, SpanEnd, Unit},
    report::excerpt,
};

const WIDTH: f64 = 1000.0;
const LABELS: f64 = 350.0;
const ROW: f64 = 20.0;
const TOP: f64 = 44.0;
const BAR: f64 = 12.0;
const BAR_MIN: f64 = 2.5;
/// Characters that fit beside the bars.
const LABEL_CHARS: usize = 46;
/// With more units only the phases are drawn.
const UNITS_MAX: usize = 160;

/// The figure; nothing where nothing happened.
pub(super) fn gantt(evidence: &Evidence) -> Markup {
    let units: Vec<&Unit> = evidence.phases.iter().flat_map(|phase| &phase.units).collect();
    let mut work: Vec<(DateTime<Utc>, DateTime<Utc>)> =
        units.iter().flat_map(|unit| &unit.spans).map(|span| (span.from, span.to)).collect();
    work.extend(evidence.events.iter().map(|event| (event.at, event.at)));
    let Some(axis) = Axis::new(&work, LABELS, WIDTH - 12.0) else {
        return html! { p { "Nothing has happened yet." } };
    };
    let whole = units.iter().filter(|unit| !unit.spans.is_empty()).count() <= UNITS_MAX;
    let mut y = TOP + ROW;
    let mut rows = vec![moments(evidence, &axis)];
    for phase in &evidence.phases {
        rows.push(html! { text class="strong" x="8" y=(n(y + 14.0)) { "phase " (excerpt(&phase.id, LABEL_CHARS)) } });
        rows.push(gates(phase, &axis, y));
        if !whole {
            rows.extend(phase.units.iter().flat_map(|unit| &unit.spans).map(|span| bar(&axis, span, y)));
        }
        y += ROW;
        for unit in phase.units.iter().filter(|unit| whole && !unit.spans.is_empty()) {
            rows.push(html! {
                line class="grid" x1="0" x2=(n(WIDTH)) y1=(n(y)) y2=(n(y)) {}
                text x="20" y=(n(y + 14.0)) { (excerpt(&unit.title, LABEL_CHARS)) title { (unit.title) } }
            });
            rows.extend(unit.spans.iter().map(|span| bar(&axis, span, y)));
            y += ROW;
        }
        y += 6.0;
    }
    let label =
        format!("Course of the run in {} phases and {} units, as bars over time", evidence.phases.len(), units.len());
    html! {
        figure {
            (scroll(&label, &html! {
                svg viewBox={ "0 0 " (n(WIDTH)) " " (n(y + 8.0)) } role="img" aria-label=(label) {
                    (axis.draw(20.0, 32.0, y + 4.0))
                    @for row in &rows { (row) }
                }
            }))
            (legend(whole))
        }
    }
}

/// A bar with what it is.
fn bar(axis: &Axis, span: &Span, y: f64) -> Markup {
    let class = match (span.end, span.undo) {
        (SpanEnd::Failed, _) => "failed",
        (SpanEnd::Stopped, _) => "stopped",
        (SpanEnd::Open, _) => "open",
        (SpanEnd::Done, true) => "undo",
        (SpanEnd::Done, false) => "done",
    };
    let (from, to) = (axis.x(span.from), axis.x(span.to));
    let height = if span.undo { BAR / 2.0 } else { BAR };
    let top = y + (ROW - BAR) / 2.0 + if span.undo { BAR / 2.0 } else { 0.0 };
    html! {
        rect class=(class) x=(n(from)) y=(n(top)) width=(n((to - from).max(BAR_MIN))) height=(n(height)) rx="1" {
            title { (span.told()) }
        }
        @if span.end == SpanEnd::Failed { (cross(to.max(from + BAR_MIN), y + ROW / 2.0)) }
    }
}

fn cross(x: f64, y: f64) -> Markup {
    let (l, r, t, b) = (n(x - 4.0), n(x + 4.0), n(y - 4.0), n(y + 4.0));
    html! { path class="mark" d={ "M" (l) " " (t) "L" (r) " " (b) "M" (l) " " (b) "L" (r) " " (t) } {} }
}

/// Gates on the line of their phase.
fn gates(phase: &crate::evidence::model::Phase, axis: &Axis, y: f64) -> Markup {
    let looks = phase.gates.iter().flat_map(|gate| gate.looks.iter().map(move |look| (gate, look)));
    html! {
        @for (gate, look) in looks {
            @let x = axis.x(look.at);
            @if look.passed {
                circle class="pass" cx=(n(x)) cy=(n(y + ROW / 2.0)) r="4" { title { "gate passed: " (gate.title) } }
            } @else {
                (cross(x, y + ROW / 2.0))
            }
        }
    }
}

/// What concerns the run as a whole: pauses, rollbacks, takeovers.
fn moments(evidence: &Evidence, axis: &Axis) -> Markup {
    const KINDS: [(&str, &str); 7] = [
        ("turned_round", "rollback given up"),
        ("rollback_requested", "rollback"),
        ("paused", "paused"),
        ("resumed", "resumed"),
        ("drifted", "drift"),
        ("drift_accepted", "drift accepted"),
        ("repaired", "log accepted"),
    ];
    let word = |kind: &str| KINDS.iter().find(|(known, _)| *known == kind).map(|(_, word)| *word);
    let mut all: Vec<(DateTime<Utc>, String)> =
        evidence.events.iter().filter_map(|event| Some((event.at, word(&event.kind)?.to_owned()))).collect();
    let took = evidence.terms.iter().filter(|term| term.took_over.is_some());
    all.extend(took.map(|term| (term.from, "takeover".to_owned())));
    all.sort();
    let mut free = f64::MIN;
    let placed: Vec<(f64, Option<String>, String)> = all
        .into_iter()
        .map(|(at, word)| {
            let x = axis.x(at);
            let shown = (x >= free).then(|| word.clone());
            if shown.is_some() {
                free = x + 7.0 * word.len() as f64 + 8.0;
            }
            (x, shown, word)
        })
        .collect();
    html! {
        text class="strong" x="8" y=(n(TOP + 14.0)) { "the run" }
        @for (x, shown, word) in placed {
            line class="moment" x1=(n(x)) x2=(n(x)) y1=(n(TOP)) y2=(n(TOP + ROW - 2.0)) { title { (word) } }
            @if let Some(word) = shown { text class="faint" x=(n(x + 4.0)) y=(n(TOP + 14.0)) { (word) } }
        }
    }
}

fn legend(whole: bool) -> Markup {
    let swatch = |class: &str| html! { svg viewBox="0 0 22 12" aria-hidden="true" { rect class=(class) x="1" y="1" width="20" height="10" rx="1" {} } };
    html! {
        ul class="legend" {
            li { (swatch("done")) "done" }
            li { (swatch("failed")) "failed (with a cross)" }
            li { (swatch("undo")) "undone (half as high)" }
            li { (swatch("stopped")) "stopped half-way, begun again" }
            li { (swatch("open")) "under way" }
            li { svg viewBox="0 0 22 12" aria-hidden="true" { circle class="pass" cx="11" cy="6" r="4" {} } "gate passed" }
        }
        figcaption {
            "Times are UTC, by the server's clock. Rests in which nothing happened are cut out (⋯)."
            @if !whole { " The plan has more than " (UNITS_MAX) " units, so each phase is one line; the tables below have all." }
        }
    }
}

/// The log as a table.
pub(super) fn log(evidence: &Evidence) -> Markup {
    let rows: Vec<Markup> = evidence
        .events
        .iter()
        .map(|event| {
            html! {
                tr class=[(event.tone == crate::evidence::model::Tone::Bad).then_some("bad-row")] id={ "event-" (event.number) } {
                    th scope="row" class="num" { (event.number) }
                    td { (when(event.at)) }
                    td class="title" {
                        span class=(super::parts::class(event.tone)) { (event.text) }
                        @for (label, text) in &event.details { span class="detail" { b { (label) } ": " (text) } }
                    }
                    td class="keep" { (event.actor) span class="soft" { " on " (event.host) } }
                    td class="num" { (event.epoch) }
                }
            }
        })
        .collect();
    let headings = [("Event", true), ("Time (UTC)", false), ("What", false), ("Who", false), ("Epoch", true)];
    super::parts::table("Every event of the log, in its order", &headings, &rows)
}
