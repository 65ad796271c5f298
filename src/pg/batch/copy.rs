//! The rows of a copy: what a batch inserts, and the closing proof that both tables say the same.

use tokio_postgres::Client;

use super::{Fault, Proof, value::column_type};
use crate::{
    pg::Class,
    sql,
    sql::{Ident, List, QName, Stmt},
    unit::{BackfillSpec, CopySpec, alias},
};

/// A copy's statements.
#[derive(Debug, Clone)]
pub(super) struct Copy {
    spec: CopySpec,
    /// A row of `into` (as `t`) has other values than `row` gives it. Compared byte by byte as the types of `into`: there are
    /// types without an operator for equality, and 1.0 is not 1.00.
    differs: Stmt,
}

impl Copy {
    /// Looks at both tables. ON CONFLICT needs a unique index on exactly the key.
    pub(super) async fn of(client: &Client, spec: &BackfillSpec, copy: &CopySpec) -> Result<Self, Fault> {
        if !is_key(client, &copy.into, &copy.key).await? {
            let message = format!("{} has no unique index on ({}), by which a row is known", copy.into, copy.keys());
            let mut fault = Fault::new(Class::Fatal, message);
            fault.hint = Some("give it a primary key or a unique index on exactly these columns first".to_owned());
            return Err(fault);
        }
        if has_children(client, &spec.table).await? {
            let message = format!(
                "{} has children by inheritance, whose rows its trigger does not see: what is written into them meanwhile \
                 would be missing",
                spec.table
            );
            let mut fault = Fault::new(Class::Fatal, message);
            fault.hint = Some("copy from each of the tables by a step of its own".to_owned());
            return Err(fault);
        }
        let (mut there, mut wanted) = (Vec::new(), Vec::new());
        for (column, value) in &copy.columns {
            there.push(sql!("t.{}", column));
            wanted.push(sql!("CAST(({}) AS {})", value, column_type(client, &copy.into, column).await?));
        }
        let differs =
            sql!("ROW({})::record OPERATOR(pg_catalog.*<>) ROW({})::record", List(&there, ", "), List(&wanted, ", "));
        Ok(Self { spec: copy.clone(), differs })
    }

    /// The rows of `target` in `rows` that are due, and no more than those. Their locks keep the application from deleting or
    /// changing them between our look and our insert: its trigger would find no copy yet.
    pub(super) fn work(&self, target: &Stmt, only: &Stmt, rows: &Stmt, sweeps: bool, skipping: bool) -> Stmt {
        let due = if sweeps { sql!(" AND {}", self.spec.is_due()) } else { Stmt::raw("") };
        self.spec.insert(&sql!(
            "FROM {} AS row WHERE (SELECT ok FROM tenantmig_open) AND {}{}{} FOR SHARE OF row{}",
            target,
            rows,
            only,
            due,
            Stmt::raw(if skipping { " SKIP LOCKED" } else { "" })
        ))
    }

    /// What is due, as a condition on `row`.
    pub(super) fn due(&self) -> Stmt {
        self.spec.is_due()
    }

    /// In one snapshot: rows that are not copied yet; and those whose copy says something else, is gone, or stands there
    /// though the row is not.
    pub(super) async fn prove(&self, client: &Client, table: &QName, only: &Stmt) -> Result<Proof, Fault> {
        let CopySpec { into, record, .. } = &self.spec;
        let query = sql!(
            "WITH seen AS MATERIALIZED (
                 SELECT t.tableoid IS NULL AND c.tableoid IS NULL AS due, t.tableoid IS NULL AND c.tableoid IS NOT NULL AS gone,
                        t.tableoid IS NOT NULL AND {} AS differs, CASE WHEN t.tableoid IS NULL OR {} THEN left(row::text, 200) END AS example
                   FROM {} AS row LEFT JOIN {} AS t ON {} LEFT JOIN {} AS c ON {} WHERE true{}),
             stale AS (SELECT count(*) AS n, left(min(c::text), 200) AS example FROM {} AS c
                  WHERE EXISTS (SELECT FROM {} AS t WHERE {}) AND NOT EXISTS (SELECT FROM {} AS row WHERE {}{}))
             SELECT count(*) FILTER (WHERE due), count(*) FILTER (WHERE gone OR differs) + (SELECT n FROM stale),
                    coalesce(min(example) FILTER (WHERE gone OR differs), (SELECT example FROM stale)) FROM seen",
            self.differs,
            self.differs,
            table,
            into,
            self.spec.is_of_row(&alias("t")),
            record,
            self.spec.is_of_row(&alias("c")),
            only,
            record,
            into,
            self.spec.same(&alias("t"), &alias("c")),
            table,
            self.spec.is_of_row(&alias("c")),
            only
        );
        let row = client.query_typed_one(query.as_str(), &[]).await?;
        Ok(Proof { due: row.try_get(0)?, orphans: row.try_get(1)?, example: row.try_get(2)? })
    }
}

async fn is_key(client: &Client, table: &QName, key: &[Ident]) -> Result<bool, Fault> {
    let query = "SELECT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indisvalid
          AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
          AND (SELECT array_agg(a.attname::text ORDER BY a.attname) FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) k
                 JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k) = $2)";
    let mut key: Vec<&str> = key.iter().map(Ident::as_str).collect();
    key.sort_unstable();
    let params: [(&(dyn tokio_postgres::types::ToSql + Sync), tokio_postgres::types::Type); 2] =
        [(&table.to_string(), tokio_postgres::types::Type::TEXT), (&key, tokio_postgres::types::Type::TEXT_ARRAY)];
    Ok(client.query_typed_one(query, &params).await?.try_get(0)?)
}

/// Whether tables inherit from this one that are no partitions.
async fn has_children(client: &Client, table: &QName) -> Result<bool, Fault> {
    let query = "SELECT EXISTS (SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
          WHERE i.inhparent = to_regclass($1) AND NOT c.relispartition)";
    Ok(client.query_typed_one(query, &[(&table.to_string(), tokio_postgres::types::Type::TEXT)]).await?.try_get(0)?)
}
