//! Reads one table of the plan into a type, with every error in it and not only the first.

use std::{collections::BTreeMap, ops::Range};

use toml::{Spanned, de::DeTable};

use super::wording::from_serde;
use crate::diag::Diags;

/// A table of the plan with its place.
pub type Table<'i> = Spanned<DeTable<'i>>;

/// The places of a table's values by key.
pub fn places(table: &Table<'_>) -> BTreeMap<String, Range<usize>> {
    table.get_ref().iter().map(|(k, v)| (k.get_ref().to_string(), v.span())).collect()
}

/// Reads `table` by `parse`. After an error the key at fault is taken out and the rest is read again, so that all are told.
pub fn read<'i, T>(
    mut table: Table<'i>,
    diags: &mut Diags,
    parse: impl Fn(Table<'i>) -> Result<T, toml::de::Error>,
) -> Option<T> {
    let mut taken: Vec<String> = Vec::new();
    loop {
        let error = match parse(table.clone()) {
            Ok(value) => return taken.is_empty().then_some(value),
            Err(error) => error,
        };
        let missing_what_was_taken = error.message().starts_with("missing field")
            && taken.iter().any(|k| error.message().contains(&format!("`{k}`")));
        if missing_what_was_taken {
            return None;
        }
        diags.push(from_serde(&error, &table.span()));
        let at_fault = error.span().and_then(|span| {
            let inside = |r: Range<usize>| r.start <= span.start && span.end <= r.end && !span.is_empty();
            let hit = table.get_ref().iter().find(|(k, v)| inside(k.span()) || inside(v.span()));
            hit.map(|(k, _)| k.get_ref().to_string())
        })?;
        table.get_mut().remove(at_fault.as_str());
        taken.push(at_fault);
    }
}
