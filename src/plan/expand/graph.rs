//! Which table has its tenant before which: parents first, and what stands in the way of that.

use std::collections::{BTreeMap, BTreeSet};

use toml::Spanned;

use super::{entry::Entry, tenantless::Shared, way::Way};
use crate::{
    diag::{Diag, Diags},
    plan::{types::Tenancy, wording::closest},
    sql::{QName, mask},
};

/// The tables, each behind those that it gets its tenant from; as they are written otherwise.
pub fn ordered<'i>(entries: Vec<Entry<'i>>, shared: &[Shared], tenancy: &Tenancy, diags: &mut Diags) -> Vec<Entry<'i>> {
    let index: BTreeMap<QName, usize> = entries.iter().enumerate().map(|(i, e)| (e.name.clone(), i)).collect();
    let world = World { entries: &entries, index: &index, shared, tenancy };
    let before: Vec<Vec<usize>> = entries.iter().map(|entry| world.parents(entry, diags)).collect();
    let sequence = sequence(&entries, &before, diags);
    let mut slots: Vec<Option<Entry<'i>>> = entries.into_iter().map(Some).collect();
    sequence.into_iter().filter_map(|i| slots.get_mut(i).and_then(Option::take)).collect()
}

struct World<'a, 'i> {
    entries: &'a [Entry<'i>],
    index: &'a BTreeMap<QName, usize>,
    shared: &'a [Shared],
    tenancy: &'a Tenancy,
}

impl World<'_, '_> {
    /// The tables that must have their tenant before this one.
    fn parents(&self, entry: &Entry<'_>, diags: &mut Diags) -> Vec<usize> {
        match &entry.way {
            Some(Way::Parent { table, column, .. }) => {
                let known = self.index.get(table.get_ref()).copied();
                if known.is_none() && column.is_none() && *table.get_ref() != self.tenancy.registry.table {
                    diags.push(self.unknown(entry, table));
                }
                known.into_iter().collect()
            }
            Some(Way::Sql { sql, needs }) => {
                let known: Vec<usize> = needs.iter().filter_map(|need| self.needed(entry, need, diags)).collect();
                self.unsaid(entry, sql, needs, diags);
                known
            }
            Some(Way::Value { .. } | Way::Registry { .. }) | None => Vec::new(),
        }
    }

    /// `from` names a table that nothing gives a tenant.
    fn unknown(&self, entry: &Entry<'_>, from: &Spanned<QName>) -> Diag {
        let (table, column) = (from.get_ref(), &self.tenancy.column);
        if let Some(shared) = self.shared.iter().find(|shared| shared.name == *table) {
            let message = format!("{} cannot get its tenant from {table}, which belongs to no tenant", entry.name);
            return Diag::error("TM0386", from.span(), message)
                .other(shared.named.clone(), "shared by all tenants")
                .help("name a table that has a tenant, or make that one a [[table]]");
        }
        // By the bare name: a schema in common makes any two names look alike.
        let bare = closest(table.name.as_str(), self.entries.iter().map(|e| e.name.name.as_str()));
        let near = self.entries.iter().find(|e| Some(e.name.name.as_str()) == bare && e.name != entry.name);
        let spelt = near.map(|near| format!("did you mean `{}`? Else ", near.name));
        Diag::error("TM0385", from.span(), format!("no [[table]] is {table}, so nothing gives its rows a tenant")).help(
            format!(
                "{}write a [[table]] for it; if it has its tenant already, say in which column: column = \"{column}\"",
                spelt.unwrap_or_default()
            ),
        )
    }

    fn needed(&self, entry: &Entry<'_>, need: &Spanned<QName>, diags: &mut Diags) -> Option<usize> {
        let table = need.get_ref();
        let known = self.index.get(table).copied();
        if let Some(shared) = self.shared.iter().find(|shared| shared.name == *table) {
            let message = format!("{table} belongs to no tenant, so {} need not wait for it", entry.name);
            diags.push(
                Diag::warning("TM0387", need.span(), message)
                    .other(shared.named.clone(), "shared by all tenants")
                    .help("take it out of `needs`: the expression may read it all the same"),
            );
        } else if known.is_none() && *table != self.tenancy.registry.table {
            diags.push(
                Diag::warning(
                    "TM0387",
                    need.span(),
                    format!("no [[table]] is {table}, so nothing gives its rows a tenant"),
                )
                .help("write a [[table]] for it; if it has its tenant by itself, take it out of `needs`"),
            );
        }
        known
    }

