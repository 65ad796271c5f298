//! Charts of the backfills over time: rows, waits, and how fast batches followed each other.

use std::time::Duration;

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::{
    axis::{Axis, n},
    parts::{scroll, table, when},
};
use crate::{
    evidence::model::{Evidence, RangeDone, Wait},
    report::quantity,
};

const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 74.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 210.0;
/// Points that are drawn: more than there are pixels would only make the page larger.
const POINTS_MAX: usize = 400;
/// Lines across.
const LINES: u32 = 4;

type Point = (DateTime<Utc>, f64);

/// Rows over time, the waits, and the pace.
pub(super) fn charts(evidence: &Evidence) -> Markup {
    let mut ranges: Vec<&RangeDone> = evidence
        .backfills
        .iter()
        .flat_map(|backfill| &backfill.ranges)
        .filter(|range| range.batches_done > 0)
        .collect();
    ranges.sort_by_key(|range| range.updated_at);
    let mut work: Vec<(DateTime<Utc>, DateTime<Utc>)> =
        ranges.iter().map(|range| (range.claimed_at, range.updated_at)).collect();
    work.extend(evidence.waits.iter().map(|wait| (wait.from, wait.to.unwrap_or(wait.from))));
    let axis = Axis::new(&work, LEFT, WIDTH - 12.0).filter(|_| !ranges.is_empty());
    html! {
        @if let Some(axis) = &axis {
            (rows(axis, &ranges, &evidence.waits))
            (pace(axis, &ranges))
        } @else {
            p class="note" { "No chart of rows over time: no ranges stand in the ledger. The ranges of a backfill that was taken back go with its undo." }
        }
        (waits(evidence))
    }
}

fn rows(axis: &Axis, ranges: &[&RangeDone], waits: &[Wait]) -> Markup {
    let mut sum = 0;
    let mut points: Vec<Point> = ranges.iter().take(1).map(|range| (range.claimed_at, 0.0)).collect();
    for range in ranges {
        sum += range.rows;
        points.push((range.updated_at, sum as f64));
    }
    // The last point stays, since it is the total.
    let step = points.len().div_ceil(POINTS_MAX).max(1);
    let last = points.len() - 1;
    let kept: Vec<Point> =
        points.into_iter().enumerate().filter(|(i, _)| i % step == 0 || *i == last).map(|(_, point)| point).collect();
    let scale = Scale::of(sum as f64);
    let place = |(at, value): &Point| format!("{} {}", n(axis.x(*at)), n(scale.y(*value)));
    let line = kept.iter().map(place).collect::<Vec<_>>().join("L");
    let (first, end) = (kept.first().map_or(LEFT, |p| axis.x(p.0)), kept.last().map_or(LEFT, |p| axis.x(p.0)));
    let label = format!("Rows written over time, {} in all", quantity::count(sum));
    let inner = html! {
        path class="area" d={ "M" (line) "L" (n(end)) " " (n(BOTTOM)) "L" (n(first)) " " (n(BOTTOM)) "Z" } {}
        @for wait in waits {
            @let (from, to) = (axis.x(wait.from), axis.x(wait.to.unwrap_or(wait.from)));
            rect class="wait" x=(n(from)) y=(n(TOP)) width=(n((to - from).max(2.0))) height=(n(BOTTOM - TOP)) opacity="0.8" { title { (wait.signal) ": " (wait.why) } }
        }
        path class="line" d={ "M" (line) } {}
    };
    figure(
        axis,
        &scale,
        &label,
        &inner,
        html! {
            "Rows written by all backfills that stand, summed up at the last batch of each range."
            @if !waits.is_empty() { " Bands: times in which a backfill waited." }
        },
        |value| quantity::count(value.round() as u64),
    )
}

