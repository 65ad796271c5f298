//! Phase `enforce`: row-level security, each table in one transaction. The steps bring their gates, which read the catalogue
//! only: rows are hidden from the owner by now.

use super::{
    entry::Entry,
    line::{Line, text},
    phases::{Made, Whole},
};

/// The steps.
pub fn phase<'i>(whole: &Whole<'_, 'i>) -> Made<'i> {
    let enforce = |entry: &Entry<'i>| {
        let other = entry.is_registry().then(|| text(whole.column(entry).to_string(), &entry.place));
        Line::new("enforce_rls", &entry.place)
            .maybe("id", entry.id("rls"))
            .put("table", entry.table())
            .maybe("column", other)
            .maybe("extra", entry.extra.clone())
            .done()
    };
    Made { steps: whole.tables.iter().filter(|entry| entry.enforce).map(enforce).collect(), gates: Vec::new() }
}
