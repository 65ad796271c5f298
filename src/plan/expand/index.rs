//! Phase `index`: the indexes that lead with the tenant; its last gate waits until nobody writes without one.

use std::ops::Range;

use toml::{Spanned, de::DeTable};

use super::{
    capture,
    entry::Entry,
    line::Line,
    phases::{Made, Whole},
};

/// The steps, and the gate in front of what refuses a row without a tenant.
pub fn phase<'i>(whole: &Whole<'_, 'i>, place: &Range<usize>) -> Made<'i> {
    let steps = whole.tables.iter().flat_map(|entry| indexes(whole, entry)).collect();
    let quiet = whole.capture.quiet_for.filter(|_| whole.tables.iter().any(capture::has_trigger)).map(|quiet| {
        let time = |length: crate::plan::Millis| humantime::format_duration(length.duration()).to_string();
        Line::new("quiet", place)
            .text("log", capture::log(whole).to_string())
            .text("for", time(quiet))
            .text("wait", time(whole.capture.quiet_wait))
            .done()
    });
    Made { steps, gates: quiet.into_iter().collect() }
}

fn indexes<'i>(whole: &Whole<'_, 'i>, entry: &Entry<'i>) -> Vec<Spanned<DeTable<'i>>> {
    let line = |place: &Range<usize>, n: usize| {
        Line::new("create_index", place).maybe("id", entry.id(&format!("index-{n}"))).put("table", entry.table())
    };
    match &entry.index {
        Some(written) => written.iter().zip(1..).map(|(keys, n)| line(&keys.span(), n).with(keys).done()).collect(),
        // The key of the registry has its index.
        None if entry.is_registry() => Vec::new(),
        None => vec![line(&entry.place, 1).texts("columns", [whole.tenancy.column.to_string()]).done()],
    }
}