    /// Tables that get their tenant by this plan and are read before, perhaps.
    fn unsaid(&self, entry: &Entry<'_>, sql: &Spanned<String>, needs: &[Spanned<QName>], diags: &mut Diags) {
        let text = mask(sql.get_ref());
        let said = |table: &QName| *table == entry.name || needs.iter().any(|need| need.get_ref() == table);
        let reads = |table: &QName| {
            let name = table.to_string();
            let around = |c: Option<char>| c.is_none_or(|c| !(c.is_alphanumeric() || "_.$\"".contains(c)));
            // Quoted names are masked; those are not found, which costs this warning only.
            text.match_indices(&name)
                .any(|(at, _)| around(text[..at].chars().next_back()) && around(text[at + name.len()..].chars().next()))
        };
        for other in self.entries.iter().filter(|other| other.is_filled() && !said(&other.name) && reads(&other.name)) {
            let message = format!("it reads {}, which may not have its tenant yet", other.name);
            diags.push(
                Diag::warning("TM0388", sql.span(), message)
                    .help(format!("name it, so that it comes before: needs = [\"{}\"]", other.name)),
            );
        }
    }
}

/// Depth first in the order of the text: what a table waits for, then the table.
fn sequence(entries: &[Entry<'_>], before: &[Vec<usize>], diags: &mut Diags) -> Vec<usize> {
    let mut done = Vec::with_capacity(entries.len());
    let mut seen: BTreeSet<usize> = BTreeSet::new();
    let mut in_circle: BTreeSet<usize> = BTreeSet::new();
    for root in 0..entries.len() {
        // A path of its own and no recursion: a chain may be as long as the plan.
        let mut path: Vec<(usize, usize)> = vec![(root, 0)];
        if !seen.insert(root) {
            continue;
        }
        let mut open: BTreeSet<usize> = BTreeSet::from([root]);
        while let Some((at, next)) = path.last_mut() {
            match before[*at].get(*next) {
                Some(&parent) => {
                    *next += 1;
                    if open.contains(&parent) {
                        let circle: Vec<usize> = path.iter().map(|(i, _)| *i).skip_while(|i| *i != parent).collect();
                        if circle.iter().all(|i| !in_circle.contains(i)) {
                            diags.push(circular(entries, before, &circle));
                        }
                        in_circle.extend(circle);
                    } else if seen.insert(parent) {
                        open.insert(parent);
                        path.push((parent, 0));
                    }
                }
                None => {
                    open.remove(at);
                    done.push(*at);
                    path.pop();
                }
            }
        }
    }
    done
}

/// Tables that wait for each other; each comes behind the one that it gets its tenant from.
fn circular(entries: &[Entry<'_>], before: &[Vec<usize>], circle: &[usize]) -> Diag {
    let names: Vec<String> = circle.iter().chain(circle.first()).map(|i| entries[*i].name.to_string()).collect();
    let behind = waiting(entries, before, circle);
    let also =
        if behind.is_empty() { String::new() } else { format!("; {} cannot be reached either", behind.join(", ")) };
    let last = circle.last().copied().unwrap_or_default();
    let place = match &entries[last].way {
        Some(Way::Parent { table, .. }) => table.span(),
        Some(Way::Sql { needs, .. }) => {
            let first = circle.first().map(|i| &entries[*i].name);
            needs.iter().find(|need| Some(need.get_ref()) == first).map_or(entries[last].place.clone(), Spanned::span)
        }
        Some(Way::Value { .. } | Way::Registry { .. }) | None => entries[last].place.clone(),
    };
    let message = match circle {
        [alone] => format!("{} would get its tenant from itself", entries[*alone].name),
        _ => format!("the tables get their tenant from each other: {}", names.join(" from ")),
    };
    Diag::error("TM0384", place, message)
        .label("this closes the circle")
        .help(format!("one of them needs another way: a parent outside, sql, or a value{also}"))
}

/// The tables outside a circle whose way leads into it.
fn waiting(entries: &[Entry<'_>], before: &[Vec<usize>], circle: &[usize]) -> Vec<String> {
    let mut caught: BTreeSet<usize> = circle.iter().copied().collect();
    loop {
        let more: Vec<usize> = (0..entries.len())
            .filter(|i| !caught.contains(i) && before[*i].iter().any(|parent| caught.contains(parent)))
            .collect();
        if more.is_empty() {
            break;
        }
        caught.extend(more);
    }
    caught.into_iter().filter(|i| !circle.contains(i)).map(|i| entries[i].name.to_string()).collect()
}
