//! Serde's messages in the words of this program, with the closest key where one was mistyped.

use std::ops::Range;

use crate::diag::Diag;

/// The closest of `known` to `word`, if any is close enough to be meant.
pub fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const MEANT_MIN: f64 = 0.7; // Jaro-Winkler: "colum" and "column" have 0.97, "to" and "kind" 0.0
    let scored = known.into_iter().map(|k| (strsim::jaro_winkler(word, k), k));
    scored.filter(|(score, _)| *score >= MEANT_MIN).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, k)| k)
}

/// Advice for a word that is none of `known`.
pub fn advice(word: &str, known: &[&str]) -> String {
    match closest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("write one of: {}", known.join(", ")),
    }
}

/// A finding for an error of deserialisation. `fallback` is the place where serde knows none.
pub fn from_serde(error: &toml::de::Error, fallback: &Range<usize>) -> Diag {
    let span = error.span().filter(|s| !s.is_empty()).unwrap_or_else(|| fallback.clone());
    let message = error.message();
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    match (message, quoted.as_slice()) {
        (m, [key, known @ ..]) if m.starts_with("unknown field") => {
            Diag::error("TM0102", span, format!("unknown key `{key}`"))
                .label("not a key of this table")
                .help(advice(key, known))
        }
        (m, [word, known @ ..]) if m.starts_with("unknown variant") => {
            Diag::error("TM0103", span, format!("`{word}` is not a value of this key")).help(advice(word, known))
        }
        (m, [key]) if m.starts_with("missing field") => {
            Diag::error("TM0104", fallback.clone(), format!("the key `{key}` is missing"))
                .label(format!("`{key}` belongs in this table"))
        }
        (m, _) if m.starts_with("duplicate field") => Diag::error("TM0103", span, m.to_owned()),
        (m, _) => Diag::error("TM0103", span, m.replace("invalid type: ", "wrong type: ")),
    }
}
