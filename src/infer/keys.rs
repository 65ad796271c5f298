//! The column that carries the tenant, and what becomes of unique keys and indexes.

use std::collections::BTreeMap;

use crate::sql::Ident;

use super::{
    edge::Edge,
    facts::{Facts, Index, Shape, Table},
    names::is_secret,
};

/// The column for the tenant where the schema has none.
const COLUMN: &str = "tenant_id";

/// The tenancy column, and why.
pub(super) fn column(facts: &Facts, edges: &[Edge], root: usize, wanted: Option<&Ident>) -> (Ident, String) {
    if let Some(wanted) = wanted {
        return (wanted.clone(), "given by --column".to_owned());
    }
    let mut seen: BTreeMap<&Ident, usize> = BTreeMap::new();
    let key = facts.tables[root].key().map(|key| &key.name);
    for edge in edges.iter().filter(|edge| edge.parent == root) {
        if let [(child, parent)] = edge.columns.as_slice()
            && Some(parent) == key
        {
            *seen.entry(child).or_default() += 1;
        }
    }
    let most = seen.iter().max_by(|a, b| a.1.cmp(b.1).then_with(|| b.0.cmp(a.0)));
    // The column is added to some tables and adopted in others: it is of one type in all.
    let ty = facts.tables[root].key().map(|key| &key.r#type);
    let elsewhere = |name: &Ident| {
        let others = facts.tables.iter().enumerate().filter(|(at, _)| *at != root);
        others.filter_map(|(_, table)| table.column(name)).any(|column| Some(&column.r#type) != ty)
    };
    match most {
        Some((name, tables)) if *tables > 1 && !elsewhere(name) => {
            ((*name).clone(), format!("{tables} tables have it already, and it points at the registry"))
        }
        _ => {
            let root = facts.tables[root].column(&name(COLUMN)).is_some();
            let column = if root { name("tenant_ref") } else { name(COLUMN) };
            (column, "no column that points at the registry has one name in several tables".to_owned())
        }
    }
}

fn name(text: &str) -> Ident {
    Ident::derived(&[text])
}

/// What becomes of a table's unique keys: those to scope, and what is left with the reason.
pub(super) fn unique(table: &Table, decide: impl Fn(&Ident) -> bool) -> (Vec<Vec<Ident>>, Vec<String>) {
    let (mut scope, mut left) = (Vec::new(), Vec::new());
    for index in table.indexes.iter().filter(|index| index.unique && !index.primary) {
        let columns: Option<Vec<Ident>> = index.keys.iter().cloned().collect();
        let Some(columns) = columns else {
            left.push(format!(
                "{} stays unique over all tenants: it is of an expression, which this plan does not scope",
                index.name
            ));
            continue;
        };
        let said: Vec<String> = columns.iter().map(Ident::to_string).collect();
        let said = format!("unique ({})", said.join(", "));
        match keeps(table, index, &columns, &decide) {
            Some(why) => left.push(format!("{said} stays as it is: {why}")),
            None if !scope.contains(&columns) => scope.push(columns),
            None => {}
        }
    }
    (scope, left)
}

fn keeps(table: &Table, index: &Index, columns: &[Ident], decide: impl Fn(&Ident) -> bool) -> Option<String> {
    if let Some(column) = columns.iter().find(|column| decide(column)) {
        return Some(format!("{column} decides the tenant"));
    }
    if index.partial {
        return Some("it is partial, which this plan does not scope".to_owned());
    }
    if index.relied_on {
        return Some("a foreign key relies on it".to_owned());
    }
    if index.deferrable {
        return Some("it is deferrable".to_owned());
    }
    if table.shape != Shape::Plain {
        return Some("the table has partitions or children".to_owned());
    }
    let [only] = columns else { return None };
    let column = table.column(only)?;
    let made =
        column.default.as_deref().is_some_and(|d| d.contains("uuid") || d.contains("nextval") || d.contains("random"));
    if made || column.identity || column.r#type == "uuid" || is_secret(only) {
        return Some("nobody chooses its values, and it may be looked up before the tenant is known".to_owned());
    }
    None
}

/// The indexes that lead with the tenant, where they are not what the plan makes by itself, and why.
pub(super) fn indexes(table: &Table, column: &Ident) -> (Option<Vec<Vec<Ident>>>, Option<String>) {
    let leads = |index: &&Index| index.keys.first().is_some_and(|key| key.as_ref() == Some(column)) && !index.partial;
    if let Some(index) = table.indexes.iter().find(leads) {
        return (Some(Vec::new()), Some(format!("{} leads with {column} already", index.name)));
    }
    let is_time =
        |name: &Ident| table.column(name).is_some_and(|c| c.r#type.starts_with("timestamp") || c.r#type == "date");
    let by_time = |index: &&Index| {
        !index.partial
            && index.method.as_str() == "btree"
            && matches!(index.keys.as_slice(), [Some(one)] if is_time(one))
    };
    match table.indexes.iter().find(by_time) {
        Some(Index { name, keys, .. }) => {
            let keys = std::iter::once(column.clone()).chain(keys.iter().flatten().cloned()).collect();
            (Some(vec![keys]), Some(format!("as {name} sorts by time, so the new one does within a tenant")))
        }
        None => (None, None),
    }
}
