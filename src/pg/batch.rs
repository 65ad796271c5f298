//! The SQL of a backfill's batches: keyset walks with FOR UPDATE SKIP LOCKED, and the closing proof.

use tokio_postgres::{Client, types::Type};

use super::Fault;
use crate::{
    sql,
    sql::{Ident, List, Literal, QName, Stmt},
    unit::{BackfillSpec, BackfillValue},
};

/// How a table is walked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Walk {
    /// Along a unique, never-null key: its columns and their types.
    Key { columns: Vec<Ident>, types: Vec<Stmt> },
    /// By block number, for a table without such a key.
    Blocks,
}

/// What one batch did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Rows written.
    pub rows: u64,
    /// The last key, or one past the last block, of the range that was walked; `None`: the end is reached.
    pub walked: Option<Vec<String>>,
}

/// A backfill's statements, made once for a table.
#[derive(Debug, Clone)]
pub struct Batches {
    pub walk: Walk,
    table: QName,
    column: Ident,
    value: Stmt,
    from: Stmt,
    due: Stmt,
}

/// What the closing proof found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Rows that are still NULL although a value for them is there.
    pub due: i64,
    /// Rows for which no value is found.
    pub orphans: i64,
    /// One of them.
    pub example: Option<String>,
}

impl Batches {
    /// Looks at the table and prepares its statements. The type of the column gives constants their type.
    pub async fn new(client: &Client, spec: &BackfillSpec) -> Result<Self, Fault> {
        let walk = walk(client, &spec.table).await?;
        let (value, from) = value(client, spec).await?;
        let only = spec.only.as_ref().map_or(Stmt::raw(""), |only| sql!(" AND ({})", only));
        let due = sql!("row.{} IS NULL{}", spec.column, only);
        Ok(Self { walk, table: spec.table.clone(), column: spec.column.clone(), value, from, due })
    }

