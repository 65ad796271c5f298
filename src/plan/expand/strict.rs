//! Phase `strict`: the context function is replaced by one without the fallback of [tenancy]. No table is locked, neither on the
//! way there nor back: the first rung of rolling back.

use std::ops::Range;

use super::{
    entry::Entry,
    line::{Line, text},
    phases::{Made, Whole},
};

/// The step, and the tables asked again as the application.
pub fn phase<'i>(whole: &Whole<'_, 'i>, place: &Range<usize>) -> Made<'i> {
    let tenancy = whole.tenancy;
    let (Some(function), Some(_)) = (&tenancy.function, &tenancy.fallback) else { return Made::default() };
    let step = Line::new("create_function", place)
        .text("id", format!("{}-strict", function.name.as_str()))
        .text("name", function.to_string())
        .text("template", "strict_context")
        .yes("replace")
        .done();
    let ask = |entry: &Entry<'i>| {
        let other = entry.is_registry().then(|| text(whole.column(entry).to_string(), &entry.place));
        Line::new("isolation", &entry.place).put("table", entry.table()).maybe("column", other).yes("strict").done()
    };
    let asked = whole.tables.iter().filter(|entry| entry.enforce && !tenancy.roles.is_empty());
    Made { steps: vec![step], gates: asked.map(ask).collect() }
}
