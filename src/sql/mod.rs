//! Typed SQL text: identifiers, expressions, literals and statements, so that wrong quoting cannot be written.

mod block;
mod command;
mod expr;
pub mod foreign_key;
mod ident;
mod keyword;
mod lex;
mod literal;
pub mod policy;
mod stmt;

pub use block::{block, percent, private, where_column};
pub use command::{Command, command, words};
pub use expr::{Expr, TypeName};
pub use ident::{Ident, IdentError, QName};
pub use lex::{LexError, Statement, mask, split};
pub use literal::{Literal, Scalar};
pub use stmt::{List, SqlPart, Stmt, part};
