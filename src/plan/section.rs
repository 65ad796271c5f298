//! Reads one table of the plan into a type, with every error in it and not only the first.

use std::{collections::BTreeMap, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    mend::{Node, STAND_IN, fill, respell, take_out},
    wording::{a, from_serde, known_keys, missing_key, unknown_key},
};
use crate::diag::{Diag, Diags};

/// A table of the plan with its place.
pub type Table<'i> = Spanned<DeTable<'i>>;

/// Findings that one table is told at once: each costs another reading of it.
const FINDINGS_MAX: usize = 20;

/// The places of a table's values by path: `columns`, `seed[2]`, `seed[2].name`.
pub fn places(table: &Table<'_>) -> BTreeMap<String, Range<usize>> {
    let mut found = BTreeMap::new();
    for (key, value) in table.get_ref() {
        note(key.get_ref().to_string(), value, &mut found);
    }
    found
}

fn note(path: String, value: &Node<'_>, found: &mut BTreeMap<String, Range<usize>>) {
    match value.get_ref() {
        DeValue::Table(table) => {
            table.iter().for_each(|(key, inner)| note(format!("{path}.{}", key.get_ref()), inner, found));
        }
        DeValue::Array(items) => {
            items.iter().enumerate().for_each(|(i, item)| note(format!("{path}[{i}]"), item, found));
        }
        DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
    }
    found.insert(path, value.span());
}

/// Tells the keys of `table` that are none of `known`. A mistyped one is read on as what was meant, so that the right key is
/// not told to be missing; others are taken out.
pub fn spell(table: &mut DeTable<'_>, known: &[&str], diags: &mut Diags) {
    let wrong = table.keys().filter(|key| !known.contains(&key.get_ref().as_ref()));
    for key in wrong.cloned().collect::<Vec<_>>() {
        let free: Vec<&str> = known.iter().copied().filter(|k| !table.contains_key(*k)).collect();
        diags.push(unknown_key(key.get_ref(), key.span(), &free));
        respell(table, key.get_ref(), known);
    }
}

/// Reads `table` by `parse`. After an error what is at fault is taken out, or what is missing put in, and the table is read
/// again, so that all are told. The value is there when there was no error.
pub fn read<'i, T>(
    table: Table<'i>,
    diags: &mut Diags,
    parse: impl Fn(Table<'i>) -> Result<T, toml::de::Error>,
) -> Option<T> {
    let span = table.span();
    let again = |node: &Node<'i>| {
        let table = node.get_ref().as_table().cloned().unwrap_or_default();
        parse(Spanned::new(span.clone(), table))
    };
    let mut error = match parse(table.clone()) {
        Ok(value) => return Some(value),
        Err(error) => error,
    };
    let mut node = Spanned::new(span.clone(), DeValue::Table(table.into_inner()));
    let mut taken: Vec<(Range<usize>, String)> = Vec::new();
    for _ in 0..FINDINGS_MAX {
        let place = error.span().filter(|s| !s.is_empty()).unwrap_or_else(|| span.clone());
        if let Some(key) = missing_key(&error) {
            if place != STAND_IN && !taken.contains(&(place.clone(), key.to_owned())) {
                diags.push(from_serde(&error, place.clone(), &[]));
            }
            let fits = |e: toml::de::Error| e.span() != Some(STAND_IN) || missing_key(&e).is_some();
            node = fill(&node, &place, key, |trial| again(trial).err().is_none_or(fits))?;
        } else {
            let fault = take_out(&mut node, &place, &known_keys(&error));
            let siblings = fault.as_ref().map_or(&[][..], |f| &f.siblings);
            diags.push(from_serde(&error, place, siblings));
            let fault = fault?;
            taken.extend(fault.key.map(|key| (fault.owner, key)));
        }
        error = again(&node).err()?;
    }
    None
}

/// The tables of an array of tables.
pub fn tables<'i>(parent: &DeTable<'i>, path: &str, diags: &mut Diags) -> Vec<Table<'i>> {
    let key = path.rsplit('.').next().unwrap_or(path);
    let Some(value) = parent.get(key) else { return Vec::new() };
    let Some(array) = value.get_ref().as_array() else {
        let message = format!("`{key}` is a list of tables, not {}", a(value.get_ref()));
        diags.push(Diag::error("TM0103", value.span(), message).help(format!("write [[{path}]] with two brackets")));
        return Vec::new();
    };
    let mut out = Vec::new();
    for item in array.iter() {
        match item.get_ref() {
            DeValue::Table(table) => out.push(Spanned::new(item.span(), table.clone())),
            other @ (DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)) => {
                diags.push(Diag::error("TM0103", item.span(), format!("a table belongs here, not {}", a(other))));
            }
        }
    }
    out
}
