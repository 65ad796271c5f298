//! A string literal, quoted by type.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A text value that prints as an SQL string literal. PostgreSQL gives it the type its place asks for (`'1'` fits a bigint).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Literal(pub String);

impl Literal {
    /// The literal for `text`, whatever it contains.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // E'' reads backslashes the same under either setting of standard_conforming_strings.
        let escape = if self.0.contains('\\') { " E" } else { "" };
        write!(f, "{escape}'{}'", self.0.replace('\\', "\\\\").replace('\'', "''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_cannot_be_left() {
        assert_eq!(Literal::new("it's").to_string(), "'it''s'");
        assert_eq!(Literal::new(r"\'; DROP").to_string(), r" E'\\''; DROP'");
    }
}
