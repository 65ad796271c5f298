//! A time axis on which long rests are cut out: a run may stand still for days between two phases that take seconds.

use std::time::Duration;

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use crate::report::quantity;

/// So wide is what is drawn for a rest.
const TORN: f64 = 26.0;
/// No stretch of work is narrower.
const STRETCH_MIN: f64 = 20.0;
/// More cuts could not be read.
const CUTS_MAX: usize = 10;
/// Rests shorter than this part of all work are drawn as they are.
const REST_SHARE: i64 = 8;
/// Within a long stretch a time is written so often.
const LABEL_EVERY: f64 = 160.0;

/// From times to places.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    stretches: Vec<Stretch>,
}

#[derive(Debug, Clone, Copy)]
struct Stretch {
    from: i64,
    to: i64,
    left: f64,
    right: f64,
}

impl Axis {
    /// Between two places, over these times of work.
    pub fn new(work: &[(DateTime<Utc>, DateTime<Utc>)], left: f64, right: f64) -> Option<Self> {
        let mut busy: Vec<(i64, i64)> =
            work.iter().map(|(from, to)| (from.timestamp_millis(), to.timestamp_millis())).collect();
        busy.sort_unstable();
        let mut merged = joined(&busy, 0);
        let length: i64 = merged.iter().map(|(from, to)| to - from).sum();
        let mut rest = (length / REST_SHARE).max(1);
        merged = joined(&busy, rest);
        while merged.len() > CUTS_MAX + 1 {
            rest *= 2;
            merged = joined(&busy, rest);
        }
        let (count, total) =
            (merged.len() as f64, merged.iter().map(|(from, to)| to - from).sum::<i64>().max(1) as f64);
        let room = right - left - TORN * (count - 1.0) - STRETCH_MIN * count;
        let mut at = left;
        let stretch = |(from, to): (i64, i64)| {
            let width = STRETCH_MIN + room * (to - from) as f64 / total;
            let stretch = Stretch { from, to, left: at, right: at + width };
            at += width + TORN;
            stretch
        };
        let stretches: Vec<Stretch> = merged.into_iter().map(stretch).collect();
        (!stretches.is_empty()).then_some(Self { stretches })
    }

    /// Where a time is.
    pub fn x(&self, at: DateTime<Utc>) -> f64 {
        let at = at.timestamp_millis();
        let mut before = self.stretches.first().map_or(0.0, |stretch| stretch.left);
        for stretch in &self.stretches {
            if at < stretch.from {
                return before;
            }
            if at <= stretch.to {
                let length = (stretch.to - stretch.from).max(1) as f64;
                return stretch.left + (stretch.right - stretch.left) * (at - stretch.from) as f64 / length;
            }
            before = stretch.right;
        }
        before
    }

    /// The labels at `y`, with ticks on the side of the drawing, and the cuts between `top` and `bottom`.
    pub fn draw(&self, y: f64, top: f64, bottom: f64) -> Markup {
        let tick = if y < bottom { y + 4.0 } else { y - 16.0 };
        let cuts = self.stretches.windows(2).filter_map(|pair| match pair {
            [a, b] => Some((a.right, u64::try_from(b.from - a.to).unwrap_or(0))),
            _ => None,
        });
        html! {
            @for (left, rest) in cuts {
                rect class="torn" x=(n(left)) y=(n(top)) width=(n(TORN)) height=(n(bottom - top)) {
                    title { "a rest of " (quantity::duration(Duration::from_millis(rest))) " is cut out here" }
                }
                text class="faint" x=(n(left + TORN / 2.0)) y=(n(bottom - 4.0)) text-anchor="middle" { "⋯" }
            }
            @for (left, text) in self.labels() {
                line class="axis" x1=(n(left)) x2=(n(left)) y1=(n(tick)) y2=(n(tick + 5.0)) {}
                text class="faint" x=(n(left)) y=(n(y)) { (text) }
            }
        }
    }

    /// Where each stretch begins, and places within the long ones, as far as there is room; a date where the day is another.
    fn labels(&self) -> Vec<(f64, String)> {
        let (mut free, mut day, mut out) = (f64::MIN, String::new(), Vec::new());
        for stretch in &self.stretches {
            let width = stretch.right - stretch.left;
            let parts = (width / LABEL_EVERY).floor().max(1.0);
            let mut part = 0.0;
            while part < parts {
                let left = stretch.left + width * part / parts;
                let at = stretch.from + ((stretch.to - stretch.from) as f64 * part / parts) as i64;
                part += 1.0;
                let Some(at) = DateTime::<Utc>::from_timestamp_millis(at) else { continue };
                let date = at.format("%Y-%m-%d").to_string();
                let close = (stretch.to - stretch.from) as f64 / parts < 1_000.0;
                let time = at.format(if close { "%H:%M:%S%.3f" } else { "%H:%M:%S" }).to_string();
                let text = if date == day { time } else { format!("{date} {time}") };
                let room = 7.0 * text.len() as f64 + 8.0;
                if left >= free && left + room <= self.right() + 12.0 {
                    free = left + room;
                    day = date;
                    out.push((left, text));
                }
            }
        }
        out
    }

    fn right(&self) -> f64 {
        self.stretches.last().map_or(0.0, |stretch| stretch.right)
    }
}

/// Sorted times, joined where the rest between them is no longer than `rest`.
fn joined(busy: &[(i64, i64)], rest: i64) -> Vec<(i64, i64)> {
    let mut out: Vec<(i64, i64)> = Vec::new();
    for (from, to) in busy {
        match out.last_mut() {
            Some(last) if *from <= last.1 + rest => last.1 = last.1.max(*to),
            Some(_) | None => out.push((*from, *to)),
        }
    }
    out
}

/// A place, to a tenth of a pixel.
pub(super) fn n(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(ms).unwrap_or_default()
    }

    #[test]
    fn a_long_rest_is_cut_out_and_order_stays() {
        let axis = Axis::new(&[(at(0), at(1_000)), (at(86_400_000), at(86_401_000))], 0.0, 1_000.0)
            .map(|axis| [0, 500, 1_000, 40_000_000, 86_400_000, 86_401_000].map(|ms| axis.x(at(ms)).round() as i64));
        assert_eq!(axis, Some([0, 244, 487, 487, 513, 1_000]));
        assert!(Axis::new(&[], 0.0, 1.0).is_none());
    }

    #[test]
    fn there_are_never_more_cuts_than_can_be_read() {
        let many: Vec<_> = (0..200).map(|i| (at(i * i * 10_000), at(i * i * 10_000 + 5))).collect();
        let axis = Axis::new(&many, 0.0, 1_000.0).map_or(0, |axis| axis.stretches.len());
        assert!((1..=CUTS_MAX + 1).contains(&axis), "{axis}");
    }
}
