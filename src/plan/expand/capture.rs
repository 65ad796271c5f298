//! Phase `capture`: rows that are written from here on get their tenant.

use std::ops::Range;

use toml::Spanned;

use super::{
    backfill,
    entry::{Entry, WritePath},
    line::Line,
    phases::{Made, Whole},
};
use crate::sql::{Ident, QName};

/// The steps.
pub fn phase<'i>(whole: &Whole<'_, 'i>, place: &Range<usize>) -> Made<'i> {
    let log = log(whole);
    let mut steps = Vec::new();
    if whole.tables.iter().any(has_trigger) {
        steps.push(Line::new("capture_log", place).text("table", log.to_string()).done());
    }
    for entry in whole.tables.iter().filter(|entry| entry.is_filled()) {
        match entry.write_path {
            WritePath::Trigger => steps.push(trigger(whole, entry, &log)),
            // Before the backfill, so that no row is written behind it without a tenant.
            WritePath::Default => steps.push(default(whole, entry)),
            WritePath::App => {}
        }
    }
    Made { steps, gates: Vec::new() }
}

/// Whether a trigger gives the rows of a table their tenant.
pub fn has_trigger(entry: &Entry<'_>) -> bool {
    entry.is_filled() && entry.write_path == WritePath::Trigger
}

/// The table that notes who wrote without a tenant.
pub fn log(whole: &Whole<'_, '_>) -> QName {
    let beside = || whole.tenancy.registry.table.sibling(Ident::derived(&["tenantmig_writes"]));
    whole.capture.log.clone().unwrap_or_else(beside)
}

/// The column's default becomes the tenant of the session.
pub fn default<'i>(whole: &Whole<'_, 'i>, entry: &Entry<'i>) -> Spanned<toml::de::DeTable<'i>> {
    Line::new("set_default", &entry.place)
        .maybe("id", entry.id("default"))
        .put("table", entry.table())
        .text("column", whole.tenancy.column.to_string())
        .text("default", "{tenant}")
        .done()
}

fn trigger<'i>(whole: &Whole<'_, 'i>, entry: &Entry<'i>, log: &QName) -> Spanned<toml::de::DeTable<'i>> {
    let line = Line::new("capture", &entry.place)
        .maybe("id", entry.id("capture"))
        .put("table", entry.table())
        .text("column", whole.tenancy.column.to_string());
    backfill::source(whole, entry, line).text("log", log.to_string()).done()
}
