//! What is walked: the table, or its partitions and children, each with its blocks.

use tokio_postgres::{Client, types::Type};

use super::{Batches, Deed, Fault};
use crate::{
    engine::ranges::Heap,
    pg::Class,
    sql::{Ident, QName},
    unit::BackfillSpec,
};

/// How full a heap's pages are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fill {
    /// Rows a page, by the planner's statistics; `None` where it was never analysed.
    pub rows_a_block: Option<f64>,
}

/// What keeps updates from being HOT: each takes the room, or the right, to stay in the page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Growth {
    /// In words, each with its culprit.
    pub causes: Vec<String>,
}

/// The table's heaps below it, itself among them.
const HEAPS: &str = "WITH RECURSIVE heap AS (SELECT to_regclass($1)::oid AS oid
     UNION SELECT i.inhrelid FROM pg_inherits i JOIN heap ON heap.oid = i.inhparent)
     SELECT n.nspname::text, c.relname::text, c.relkind::text, (pg_relation_size(c.oid) / current_setting('block_size')::bigint)::bigint,
            (CASE WHEN c.reltuples > 0 AND c.relpages > 0 THEN c.reltuples / c.relpages END)::float8
       FROM heap JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind NOT IN ('p') ORDER BY n.nspname, c.relname";

impl Batches {
    /// The heaps with the blocks that they have now, empty ones left out; and how full the fullest of them is.
    pub async fn heaps(&self, client: &Client) -> Result<(Vec<Heap>, Fill), Fault> {
        let rows = client.query_typed(HEAPS, &[(&self.table.to_string(), Type::TEXT)]).await?;
        let mut heaps = Vec::new();
        let mut fill = Fill { rows_a_block: None };
        for row in rows {
            let name = QName::new(ident(row.try_get(0)?)?, ident(row.try_get(1)?)?);
            let (kind, blocks): (String, i64) = (row.try_get(2)?, row.try_get(3)?);
            if kind != "r" {
                let message = format!("{name} below {} is no ordinary table and cannot be walked", self.table);
                let mut fault = Fault::new(Class::Fatal, message);
                fault.hint = Some("fill it where its rows are, and backfill the other partitions by name".to_owned());
                return Err(fault);
            }
            let rows_a_block: Option<f64> = row.try_get(4)?;
            if rows_a_block.is_some_and(|rows| fill.rows_a_block.is_none_or(|most| rows > most)) {
                fill.rows_a_block = rows_a_block;
            }
            if let Some(end) = u64::try_from(blocks).ok().filter(|end| *end > 0) {
                heaps.push(Heap { name: name.to_string(), end });
            }
        }
        Ok((heaps, fill))
    }

    /// Why updates of this table cannot be HOT now, as far as it can be seen. Snapshots of other databases keep nothing here.
    pub async fn growth(&self, client: &Client) -> Result<Growth, Fault> {
        let Deed::Fill { column, .. } = &self.deed else { return Ok(Growth::default()) };
        let query = "SELECT format('index %s is on the column', i.indexrelid::regclass) FROM pg_index i
               JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attname = $2
              WHERE i.indrelid = to_regclass($1) AND (a.attnum = ANY (i.indkey) OR pg_get_indexdef(i.indexrelid) ~ ('\\m' || $2 || '\\M'))
            UNION ALL (SELECT format('pid %s (%s) has had a snapshot open since %s', pid, coalesce(nullif(application_name, ''), usename), date_trunc('second', xact_start))
               FROM pg_stat_activity WHERE datname = current_database() AND backend_xmin IS NOT NULL AND pid <> pg_backend_pid() AND application_name NOT LIKE 'tenantmig%'
                AND xact_start < clock_timestamp() - interval '1 s' ORDER BY age(backend_xmin) DESC LIMIT 1)
            UNION ALL (SELECT format('replication slot %s holds old rows', slot_name) FROM pg_replication_slots WHERE xmin IS NOT NULL ORDER BY age(xmin) DESC LIMIT 1)
            UNION ALL (SELECT format('prepared transaction %s is open', gid) FROM pg_prepared_xacts WHERE database = current_database() ORDER BY prepared LIMIT 1)";
        let params: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
            [(&self.table.to_string(), Type::TEXT), (&column.as_str(), Type::TEXT)];
        let rows = client.query_typed(query, &params).await?;
        Ok(Growth { causes: rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()? })
    }
}

/// Whether the column is part of a partition key, so that filling it moves the row.
pub(super) async fn moves_rows(client: &Client, spec: &BackfillSpec) -> Result<bool, Fault> {
    let query = "WITH RECURSIVE tree AS (SELECT to_regclass($1)::oid AS oid
         UNION SELECT i.inhrelid FROM pg_inherits i JOIN tree ON tree.oid = i.inhparent)
         SELECT EXISTS (SELECT FROM tree JOIN pg_partitioned_table p ON p.partrelid = tree.oid JOIN pg_attribute a ON a.attrelid = tree.oid AND a.attname = $2
                         WHERE a.attnum = ANY (p.partattrs) OR pg_get_partkeydef(tree.oid) ~ ('\\m' || $2 || '\\M'))";
    let params: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
        [(&spec.table.to_string(), Type::TEXT), (&spec.column.as_str(), Type::TEXT)];
    Ok(client.query_typed_one(query, &params).await?.try_get(0)?)
}

fn ident(name: String) -> Result<Ident, Fault> {
    Ident::new(name).map_err(|error| Fault::new(Class::Fatal, error.to_string()))
}
