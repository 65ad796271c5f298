//! What is still to be run of a deed of many statements, as its query says.

use tokio_postgres::{Client, Row, types::Type};

use super::{Class, Fault};
use crate::{
    sql::{QName, Stmt},
    unit::{Due, Hold, Lock, LockLevel},
};

/// One statement that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errand {
    pub stmt: Stmt,
    pub kind: ErrandKind,
    /// The tables that it locks.
    pub tables: Vec<QName>,
}

/// How it is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrandKind {
    /// Outside a transaction: drops an index concurrently.
    Clear,
    /// Outside a transaction: builds one.
    Build,
    /// In a transaction, which takes this lock for a moment.
    Change(LockLevel),
}

impl Errand {
    /// What it locks.
    pub fn lock(&self) -> Lock {
        let (level, hold) = match self.kind {
            ErrandKind::Clear => (LockLevel::ShareUpdateExclusive, Hold::Moment),
            ErrandKind::Build => (LockLevel::ShareUpdateExclusive, Hold::Scan),
            ErrandKind::Change(level) => (level, Hold::Moment),
        };
        Lock { level, on: self.tables.clone(), hold }
    }
}

/// Asks what is due, first things first. `before` is what stood there before the deed, as statements.
pub async fn due(client: &Client, due: &Due, before: &[Stmt]) -> Result<Vec<Errand>, Fault> {
    let before: Vec<&str> = before.iter().map(Stmt::as_str).collect();
    let rows = client.query_typed(due.query.as_str(), &[(&before, Type::TEXT_ARRAY)]).await;
    rows.map_err(|error| Fault::from(error).in_statement(due.query.as_str()))?.iter().map(read).collect()
}

fn read(row: &Row) -> Result<Errand, Fault> {
    let (sql, word): (String, String) = (row.try_get(0)?, row.try_get(1)?);
    let kind = match word.as_str() {
        "clear" => ErrandKind::Clear,
        "build" => ErrandKind::Build,
        "rows" => ErrandKind::Change(LockLevel::RowExclusive),
        "none" => ErrandKind::Change(LockLevel::None),
        "share" => ErrandKind::Change(LockLevel::Share),
        "share_update_exclusive" => ErrandKind::Change(LockLevel::ShareUpdateExclusive),
        "share_row_exclusive" => ErrandKind::Change(LockLevel::ShareRowExclusive),
        "exclusive" => ErrandKind::Change(LockLevel::AccessExclusive),
        other => return Err(Fault::new(Class::Fatal, format!("what is due answered `{other}`"))),
    };
    let tables: Vec<String> = row.try_get(2)?;
    let tables = tables.iter().map(|table| QName::parse(table)).collect::<Result<_, _>>();
    let tables = tables.map_err(|why| Fault::new(Class::Fatal, format!("what is due names no table: {why}")))?;
    Ok(Errand { stmt: Stmt::raw(sql), kind, tables })
}
