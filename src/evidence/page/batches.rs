//! The ledger of batches: what was walked over, whether anything was left out or done twice, and how it went over time.

use maud::{Markup, html};

use super::{
    axis::n,
    parts::{badge, table, when},
    plot,
};
use crate::{
    evidence::model::{Backfill, Evidence, HeapWalked, RangeDone, Tone, Walk},
    report::quantity,
};

/// Ranges that are listed one by one; all of them are in the JSON form.
const RANGES_SHOWN: usize = 40;
/// Parts of a strip: more could not be told apart.
const PARTS_MAX: u64 = 240;
const STRIP: f64 = 600.0;

/// A part for each backfill, then the charts.
pub(super) fn batches(evidence: &Evidence) -> Markup {
    if evidence.backfills.is_empty() {
        return html! { p { "The plan has no backfill." } };
    }
    html! {
        p { "A backfill walks over the blocks of a table in ranges, each claimed before a row of it is touched, and written in batches. "
            "Whether the ranges leave a gap or overlap is computed here from the ranges themselves: from block 0 to the end that the walk fixed when it began, each block once. "
            "Rows that were locked, moved or new are the closing count's matter, over the whole table, with which each backfill ends: it is recorded as done only when that count finds no row that is still due." }
        (overview(evidence))
        (plot::charts(evidence))
        @for backfill in evidence.backfills.iter().filter(|backfill| !backfill.walks.is_empty()) { (one(backfill)) }
    }
}

fn overview(evidence: &Evidence) -> Markup {
    let rows: Vec<Markup> = evidence
        .backfills
        .iter()
        .map(|backfill| {
            let share = (backfill.rows > 0).then(|| backfill.rows_hot as f64 / backfill.rows as f64 * 100.0);
            html! { tr {
                td class="title" { (backfill.title) span class="detail" { "phase " (backfill.phase) } }
                td { (badge(backfill.tone, word(backfill))) span class="detail" { (backfill.verdict) } }
                td class="num" { (quantity::count(backfill.rows)) }
                td class="num" { @if let Some(share) = share { (quantity::percent(share)) } }
                td {
                    @if let Some(proof) = &backfill.proof {
                        a href={ "#event-" (proof.event) } { "event " (proof.event) } ", " (when(proof.at))
                        span class="detail" {
                            "nothing was due" @if let Some(rows) = proof.rows { "; " (quantity::rows(rows)) " written" }
                            @if !proof.adds_up { span class="bad" { " — not what the ranges add up to" } }
                        }
                    } @else { span class="soft" { "none stands" } }
                }
            } }
        })
        .collect();
    let headings =
        [("Backfill", false), ("Coverage", false), ("Rows", true), ("In place (HOT)", true), ("Closing count", false)];
    table("Backfills, with their coverage as computed", &headings, &rows)
}

/// What its ranges show; where that is nothing yet, where it stands.
fn word(backfill: &Backfill) -> &str {
    match backfill.tone {
        Tone::Good => "covered",
        Tone::Bad => "contradicted",
        Tone::Caution | Tone::Plain => &backfill.state,
    }
}

fn one(backfill: &Backfill) -> Markup {
    html! {
        h3 { (backfill.table) }
        @for walk in &backfill.walks { (walked(backfill, walk)) }
        (listed(backfill))
    }
}

fn walked(backfill: &Backfill, walk: &Walk) -> Markup {
    let rows: Vec<Markup> = walk
        .heaps
        .iter()
        .map(|heap| {
            html! { tr class=[(!heap.holds()).then_some("bad-row")] {
                td class="title" { (heap.heap) (strip(backfill, walk.sweep, heap)) }
                td class="num" { "0 to " (heap.reached) }
                td class="num" { @if let Some(end) = heap.end { (end) } @else { span class="soft" { "not kept" } } }
                td class="num" { (heap.ranges) } td class="num" { (heap.batches) } td class="num" { (quantity::count(heap.rows)) }
                td { (told("gap", &heap.gaps)) } td { (told("overlap", &heap.overlaps)) }
                td class="num" { @if heap.unfinished == 0 { "0" } @else { span class="bad" { (heap.unfinished) } } }
            } }
        })
        .collect();
    let name = if walk.sweep == 0 { "Main walk".to_owned() } else { format!("Sweep {}", walk.sweep) };
    let headings = [
        ("Heap", false),
        ("Blocks", true),
        ("End", true),
        ("Ranges", true),
        ("Batches", true),
        ("Rows", true),
        ("Gaps", false),
        ("Overlaps", false),
        ("Unfinished", true),
    ];
    html! {
        (table(&format!("{name} over {}", backfill.table), &headings, &rows))
        @if !walk.numbered { p class="bad" { "The numbers of its ranges are not 1, 2, 3 …: a range is missing." } }
        @if walk.heaps.iter().any(|heap| heap.end.is_none()) {
            p class="note" { "Where the walk ended is kept of the last walk only; this one was followed by another." }
        }
    }
}

