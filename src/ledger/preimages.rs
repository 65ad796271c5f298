//! `preimages`: which values an undo kept, in which table of this schema, and whether a later apply wrote them back.

use chrono::{DateTime, Utc};
use tokio_postgres::{
    Client, GenericClient, Row,
    types::{ToSql, Type},
};

use super::{append::Place, error::LedgerError};
use crate::{
    sql,
    sql::{Ident, QName},
    unit::{KeepSpec, UnitId},
};

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preimage {
    pub id: i64,
    /// The table with the values: `k1`, `k2` … and `value`.
    pub relation: Ident,
    /// The columns that `k1`, `k2` … stand for.
    pub key: Vec<Ident>,
}

/// One of them, as people ask for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub table: String,
    pub column: Option<String>,
    /// The table with the values.
    pub place: QName,
    pub rows: i64,
    pub bytes: i64,
    pub kept_at: DateTime<Utc>,
    pub restored_at: Option<DateTime<Utc>>,
    /// Every row was looked at.
    pub complete: bool,
}

const COLUMNS: &str = "preimage_id, relation, key_columns";

impl Preimage {
    /// The table with the values.
    pub fn table(&self, schema: &Ident) -> QName {
        QName::new(schema.clone(), self.relation.clone())
    }

    /// The function of the trigger that follows what is written.
    pub fn follower(&self, schema: &Ident) -> QName {
        QName::new(schema.clone(), Ident::derived(&[self.relation.as_str(), "follow"]))
    }
}

/// The one that this unit was making when its process ended.
pub async fn half_kept(
    client: &impl GenericClient,
    place: &Place,
    unit: &UnitId,
) -> Result<Option<Preimage>, LedgerError> {
    let query = sql!(
        "SELECT {} FROM {}.preimages WHERE run_id = $1 AND unit = $2 AND NOT complete ORDER BY preimage_id DESC LIMIT 1",
        sql::Stmt::raw(COLUMNS),
        place.schema
    );
    let row = client.query_typed_opt(query.as_str(), &[(&place.run, Type::UUID), (&unit.0, Type::TEXT)]).await?;
    row.as_ref().map(preimage).transpose()
}

/// All of them, oldest first. Of one that is being made the rows are estimated.
pub async fn listed(client: &impl GenericClient, schema: &Ident) -> Result<Vec<Listed>, LedgerError> {
    let query = sql!(
        "SELECT p.table_name, p.column_name, p.relation, CASE WHEN p.complete THEN p.rows_kept ELSE greatest(c.reltuples, 0)::bigint END,
                coalesce(pg_total_relation_size(c.oid), 0)::bigint, p.kept_at, p.restored_at, p.complete
           FROM {}.preimages p LEFT JOIN pg_class c ON c.relname = p.relation AND c.relnamespace = {}::regnamespace ORDER BY p.preimage_id",
        schema,
        sql::Literal::new(schema.to_string())
    );
    let rows = client.query_typed(query.as_str(), &[]).await?;
    rows.iter()
        .map(|row| {
            Ok(Listed {
                table: row.try_get(0)?,
                column: row.try_get(1)?,
                place: QName::new(schema.clone(), name(row.try_get(2)?)?),
                rows: row.try_get(3)?,
                bytes: row.try_get(4)?,
                kept_at: row.try_get(5)?,
                restored_at: row.try_get(6)?,
                complete: row.try_get(7)?,
            })
        })
        .collect()
}

/// Those of a column that wait for its return, newest first.
pub async fn waiting(
    client: &impl GenericClient,
    schema: &Ident,
    spec: &KeepSpec,
) -> Result<Vec<Preimage>, LedgerError> {
    of_column(client, schema, spec, "complete AND restored_at IS NULL").await
}

/// Those that were written back: a newer one takes their place.
pub async fn written_back(
    client: &impl GenericClient,
    schema: &Ident,
    spec: &KeepSpec,
) -> Result<Vec<Preimage>, LedgerError> {
    of_column(client, schema, spec, "restored_at IS NOT NULL").await
}

