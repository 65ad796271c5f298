//! The ends of a cycle and what differs between them.

use std::collections::BTreeSet;

use tokio_postgres::{Client, types::Type};

use crate::{
    cli::failure::CliError,
    pg::fingerprint::{CatalogPrint, ColumnName, DataPrint, Fingerprint, TableName, diff},
};

/// The database after a leg; `start` before the first.
#[derive(Debug)]
pub struct End {
    pub name: &'static str,
    pub print: Fingerprint,
}

/// Two ends side by side.
#[derive(Debug)]
pub struct Comparison {
    pub of: [&'static str; 2],
    /// A unified diff of the catalogue's facts; `None`: the same.
    pub catalog: Option<String>,
    /// Of the rows: counts and checksums.
    pub data: Option<String>,
    /// How many tables' rows were compared.
    pub tables: usize,
}

impl Comparison {
    /// Compares two ends; of the rows only what both could read, and of `tables` where it is given.
    pub fn of(before: &End, after: &End, tables: Option<&BTreeSet<TableName>>) -> Self {
        let hidden: BTreeSet<&TableName> =
            before.print.data.unreadable().chain(after.print.data.unreadable()).map(|(name, _)| name).collect();
        let rows = |data: &DataPrint| {
            let compared =
                |name: &TableName| !hidden.contains(name) && tables.is_none_or(|tables| tables.contains(name));
            DataPrint { tables: data.tables.iter().filter(|(name, _)| compared(name)).cloned().collect() }
        };
        let (old, new) = (rows(&before.print.data), rows(&after.print.data));
        let facts = |print: &CatalogPrint| print.lines.clone();
        Self {
            of: [before.name, after.name],
            catalog: diff(&facts(&before.print.catalog), &facts(&after.print.catalog)),
            data: diff(&old.lines(), &new.lines()),
            tables: old.tables.len().max(new.tables.len()),
        }
    }

    /// Whether the two ends are the same.
    pub fn same(&self) -> bool {
        self.catalog.is_none() && self.data.is_none()
    }
}

/// The tables of which an end has rows or the reason why not.
pub fn tables(end: &End) -> BTreeSet<TableName> {
    end.print.data.tables.iter().map(|(name, _)| name.clone()).collect()
}

/// Every column, and whether its default gives another value each time. The rows of an end cannot be the same twice in a
/// column that the plan makes with such a default (`created_at DEFAULT now()`); a constant is a quoted text, a number, a
/// truth value or NULL, with or without a cast, as `pg_get_expr` writes it.
const COLUMNS: &str = r"SELECT n.nspname::text, c.relname::text, a.attname::text,
       coalesce(pg_get_expr(d.adbin, d.adrelid) !~ '^\(?(''([^'']|'''')*''|-?[0-9.]+|true|false|NULL)\)?(::[^()]*(\([0-9, ]+\))?)?$', false)
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
       LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND n.nspname <> ALL ($1)";

/// All columns outside `exclude`d schemas, and those of them whose default gives another value each time.
pub async fn columns(
    client: &Client,
    exclude: &[String],
) -> Result<(BTreeSet<ColumnName>, BTreeSet<ColumnName>), CliError> {
    let (mut all, mut fluid) = (BTreeSet::new(), BTreeSet::new());
    for row in client.query_typed(COLUMNS, &[(&exclude, Type::TEXT_ARRAY)]).await? {
        let of = TableName { schema: row.try_get(0)?, table: row.try_get(1)? };
        let column = ColumnName { of, column: row.try_get(2)? };
        if row.try_get(3)? {
            fluid.insert(column.clone());
        }
        all.insert(column);
    }
    Ok((all, fluid))
}
