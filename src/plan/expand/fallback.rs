//! Phase `fallback`: who still goes on as the tenant of `[tenancy] fallback` is noted, and waited for until it is nobody. In front
//! of `strict`, and behind `enforce`: only policies make a reader ask who it is.

use std::ops::Range;

use super::{
    line::Line,
    phases::{Made, Whole},
};
use crate::plan::Millis;

/// The log, the function that notes, and the gate.
pub fn phase<'i>(whole: &Whole<'_, 'i>, place: &Range<usize>) -> Made<'i> {
    let (tenancy, fallback) = (whole.tenancy, whole.fallback);
    let (Some(function), Some(_)) = (&tenancy.function, &tenancy.fallback) else { return Made::default() };
    if fallback.quiet_for == Millis(0) {
        return Made::default();
    }
    let log = fallback.log.clone().unwrap_or_else(|| tenancy.fallback_log());
    let time = |length: Millis| humantime::format_duration(length.duration()).to_string();
    let enforced = whole.tables.iter().filter(|entry| entry.enforce);
    let note = Line::new("fallback_log", place)
        .text("table", log.to_string())
        .texts("readers", enforced.map(|entry| entry.name.to_string()));
    let swap = Line::new("create_function", place)
        .text("id", format!("{}-notes", function.name.as_str()))
        .text("name", function.to_string())
        .text("template", "noting_context")
        .text("log", log.to_string())
        .yes("replace");
    let gate = Line::new("no_fallback", place)
        .text("log", log.to_string())
        .text("for", time(fallback.quiet_for))
        .text("wait", time(fallback.quiet_wait));
    Made { steps: vec![note.done(), swap.done()], gates: vec![gate.done()] }
}
