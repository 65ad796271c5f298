//! Phase `backfill`: the rows that are there. Parents first, since a row's tenant is read from its parent's row; what is put
//! aside goes children first, since a row cannot go while another points at it.

use toml::{Spanned, de::DeTable};

use super::{
    entry::{Entry, Orphans},
    line::{Inner, Line, text},
    phases::{Made, Whole},
    way::Way,
};
use crate::sql::Ident;

/// The steps; they bring their gates.
pub fn phase<'i>(whole: &Whole<'_, 'i>) -> Made<'i> {
    let filled: Vec<&Entry<'i>> = whole.tables.iter().filter(|entry| entry.is_filled()).collect();
    let aside = |entry: &&&Entry<'i>| whole.orphans(entry) == Orphans::Quarantine;
    let mut steps: Vec<_> = filled.iter().map(|entry| fill(whole, entry)).collect();
    steps.extend(filled.iter().rev().filter(aside).map(|entry| quarantine(whole, entry, false)));
    Made { steps, gates: Vec::new() }
}

/// Where the value comes from, as `backfill` and `capture` take it.
pub fn source<'i>(whole: &Whole<'_, 'i>, entry: &Entry<'i>, line: Line<'i>) -> Line<'i> {
    match &entry.way {
        Some(Way::Parent { table, on, column }) => {
            let theirs = whole.parents_column(table.get_ref(), column.as_ref().map(Spanned::get_ref));
            let mut from = Inner::default()
                .put("table", text(table.get_ref().to_string(), &table.span()))
                .put("match", on.clone());
            if let Some(theirs) = theirs {
                from =
                    from.put("column", text(theirs.to_string(), &column.as_ref().map_or(table.span(), Spanned::span)));
            }
            line.inner("from", from)
        }
        Some(Way::Sql { sql, .. }) => line.put("sql", text(sql.get_ref().clone(), &sql.span())),
        Some(Way::Value { .. } | Way::Registry { .. }) | None => line,
    }
}

/// A gate that no row is left without a tenant.
pub fn nulls<'i>(whole: &Whole<'_, 'i>, entry: &Entry<'i>) -> Spanned<DeTable<'i>> {
    let column = whole.tenancy.column.to_string();
    Line::new("nulls", &entry.place).put("table", entry.table()).texts("columns", [column]).done()
}

fn fill<'i>(whole: &Whole<'_, 'i>, entry: &Entry<'i>) -> Spanned<DeTable<'i>> {
    let line = Line::new("backfill", &entry.place)
        .maybe("id", entry.id("backfill"))
        .put("table", entry.table())
        .text("column", whole.tenancy.column.to_string());
    let word = match (entry.on_orphan, whole.orphans(entry)) {
        // Left without a tenant by the backfill, and put aside behind it.
        (_, Orphans::Quarantine) | (Some(_), Orphans::Skip) => Some("skip"),
        (Some(_), Orphans::Stop) => Some("stop"),
        (None, Orphans::Stop | Orphans::Skip) => None,
    };
    source(whole, entry, line)
        .maybe("on_orphan", word.map(|word| text(word, entry.at("on_orphan"))))
        .maybe("keep", entry.keep.clone())
        .done()
}

/// Fills the rows that were written since the backfill.
pub fn settle<'i>(whole: &Whole<'_, 'i>, entry: &Entry<'i>) -> Spanned<DeTable<'i>> {
    let word = if whole.orphans(entry) == Orphans::Stop { "stop" } else { "skip" };
    let line = Line::new("settle", &entry.place)
        .maybe("id", entry.id("settle"))
        .put("table", entry.table())
        .text("column", whole.tenancy.column.to_string());
    source(whole, entry, line).put("on_orphan", text(word, entry.at("on_orphan"))).done()
}

/// Puts the rows aside that have no tenant; those that came `late` into a table of their own, so that each step brings back
/// what it took.
pub fn quarantine<'i>(whole: &Whole<'_, 'i>, entry: &Entry<'i>, late: bool) -> Spanned<DeTable<'i>> {
    let why = match &entry.way {
        Some(Way::Parent { table, .. }) => format!("no row of {} says whose it is", table.get_ref()),
        Some(Way::Sql { .. } | Way::Value { .. } | Way::Registry { .. }) | None => {
            "no tenant was found for it".to_owned()
        }
    };
    let into = entry.name.sibling(Ident::derived(&[entry.name.name.as_str(), "quarantined_late"]));
    Line::new("quarantine", &entry.place)
        .maybe("id", entry.id("quarantine"))
        .put("table", entry.table())
        .text("column", whole.tenancy.column.to_string())
        .text("reason", if late { format!("{why}, and it was written after the backfill") } else { why })
        .maybe("into", late.then(|| text(into.to_string(), &entry.place)))
        .done()
}
