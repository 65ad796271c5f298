//! Columns whose values cannot be the same twice.

use std::collections::BTreeSet;

use tokio_postgres::{Client, types::Type};

use super::{ColumnName, FingerprintError, TableName};

/// The columns of ordinary tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    pub all: BTreeSet<ColumnName>,
    /// Those with a default that may give another value each time.
    pub fluid: BTreeSet<ColumnName>,
}

/// Every column, and whether its default gives another value each time. The rows of an end cannot be the same twice in a
/// column that the plan makes with such a default (`created_at DEFAULT now()`); a constant is a quoted text, a number, a
/// truth value or NULL, with or without a cast, as `pg_get_expr` writes it.
const COLUMNS: &str = r"SELECT n.nspname::text, c.relname::text, a.attname::text,
       coalesce(pg_get_expr(d.adbin, d.adrelid) !~ '^\(?(''([^'']|'''')*''|-?[0-9.]+|true|false|NULL)\)?(::[^()]*(\([0-9, ]+\))?)?$', false)
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
       LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND n.nspname <> ALL ($1)";

/// The columns outside the schemas `exclude` and the system's.
pub async fn columns(client: &Client, exclude: &[String]) -> Result<Columns, FingerprintError> {
    let failed = || FingerprintError::query("the list of columns");
    let (mut all, mut fluid) = (BTreeSet::new(), BTreeSet::new());
    for row in client.query_typed(COLUMNS, &[(&exclude, Type::TEXT_ARRAY)]).await.map_err(failed())? {
        let read = || {
            let of = TableName { schema: row.try_get(0)?, table: row.try_get(1)? };
            Ok((ColumnName { of, column: row.try_get(2)? }, row.try_get::<_, bool>(3)?))
        };
        let (column, changes) = read().map_err(failed())?;
        if changes {
            fluid.insert(column.clone());
        }
        all.insert(column);
    }
    Ok(Columns { all, fluid })
}
