//! The fingerprint of a plan: the same for the same meaning, whatever its comments, spacing and order of keys.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use toml::{
    Spanned, Value,
    de::{DeTable, DeValue},
};

/// SHA-256 over a plan's values in canonical order and the files it names, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub String);

impl Fingerprint {
    /// Of a plan's text, which must be TOML, and the (path, text) of each file it reads. The description does not count.
    pub fn of(source: &str, files: &[(String, String)]) -> Result<Self, toml::de::Error> {
        let mut values: toml::Table = toml::from_str(source)?;
        values.iter_mut().for_each(|(_, value)| end_lines(value));
        values.remove("description");
        let mut hash = Sha256::new();
        // toml::Table is a BTreeMap, so its text is canonical.
        hash.update(values.to_string());
        if values.contains_key("table") {
            hash.update(format!("tables after {}", phases_before(source)));
        }
        for (path, text) in files {
            hash.update([0]);
            hash.update(path);
            hash.update([0]);
            hash.update(unix(text));
        }
        Ok(Self(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// The first characters, for people.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

/// How many phases stand before the first table, which the values alone do not say: what tables become stands there. A phase
/// with `after` stands where that says.
fn phases_before(source: &str) -> usize {
    let (doc, _) = DeTable::parse_recoverable(source);
    let items = |key: &str| doc.get_ref().get(key).and_then(|value| value.get_ref().as_array());
    let first = items("table").and_then(|tables| tables.iter().next()).map_or(0, |table| table.span().start);
    let stands = |phase: &DeValue<'_>| phase.as_table().is_some_and(|phase| !phase.contains_key("after"));
    let before = |phase: &&Spanned<DeValue<'_>>| phase.span().start < first && stands(phase.get_ref());
    items("phase").map_or(0, |phases| phases.iter().filter(before).count())
}

/// A checkout on Windows ends lines otherwise than one elsewhere, and strings of several lines keep that.
fn unix(text: &str) -> String {
    text.replace("\r\n", "\n")
}

fn end_lines(value: &mut Value) {
    match value {
        Value::String(text) => *text = unix(text),
        Value::Array(items) => items.iter_mut().for_each(end_lines),
        Value::Table(table) => table.iter_mut().for_each(|(_, value)| end_lines(value)),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {}
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn form_does_not_count_and_meaning_does() {
        let of = |text: &str| Fingerprint::of(text, &[]).unwrap();
        assert_eq!(of("a = 1 # one\nb = 'x'"), of("b = \"x\"\n\na=1"));
        assert_ne!(of("a = 1"), of("a = 2"));
        let file = |text: &str| Fingerprint::of("a = 1", &[("f.sql".to_owned(), text.to_owned())]).unwrap();
        assert_ne!(file("SELECT 1"), file("SELECT 2"));
        assert_eq!(file("SELECT\r\n1"), file("SELECT\n1"));
        assert_eq!(of("a = \"\"\"\r\nb\r\nc\"\"\""), of("a = \"\"\"b\nc\"\"\""));
    }
}
