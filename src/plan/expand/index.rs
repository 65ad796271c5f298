//! Phase `index`: the indexes that lead with the tenant; its last gate waits until nobody writes without one.

use std::ops::Range;

use toml::{Spanned, de::DeTable};

use super::{
    capture,
    entry::Entry,
    line::Line,
    phases::{Made, Whole},
};
use crate::sql::{Ident, QName};

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
        Some(written) => {
            let one = |(keys, n): (&Spanned<DeTable<'i>>, usize)| {
                let line = line(&keys.span(), n).with(keys);
                if is_referenced(whole, entry, keys.get_ref()) { line.yes("unique").done() } else { line.done() }
            };
            written.iter().zip(1..).map(one).collect()
        }
        // The key of the registry has its index.
        None if entry.is_registry() => Vec::new(),
        None => vec![line(&entry.place, 1).texts("columns", [whole.tenancy.column.to_string()]).done()],
    }
}

/// Whether a key within the tenant points at just these columns: it makes a unique index over them, of the same name.
fn is_referenced(whole: &Whole<'_, '_>, entry: &Entry<'_>, keys: &DeTable<'_>) -> bool {
    let Some((tenant, rest)) = names(keys).filter(|_| keys.len() == 1).and_then(|names| {
        let (first, rest) = names.split_first()?;
        Some((first.clone(), rest.to_vec()))
    }) else {
        return false;
    };
    let points = |key: &Spanned<DeTable<'_>>| {
        let references = key.get_ref().get("references").and_then(|value| value.get_ref().as_table());
        references.is_some_and(|at| {
            let table = at.get("table").and_then(|table| QName::parse(table.get_ref().as_str()?).ok());
            table.as_ref() == Some(&entry.name) && names(at).as_deref() == Some(&rest)
        })
    };
    tenant == whole.tenancy.column && whole.tables.iter().flat_map(|other| &other.composite).any(points)
}

/// The names in `columns`, where there is nothing else in it.
fn names(keys: &DeTable<'_>) -> Option<Vec<Ident>> {
    let columns = keys.get("columns")?.get_ref().as_array()?;
    columns.iter().map(|column| Ident::parse(column.get_ref().as_str()?).ok()).collect()
}
