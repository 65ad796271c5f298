//! The rows of every table as a count and a checksum.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use super::FingerprintError;
use super::error::message;
use super::snapshot::{self, Scope};

/// Writes one SELECT for each ordinary table and leaf partition, identifiers quoted by the server.
///
/// - Each row is rendered as text with its live columns sorted by name, so that the order in which columns were dropped and
///   added does not matter. `ROW(…)::text` tells NULL from the empty string, and quotes what could run together.
/// - SHA-256 rather than MD5, as quick here and not refused by servers in FIPS mode; its first 64 bits, as a signed number.
///   `getdatabaseencoding()` keeps the bytes as they are: SQL_ASCII has no conversion to UTF-8.
/// - The sum over all rows, which is independent of their order and needs constant memory. Not XOR: there two equal rows
///   cancel out, so that a duplicated pair would go unseen. `sum(bigint)` is numeric and cannot overflow.
/// - ONLY, since a child table is a table of its own and must not count twice.
/// - A foreign partition is not read: its rows live elsewhere. Nor is a materialised view, whose rows are derived.
///
/// `$1` schemas in scope, `$2`–`$4` columns to ignore, `$5`–`$6` the tables asked for, or NULL for all.
const STATEMENTS: &str = r#"
SELECT n.nspname::text, c.relname::text, format(
    'SELECT count(*), coalesce(sum((''x'' || left(encode(sha256(convert_to(ROW(%s)::text, getdatabaseencoding())), ''hex''), 16))::bit(64)::bigint), 0)::text FROM ONLY %I.%I AS r',
    (SELECT string_agg(format('r.%I', a.attname), ', ' ORDER BY a.attname COLLATE "C")
     FROM pg_attribute a
     WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
       AND NOT EXISTS (SELECT FROM unnest($2, $3, $4) i (s, t, col)
                       WHERE i.s = n.nspname AND i.t = c.relname AND i.col = a.attname)),
    n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.oid = ANY ($1) AND c.relkind = 'r'
  AND ($5 IS NULL OR EXISTS (SELECT FROM unnest($5, $6) w (s, t) WHERE w.s = n.nspname AND w.t = c.relname))
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
"#;

/// A table by schema and name, unquoted as in the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    /// The schema.
    pub schema: String,
    /// The table.
    pub table: String,
}

/// A column that the data fingerprint leaves out, names unquoted as in the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ColumnName {
    /// Its table.
    pub of: TableName,
    /// The column.
    pub column: String,
}

/// What is known about a table's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableData {
    /// All rows were read.
    Rows {
        /// How many.
        count: u64,
        /// The sum over all rows of 64 bits of each row's hash, in decimal; it may be negative.
        checksum: String,
    },
    /// The rows may not be read in full, so nothing is said about them; never to be taken for 0 rows.
    Unreadable {
        /// The server's reason: a policy that applies to the reader, a missing privilege, no such table.
        why: String,
    },
}

/// The rows of all tables, in the order of schema and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataPrint {
    /// One entry a table.
    pub tables: Vec<(TableName, TableData)>,
}

impl DataPrint {
    /// One line a table: `data app.users: 500000 rows, checksum 8241` or `data app.users: unreadable, why`.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.tables
            .iter()
            .map(|(name, data)| match data {
                TableData::Rows { count, checksum } => {
                    format!("data {}.{}: {count} rows, checksum {checksum}", name.schema, name.table)
                }
                TableData::Unreadable { why } => {
                    format!("data {}.{}: unreadable, {why}", name.schema, name.table)
                }
            })
            .collect()
    }

    /// The tables whose rows are not covered. Two prints with the same unreadable table compare as equal in it, which proves
    /// nothing about its rows: whoever compares has to look here as well.
    pub fn unreadable(&self) -> impl Iterator<Item = (&TableName, &str)> {
        self.tables.iter().filter_map(|(name, data)| match data {
            TableData::Rows { .. } => None,
            TableData::Unreadable { why } => Some((name, why.as_str())),
        })
    }
}

