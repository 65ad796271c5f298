//! Values of a plan as TOML: a step is one line.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use crate::plan::{expand::PHASES, mend::Node, section::Table};

/// The order of the keys that most steps have; others come behind them by name.
const KEYS: [&str; 21] = [
    "format",
    "id",
    "kind",
    "name",
    "description",
    "phase",
    "after",
    "table",
    "tables",
    "match",
    "column",
    "columns",
    "type",
    "default",
    "from",
    "parent",
    "references",
    "sql",
    "value",
    "log",
    "for",
];

/// A whole document, from nothing but its values.
pub fn document(doc: &DeTable<'_>) -> String {
    let (mut plain, mut sections, mut phases) = (String::new(), String::new(), String::new());
    for (name, value) in sorted(doc) {
        match value.get_ref() {
            DeValue::Table(keys) => {
                sections.push_str(&format!("\n[{}]\n", key(name)));
                sorted(keys).iter().for_each(|(k, v)| sections.push_str(&format!("{} = {}\n", key(k), inline(v))));
            }
            DeValue::Array(items) if name == "phase" => {
                let tables = items.iter().filter_map(|item| item.get_ref().as_table());
                phases = tables.map(|table| format!("\n{}", phase(table, &mut BTreeMap::new()))).collect();
            }
            DeValue::Array(items) if ["gate", "shared", "probe"].contains(&name) => {
                for table in items.iter().filter_map(|item| item.get_ref().as_table()) {
                    sections.push_str(&format!("\n[[{name}]]\n"));
                    sorted(table).iter().for_each(|(k, v)| sections.push_str(&format!("{} = {}\n", key(k), inline(v))));
                }
            }
            DeValue::Array(_)
            | DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => plain.push_str(&format!("{} = {}\n", key(name), inline(value))),
        }
    }
    format!("{plain}{sections}{phases}")
}

/// The phases that tables become, each with a line that says what it is for. What was said of a table is taken out of
/// `comments` (by the place of the table) and stands above its first step.
pub fn phases(made: &[Table<'_>], comments: &mut BTreeMap<usize, Vec<String>>) -> String {
    let one = |table: &Table<'_>| {
        let id = table.get_ref().get("id").and_then(|id| id.get_ref().as_str());
        let why = PHASES.iter().find(|(name, _)| Some(*name) == id).map_or("", |(_, why)| why);
        format!("# {why}\n{}", phase(table.get_ref(), comments))
    };
    made.iter().map(one).collect::<Vec<_>>().join("\n")
}

fn phase(table: &DeTable<'_>, comments: &mut BTreeMap<usize, Vec<String>>) -> String {
    const LISTS: [&str; 4] = ["step", "gate", "before_undo", "after_undo"];
    let mut text = "[[phase]]\n".to_owned();
    for (name, value) in sorted(table).into_iter().filter(|(name, _)| !LISTS.contains(name)) {
        text.push_str(&format!("{:<4} = {}\n", key(name), inline(value)));
    }
    for name in LISTS {
        let Some(items) = table.get(name).and_then(|list| list.get_ref().as_array()) else { continue };
        text.push_str(&format!("{name:<4} = [\n"));
        for item in items.iter() {
            let above = comments.remove(&item.span().start).unwrap_or_default();
            above.iter().for_each(|line| text.push_str(&format!("    {line}\n")));
            text.push_str(&format!("    {},\n", inline(item)));
        }
        text.push_str("]\n");
    }
    text
}

/// The keys of a table in the order in which people read them.
fn sorted<'a, 'i>(table: &'a DeTable<'i>) -> Vec<(&'a str, &'a Node<'i>)> {
    let mut keys: Vec<(&str, &Node<'i>)> = table.iter().map(|(k, v)| (k.get_ref().as_ref(), v)).collect();
    keys.sort_by_key(|(key, _)| (KEYS.iter().position(|known| known == key).unwrap_or(KEYS.len()), *key));
    keys
}

fn inline(value: &Node<'_>) -> String {
    match value.get_ref() {
        DeValue::String(text) => string(text),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(yes) => yes.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        DeValue::Table(table) if table.is_empty() => "{}".to_owned(),
        DeValue::Table(table) => {
            let pairs: Vec<String> = sorted(table).iter().map(|(k, v)| format!("{} = {}", key(k), inline(v))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
    }
}

fn string(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn key(key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    // A key stands on one line, whatever is in it; JSON escapes as TOML does, but for DEL.
    if bare { key.to_owned() } else { serde_json::Value::from(key).to_string().replace('\u{7f}', "\\u007f") }
}
