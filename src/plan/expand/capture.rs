//! Phase `capture`: rows that are written from here on get their tenant.

use std::ops::Range;

use toml::Spanned;

use super::{
    backfill,
    entry::{Entry, WritePath},
    line::Line,
    phases::{Made, Whole},
    way::Way,
};
use crate::{
    sql,
    sql::{Ident, Literal, QName},
};

/// The steps.
pub fn phase<'i>(whole: &Whole<'_, 'i>, place: &Range<usize>) -> Made<'i> {
    let log = log(whole);
    let mut steps = Vec::new();
    if whole.tables.iter().any(has_trigger) {
        steps.push(Line::new("capture_log", place).text("table", log.to_string()).done());
    }
    for entry in whole.tables {
        match (&entry.way, entry.write_path) {
            (Some(Way::Parent { .. } | Way::Sql { .. }), WritePath::Trigger) => steps.push(trigger(whole, entry, &log)),
            // Before the backfill, so that no row is written behind it without a tenant.
            (Some(Way::Parent { .. } | Way::Sql { .. }), WritePath::Default) => {
                steps.push(default(whole, entry, "{tenant}".to_owned()));
            }
            (Some(Way::Value { value, .. }), WritePath::Trigger | WritePath::Default) => {
                steps.push(default(whole, entry, own_or(whole, value)));
            }
            (Some(Way::Registry { .. }) | None, _) | (Some(_), WritePath::App) => {}
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

/// The tenant of a session that has one; the table's own for the application of today, which has none. Read from the setting
/// and not by the context function, which may refuse a session without a tenant, and which not every role may execute.
fn own_or(whole: &Whole<'_, '_>, value: &str) -> String {
    sql!("coalesce({}, {})", whole.tenancy.setting_read(), Literal::new(value)).to_string()
}

/// The column's default becomes the tenant of the session.
pub fn default<'i>(whole: &Whole<'_, 'i>, entry: &Entry<'i>, default: String) -> Spanned<toml::de::DeTable<'i>> {
    Line::new("set_default", &entry.place)
        .maybe("id", entry.id("default"))
        .put("table", entry.table())
        .text("column", whole.tenancy.column.to_string())
        .text("default", default)
        .done()
}

fn trigger<'i>(whole: &Whole<'_, 'i>, entry: &Entry<'i>, log: &QName) -> Spanned<toml::de::DeTable<'i>> {
    let line = Line::new("capture", &entry.place)
        .maybe("id", entry.id("capture"))
        .put("table", entry.table())
        .text("column", whole.tenancy.column.to_string());
    backfill::source(whole, entry, line).text("log", log.to_string()).done()
}