/// Counts and sums the rows of `tables`, or of every ordinary table and leaf partition outside `exclude_schemas` (exact names,
/// unquoted) and the system's schemas, leaving out `ignore_columns`.
///
/// Row security is off in the transaction used, so a table whose policies apply to the caller (FORCE, or not its owner) is
/// reported as unreadable, as is one without SELECT or one that was asked for and is not there. One snapshot, with its own
/// transaction (see [`super::catalog`]); it reads every table in full, one after the other, in constant memory, and holds back
/// VACUUM for as long as that takes. Values that sequences stand at are not covered: they never go back.
pub async fn data(
    client: &Client,
    tables: Option<&[TableName]>,
    exclude_schemas: &[String],
    ignore_columns: &[ColumnName],
) -> Result<DataPrint, FingerprintError> {
    let read = match snapshot::begin(client, exclude_schemas).await {
        Ok(scope) => read(client, &scope, tables, ignore_columns).await,
        Err(error) => Err(error),
    };
    snapshot::end(client, read).await
}

pub(super) async fn read(
    client: &Client,
    scope: &Scope,
    tables: Option<&[TableName]>,
    ignore_columns: &[ColumnName],
) -> Result<DataPrint, FingerprintError> {
    let mut found = Vec::new();
    for (name, statement) in statements(client, scope, tables, ignore_columns).await? {
        let rows = read_table(client, &name, &statement).await?;
        found.push((name, rows));
    }
    for asked in tables.unwrap_or_default() {
        if !found.iter().any(|(name, _)| name == asked) {
            let why = "there is no such table, or it holds no rows itself (a view, a partitioned table)".to_owned();
            found.push((asked.clone(), TableData::Unreadable { why }));
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(DataPrint { tables: found })
}

async fn statements(
    client: &Client,
    scope: &Scope,
    tables: Option<&[TableName]>,
    ignore_columns: &[ColumnName],
) -> Result<Vec<(TableName, String)>, FingerprintError> {
    let failed = || FingerprintError::query("the list of tables");
    let schemas: Vec<&str> = ignore_columns.iter().map(|c| c.of.schema.as_str()).collect();
    let names: Vec<&str> = ignore_columns.iter().map(|c| c.of.table.as_str()).collect();
    let columns: Vec<&str> = ignore_columns.iter().map(|c| c.column.as_str()).collect();
    let asked_schemas: Option<Vec<&str>> = tables.map(|t| t.iter().map(|t| t.schema.as_str()).collect());
    let asked_tables: Option<Vec<&str>> = tables.map(|t| t.iter().map(|t| t.table.as_str()).collect());
    let rows = client
        .query_typed(
            STATEMENTS,
            &[
                (&scope.namespaces, Type::OID_ARRAY),
                (&schemas, Type::TEXT_ARRAY),
                (&names, Type::TEXT_ARRAY),
                (&columns, Type::TEXT_ARRAY),
                (&asked_schemas, Type::TEXT_ARRAY),
                (&asked_tables, Type::TEXT_ARRAY),
            ],
        )
        .await
        .map_err(failed())?;
    rows.iter()
        .map(|row| {
            let name = TableName { schema: row.try_get(0)?, table: row.try_get(1)? };
            Ok((name, row.try_get(2)?))
        })
        .collect::<Result<_, tokio_postgres::Error>>()
        .map_err(failed())
}

/// Reads one table under a savepoint that is rolled back either way: a refusal must not cost the snapshot, and the lock on a
/// table that was read goes with it, so that thousands of tables neither fill the lock table nor hold up DDL behind us.
async fn read_table(client: &Client, name: &TableName, statement: &str) -> Result<TableData, FingerprintError> {
    let failed = || FingerprintError::query(format!("the rows of {}.{}", name.schema, name.table));
    client.batch_execute("SAVEPOINT one_table").await.map_err(failed())?;
    let read = match client.query_typed(statement, &[]).await {
        Ok(rows) => count_and_checksum(&rows).map_err(failed())?,
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            TableData::Unreadable { why: message(&error) }
        }
        Err(error) => return Err(failed()(error)),
    };
    let back = "ROLLBACK TO SAVEPOINT one_table; RELEASE SAVEPOINT one_table";
    client.batch_execute(back).await.map_err(failed())?;
    Ok(read)
}

fn count_and_checksum(rows: &[tokio_postgres::Row]) -> Result<TableData, tokio_postgres::Error> {
    // An aggregate without GROUP BY always returns one row.
    let mut read = TableData::Unreadable { why: "the server returned no row for a count".to_owned() };
    for row in rows {
        let count: i64 = row.try_get(0)?;
        read = TableData::Rows { count: count.unsigned_abs(), checksum: row.try_get(1)? };
    }
    Ok(read)
}