    /// The upper bound of the walk, fixed now; `None` for an empty table.
    pub async fn end(&self, client: &Client) -> Result<Option<Vec<String>>, Fault> {
        let query = match &self.walk {
            Walk::Key { columns, .. } => {
                let last = columns.iter().map(|c| sql!("{} DESC", c)).collect::<Vec<_>>();
                sql!("SELECT ARRAY[{}] FROM {} ORDER BY {} LIMIT 1", texts(columns), self.table, List(&last, ", "))
            }
            Walk::Blocks => sql!(
                "WITH RECURSIVE heap AS (SELECT {}::regclass::oid AS oid UNION SELECT i.inhrelid FROM pg_inherits i JOIN heap ON heap.oid = i.inhparent)
                 SELECT ARRAY[blocks::text] FROM (SELECT max(pg_relation_size(oid)) / current_setting('block_size')::bigint AS blocks FROM heap) b WHERE blocks > 0",
                Literal::new(self.table.to_string())
            ),
        };
        let row = client.query_typed_opt(query.as_str(), &[]).await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?)
    }

    /// Walks the next range behind `walked` up to `end`: fills what is due and not locked by somebody (`patient`: waits for
    /// row locks instead, within the transaction's lock_timeout). Inside the caller's transaction.
    pub async fn next(
        &self,
        client: &Client,
        walked: Option<&Vec<String>>,
        end: &[String],
        size: u32,
        patient: bool,
    ) -> Result<Batch, Fault> {
        match &self.walk {
            Walk::Key { columns, types } => {
                self.next_by_key(client, (columns, types), walked, end, size, patient).await
            }
            Walk::Blocks => self.next_by_block(client, walked, end, size, patient).await,
        }
    }

    async fn next_by_key(
        &self,
        client: &Client,
        (columns, types): (&[Ident], &[Stmt]),
        walked: Option<&Vec<String>>,
        end: &[String],
        size: u32,
        patient: bool,
    ) -> Result<Batch, Fault> {
        let above =
            walked.map_or(Stmt::raw("true"), |last| sql!("({}) > ({})", qualified(columns), typed(last, types)));
        let order = columns.iter().map(|c| sql!("row.{}", c)).collect::<Vec<_>>();
        let last = columns.iter().map(|c| sql!("{} DESC", c)).collect::<Vec<_>>();
        let equal = columns.iter().map(|c| sql!("t.{} = todo.{}", c, c)).collect::<Vec<_>>();
        let batch = sql!(
            "WITH span AS MATERIALIZED (SELECT {} FROM {} AS row WHERE {} AND ({}) <= ({}) ORDER BY {} LIMIT {}),
                  edge AS MATERIALIZED (SELECT * FROM span ORDER BY {} LIMIT 1),
                  todo AS MATERIALIZED (SELECT row.tableoid AS tenantmig_table, {}, {} AS tenantmig_value FROM {} AS row {}
                           WHERE {} AND ({}) <= (SELECT {} FROM edge) AND {} AND ({}) IS NOT NULL {}),
                  done AS (UPDATE {} AS t SET {} = todo.tenantmig_value FROM todo WHERE t.tableoid = todo.tenantmig_table AND {} AND t.{} IS NULL RETURNING 1)
             SELECT (SELECT count(*) FROM done), (SELECT ARRAY[{}] FROM edge), (SELECT count(*) FROM span)",
            List(&order, ", "),
            self.table,
            above,
            qualified(columns),
            typed(end, types),
            List(&order, ", "),
            size,
            List(&last, ", "),
            List(&order, ", "),
            self.value,
            self.table,
            self.from,
            above,
            qualified(columns),
            List(columns, ", "),
            self.due,
            self.value,
            locking(patient),
            self.table,
            self.column,
            List(&equal, " AND "),
            self.column,
            texts(columns)
        );
        let row = client.query_typed_one(batch.as_str(), &[]).await?;
        let rows: i64 = row.try_get(0)?;
        let span: i64 = row.try_get(2)?;
        let walked = if span < i64::from(size) { None } else { row.try_get(1)? };
        Ok(Batch { rows: u64::try_from(rows).unwrap_or(0), walked })
    }

    async fn next_by_block(
        &self,
        client: &Client,
        walked: Option<&Vec<String>>,
        end: &[String],
        size: u32,
        patient: bool,
    ) -> Result<Batch, Fault> {
        /// A full page of narrow rows has some hundred; a range of this many rows is about the batch that was asked for.
        const ROWS_A_BLOCK: u64 = 100;
        let number = |at: Option<&String>| at.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        let (lo, end) = (number(walked.and_then(|w| w.first())), number(end.first()));
        let hi = (lo + (u64::from(size) / ROWS_A_BLOCK).max(1)).min(end);
        let tid = |block: u64| Literal::new(format!("({block},0)"));
        let batch = sql!(
            "WITH todo AS MATERIALIZED (SELECT row.tableoid AS heap, row.ctid AS at, {} AS tenantmig_value FROM {} AS row {}
                     WHERE row.ctid >= {}::tid AND row.ctid < {}::tid AND {} AND ({}) IS NOT NULL {}),
                  done AS (UPDATE {} AS t SET {} = todo.tenantmig_value FROM todo WHERE t.tableoid = todo.heap AND t.ctid = todo.at AND t.{} IS NULL RETURNING 1)
             SELECT (SELECT count(*) FROM done)",
            self.value,
            self.table,
            self.from,
            tid(lo),
            tid(hi),
            self.due,
            self.value,
            locking(patient),
            self.table,
            self.column,
            self.column
        );
        let rows: i64 = client.query_typed_one(batch.as_str(), &[]).await?.try_get(0)?;
        Ok(Batch { rows: u64::try_from(rows).unwrap_or(0), walked: (hi < end).then(|| vec![hi.to_string()]) })
    }

    /// Counts what is left, over the whole table.
    pub async fn prove(&self, client: &Client) -> Result<Proof, Fault> {
        let query = sql!(
            "SELECT count(*) FILTER (WHERE ({}) IS NOT NULL), count(*) FILTER (WHERE ({}) IS NULL),
                    left(min(row::text) FILTER (WHERE ({}) IS NULL), 200)
               FROM {} AS row {} WHERE {}",
            self.value,
            self.value,
            self.value,
            self.table,
            self.from,
            self.due
        );
        let row = client.query_typed_one(query.as_str(), &[]).await?;
        Ok(Proof { due: row.try_get(0)?, orphans: row.try_get(1)?, example: row.try_get(2)? })
    }
}

fn locking(patient: bool) -> Stmt {
    Stmt::raw(if patient { "FOR NO KEY UPDATE OF row" } else { "FOR NO KEY UPDATE OF row SKIP LOCKED" })
}

fn qualified(columns: &[Ident]) -> Stmt {
    let all = columns.iter().map(|c| sql!("row.{}", c)).collect::<Vec<_>>();
    sql!("{}", List(&all, ", "))
}

fn texts(columns: &[Ident]) -> Stmt {
    let all = columns.iter().map(|c| sql!("{}::text", c)).collect::<Vec<_>>();
    sql!("{}", List(&all, ", "))
}

fn typed(values: &[String], types: &[Stmt]) -> Stmt {
    let all =
        values.iter().zip(types).map(|(value, ty)| sql!("{}::{}", Literal::new(value.clone()), ty)).collect::<Vec<_>>();
    sql!("{}", List(&all, ", "))
}

