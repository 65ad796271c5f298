//! What the catalogue says of a table's heaps and columns, and the session's settings.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::{Client, Row, types::Type};

use super::{WIDTH_ASSUMED, bytes};
use crate::{
    disk::{Column, Heap},
    pg::Fault,
};

/// The settings that say where things go.
#[derive(Debug, Clone)]
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

/// The heaps of each table, partitions and children among them, with their indexes. Rows are the planner's, scaled to the size of
/// now; where it has none, as many as rows of 128 bytes would be.
pub(super) async fn heaps(client: &Client, tables: &[String]) -> Result<BTreeMap<String, Vec<Heap>>, Fault> {
    let query = "WITH RECURSIVE own AS (SELECT s.oid, s.spcname FROM pg_database d JOIN pg_tablespace s ON s.oid = d.dattablespace
              WHERE d.datname = current_database()),
         tree AS (SELECT t, to_regclass(t)::oid AS oid FROM unnest($1) t
                  UNION SELECT tree.t, i.inhrelid FROM pg_inherits i JOIN tree ON tree.oid = i.inhparent)
         SELECT coalesce(s.spcname, own.spcname)::text, pg_relation_size(c.oid)::bigint,
                (CASE WHEN c.reltuples > 0 AND c.relpages > 0
                      THEN c.reltuples / c.relpages * pg_relation_size(c.oid) / current_setting('block_size')::float8
                      ELSE pg_relation_size(c.oid) / 128.0 END)::float8,
                coalesce(x.places, '{}'), coalesce(x.sizes, '{}'), tree.t
           FROM tree JOIN pg_class c USING (oid) CROSS JOIN own LEFT JOIN pg_tablespace s ON s.oid = c.reltablespace
           LEFT JOIN LATERAL (SELECT array_agg(coalesce(xs.spcname, own.spcname)::text) AS places, array_agg(pg_relation_size(xc.oid)::bigint) AS sizes
                FROM pg_index i JOIN pg_class xc ON xc.oid = i.indexrelid LEFT JOIN pg_tablespace xs ON xs.oid = xc.reltablespace
               WHERE i.indrelid = c.oid) x ON true
          WHERE c.relkind IN ('r', 'm')";
    let mut out: BTreeMap<String, Vec<Heap>> = BTreeMap::new();
    for row in client.query_typed(query, &[(&tables, Type::TEXT_ARRAY)]).await? {
        let (places, sizes): (Vec<String>, Vec<i64>) = (row.try_get(3)?, row.try_get(4)?);
        out.entry(row.try_get(5)?).or_default().push(Heap {
            tablespace: row.try_get(0)?,
            bytes: bytes(row.try_get(1)?),
            rows: row.try_get(2)?,
            indexes: places.into_iter().zip(sizes.into_iter().map(bytes)).collect(),
        });
    }
    Ok(out)
}

/// A column as its statistics have it.
#[derive(Debug, Clone)]
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

/// A column of a table, by their names.
pub(super) type Named = (String, String);

