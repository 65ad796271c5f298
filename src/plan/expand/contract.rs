//! Phase `contract`: the application names the tenant itself, so what did it in its place goes.

use super::{
    capture,
    entry::Entry,
    line::Line,
    phases::{Made, Whole},
    way::Way,
};

/// The steps.
pub fn phase<'i>(whole: &Whole<'_, 'i>) -> Made<'i> {
    let triggers = whole.tables.iter().filter(|entry| capture::has_trigger(entry)).map(|entry: &Entry<'i>| {
        Line::new("end_capture", &entry.place)
            .maybe("id", entry.id("end-capture"))
            .put("table", entry.table())
            .text("column", whole.tenancy.column.to_string())
            .done()
    });
    // A default that says one tenant would give that one the rows of a session that has lost its own.
    let constant = |entry: &&Entry<'i>| matches!(entry.way, Some(Way::Value { .. }));
    let defaults =
        whole.tables.iter().filter(constant).map(|entry| capture::default(whole, entry, "{tenant}".to_owned()));
    Made { steps: triggers.chain(defaults).collect(), gates: Vec::new() }
}