fn told(what: &str, places: &[(u64, u64)]) -> Markup {
    html! {
        @if places.is_empty() { "none" }
        @for (lo, hi) in places { span class="bad" { (what) " at blocks " (lo) " to " (hi) " " } }
    }
}

/// The heap from its first block to its last, ranges alternating in shade, what is missing or double in red.
fn strip(backfill: &Backfill, sweep: u32, heap: &HeapWalked) -> Markup {
    let end = heap.end.unwrap_or(heap.reached).max(heap.reached).max(1);
    let mut own: Vec<&RangeDone> =
        backfill.ranges.iter().filter(|range| range.sweep == sweep && range.heap == heap.heap).collect();
    own.sort_by_key(|range| range.lo);
    let least = end / PARTS_MAX;
    let mut parts: Vec<(u64, u64, bool)> = Vec::new();
    for range in own {
        let done = range.batches_done == range.batches;
        match parts.last_mut() {
            Some(last) if last.1 == range.lo && last.2 == done && last.1 - last.0 < least => last.1 = range.hi,
            Some(_) | None => parts.push((range.lo, range.hi, done)),
        }
    }
    let x = |block: u64| STRIP * block as f64 / end as f64;
    let label = format!("{} of {end} blocks of {} walked over", heap.reached, heap.heap);
    html! {
        svg class="strip" viewBox={ "0 0 " (n(STRIP)) " 14" } preserveAspectRatio="none" role="img" aria-label=(label) {
            rect class="torn" x="0" y="0" width=(n(STRIP)) height="14" {}
            @for (i, (lo, hi, done)) in parts.iter().enumerate() {
                rect class=(if *done { "done" } else { "open" }) opacity=[(i % 2 == 1).then_some("0.7")] x=(n(x(*lo))) y="2" width=(n((x(*hi) - x(*lo)).max(0.5))) height="10" {}
            }
            @for (lo, hi) in heap.gaps.iter().chain(&heap.overlaps) {
                rect class="failed" x=(n(x(*lo))) y="0" width=(n((x(*hi) - x(*lo)).max(2.0))) height="14" {}
            }
        }
    }
}

fn listed(backfill: &Backfill) -> Markup {
    let rows: Vec<Markup> = backfill
        .ranges
        .iter()
        .take(RANGES_SHOWN)
        .map(|range| {
            html! { tr {
                td class="num" { (range.sweep) } td class="num" { (range.number) } td { (range.heap) }
                td class="num" { (range.lo) " to " (range.hi) } td class="num" { (range.batches_done) " of " (range.batches) }
                td class="num" { (quantity::count(range.rows)) } td { (when(range.claimed_at)) } td { (when(range.updated_at)) }
            } }
        })
        .collect();
    let headings = [
        ("Walk", true),
        ("Range", true),
        ("Heap", false),
        ("Blocks", true),
        ("Batches", true),
        ("Rows", true),
        ("Claimed (UTC)", false),
        ("Last batch (UTC)", false),
    ];
    let all = backfill.ranges.len();
    html! {
        @if all > 0 {
            details {
                summary { "Ranges of " (backfill.table) " (" (all) ")" }
                (table(&format!("Ranges of {}", backfill.table), &headings, &rows))
                @if all > RANGES_SHOWN { p class="note" { "The first " (RANGES_SHOWN) " of " (all) " are listed; coverage was computed over all, and the JSON form has all." } }
            }
        }
    }
}
