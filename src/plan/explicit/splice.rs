//! Cuts the tables out of a plan's text and puts their phases in the place of the first.

use std::{collections::BTreeMap, ops::Range};

use toml::de::DeTable;

use super::{comments, write};
use crate::plan::{expand::Expansion, mend::Node};

/// The text with phases; `None` where a table is not written as `[[table]]`.
pub fn splice(source: &str, doc: &DeTable<'_>, expansion: &Expansion<'_>) -> Option<String> {
    let tables = doc.get("table")?.get_ref().as_array()?;
    let mut said = BTreeMap::new();
    let mut cuts: Vec<Range<usize>> = Vec::new();
    for table in tables.iter() {
        let cut = block(source, table, &mut said)?;
        cuts.push(cut);
    }
    cuts.sort_by_key(|cut| cut.start);
    let mut text = String::new();
    let mut at = 0;
    for (n, cut) in cuts.iter().enumerate() {
        text.push_str(source.get(at..cut.start)?);
        if n == 0 {
            text.push_str(&write::phases(&expansion.phases, &mut said));
            text.push('\n');
        }
        at = cut.end;
    }
    let rest = source.get(at..)?;
    text.push_str(rest);
    if rest.trim().is_empty() {
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    Some(text)
}

/// A table's lines, with the comment directly above it and the empty lines behind it. What its comments say is noted under the
/// place of its header.
fn block(source: &str, table: &Node<'_>, said: &mut BTreeMap<usize, Vec<String>>) -> Option<Range<usize>> {
    let header = table.span();
    if !source.get(header.clone())?.starts_with("[[") {
        return None;
    }
    let mut start = source[..header.start].rfind('\n').map_or(0, |end| end + 1);
    // A comment in the first lines of a plan is the plan's.
    while let Some(above) = line_before(source, start).filter(|line| line.start > 0) {
        if !source[above.clone()].trim_start().starts_with('#') {
            break;
        }
        start = above.start;
    }
    let mut solid = vec![header.clone()];
    comments::solid(table, &mut solid);
    let last = solid.iter().map(|place| place.end).max()?;
    let mut end = last + source.get(last..)?.find('\n').map_or(source.len() - last, |end| end + 1);
    let notes = comments::comments(source, &(start..end), &solid);
    if !notes.is_empty() {
        said.insert(header.start, notes);
    }
    while let Some(line) = source[end..].split_inclusive('\n').next().filter(|line| line.trim().is_empty()) {
        end += line.len();
    }
    Some(start..end)
}

/// The line that ends before `start`, which is the start of one.
fn line_before(source: &str, start: usize) -> Option<Range<usize>> {
    let end = start.checked_sub(1)?;
    Some(source[..end].rfind('\n').map_or(0, |before| before + 1)..end)
}
