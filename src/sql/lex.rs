//! Just enough of PostgreSQL's lexer to split a script into statements and to see that an expression is one expression.
//!
//! Source: the rules of `scan.l`: strings, E-strings, quoted names, dollar quotes, nested comments.

/// One statement of a script: its text without the closing semicolon, and its first word in upper case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    pub text: String,
    pub first_word: String,
}

/// Why a text cannot be split.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LexError {
    #[error("{what} is opened and not closed: `{near}`")]
    Open { what: &'static str, near: String },
    #[error("a `{0}` too many")]
    Unbalanced(char),
}

/// Splits a script at the semicolons that stand outside quotes, comments and parentheses. Empty statements fall away.
pub fn split(script: &str) -> Result<Vec<Statement>, LexError> {
    let mut statements = Vec::new();
    let mut start = 0;
    let mut depth: Vec<(char, usize)> = Vec::new();
    let mut ends = 0usize; // CREATE FUNCTION … BEGIN ATOMIC … END holds semicolons of its own, and each CASE in it an END
    let mut at = 0;
    while at < script.len() {
        if let Some(end) = skip_quoted(script, at)? {
            at = end;
            continue;
        }
        let Some(c) = script[at..].chars().next() else { break };
        match c {
            '(' | '[' => depth.push((c, at)),
            ')' | ']' => match depth.pop() {
                Some(('(', _)) if c == ')' => {}
                Some(('[', _)) if c == ']' => {}
                Some(_) | None => return Err(LexError::Unbalanced(c)),
            },
            ';' if depth.is_empty() && ends == 0 => {
                push(&mut statements, &script[start..at]);
                start = at + 1;
            }
            _ if starts_word(script, at) => {
                let word = word_at(script, at);
                let opens = if ends == 0 { "atomic" } else { "case" };
                if word.eq_ignore_ascii_case(opens) {
                    ends += 1;
                } else if word.eq_ignore_ascii_case("end") {
                    ends = ends.saturating_sub(1);
                }
                at += word.len();
                continue;
            }
            _ => {}
        }
        at += c.len_utf8();
    }
    if let Some((_, at)) = depth.pop() {
        return Err(open("a parenthesis", script, at));
    }
    push(&mut statements, &script[start..]);
    Ok(statements)
}

/// `text` with every quoted stretch and comment blanked out, byte for byte, so that words and brackets can be looked for.
/// From an unclosed quote on everything is blank.
pub fn mask(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    while let Some(c) = text[masked.len()..].chars().next() {
        let at = masked.len();
        match skip_quoted(text, at) {
            Ok(Some(end)) => masked.push_str(&" ".repeat(end - at)),
            Ok(None) if starts_word(text, at) => masked.push_str(word_at(text, at)),
            Ok(None) => masked.push(c),
            Err(_) => masked.push_str(&" ".repeat(text.len() - at)),
        }
    }
    masked
}

fn open(what: &'static str, text: &str, at: usize) -> LexError {
    const NEAR_CHARS: usize = 24;
    let line = text[at..].lines().next().unwrap_or_default();
    LexError::Open { what, near: line.chars().take(NEAR_CHARS).collect() }
}

fn push(statements: &mut Vec<Statement>, text: &str) {
    let first = first_word(text);
    if !first.is_empty() {
        statements.push(Statement { text: text.trim().to_owned(), first_word: first });
    }
}

fn first_word(text: &str) -> String {
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("--") || rest.starts_with("/*") {
            match skip_quoted(text, at) {
                Ok(Some(end)) => at = end,
                Ok(None) | Err(_) => break,
            }
        } else if rest.starts_with(|c: char| c.is_whitespace()) {
            at += rest.chars().next().map_or(1, char::len_utf8);
        } else {
            let word = word_at(text, at);
            return if word.is_empty() { rest.chars().take(1).collect() } else { word.to_ascii_uppercase() };
        }
    }
    String::new()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

fn starts_word(text: &str, at: usize) -> bool {
    text[at..].starts_with(|c: char| c.is_alphabetic() || c == '_')
}

fn word_at(text: &str, at: usize) -> &str {
    let rest = &text[at..];
    &rest[..rest.find(|c: char| !is_word(c)).unwrap_or(rest.len())]
}

