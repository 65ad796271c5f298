//! Phase `constrain`: each tenant is in the registry, no row is without one, and keys hold within a tenant. Its gates look
//! across tenants for the last time: the next phase may bind the owner too.

use toml::{Spanned, de::DeTable};

use super::{
    backfill,
    entry::{Entry, Orphans},
    line::{Inner, Line, text},
    phases::{Made, Whole},
    way::Way,
};

/// The steps: keys that need no other table first, then those between tables.
pub fn phase<'i>(whole: &Whole<'_, 'i>) -> Made<'i> {
    let tables: Vec<&Entry<'i>> = whole.tables.iter().filter(|entry| !entry.is_registry()).collect();
    let mut steps = late(whole);
    steps.extend(tables.iter().filter(|e| e.foreign_key).map(|entry| foreign_key(whole, entry)));
    steps.extend(tables.iter().filter(|entry| entry.not_null && entry.is_filled()).map(|entry| not_null(whole, entry)));
    for entry in &tables {
        steps.extend(entry.unique.iter().zip(1..).map(|(keys, n)| given("scope_unique", entry, "unique", keys, n)));
    }
    for entry in &tables {
        let keys = entry.composite.iter().zip(1..);
        steps.extend(keys.map(|(keys, n)| given("composite_foreign_key", entry, "composite", keys, n)));
    }
    let gates = tables.iter().flat_map(|entry| gates(whole, entry)).collect();
    Made { steps, gates }
}

/// What was written since the backfill: first the rows that have a tenant by now, parents first; then the others go aside,
/// children first, where the plan wants that. The keys would only say that they are there.
fn late<'i>(whole: &Whole<'_, 'i>) -> Vec<Table<'i>> {
    let due = |entry: &&Entry<'i>| entry.is_filled() && whole.orphans(entry) != Orphans::Skip;
    let aside = |entry: &&Entry<'i>| due(entry) && whole.orphans(entry) == Orphans::Quarantine;
    let settle = whole.tables.iter().filter(due).map(|entry| backfill::settle(whole, entry));
    settle
        .chain(whole.tables.iter().rev().filter(aside).map(|entry| backfill::quarantine(whole, entry, true)))
        .collect()
}

fn foreign_key<'i>(whole: &Whole<'_, 'i>, entry: &Entry<'i>) -> Spanned<DeTable<'i>> {
    let registry = &whole.tenancy.registry;
    let place = &entry.place;
    let key = Spanned::new(
        place.clone(),
        toml::de::DeValue::Array([text(registry.key.to_string(), place)].into_iter().collect()),
    );
    Line::new("add_foreign_key", place)
        .maybe("id", entry.id("tenant"))
        .put("table", entry.table())
        .texts("columns", [whole.tenancy.column.to_string()])
        .inner("references", Inner::default().put("table", text(registry.table.to_string(), place)).put("columns", key))
        .maybe("on_delete", entry.on_delete.clone())
        .done()
}

fn not_null<'i>(whole: &Whole<'_, 'i>, entry: &Entry<'i>) -> Spanned<DeTable<'i>> {
    Line::new("set_not_null", &entry.place)
        .maybe("id", entry.id("not-null"))
        .put("table", entry.table())
        .text("column", whole.tenancy.column.to_string())
        .done()
}

/// A step whose keys the plan wrote.
fn given<'i>(kind: &'static str, entry: &Entry<'i>, what: &str, keys: &Table<'i>, n: usize) -> Spanned<DeTable<'i>> {
    let id = entry.id(&format!("{what}-{n}"));
    Line::new(kind, &keys.span()).maybe("id", id).put("table", entry.table()).with(keys).done()
}

type Table<'i> = Spanned<DeTable<'i>>;

/// What neither a key nor NOT NULL makes sure of.
fn gates<'i>(whole: &Whole<'_, 'i>, entry: &Entry<'i>) -> Vec<Table<'i>> {
    let skips = whole.orphans(entry) == Orphans::Skip && entry.is_filled();
    let mut gates = Vec::new();
    // A column with a value for every row was made NOT NULL with it, unless it was there before.
    if !(skips || entry.not_null && entry.is_filled()) {
        gates.push(backfill::nulls(whole, entry));
    }
    let orphans =
        Line::new("orphans", &entry.place).put("table", entry.table()).text("column", whole.tenancy.column.to_string());
    let orphans = if entry.foreign_key { orphans } else { orphans.yes("registry") };
    match &entry.way {
        Some(Way::Parent { table, on, column }) => {
            let theirs = whole.parents_column(table.get_ref(), column.as_ref().map(Spanned::get_ref));
            let mut parent = Inner::default()
                .put("table", text(table.get_ref().to_string(), &table.span()))
                .put("match", on.clone());
            if let Some(theirs) = theirs {
                parent = parent.put("column", text(theirs.to_string(), &entry.place));
            }
            if skips {
                parent = parent.put("optional", Spanned::new(entry.place.clone(), toml::de::DeValue::Boolean(true)));
            }
            gates.push(orphans.inner("parent", parent).done());
        }
        // No trigger follows what an expression reads: a row whose source changed meanwhile still has the tenant of before.
        Some(Way::Sql { .. }) => gates.push(backfill::source(whole, entry, orphans).done()),
        Some(Way::Value { .. }) if !entry.foreign_key => gates.push(orphans.done()),
        Some(Way::Value { .. } | Way::Registry { .. }) | None => {}
    }
    gates
}