/// The columns' widths, NULLs and numbers of values: of the table itself where it was analysed, else of its largest partition. The
/// names are given as a list as well: without it the server reads through all of pg_stats, for one column too.
pub(super) async fn columns(client: &Client, wanted: &[Named]) -> Result<BTreeMap<Named, Found>, Fault> {
    let query = "WITH RECURSIVE u AS MATERIALIZED (SELECT tab, name, n, to_regclass(tab)::oid AS rel FROM unnest($1, $2) WITH ORDINALITY AS u (tab, name, n)),
         tree AS (SELECT rel, rel AS oid FROM u UNION SELECT tree.rel, i.inhrelid FROM pg_inherits i JOIN tree ON tree.oid = i.inhparent),
         s AS (SELECT DISTINCT ON (u.n) u.n, st.avg_width, st.null_frac, st.n_distinct
                 FROM u JOIN tree ON tree.rel = u.rel JOIN pg_class c ON c.oid = tree.oid JOIN pg_namespace ns ON ns.oid = c.relnamespace
                 JOIN pg_stats st ON st.schemaname = ns.nspname AND st.tablename = c.relname AND st.attname = u.name
                  AND st.tablename = ANY (ARRAY(SELECT k.relname FROM tree JOIN pg_class k ON k.oid = tree.oid))
                ORDER BY u.n, c.oid = u.rel DESC, st.inherited DESC, pg_relation_size(c.oid) DESC)
         SELECT coalesce(s.avg_width, nullif(t.typlen, -1))::float8, coalesce(s.null_frac, 0)::float8, nullif(s.n_distinct, 0)::float8,
                coalesce(t.typalign, 'i')::text, coalesce(t.typlen, -1)::integer,
                coalesce(t.typcategory NOT IN ('A', 'R', 'C') AND t.typname NOT IN ('numeric', 'float4', 'float8', 'jsonb'), false)
           FROM u LEFT JOIN pg_attribute a ON a.attrelid = u.rel AND a.attname = u.name AND NOT a.attisdropped
           LEFT JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN s USING (n)
          ORDER BY u.n";
    let (tables, names): (Vec<&str>, Vec<&str>) = wanted.iter().map(|(t, c)| (t.as_str(), c.as_str())).unzip();
    let rows = client.query_typed(query, &[(&tables, Type::TEXT_ARRAY), (&names, Type::TEXT_ARRAY)]).await?;
    let found = |(row, (table, name)): (&Row, &Named)| {
        let (width, nulls, length): (Option<f64>, f64, i32) = (row.try_get(0)?, row.try_get(1)?, row.try_get(4)?);
        let known = width.unwrap_or(WIDTH_ASSUMED);
        let column = Column {
            width: known,
            nulls,
            align: align(&row.try_get::<_, String>(3)?, length, known),
            distinct: None,
            alike: row.try_get(5)?,
        };
        let assumed = width
            .is_none()
            .then(|| format!("{WIDTH_ASSUMED} bytes for {table}.{name}, which was never analysed or is not there yet"));
        Ok(((table.clone(), name.clone()), Found { column, distinct: row.try_get(2)?, assumed }))
    };
    rows.iter().zip(wanted).map(found).collect()
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

/// Those of the columns that an index has, so that a new value needs an entry in each index.
pub(super) async fn indexed(client: &Client, wanted: &[Named]) -> Result<BTreeSet<Named>, Fault> {
    let query = "WITH RECURSIVE u AS MATERIALIZED (SELECT tab, name, to_regclass(tab)::oid AS rel FROM unnest($1, $2) AS u (tab, name)),
         tree AS (SELECT rel, rel AS oid FROM u UNION SELECT tree.rel, i.inhrelid FROM pg_inherits i JOIN tree ON tree.oid = i.inhparent)
         SELECT DISTINCT u.tab, u.name FROM u JOIN tree ON tree.rel = u.rel JOIN pg_index i ON i.indrelid = tree.oid
           JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attname = u.name AND NOT a.attisdropped
          WHERE a.attnum = ANY (i.indkey)";
    let (tables, names): (Vec<&str>, Vec<&str>) = wanted.iter().map(|(t, c)| (t.as_str(), c.as_str())).unzip();
    let rows = client.query_typed(query, &[(&tables, Type::TEXT_ARRAY), (&names, Type::TEXT_ARRAY)]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// Bytes of what stands under these names: indexes that an earlier attempt left.
pub(super) async fn sizes(client: &Client, names: &[String]) -> Result<BTreeMap<String, u64>, Fault> {
    let query = "SELECT n, coalesce(pg_relation_size(to_regclass(n)), 0)::bigint FROM unnest($1) n";
    let rows = client.query_typed(query, &[(&names, Type::TEXT_ARRAY)]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, bytes(row.try_get(1)?)))).collect()
}
