//! Serde's messages in the words of this program, with the closest key where one was mistyped.

use std::ops::Range;

use toml::de::DeValue;

use crate::diag::Diag;

/// The closest of `known` to `word`, if any is close enough to be meant.
pub fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const MEANT_MIN: f64 = 0.75; // Jaro-Winkler: "colum" and "column" have 0.97, "truncate" and "update" 0.72
    let scored = known.into_iter().map(|k| (strsim::jaro_winkler(word, k), k));
    scored.filter(|(score, _)| *score >= MEANT_MIN).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, k)| k)
}

/// Advice for a word that is none of `known`.
pub fn advice(word: &str, known: &[&str]) -> String {
    match (closest(word, known.iter().copied()), known) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, []) => "take it out".to_owned(),
        (None, known) => format!("write one of: {}", known.join(", ")),
    }
}

/// A finding for a key that the table does not have. `free` are those that could be meant.
pub fn unknown_key(key: &str, span: Range<usize>, free: &[&str]) -> Diag {
    Diag::error("TM0102", span, format!("unknown key `{key}`")).label("not a key of this table").help(advice(key, free))
}

/// The key that `error` misses.
pub fn missing_key(error: &toml::de::Error) -> Option<&str> {
    error.message().strip_prefix("missing field `")?.strip_suffix('`')
}

/// The keys that an unknown one could have been; empty for other errors.
pub fn known_keys(error: &toml::de::Error) -> Vec<&str> {
    let known = error.message().strip_prefix("unknown field").and_then(|m| m.split_once("`, expected "));
    known.map_or(Vec::new(), |(_, known)| known.split('`').skip(1).step_by(2).collect())
}

/// A finding for an error of deserialisation at `span`. `siblings` are the keys that are written already.
pub fn from_serde(error: &toml::de::Error, span: Range<usize>, siblings: &[String]) -> Diag {
    let message = error.message();
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    if let Some(key) = missing_key(error) {
        return Diag::error("TM0104", span, format!("the key `{key}` is missing"))
            .label(format!("`{key}` belongs in this table"));
    }
    match (message, quoted.as_slice()) {
        (m, [key, ..]) if m.starts_with("unknown field") => {
            let mut free = known_keys(error);
            free.retain(|k| !siblings.iter().any(|s| s == k));
            unknown_key(key, span, &free)
        }
        (m, [word, known @ ..]) if m.starts_with("unknown variant") => {
            Diag::error("TM0103", span, format!("`{word}` is not a value of this key")).help(advice(word, known))
        }
        (m, _) => Diag::error("TM0103", span, mismatch(m)),
    }
}

/// "invalid type: sequence, expected u32", without the names of Rust's types.
fn mismatch(message: &str) -> String {
    let kind = ["invalid type: ", "invalid value: "].iter().find_map(|kind| message.strip_prefix(kind));
    let Some((found, expected)) = kind.and_then(|rest| rest.split_once(", expected ")) else {
        return message.to_owned();
    };
    let found = match found {
        "sequence" => "a list",
        "map" => "a table",
        other => other,
    };
    let expected = match expected {
        "a sequence" => "a list",
        "a map" => "a table",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" => "a whole number, 0 or more",
        "i64" => "a whole number",
        rust if rust.starts_with("struct ") => "a table",
        other => other,
    };
    let what = if message.starts_with("invalid type") { "type" } else { "value" };
    format!("wrong {what}: {found}, expected {expected}")
}

/// What a value is, with its article.
pub fn a(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or a time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a single table",
    }
}