/// The value of a row, and what is joined to find it. Of a parent, the columns that are matched must be unique, or a child
/// would have several.
async fn value(client: &Client, spec: &BackfillSpec) -> Result<(Stmt, Stmt), Fault> {
    match &spec.value {
        BackfillValue::Constant(text) => {
            let ty = column_type(client, &spec.table, &spec.column).await?;
            Ok((sql!("CAST({} AS {})", text, ty), Stmt::raw("")))
        }
        BackfillValue::Expr(expr) => Ok((sql!("({})", expr), Stmt::raw(""))),
        BackfillValue::Parent { table, column, on } => {
            let columns: Vec<&str> = on.iter().map(|(_, parent)| parent.as_str()).collect();
            if !unique(client, table, &columns).await? {
                let message = format!(
                    "{table} ({}) is not unique, so a row of {} could have several parents",
                    columns.join(", "),
                    spec.table
                );
                return Err(Fault::new(super::Class::Fatal, message));
            }
            let equal = on.iter().map(|(child, parent)| sql!("parent.{} = row.{}", parent, child)).collect::<Vec<_>>();
            Ok((sql!("parent.{}", column), sql!("LEFT JOIN {} AS parent ON {}", table, List(&equal, " AND "))))
        }
    }
}

async fn column_type(client: &Client, table: &QName, column: &Ident) -> Result<Stmt, Fault> {
    let query = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = $2 AND NOT attisdropped";
    let row =
        client.query_typed_opt(query, &[(&table.to_string(), Type::TEXT), (&column.as_str(), Type::TEXT)]).await?;
    let row = row.ok_or_else(|| Fault::new(super::Class::Fatal, format!("{table} has no column {column}")))?;
    Ok(Stmt::raw(row.try_get::<_, String>(0)?))
}

async fn unique(client: &Client, table: &QName, columns: &[&str]) -> Result<bool, Fault> {
    let query =
        "SELECT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indisvalid
          AND i.indpred IS NULL AND i.indexprs IS NULL
          AND (SELECT array_agg(a.attname::text) FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) k
                 JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k) <@ $2)";
    let row = client.query_typed_one(query, &[(&table.to_string(), Type::TEXT), (&columns, Type::TEXT_ARRAY)]).await?;
    Ok(row.try_get(0)?)
}

/// The primary key, or else the narrowest unique key without NULLs; by blocks where there is none. The comparisons of a
/// type whose extension is off the search_path are not found, or those of text are taken for them, in another order.
async fn walk(client: &Client, table: &QName) -> Result<Walk, Fault> {
    let query = "SELECT k.names, k.types, c.relkind = 'p' FROM pg_class c LEFT JOIN LATERAL (
            SELECT array_agg(a.attname::text ORDER BY k.n) AS names, array_agg(format_type(a.atttypid, a.atttypmod) ORDER BY k.n) AS types,
                   i.indisprimary, i.indnkeyatts
              FROM pg_index i, unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) WITH ORDINALITY k(attnum, n)
              JOIN pg_attribute a ON a.attnum = k.attnum
             WHERE i.indrelid = c.oid AND a.attrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
             GROUP BY i.indexrelid, i.indisprimary, i.indnkeyatts
            HAVING bool_and(a.attnotnull AND NOT EXISTS (
                   SELECT FROM pg_opclass o JOIN pg_amop m ON m.amopfamily = o.opcfamily AND m.amoplefttype = o.opcintype AND m.amoprighttype = o.opcintype
                    WHERE o.oid = i.indclass[k.n - 1] AND NOT pg_operator_is_visible(m.amopopr)))
             ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid LIMIT 1) k ON true
          WHERE c.oid = to_regclass($1)";
    let row = client.query_typed_opt(query, &[(&table.to_string(), Type::TEXT)]).await?;
    let row = row.ok_or_else(|| Fault::new(super::Class::Fatal, format!("there is no table {table}")))?;
    let (names, types): (Option<Vec<String>>, Option<Vec<String>>) = (row.try_get(0)?, row.try_get(1)?);
    match (names, types) {
        (Some(names), Some(types)) => {
            let ident = |name: String| Ident::new(name).map_err(|e| Fault::new(super::Class::Fatal, e.to_string()));
            let columns = names.into_iter().map(ident).collect::<Result<_, _>>()?;
            Ok(Walk::Key { columns, types: types.into_iter().map(Stmt::raw).collect() })
        }
        _ if row.try_get(2)? => Err(Fault::new(
            super::Class::Fatal,
            format!("{table} is partitioned and has no unique key to walk along: backfill its partitions by name"),
        )),
        _ => Ok(Walk::Blocks),
    }
}
