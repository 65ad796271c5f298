//! Names: [`Ident`] is one name, [`QName`] a schema-qualified one. Both print quoted wherever PostgreSQL needs it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::keyword::is_reserved;

/// PostgreSQL cuts longer names silently (`NAMEDATALEN` − 1); we refuse them instead.
pub const IDENT_BYTES_MAX: usize = 63;

/// One SQL name as the catalogue stores it, without quotes. Never empty, never longer than 63 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ident(String);

/// Why a text is no name. The text of each variant is what the user reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentError {
    #[error("a name is missing")]
    Empty,
    #[error("the name `{0}` is {1} bytes long; PostgreSQL keeps {max}", max = IDENT_BYTES_MAX)]
    TooLong(String, usize),
    #[error("`{part}` needs quotes, or PostgreSQL would read it as `{folded}`: write {suggestion}")]
    NeedsQuotes { part: String, folded: String, suggestion: String },
    #[error("`{part}` is no plain name: if it is the whole name, quotes belong around it, as in {suggestion}")]
    NotPlain { part: String, suggestion: String },
    #[error("a quote is not closed in `{0}`")]
    Unterminated(String),
    #[error("`{0}` has {1} parts; write `table` or `schema.table`")]
    TooManyParts(String, usize),
    #[error("a name cannot contain a NUL character")]
    Nul,
}

impl Ident {
    /// Takes a name exactly as the catalogue stores it.
    pub fn new(name: impl Into<String>) -> Result<Self, IdentError> {
        let name = name.into();
        if name.is_empty() {
            return Err(IdentError::Empty);
        }
        if name.contains('\0') {
            return Err(IdentError::Nul);
        }
        if name.len() > IDENT_BYTES_MAX {
            let bytes = name.len();
            return Err(IdentError::TooLong(name, bytes));
        }
        Ok(Self(name))
    }

    /// A name derived from others (`parts` joined by `_`), cut to fit with a hash of the whole so that it stays unique.
    pub fn derived(parts: &[&str]) -> Self {
        use sha2::{Digest, Sha256};
        const HASH_CHARS: usize = 8;
        let whole = parts.join("_");
        if whole.len() <= IDENT_BYTES_MAX && !whole.is_empty() {
            return Self(whole);
        }
        let hash: String =
            Sha256::digest(whole.as_bytes()).iter().take(HASH_CHARS / 2).map(|b| format!("{b:02x}")).collect();
        let mut end = (IDENT_BYTES_MAX - HASH_CHARS - 1).min(whole.len());
        while !whole.is_char_boundary(end) {
            end -= 1;
        }
        Self(format!("{}_{hash}", &whole[..end]))
    }

    /// Reads one name as SQL writes it: bare lower case, or in double quotes.
    pub fn parse(text: &str) -> Result<Self, IdentError> {
        match split_parts(text)?.as_slice() {
            [one] => Self::new(one.clone()),
            parts => Err(IdentError::TooManyParts(text.to_owned(), parts.len())),
        }
    }

    /// The name without quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is_bare(&self) -> bool {
        let mut chars = self.0.chars();
        let first = chars.next().is_some_and(|c| c.is_ascii_lowercase() || c == '_');
        first && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') && !is_reserved(&self.0)
    }
}

impl fmt::Display for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_bare() { f.write_str(&self.0) } else { write!(f, "\"{}\"", self.0.replace('"', "\"\"")) }
    }
}

/// A schema-qualified name. A plan that names no schema means `public`, so that no search_path can redirect it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QName {
    pub schema: Ident,
    pub name: Ident,
}

impl QName {
    /// A name from two names that are valid already.
    pub fn new(schema: Ident, name: Ident) -> Self {
        Self { schema, name }
    }

    /// Reads `table` or `schema.table` as SQL writes it.
    pub fn parse(text: &str) -> Result<Self, IdentError> {
        match split_parts(text)?.as_slice() {
            [name] => Ok(Self::new(Ident::new("public")?, Ident::new(name.clone())?)),
            [schema, name] => Ok(Self::new(Ident::new(schema.clone())?, Ident::new(name.clone())?)),
            parts => Err(IdentError::TooManyParts(text.to_owned(), parts.len())),
        }
    }

    /// Another name in the same schema: where PostgreSQL puts a table's index.
    pub fn sibling(&self, name: Ident) -> Self {
        Self::new(self.schema.clone(), name)
    }
}

