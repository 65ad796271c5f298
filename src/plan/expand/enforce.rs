//! Phase `enforce`: row-level security, each table in one transaction, and each watched afterwards where [canary] says so. The
//! steps bring their gates, which read the catalogue only: rows are hidden from the owner by now. The plan's probes are measured
//! last.

use std::ops::Range;

use toml::Spanned;

use super::{
    entry::Entry,
    line::{Line, text},
    phases::{Made, Whole},
};
use crate::plan::{Millis, canary::OF_THE_STEP, section::Table};

/// The steps.
pub fn phase<'i>(whole: &Whole<'_, 'i>, place: &Range<usize>) -> Made<'i> {
    let tables: Vec<&Entry<'i>> = whole.tables.iter().filter(|entry| entry.enforce).collect();
    let steps = match whole.canary.watch {
        Some(length) if !tables.is_empty() => watched(whole, &tables, length),
        Some(_) | None => tables.iter().map(|entry| enforce(whole, entry)).collect(),
    };
    let measured = whole.latency && !steps.is_empty();
    let gates = measured.then(|| Line::new("latency", place).done()).into_iter().collect();
    Made { steps, gates }
}

fn enforce<'i>(whole: &Whole<'_, 'i>, entry: &Entry<'i>) -> Table<'i> {
    let other = entry.is_registry().then(|| text(whole.column(entry).to_string(), &entry.place));
    Line::new("enforce_rls", &entry.place)
        .maybe("id", entry.id("rls"))
        .put("table", entry.table())
        .maybe("column", other)
        .maybe("extra", entry.extra.clone())
        .done()
}

/// How busy all of them are before the first, and after each, or after the last, whether they are so still.
fn watched<'i>(whole: &Whole<'_, 'i>, tables: &[&Entry<'i>], length: Millis) -> Vec<Table<'i>> {
    let names = || tables.iter().map(|entry| entry.name.to_string());
    let place = whole.canary_text.map_or(0..0, Spanned::span);
    let observe = Line::new("observe", &place).texts("tables", names()).text("for", time(whole.canary.observe)).done();
    let mut steps = vec![observe];
    for entry in tables {
        steps.push(enforce(whole, entry));
        if !whole.canary.all_at_once {
            let one = watch(whole, &place, length, [entry.name.to_string()]);
            steps.push(one.maybe("id", entry.id("watch")).done());
        }
    }
    if whole.canary.all_at_once {
        steps.push(watch(whole, &place, length, names()).done());
    }
    steps
}

fn watch<'i>(
    whole: &Whole<'_, 'i>,
    place: &Range<usize>,
    length: Millis,
    tables: impl IntoIterator<Item = String>,
) -> Line<'i> {
    let line = Line::new("watch", place).texts("tables", tables).text("for", time(length));
    let written = whole.canary_text.and_then(|canary| canary.get_ref().as_table());
    OF_THE_STEP.into_iter().fold(line, |line, key| line.maybe(key, written.and_then(|canary| canary.get(key)).cloned()))
}

fn time(length: Millis) -> String {
    humantime::format_duration(length.duration()).to_string()
}
