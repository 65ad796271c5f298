//! Facts from a few lines of text, for the tests: `table: column type…; …`.
//!
//! A column is `name`, `name*` (part of the primary key), `name?` (may be NULL) or `name!` (unique), then its type (bigint where
//! none is written) and `-> table` or `-> table.column` for a foreign key. `unique a b` and `index a b` make keys of several.

use super::facts::{Column, Facts, Index, Reference, Shape, Table};
use crate::sql::{Ident, QName};

/// An identifier.
pub(super) fn id(name: &str) -> Ident {
    Ident::new(name).unwrap()
}

/// A table's name; `public` where it has no schema.
pub(super) fn q(name: &str) -> QName {
    QName::parse(name).unwrap()
}

/// Reads the lines.
pub(super) fn facts(text: &str) -> Facts {
    let mut tables: Vec<Table> = text.lines().filter(|line| !line.trim().is_empty()).map(table).collect();
    let keys: Vec<(QName, Vec<Ident>)> = tables.iter().map(|t| (t.name.clone(), t.primary.clone())).collect();
    for reference in tables.iter_mut().flat_map(|table| &mut table.references).filter(|r| r.to.is_empty()) {
        reference.to = keys.iter().find(|(name, _)| *name == reference.table).unwrap().1.clone();
    }
    tables.sort_by(|a, b| a.name.cmp(&b.name));
    Facts { database: "sample".to_owned(), tables, ..Facts::default() }
}

fn table(line: &str) -> Table {
    let (name, columns) = line.split_once(':').unwrap();
    let mut out = Table {
        name: q(name.trim()),
        shape: Shape::Plain,
        rows: Some(100),
        bytes: 8192,
        owner: id("owner"),
        columns: Vec::new(),
        primary: Vec::new(),
        indexes: Vec::new(),
        references: Vec::new(),
        rls: false,
        forced: false,
        policies: Vec::new(),
    };
    for part in columns.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        column(part, &mut out);
    }
    let key = out.primary.clone();
    if !key.is_empty() {
        index(&mut out, &key, true, true);
    }
    out
}

fn column(part: &str, out: &mut Table) {
    let words: Vec<&str> = part.split_whitespace().collect();
    if ["unique", "index"].contains(&words[0]) {
        let columns: Vec<Ident> = words[1..].iter().map(|word| id(word)).collect();
        return index(out, &columns, words[0] == "unique", false);
    }
    let name = id(words[0].trim_end_matches(['*', '?', '!']));
    let arrow = words.iter().position(|word| *word == "->");
    let r#type = words[1..arrow.unwrap_or(words.len())].join(" ");
    let r#type = if r#type.is_empty() { "bigint".to_owned() } else { r#type };
    let not_null = !words[0].ends_with('?');
    out.columns.push(Column { name: name.clone(), r#type, not_null, default: None, generated: false, identity: false });
    if words[0].ends_with('*') {
        out.primary.push(name.clone());
    }
    if words[0].ends_with('!') {
        index(out, std::slice::from_ref(&name), true, false);
    }
    if let Some(at) = arrow {
        let (table, to) = words[at + 1].split_once('.').map_or((words[at + 1], Vec::new()), |(t, c)| (t, vec![id(c)]));
        out.references.push(Reference {
            name: name.clone(),
            columns: vec![name],
            table: q(table),
            to,
            valid: true,
            fixed: None,
        });
    }
}

fn index(out: &mut Table, columns: &[Ident], unique: bool, primary: bool) {
    let names: Vec<&str> = columns.iter().map(Ident::as_str).collect();
    out.indexes.push(Index {
        name: id(&format!("{}_{}", out.name.name.as_str(), names.join("_"))),
        method: id("btree"),
        keys: columns.iter().cloned().map(Some).collect(),
        unique,
        primary,
        partial: false,
        constraint: unique,
        deferrable: false,
        relied_on: false,
    });
}
