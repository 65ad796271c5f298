//! What steps and undos put aside, as the catalogue has it: tables in schemas of their own, columns under another name.

use tokio_postgres::{Client, types::Type};

use super::Fault;
use crate::{
    sql,
    sql::{Ident, QName, Stmt},
    steps::{drop_column, drop_table::aside},
};

/// A table that is put aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptTable {
    /// Where it was, where the comment of its schema still says so.
    pub table: Option<String>,
    /// What put it aside, and when.
    pub by: Option<String>,
    pub at: Option<String>,
    pub schema: Ident,
    /// As the planner estimates them; of one that was never looked at, none.
    pub rows: Option<i64>,
    pub bytes: i64,
}

/// A column that a step took away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptColumn {
    pub table: QName,
    /// Its name meanwhile.
    pub kept: Ident,
}

impl KeptTable {
    /// Frees it for good.
    pub fn purge(&self) -> Stmt {
        sql!("DROP SCHEMA {} CASCADE", self.schema)
    }
}

impl KeptColumn {
    /// Is rid of it for good.
    pub fn purge(&self) -> Stmt {
        sql!("ALTER TABLE {} DROP COLUMN {}", self.table, self.kept)
    }
}

/// Every table that is put aside. A comment that somebody changed says nothing.
pub async fn tables(client: &Client) -> Result<Vec<KeptTable>, Fault> {
    // Not read as JSON: somebody may have written another comment.
    let query = r#"SELECT n.nspname::text, replace(substring(d.note FROM '"table": "((?:[^"\\]|\\.)*)"'), '\"', '"'),
                          substring(d.note FROM '"by": "([^"]*)"'), substring(d.note FROM '"at": "([^"]*)"'),
                          (SELECT sum(c.reltuples) FILTER (WHERE c.reltuples >= 0)::bigint FROM pg_class c WHERE c.relnamespace = n.oid AND c.relkind = 'r'),
                          (SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c WHERE c.relnamespace = n.oid AND c.relkind = 'r')
                     FROM pg_namespace n CROSS JOIN LATERAL (SELECT obj_description(n.oid, 'pg_namespace') AS note) d
                    WHERE starts_with(n.nspname, $1) ORDER BY n.nspname"#;
    let rows = client.query_typed(query, &[(&aside::PREFIX, Type::TEXT)]).await?;
    rows.iter()
        .map(|row| {
            Ok(KeptTable {
                schema: name(row.try_get(0)?)?,
                table: row.try_get(1)?,
                by: row.try_get(2)?,
                at: row.try_get(3)?,
                rows: row.try_get(4)?,
                bytes: row.try_get(5)?,
            })
        })
        .collect()
}

/// Every column that a step took away; those of partitions and children go with their parent's.
pub async fn columns(client: &Client) -> Result<Vec<KeptColumn>, Fault> {
    let query = "SELECT n.nspname::text, c.relname::text, a.attname::text
                   FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE starts_with(a.attname, $1) AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped AND a.attinhcount = 0
                    AND n.nspname !~ '^pg_' ORDER BY 1, 2, 3";
    let rows = client.query_typed(query, &[(&drop_column::PREFIX, Type::TEXT)]).await?;
    rows.iter()
        .map(|row| {
            let table = QName::new(name(row.try_get(0)?)?, name(row.try_get(1)?)?);
            Ok(KeptColumn { table, kept: name(row.try_get(2)?)? })
        })
        .collect()
}

fn name(text: String) -> Result<Ident, Fault> {
    Ident::new(text).map_err(|why| Fault::new(super::Class::Fatal, why.to_string()))
}