async fn of_column(
    client: &impl GenericClient,
    schema: &Ident,
    spec: &KeepSpec,
    which: &str,
) -> Result<Vec<Preimage>, LedgerError> {
    let query = sql!(
        "SELECT {} FROM {}.preimages WHERE table_name = $1 AND column_name = $2 AND {} ORDER BY preimage_id DESC",
        sql::Stmt::raw(COLUMNS),
        schema,
        sql::Stmt::raw(which)
    );
    let (table, column) = (spec.table.to_string(), spec.column.as_str());
    let rows = client.query_typed(query.as_str(), &[(&table, Type::TEXT), (&column, Type::TEXT)]).await?;
    rows.iter().map(preimage).collect()
}

/// Records a new one, not complete yet.
pub async fn begin(
    client: &Client,
    place: &Place,
    unit: &UnitId,
    spec: &KeepSpec,
    key: &[Ident],
) -> Result<Preimage, LedgerError> {
    let insert = sql!(
        "WITH next AS (SELECT nextval(pg_get_serial_sequence({}, 'preimage_id')) AS id)
         INSERT INTO {}.preimages (preimage_id, run_id, unit, table_name, column_name, key_columns, relation)
         OVERRIDING SYSTEM VALUE SELECT id, $1, $2, $3, $4, $5, 'preimage_' || id FROM next RETURNING {}",
        sql::Literal::new(format!("{}.preimages", place.schema)),
        place.schema,
        sql::Stmt::raw(COLUMNS)
    );
    let names: Vec<&str> = key.iter().map(Ident::as_str).collect();
    let (table, column) = (spec.table.to_string(), spec.column.as_str());
    let params: [(&(dyn ToSql + Sync), Type); 5] = [
        (&place.run, Type::UUID),
        (&unit.0, Type::TEXT),
        (&table, Type::TEXT),
        (&column, Type::TEXT),
        (&names, Type::TEXT_ARRAY),
    ];
    preimage(&client.query_typed_one(insert.as_str(), &params).await?)
}

/// Every row was looked at. Gives how many are kept.
pub async fn complete(client: &Client, schema: &Ident, of: &Preimage) -> Result<i64, LedgerError> {
    let update = sql!(
        "UPDATE {}.preimages SET complete = true, kept_at = clock_timestamp(), rows_kept = (SELECT count(*) FROM {})
          WHERE preimage_id = $1 RETURNING rows_kept",
        schema,
        of.table(schema)
    );
    Ok(client.query_typed_one(update.as_str(), &[(&of.id, Type::INT8)]).await?.try_get(0)?)
}

/// It was written back.
pub async fn restored(client: &Client, schema: &Ident, of: &Preimage) -> Result<(), LedgerError> {
    let update = sql!("UPDATE {}.preimages SET restored_at = clock_timestamp() WHERE preimage_id = $1", schema);
    client.execute_typed(update.as_str(), &[(&of.id, Type::INT8)]).await?;
    Ok(())
}

/// A newer one took its place.
pub async fn forget(client: &Client, schema: &Ident, of: &Preimage) -> Result<(), LedgerError> {
    client.batch_execute(sql!("DROP TABLE IF EXISTS {}", of.table(schema)).as_str()).await?;
    client.batch_execute(sql!("DROP FUNCTION IF EXISTS {}()", of.follower(schema)).as_str()).await?;
    let delete = sql!("DELETE FROM {}.preimages WHERE preimage_id = $1", schema);
    client.execute_typed(delete.as_str(), &[(&of.id, Type::INT8)]).await?;
    Ok(())
}

fn name(name: String) -> Result<Ident, LedgerError> {
    Ident::new(name).map_err(|why| LedgerError::Broken {
        what: format!("a row of preimages has no name: {why}"),
        advice: "restore the ledger's tables from a backup".to_owned(),
    })
}

fn preimage(row: &Row) -> Result<Preimage, LedgerError> {
    let key: Vec<String> = row.try_get(2)?;
    Ok(Preimage {
        id: row.try_get(0)?,
        relation: name(row.try_get(1)?)?,
        key: key.into_iter().map(name).collect::<Result<_, _>>()?,
    })
}
