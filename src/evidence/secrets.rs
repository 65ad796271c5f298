//! Passwords that a plan's own SQL, or a definition in the catalogue, may hold. They are taken out of the finished text, so that
//! no part of a page can show what another part left out.

use serde_json::Value;

const LEFT_OUT: &str = "(left out)";

/// A plain text without passwords: of a `PASSWORD '…'`, of a URI, of a conninfo string.
pub fn without_secrets(text: &str) -> String {
    cut(text, &['\n'])
}

/// The same of a finished page, in which a text ends where the next tag begins.
pub(super) fn page_without_secrets(page: &str) -> String {
    cut(page, &['\n', '<'])
}

/// The same of all texts in a value.
pub(super) fn value_without_secrets(value: &mut Value) {
    match value {
        Value::String(text) => *text = without_secrets(text),
        Value::Array(all) => all.iter_mut().for_each(value_without_secrets),
        Value::Object(all) => all.iter_mut().for_each(|(_, value)| value_without_secrets(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A password ends at one of `ends` at the latest: what follows a quote that is never closed stays.
fn cut(text: &str, ends: &[char]) -> String {
    let lower = text.to_ascii_lowercase();
    let mut cuts: Vec<(usize, usize)> = Vec::new();
    for (at, word) in lower.match_indices("password") {
        cuts.extend(after_password(&lower, at + word.len(), ends));
    }
    for (at, slashes) in lower.match_indices("://") {
        cuts.extend(in_uri(&lower, at + slashes.len()));
    }
    cuts.sort_unstable();
    let (mut out, mut end) = (String::with_capacity(text.len()), 0);
    for (from, to) in cuts {
        if from >= end {
            out.push_str(&text[end..from]);
            out.push_str(LEFT_OUT);
            end = to;
        }
    }
    out.push_str(&text[end..]);
    out
}

/// `password 'x'`, `password='x'`, `password=x`; a quote may have been escaped for HTML.
fn after_password(text: &str, at: usize, ends: &[char]) -> Option<(usize, usize)> {
    let rest = &text[at..];
    let skipped = rest.trim_start();
    let given = skipped.strip_prefix('=').map(str::trim_start);
    let value = given.unwrap_or(skipped);
    // The word itself may be what is quoted.
    if given.is_none() && skipped.len() == rest.len() {
        return None;
    }
    let from = at + rest.len() - value.len();
    let doubt: &[&str] = if given.is_some() { &["\"", "&quot;"] } else { &[] };
    for quote in ["'", "&#39;"].iter().chain(doubt) {
        if let Some(inner) = value.strip_prefix(quote) {
            let inner = inner.split(ends).next().unwrap_or_default();
            let (from, length) = (from + quote.len(), quoted(inner, quote));
            return (length > 0).then_some((from, from + length));
        }
    }
    given?;
    let length = value.find(|c: char| c.is_whitespace() || "'\"&<>,;)\\".contains(c)).unwrap_or(value.len());
    (length > 0).then_some((from, from + length))
}

/// How long the text is to its closing quote; a doubled one belongs to it.
fn quoted(text: &str, quote: &str) -> usize {
    let mut at = 0;
    while let Some(next) = text[at..].find(quote) {
        let end = at + next + quote.len();
        if !text[end..].starts_with(quote) {
            return at + next;
        }
        at = end + quote.len();
    }
    text.len()
}

/// The password of `user:password@host`.
fn in_uri(text: &str, at: usize) -> Option<(usize, usize)> {
    let rest = &text[at..];
    let end = rest.find(|c: char| c.is_whitespace() || "/\"'<>?".contains(c)).unwrap_or(rest.len());
    let (login, _) = rest[..end].rsplit_once('@')?;
    let (user, password) = login.split_once(':')?;
    let from = at + user.len() + 1;
    (!password.is_empty()).then_some((from, from + password.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_left_out_and_nothing_else() {
        for (text, expect) in [
            ("CREATE ROLE a PASSWORD 'se''cret'", "CREATE ROLE a PASSWORD '(left out)'"),
            ("password = 'x' b", "password = '(left out)' b"),
            ("host=h password=x user=u", "host=h password=(left out) user=u"),
            ("postgres://u:p%40@h/db", "postgres://u:(left out)@h/db"),
            ("see https://example.org/a:b@c", "see https://example.org/a:b@c"),
            ("password text NOT NULL", "password text NOT NULL"),
            ("columns = [\"password\"]", "columns = [\"password\"]"),
            ("CASE 'password' WHEN 'x'", "CASE 'password' WHEN 'x'"),
            ("password = \"x\"", "password = \"(left out)\""),
            ("PASSWORD &#39;x&#39;", "PASSWORD &#39;(left out)&#39;"),
            ("in TOML PASSWORD 'x''''\ndown = ''", "in TOML PASSWORD '(left out)\ndown = ''"),
            ("never closed PASSWORD 'x\nnext", "never closed PASSWORD '(left out)\nnext"),
            ("ärger password ''", "ärger password ''"),
        ] {
            assert_eq!(without_secrets(text), expect, "{text}");
        }
    }

    #[test]
    fn markup_and_json_stay_whole() {
        assert_eq!(page_without_secrets("<b>PASSWORD 'x</b> 'y'"), "<b>PASSWORD '(left out)</b> 'y'");
        let mut value = serde_json::json!({ "a": ["PASSWORD 'x\"y'"], "b": 1 });
        value_without_secrets(&mut value);
        assert_eq!(value, serde_json::json!({ "a": ["PASSWORD '(left out)'"], "b": 1 }));
    }
}
