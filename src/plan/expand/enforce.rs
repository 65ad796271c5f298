//! Phase `enforce`: row-level security, each table in one transaction. The steps bring their gates, which read the catalogue
//! only: rows are hidden from the owner by now. The plan's probes are measured last.

use std::ops::Range;

use super::{
    entry::Entry,
    line::{Line, text},
    phases::{Made, Whole},
};

/// The steps.
pub fn phase<'i>(whole: &Whole<'_, 'i>, place: &Range<usize>) -> Made<'i> {
    let enforce = |entry: &Entry<'i>| {
        let other = entry.is_registry().then(|| text(whole.column(entry).to_string(), &entry.place));
        Line::new("enforce_rls", &entry.place)
            .maybe("id", entry.id("rls"))
            .put("table", entry.table())
            .maybe("column", other)
            .maybe("extra", entry.extra.clone())
            .done()
    };
    let steps: Vec<_> = whole.tables.iter().filter(|entry| entry.enforce).map(enforce).collect();
    let measured = whole.latency && !steps.is_empty();
    let gates = measured.then(|| Line::new("latency", place).done()).into_iter().collect();
    Made { steps, gates }
}
