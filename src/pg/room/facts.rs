//! What the catalogue says of a table's heaps and columns, and the session's settings.

use tokio_postgres::{Client, types::Type};

use super::{WIDTH_ASSUMED, bytes};
use crate::{
    disk::{Column, Heap},
    pg::Fault,
    sql::{Ident, QName},
};

/// The settings that say where things go.
#[derive(Debug)]
pub(super) struct Settings {
    /// Where a new index lies.
    pub tablespace: String,
    /// Where sort files lie. Of several the server takes one at random: the first stands for them.
    pub temp: String,
    pub memory: u64,
    /// From so many blocks on a build sorts with workers; `None`: never.
    pub parallel_blocks: Option<f64>,
    pub wal_max: u64,
    pub full_pages: bool,
}

pub(super) async fn settings(client: &Client) -> Result<Settings, Fault> {
    let query = "SELECT coalesce(nullif(current_setting('default_tablespace'), ''), s.spcname)::text,
            coalesce(nullif(btrim(split_part(current_setting('temp_tablespaces'), ',', 1), ' \"'), ''), s.spcname)::text,
            pg_size_bytes(current_setting('maintenance_work_mem')), pg_size_bytes(current_setting('max_wal_size')),
            current_setting('full_page_writes')::boolean,
            current_setting('max_parallel_maintenance_workers')::integer > 0 AND current_setting('max_parallel_workers')::integer > 0,
            (pg_size_bytes(current_setting('min_parallel_table_scan_size')) / 8192)::float8
       FROM pg_database d JOIN pg_tablespace s ON s.oid = d.dattablespace WHERE d.datname = current_database()";
    let row = client.query_typed_one(query, &[]).await?;
    let parallel: bool = row.try_get(5)?;
    Ok(Settings {
        tablespace: row.try_get(0)?,
        temp: row.try_get(1)?,
        memory: bytes(row.try_get(2)?),
        wal_max: bytes(row.try_get(3)?),
        full_pages: row.try_get(4)?,
        parallel_blocks: if parallel { Some(row.try_get(6)?) } else { None },
    })
}

/// The table's heaps, partitions and children among them, with their indexes. Rows are the planner's, scaled to the size of
/// now; where it has none, as many as rows of 128 bytes would be.
pub(super) async fn heaps(client: &Client, table: &QName) -> Result<Vec<Heap>, Fault> {
    let query = "WITH RECURSIVE own AS (SELECT s.oid, s.spcname FROM pg_database d JOIN pg_tablespace s ON s.oid = d.dattablespace
              WHERE d.datname = current_database()),
         tree AS (SELECT to_regclass($1)::oid AS oid UNION SELECT i.inhrelid FROM pg_inherits i JOIN tree ON tree.oid = i.inhparent)
         SELECT coalesce(s.spcname, own.spcname)::text, pg_relation_size(c.oid)::bigint,
                (CASE WHEN c.reltuples > 0 AND c.relpages > 0
                      THEN c.reltuples / c.relpages * pg_relation_size(c.oid) / current_setting('block_size')::float8
                      ELSE pg_relation_size(c.oid) / 128.0 END)::float8,
                coalesce(x.places, '{}'), coalesce(x.sizes, '{}')
           FROM tree JOIN pg_class c USING (oid) CROSS JOIN own LEFT JOIN pg_tablespace s ON s.oid = c.reltablespace
           LEFT JOIN LATERAL (SELECT array_agg(coalesce(xs.spcname, own.spcname)::text) AS places, array_agg(pg_relation_size(xc.oid)::bigint) AS sizes
                FROM pg_index i JOIN pg_class xc ON xc.oid = i.indexrelid LEFT JOIN pg_tablespace xs ON xs.oid = xc.reltablespace
               WHERE i.indrelid = c.oid) x ON true
          WHERE c.relkind IN ('r', 'm')";
    let rows = client.query_typed(query, &[(&table.to_string(), Type::TEXT)]).await?;
    rows.iter()
        .map(|row| {
            let (places, sizes): (Vec<String>, Vec<i64>) = (row.try_get(3)?, row.try_get(4)?);
            Ok(Heap {
                tablespace: row.try_get(0)?,
                bytes: bytes(row.try_get(1)?),
                rows: row.try_get(2)?,
                indexes: places.into_iter().zip(sizes.into_iter().map(bytes)).collect(),
            })
        })
        .collect()
}