impl fmt::Display for QName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// Splits a dotted name into its parts, quotes taken off. A bare part that PostgreSQL would fold is an error.
fn split_parts(text: &str) -> Result<Vec<String>, IdentError> {
    let mut parts = Vec::new();
    let mut rest = text.trim();
    loop {
        let (part, after) =
            if let Some(quoted) = rest.strip_prefix('"') { quoted_part(text, quoted)? } else { bare_part(rest)? };
        parts.push(part);
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(parts),
            None => return Err(needs_quotes(rest)),
        }
    }
}

fn quoted_part<'a>(whole: &str, quoted: &'a str) -> Result<(String, &'a str), IdentError> {
    let mut name = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        if c != '"' {
            name.push(c);
        } else if quoted[at + 1..].starts_with('"') {
            name.push('"');
            chars.next();
        } else {
            return Ok((name, &quoted[at + 1..]));
        }
    }
    Err(IdentError::Unterminated(whole.to_owned()))
}

fn bare_part(rest: &str) -> Result<(String, &str), IdentError> {
    let (part, after) = rest.split_at(rest.find('.').unwrap_or(rest.len()));
    if part.is_empty() {
        return Err(IdentError::Empty);
    }
    let first =
        part.chars().next().is_some_and(|c| c.is_lowercase() || c == '_' || (!c.is_ascii() && c.is_alphabetic()));
    let plain = part.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '$');
    let folds = part.chars().any(|c| c.is_ascii_uppercase());
    if first && plain && !folds { Ok((part.to_owned(), after)) } else { Err(needs_quotes(part)) }
}

fn needs_quotes(part: &str) -> IdentError {
    let (part, folded) = (part.to_owned(), part.to_ascii_lowercase());
    // As a plan writes it: in a string of TOML, whose own quotes are escaped.
    let suggestion = format!("\\\"{}\\\"", part.replace('"', "\"\""));
    let folds = part != folded && part.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '$');
    if folds { IdentError::NeedsQuotes { part, folded, suggestion } } else { IdentError::NotPlain { part, suggestion } }
}

macro_rules! serde_as_sql_text {
    ($type:ident) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                $type::parse(&text).map_err(D::Error::custom)
            }
        }
    };
}
serde_as_sql_text!(Ident);
serde_as_sql_text!(QName);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(input: &str, expect: Result<&str, &str>) {
        match (QName::parse(input), expect) {
            (Ok(name), Ok(text)) => assert_eq!(name.to_string(), text),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (got, want) => panic!("{input}: {got:?}, expected {want:?}"),
        }
    }

    #[test]
    fn names_print_as_postgresql_reads_them() {
        check("users", Ok("public.users"));
        check("app.users", Ok("app.users"));
        check("app.order", Ok("app.\"order\""));
        check(r#"app."Mixed Case""#, Ok(r#"app."Mixed Case""#));
        check(r#""a""b"."c.d""#, Ok(r#""a""b"."c.d""#));
        check("app.größe", Ok("app.\"größe\""));
        check("数据.表", Ok("\"数据\".\"表\""));
    }

    #[test]
    fn what_postgresql_would_fold_or_cut_is_refused() {
        check("app.Users", Err("write \\\"Users\\\""));
        check("app.my table", Err("as in \\\"my table\\\""));
        check("app.9lives", Err("no plain name"));
        check("lower(Email)", Err("no plain name"));
        check("a.b.c", Err("3 parts"));
        check("app.", Err("missing"));
        check(r#"app."open"#, Err("not closed"));
        check(&"x".repeat(64), Err("64 bytes"));
    }

    #[test]
    fn derived_names_fit_and_stay_distinct() {
        let long = "x".repeat(80);
        let (a, b) = (Ident::derived(&[&long, "a"]), Ident::derived(&[&long, "b"]));
        assert!(a.as_str().len() <= IDENT_BYTES_MAX && a != b);
        assert_eq!(Ident::derived(&["users", "tenant_id"]).as_str(), "users_tenant_id");
    }

    #[test]
    fn serde_keeps_the_name() {
        let name = QName::parse(r#"app."Odd ""one""""#).unwrap();
        let json = serde_json::to_string(&name).unwrap();
        assert_eq!(serde_json::from_str::<QName>(&json).unwrap(), name);
    }
}
