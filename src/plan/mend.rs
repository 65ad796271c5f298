//! Mends a table of the plan after an error, so that it can be read on: what is at fault is taken out or respelt, and
//! something is put where a key is missing.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeArray, DeTable, DeValue},
};

use super::wording::closest;

/// A value of the plan with its place.
pub type Node<'i> = Spanned<DeValue<'i>>;

/// The place of what stands in for a missing value: no place of any text.
pub const STAND_IN: Range<usize> = usize::MAX - 1..usize::MAX;

/// What was taken out: a key of the table at `owner`, or an item of a list.
#[derive(Debug)]
pub struct Fault {
    pub owner: Range<usize>,
    /// `None` for an item, and for a key that was respelt.
    pub key: Option<String>,
    /// The keys that stand beside it.
    pub siblings: Vec<String>,
}

/// Takes out the innermost key or item at `span`. A key that is close to one of `known` is respelt instead.
pub fn take_out(node: &mut Node<'_>, span: &Range<usize>, known: &[&str]) -> Option<Fault> {
    let holds = |place: Range<usize>| place.start <= span.start && span.end <= place.end;
    if let Some(fault) = inner(node.get_mut()).into_iter().find_map(|child| take_out(child, span, known)) {
        return Some(fault);
    }
    let owner = node.span();
    match node.get_mut() {
        DeValue::Table(table) => {
            let hit = table.iter().find(|(k, v)| holds(k.span()) || holds(v.span()));
            let key = hit.map(|(key, _)| key.get_ref().to_string())?;
            let meant = respell(table, &key, known);
            let siblings = table.keys().map(|k| k.get_ref().to_string()).filter(|k| Some(k) != meant.as_ref());
            Some(Fault { owner, siblings: siblings.collect(), key: meant.is_none().then_some(key) })
        }
        DeValue::Array(items) => {
            let at = items.iter().position(|item| holds(item.span()))?;
            *items = items.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, item)| item.clone()).collect();
            Some(Fault { owner, key: None, siblings: Vec::new() })
        }
        DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {
            None
        }
    }
}

/// Takes `key` out of `table`, and puts it back as the closest of `known` that is not there yet; says which that is.
pub fn respell(table: &mut DeTable<'_>, key: &str, known: &[&str]) -> Option<String> {
    let (place, value) = table.remove_entry(key)?;
    let meant = closest(key, known.iter().copied().filter(|k| !table.contains_key(*k)))?;
    table.insert(Spanned::new(place.span(), meant.to_owned().into()), value);
    Some(meant.to_owned())
}

/// `node` with something for the missing `key` of the table at `owner`: of the first form that is `taken` there.
pub fn fill<'i>(
    node: &Node<'i>,
    owner: &Range<usize>,
    key: &str,
    taken: impl Fn(&Node<'i>) -> bool,
) -> Option<Node<'i>> {
    let number = DeValue::parse("0").ok().map(Spanned::into_inner);
    let forms = [
        Some(DeValue::String("x".into())),
        number,
        Some(DeValue::Array(DeArray::default())),
        Some(DeValue::Table(DeTable::new())),
    ];
    forms.into_iter().flatten().find_map(|form| {
        let mut trial = node.clone();
        put(&mut trial, owner, key, &form);
        taken(&trial).then_some(trial)
    })
}

fn put<'i>(node: &mut Node<'i>, owner: &Range<usize>, key: &str, form: &DeValue<'i>) {
    if node.span() == *owner
        && let DeValue::Table(table) = node.get_mut()
    {
        table.insert(Spanned::new(STAND_IN, key.to_owned().into()), Spanned::new(STAND_IN, form.clone()));
        return;
    }
    inner(node.get_mut()).into_iter().for_each(|child| put(child, owner, key, form));
}

fn inner<'a, 'i>(value: &'a mut DeValue<'i>) -> Vec<&'a mut Node<'i>> {
    match value {
        DeValue::Table(table) => table.iter_mut().map(|(_, value)| value).collect(),
        DeValue::Array(items) => items.iter_mut().collect(),
        DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {
            Vec::new()
        }
    }
}
