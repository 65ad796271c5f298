//! Statements, and [`sql!`](crate::sql!), the only way to build one from parts.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Expr, Ident, Literal, QName, TypeName};

/// The text of one SQL statement (or of a script that runs as one), without a closing semicolon.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stmt(String);

impl Stmt {
    /// Takes text that is SQL already: a plan's own SQL, or what [`sql!`](crate::sql!) made.
    pub fn raw(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// An anonymous block with this body, dollar-quoted by a tag that the body has not.
    pub fn block(body: &Self) -> Self {
        let mut tag = "$tenantmig$".to_owned();
        while body.0.contains(&tag) {
            tag.insert(tag.len() - 1, 'x');
        }
        Self(format!("DO {tag}\n{body}\n{tag}"))
    }

    /// The text to send.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Stmt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What may stand in a statement's hole. `str` and `String` are not among them: text becomes an [`Ident`] or a [`Literal`] first.
pub trait SqlPart: fmt::Display {}
impl SqlPart for Ident {}
impl SqlPart for QName {}
impl SqlPart for Expr {}
impl SqlPart for TypeName {}
impl SqlPart for Literal {}
impl SqlPart for Stmt {}
impl SqlPart for u32 {}
impl SqlPart for u64 {}
impl SqlPart for i64 {}
impl SqlPart for usize {}
impl<T: SqlPart> SqlPart for List<'_, T> {}
impl<T: SqlPart + ?Sized> SqlPart for &T {}

/// Lets only an [`SqlPart`] through; [`sql!`](crate::sql!) passes every argument here.
pub fn part<T: SqlPart + ?Sized>(value: &T) -> &T {
    value
}

/// Parts with a separator between them: `List(&columns, ", ")`.
#[derive(Debug, Clone, Copy)]
pub struct List<'a, T>(pub &'a [T], pub &'static str);

impl<T: fmt::Display> fmt::Display for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, item) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(self.1)?;
            }
            write!(f, "{item}")?;
        }
        Ok(())
    }
}

/// Builds a [`Stmt`] like `format!`, from [`SqlPart`]s only: `sql!("ALTER TABLE {} DROP COLUMN {}", table, column)`.
/// Holes are positional (`{}`): a named hole would let plain text in, and a test forbids it.
#[macro_export]
macro_rules! sql {
    ($text:literal $(, $value:expr)* $(,)?) => {
        $crate::sql::Stmt::raw(format!($text $(, $crate::sql::part(&$value))*))
    };
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_quoted_by_their_type() {
        let table = QName::parse("app.order").unwrap();
        let columns = [Ident::parse("id").unwrap(), Ident::parse("\"Name\"").unwrap()];
        let stmt = crate::sql!("SELECT {} FROM {} WHERE note = {}", List(&columns, ", "), table, Literal::new("it's"));
        assert_eq!(stmt.as_str(), r#"SELECT id, "Name" FROM app."order" WHERE note = 'it''s'"#);
    }
}
