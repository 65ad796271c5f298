//! The explicit form of a plan: each `[[table]]` written out as the phases that it becomes. What else the plan says, and its
//! comments, stay as they are.

mod comments;
mod splice;
mod write;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    document::header,
    expand::{Expansion, expand},
    parse::settings,
    section::Table,
};
use crate::diag::Diags;

/// A plan without `[[table]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Explicit {
    /// As a file.
    pub text: String,
    /// Its values.
    pub values: toml::Table,
}

/// Writes a plan that has no error without `[[table]]`; `None` where it has one. A plan that has none stays as it is.
pub fn explicit(source: &str) -> Option<Explicit> {
    let mut diags = Diags::default();
    let (doc, syntax) = DeTable::parse_recoverable(source);
    if !syntax.is_empty() {
        return None;
    }
    let doc = doc.into_inner();
    let header = header(&doc, source, &mut diags);
    let tenancy = header.as_ref().and_then(|h| h.tenancy.as_ref());
    let expansion = expand(&doc, &settings(header.as_ref(), tenancy), &mut diags);
    if diags.has_errors() {
        return None;
    }
    if expansion.phases.is_empty() {
        return Some(Explicit { text: source.to_owned(), values: toml::from_str(source).ok()? });
    }
    let anew = write::document(&flat(&doc, &expansion));
    let values: toml::Table = toml::from_str(&anew).ok()?;
    // Tables that are written in an unusual way (in one list, or with a section between their keys) cannot be cut out of
    // the text; then all is written anew, without comments.
    let spliced = splice::splice(source, &doc, &expansion);
    let text =
        spliced.filter(|text| toml::from_str(text).is_ok_and(|read: toml::Table| read == values)).unwrap_or(anew);
    Some(Explicit { text, values })
}

/// The document with phases in the place of its tables.
fn flat<'i>(doc: &DeTable<'i>, expansion: &Expansion<'i>) -> DeTable<'i> {
    let mut flat = doc.clone();
    flat.remove("table");
    let written = doc.get("phase").and_then(|value| value.get_ref().as_array());
    let mut phases: Vec<_> = written.map_or_else(Vec::new, |phases| phases.iter().cloned().collect());
    let node = |table: &Table<'i>| Spanned::new(table.span(), DeValue::Table(table.get_ref().clone()));
    phases.splice(expansion.at..expansion.at, expansion.phases.iter().map(node));
    flat.insert(Spanned::new(0..0, "phase".into()), Spanned::new(0..0, DeValue::Array(phases.into_iter().collect())));
    flat
}