fn pace(axis: &Axis, ranges: &[&RangeDone]) -> Markup {
    let one = |range: &&RangeDone| {
        let ms = (range.updated_at - range.claimed_at).num_microseconds().unwrap_or(0).max(0) as f64 / 1_000.0;
        (range.updated_at, ms / f64::from(range.batches_done.max(1)))
    };
    let all: Vec<Point> = ranges.iter().map(one).collect();
    let step = all.len().div_ceil(POINTS_MAX).max(1);
    // Of each few the slowest, so that no outlier is hidden.
    let kept: Vec<Point> =
        all.chunks(step).filter_map(|few| few.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1))).collect();
    let scale = Scale::of(kept.iter().map(|point| point.1).fold(0.0, f64::max));
    let inner =
        html! { @for (at, value) in &kept { circle class="dot" cx=(n(axis.x(*at))) cy=(n(scale.y(*value))) r="3" {} } };
    figure(
        axis,
        &scale,
        "Time per batch, a dot for each range",
        &inner,
        html! {
            "From the claim of a range to its last batch, divided by its batches. A worker writes up to four ranges in turn, so one batch itself is shorter; "
            "single batches are not kept in the ledger."
            @if step > 1 { " Each dot is the slowest of " (step) " ranges." }
        },
        |value| quantity::duration(Duration::from_micros((value * 1_000.0).max(0.0) as u64)),
    )
}

fn figure(
    axis: &Axis,
    scale: &Scale,
    label: &str,
    inner: &Markup,
    caption: Markup,
    word: impl Fn(f64) -> String,
) -> Markup {
    html! {
        figure {
            (scroll(label, &html! {
                svg viewBox={ "0 0 " (n(WIDTH)) " " (n(HEIGHT)) } role="img" aria-label=(label) {
                    text class="strong" x="8" y="14" { (label) }
                    @for i in 0..=LINES {
                        @let value = scale.top * f64::from(i) / f64::from(LINES);
                        @let y = scale.y(value);
                        line class="grid" x1=(n(LEFT)) x2=(n(WIDTH - 12.0)) y1=(n(y)) y2=(n(y)) {}
                        text class="faint" x=(n(LEFT - 6.0)) y=(n(y + 4.0)) text-anchor="end" { (word(value)) }
                    }
                    (axis.draw(BOTTOM + 18.0, TOP, BOTTOM))
                    (inner)
                }
            }))
            figcaption { (caption) }
        }
    }
}

/// From values to places.
#[derive(Debug)]
struct Scale {
    top: f64,
}

impl Scale {
    /// Up to a round number above the largest value, of 1, 2 or 4 with zeros.
    fn of(largest: f64) -> Self {
        let power = 10f64.powf(largest.max(1e-3).log10().floor());
        let top = [1.0, 2.0, 4.0, 8.0, 10.0].iter().map(|n| n * power).find(|top| *top >= largest);
        Self { top: top.unwrap_or(power * 10.0) }
    }

    fn y(&self, value: f64) -> f64 {
        BOTTOM - (BOTTOM - TOP) * (value / self.top).clamp(0.0, 1.0)
    }
}

fn waits(evidence: &Evidence) -> Markup {
    if evidence.waits.is_empty() {
        return html! { p class="note" { "No backfill had to wait for a signal (replica lag, connections, locks and the like), and nobody held one. "
        "The ledger keeps waits with what was measured when they began, and no series of the signals themselves." } };
    }
    let rows: Vec<Markup> = evidence
        .waits
        .iter()
        .map(|wait| {
            html! { tr {
                td { (when(wait.from)) }
                td class="num" { @if let Some(to) = wait.to { (quantity::millis((to - wait.from).num_milliseconds())) } @else { "still waits" } }
                td { (wait.signal) } td class="title" { (wait.why) } td { (wait.unit) }
            } }
        })
        .collect();
    let headings =
        [("From (UTC)", false), ("For", true), ("Signal", false), ("Measured when it began", false), ("Unit", false)];
    html! {
        (table("Waits of backfills, such as for a replica that lagged", &headings, &rows))
        p class="note" { "The ledger keeps a wait with what was measured when it began, and no series of the signals themselves." }
    }
}
