//! Phase `enforce`: row-level security. Its gate reads the catalogue only: rows are hidden from the owner by now.

use std::ops::Range;

use super::{
    entry::Entry,
    line::{Line, text},
    phases::{Made, Whole},
};

/// The steps, and the gate that nothing was left open.
pub fn phase<'i>(whole: &Whole<'_, 'i>, place: &Range<usize>) -> Made<'i> {
    let tables: Vec<&Entry<'i>> = whole.tables.iter().filter(|entry| entry.enforce).collect();
    if tables.is_empty() {
        return Made::default();
    }
    let enforce = |entry: &&Entry<'i>| {
        let other = entry.is_registry().then(|| text(whole.column(entry).to_string(), &entry.place));
        Line::new("enforce_rls", &entry.place)
            .maybe("id", entry.id("rls"))
            .put("table", entry.table())
            .maybe("column", other)
            .done()
    };
    let names = tables.iter().map(|entry| entry.name.to_string());
    let gate = Line::new("unprotected", place).texts("tables", names).done();
    Made { steps: tables.iter().map(enforce).collect(), gates: vec![gate] }
}
