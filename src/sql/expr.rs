//! Expressions and type names that a plan writes as SQL.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::lex::split;

/// One SQL expression, as the plan writes it. It is one expression: quotes and parentheses close, no semicolon ends it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Expr(String);

/// A type name, as SQL writes it: `uuid`, `numeric(12, 2)`, `app.mood[]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeName(String);

impl Expr {
    /// Takes `text` if it is one expression. Its meaning is checked by the server.
    pub fn parse(text: &str) -> Result<Self, String> {
        one("an expression", text).map(Self)
    }

    /// The text as the plan wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TypeName {
    /// Takes `text` if it can be a type name.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = one("a type", text)?;
        let fits = |c: char| c.is_alphanumeric() || " _.,()[]\"$".contains(c);
        if text.chars().all(fits) { Ok(Self(text)) } else { Err(format!("`{text}` is not a type name")) }
    }

    /// The text as the plan wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn one(what: &str, text: &str) -> Result<String, String> {
    let statements = split(text).map_err(|error| error.to_string())?;
    match statements.as_slice() {
        [only] if !text.trim_end().ends_with(';') => {
            // A comment that runs to the end of the line would swallow what follows the expression.
            let tail = if only.text.contains("--") { "\n" } else { "" };
            Ok(format!("{}{tail}", only.text))
        }
        [] => Err(format!("{what} is empty")),
        _ => Err(format!("`;` does not belong in {what}")),
    }
}

macro_rules! raw_sql {
    ($type:ident) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(&self.0)
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
raw_sql!(Expr);
raw_sql!(TypeName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_cannot_become_two_statements() {
        assert!(Expr::parse("a = 1; DROP TABLE t").is_err());
        assert!(Expr::parse("a = 1;").is_err());
        assert!(Expr::parse("(a = 1").is_err());
        assert!(Expr::parse("").is_err());
        assert!(Expr::parse("a = ';'").is_ok());
    }

    #[test]
    fn a_type_name_is_no_place_for_more() {
        for good in ["uuid", "numeric(12, 2)", "timestamp with time zone", "app.\"Mood\"[]"] {
            assert!(TypeName::parse(good).is_ok(), "{good}");
        }
        for bad in ["uuid; x", "uuid -- x", "uuid DEFAULT 'x'", ""] {
            assert!(TypeName::parse(bad).is_err(), "{bad}");
        }
    }
}