/// A column as its statistics have it.
#[derive(Debug)]
pub(super) struct Found {
    pub column: Column,
    /// Below 0 a share of the rows, as in pg_stats.
    pub distinct: Option<f64>,
    /// What had to be assumed.
    pub assumed: Option<String>,
}

impl Found {
    /// In a heap of so many rows.
    pub(super) fn of(&self, rows: f64) -> Column {
        let distinct = self.distinct.map(|n| if n < 0.0 { -n * rows } else { n.min(rows) });
        Column { distinct, ..self.column }
    }
}

/// The columns' widths, NULLs and numbers of values: of the table itself where it was analysed, else of its largest partition.
pub(super) async fn columns(client: &Client, table: &QName, names: &[Ident]) -> Result<Vec<Found>, Fault> {
    let query = "WITH RECURSIVE tree AS (SELECT to_regclass($1)::oid AS oid
              UNION SELECT i.inhrelid FROM pg_inherits i JOIN tree ON tree.oid = i.inhparent)
         SELECT coalesce(s.avg_width, nullif(t.typlen, -1))::float8, coalesce(s.null_frac, 0)::float8, nullif(s.n_distinct, 0)::float8,
                coalesce(t.typalign, 'i')::text, coalesce(t.typlen, -1)::integer,
                coalesce(t.typcategory NOT IN ('A', 'R', 'C') AND t.typname NOT IN ('numeric', 'float4', 'float8', 'jsonb'), false)
           FROM unnest($2) WITH ORDINALITY AS u (name, n)
           LEFT JOIN pg_attribute a ON a.attrelid = to_regclass($1) AND a.attname = u.name AND NOT a.attisdropped
           LEFT JOIN pg_type t ON t.oid = a.atttypid
           LEFT JOIN LATERAL (SELECT st.* FROM tree JOIN pg_class c USING (oid) JOIN pg_namespace ns ON ns.oid = c.relnamespace
                JOIN pg_stats st ON st.schemaname = ns.nspname AND st.tablename = c.relname AND st.attname = u.name
               ORDER BY c.oid = to_regclass($1) DESC, st.inherited DESC, pg_relation_size(c.oid) DESC LIMIT 1) s ON true
          ORDER BY u.n";
    let list: Vec<&str> = names.iter().map(Ident::as_str).collect();
    let rows = client.query_typed(query, &[(&table.to_string(), Type::TEXT), (&list, Type::TEXT_ARRAY)]).await?;
    rows.iter()
        .zip(names)
        .map(|(row, name)| {
            let (width, nulls, length): (Option<f64>, f64, i32) = (row.try_get(0)?, row.try_get(1)?, row.try_get(4)?);
            let known = width.unwrap_or(WIDTH_ASSUMED);
            let column = Column {
                width: known,
                nulls,
                align: align(&row.try_get::<_, String>(3)?, length, known),
                distinct: None,
                alike: row.try_get(5)?,
            };
            let assumed = width.is_none().then(|| {
                format!("{WIDTH_ASSUMED} bytes for {table}.{name}, which was never analysed or is not there yet")
            });
            Ok(Found { column, distinct: row.try_get(2)?, assumed })
        })
        .collect()
}

/// Short values of a varying length stand anywhere.
pub(super) fn align(typalign: &str, length: i32, width: f64) -> u32 {
    const SHORT_MAX: f64 = 127.0;
    match typalign {
        _ if length < 0 && width <= SHORT_MAX => 1,
        "c" => 1,
        "s" => 2,
        "d" => 8,
        _ => 4,
    }
}

/// Whether an index has the column, so that a new value needs an entry in each index.
pub(super) async fn is_indexed(client: &Client, table: &QName, column: &Ident) -> Result<bool, Fault> {
    let query = "WITH RECURSIVE tree AS (SELECT to_regclass($1)::oid AS oid
              UNION SELECT i.inhrelid FROM pg_inherits i JOIN tree ON tree.oid = i.inhparent)
         SELECT EXISTS (SELECT FROM tree JOIN pg_index i ON i.indrelid = tree.oid
              JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attname = $2 AND NOT a.attisdropped
             WHERE a.attnum = ANY (i.indkey))";
    let row =
        client.query_typed_one(query, &[(&table.to_string(), Type::TEXT), (&column.as_str(), Type::TEXT)]).await?;
    Ok(row.try_get(0)?)
}
