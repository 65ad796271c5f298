//! Phase `shadow`: what enforcement would change is noted, and waited for until it is nothing. Only where [shadow] says so.

use std::ops::Range;

use toml::Spanned;

use super::{
    entry::Entry,
    line::{Line, text},
    phases::{Made, Whole},
};

/// The log first, then the tables; the gate is for all of them.
pub fn phase<'i>(whole: &Whole<'_, 'i>, place: &Range<usize>) -> Made<'i> {
    let enforced: Vec<&Entry<'i>> = whole.tables.iter().filter(|entry| entry.enforce).collect();
    let Some(shadow) = whole.shadow.filter(|_| !enforced.is_empty()) else { return Made::default() };
    let log = shadow.log.clone().unwrap_or_else(|| whole.tenancy.shadow_log());
    let note = |entry: &&Entry<'i>| {
        let other = entry.is_registry().then(|| text(whole.column(entry).to_string(), &entry.place));
        Line::new("shadow_rls", &entry.place)
            .maybe("id", entry.id("shadow"))
            .put("table", entry.table())
            .text("log", log.to_string())
            .maybe("column", other)
            .maybe("extra", entry.extra.clone())
            .done()
    };
    let mut steps = vec![Line::new("shadow_log", place).text("table", log.to_string()).done()];
    steps.extend(enforced.iter().map(note));
    let time = |length: crate::plan::Millis| humantime::format_duration(length.duration()).to_string();
    let gate = Line::new("unseen", place)
        .text("log", log.to_string())
        .text("for", time(shadow.r#for))
        .text("wait", time(shadow.wait))
        .texts("tables", enforced.iter().map(|entry| entry.name.to_string()));
    let gate: Spanned<_> = if shadow.others { gate.yes("others") } else { gate }.done();
    Made { steps, gates: vec![gate] }
}
