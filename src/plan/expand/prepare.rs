//! Phase `expand`: the context function and the tenant columns.

use std::ops::Range;

use super::{
    entry::Entry,
    line::{Line, text},
    phases::{Made, Whole},
    way::Way,
};
use crate::sql::Literal;

/// The steps.
pub fn phase<'i>(whole: &Whole<'_, 'i>, place: &Range<usize>) -> Made<'i> {
    let function = whole.tenancy.function.as_ref().map(|name| {
        Line::new("create_function", place).text("name", name.to_string()).text("template", "tenant_context").done()
    });
    let columns = whole.tables.iter().filter(|entry| !entry.is_registry()).map(|entry| column(whole, entry).done());
    Made { steps: function.into_iter().chain(columns).collect(), gates: Vec::new() }
}

fn column<'i>(whole: &Whole<'_, 'i>, entry: &Entry<'i>) -> Line<'i> {
    let line = Line::new("add_column", &entry.place)
        .maybe("id", entry.id("column"))
        .put("table", entry.table())
        .text("column", whole.tenancy.column.to_string())
        .text("type", whole.tenancy.registry.r#type.to_string());
    match &entry.way {
        // PostgreSQL keeps a constant default in the catalogue for the rows that are there, and reads none of them for NOT NULL.
        Some(Way::Value { value, place }) => {
            let line = line.put("default", text(Literal::new(value.clone()).to_string().trim_start(), place));
            if entry.not_null { line.yes("not_null") } else { line }
        }
        Some(Way::Parent { .. } | Way::Sql { .. } | Way::Registry { .. }) | None => line,
    }
}
