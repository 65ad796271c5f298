//! What the text around a table's values says: the comments of a `[[table]]`.

use std::ops::Range;

use toml::de::DeValue;

use crate::plan::mend::Node;

/// The places of a table's keys and plain values, in order: what is no comment. A list or an inner table is not among them,
/// since comments may stand in it, but its end is.
pub fn solid(value: &Node<'_>, found: &mut Vec<Range<usize>>) {
    match value.get_ref() {
        DeValue::Table(table) => {
            for (key, inner) in table {
                found.push(key.span());
                solid(inner, found);
            }
        }
        DeValue::Array(items) => items.iter().for_each(|item| solid(item, found)),
        DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
    }
    let span = value.span();
    match value.get_ref() {
        DeValue::Table(_) | DeValue::Array(_) => found.push(span.end.saturating_sub(1)..span.end),
        DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {
            found.push(span);
        }
    }
}

/// The comments in `range`, each as it is written, where `solid` is none.
pub fn comments(source: &str, range: &Range<usize>, solid: &[Range<usize>]) -> Vec<String> {
    let mut found = Vec::new();
    let mut at = range.start;
    while let Some(next) = source.get(at..range.end).and_then(|rest| rest.find('#')).map(|next| at + next) {
        if let Some(inside) = solid.iter().find(|place| place.contains(&next)) {
            at = inside.end;
            continue;
        }
        let line = source[next..range.end].lines().next().unwrap_or_default();
        found.push(line.trim_end().to_owned());
        at = next + line.len();
    }
    found
}