/// Where a quoted stretch or comment that starts at `at` ends; `None` when none starts there.
fn skip_quoted(text: &str, at: usize) -> Result<Option<usize>, LexError> {
    let rest = &text[at..];
    if rest.starts_with("--") {
        return Ok(Some(rest.find('\n').map_or(text.len(), |n| at + n + 1)));
    }
    if rest.starts_with("/*") {
        return comment_end(text, at).map(Some);
    }
    if rest.starts_with('\'') {
        return string_end(text, at, at, false).map(Some);
    }
    if rest.starts_with(['e', 'E']) && rest[1..].starts_with('\'') {
        return string_end(text, at, at + 1, true).map(Some);
    }
    if rest.starts_with('"') {
        let end = text[at + 1..].find('"').ok_or_else(|| open("a quoted name", text, at))?;
        return Ok(Some(at + 1 + end + 1));
    }
    if rest.starts_with('$') {
        return dollar_end(text, at);
    }
    Ok(None)
}

fn comment_end(text: &str, at: usize) -> Result<usize, LexError> {
    let (mut depth, mut i) = (0usize, at);
    let bytes = text.as_bytes();
    while i + 1 < bytes.len() {
        match (bytes[i], bytes[i + 1]) {
            (b'/', b'*') => (depth, i) = (depth + 1, i + 2),
            (b'*', b'/') => (depth, i) = (depth - 1, i + 2),
            (_, _) => i += 1,
        }
        if depth == 0 {
            return Ok(i);
        }
    }
    Err(open("a comment", text, at))
}

fn string_end(text: &str, at: usize, quote: usize, escapes: bool) -> Result<usize, LexError> {
    let bytes = text.as_bytes();
    let mut i = quote + 1;
    while i < bytes.len() {
        match bytes[i] {
            b'\\' if escapes => i += 2,
            b'\'' if bytes.get(i + 1) == Some(&b'\'') => i += 2,
            b'\'' => return Ok(i + 1),
            _ => i += 1,
        }
    }
    Err(open("a string", text, at))
}

fn dollar_end(text: &str, at: usize) -> Result<Option<usize>, LexError> {
    let Some(close) = text[at + 1..].find('$') else { return Ok(None) };
    let tag = &text[at..at + close + 2];
    let name = &tag[1..tag.len() - 1];
    if !name.chars().all(|c| c.is_alphanumeric() || c == '_') || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Ok(None); // a parameter such as $1
    }
    let body = at + tag.len();
    text[body..].find(tag).map(|n| Some(body + n + tag.len())).ok_or_else(|| open("a dollar quote", text, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(script: &str, expect: Result<&[&str], &str>) {
        let got = split(script).map(|all| all.into_iter().map(|s| s.text).collect::<Vec<_>>());
        match (got, expect) {
            (Ok(texts), Ok(want)) => assert_eq!(texts, want),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (got, want) => panic!("{script}: {got:?}, expected {want:?}"),
        }
    }

    #[test]
    fn scripts_split_where_postgresql_splits_them() {
        check("SELECT 1; SELECT 2;", Ok(&["SELECT 1", "SELECT 2"]));
        check("SELECT ';' ; -- a; b\nSELECT E'\\';'", Ok(&["SELECT ';'", "-- a; b\nSELECT E'\\';'"]));
        check("DO $x$ BEGIN; END $x$; SELECT $1", Ok(&["DO $x$ BEGIN; END $x$", "SELECT $1"]));
        check("/* a /* ; */ ; */ SELECT \"a;b\"", Ok(&["/* a /* ; */ ; */ SELECT \"a;b\""]));
        check(
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END; SELECT 2",
            Ok(&["CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END", "SELECT 2"]),
        );
        check(
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END; SELECT 3",
            Ok(&[
                "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END",
                "SELECT 3",
            ]),
        );
        check("  -- nothing\n ;", Ok(&[]));
    }

    #[test]
    fn what_is_quoted_is_blanked() {
        for (text, left) in [
            ("a 'b' \"c\" -- d", "a"),
            ("name'x' größe /* é */ + $1", "name größe + $1"),
            ("f(E'\\'') $$;$$ x 'open", "f( ) x"),
        ] {
            let masked = mask(text);
            assert_eq!(masked.len(), text.len());
            assert_eq!(masked.split_whitespace().collect::<Vec<_>>().join(" "), left);
        }
    }

    #[test]
    fn what_is_left_open_is_named() {
        check("SELECT 'a", Err("a string"));
        check("SELECT (1", Err("a parenthesis"));
        check("SELECT 1)", Err("a `)` too many"));
        check("/* a", Err("a comment"));
        check("$$ a", Err("a dollar quote"));
    }
}
