//! `backfill_ranges`: what of a table is claimed and committed, one row a range.

use serde::Serialize;
use tokio_postgres::{GenericClient, Row, types::Type};

use super::{append::Place, error::LedgerError};
use crate::{engine::ranges::Range, sql, sql::Ident, unit::UnitId};

/// What a unit's ranges add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Written {
    pub rows: u64,
    /// Of these, new versions in the same page, without index entries.
    pub hot: u64,
}

const COLUMNS: &str = "sweep, number, heap, lo, hi, stripes, stripes_done, skipping";

/// The ranges of the newest sweep in the order of claiming, and the rows of all of them.
pub async fn ranges(
    client: &impl GenericClient,
    place: &Place,
    unit: &UnitId,
) -> Result<(Vec<Range>, Written), LedgerError> {
    let query = sql!(
        "SELECT {} FROM {}.backfill_ranges r WHERE run_id = $1 AND unit = $2
            AND sweep = (SELECT max(sweep) FROM {}.backfill_ranges WHERE run_id = $1 AND unit = $2) ORDER BY number",
        sql::Stmt::raw(COLUMNS),
        place.schema,
        place.schema
    );
    let params: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
        [(&place.run, Type::UUID), (&unit.0, Type::TEXT)];
    let rows = client.query_typed(query.as_str(), &params).await?;
    let ranges = rows.iter().map(range).collect::<Result<_, _>>()?;
    Ok((ranges, written(client, &place.schema, place.run, unit).await?))
}

/// What all sweeps of a unit wrote so far.
pub async fn written(
    client: &impl GenericClient,
    schema: &Ident,
    run: uuid::Uuid,
    unit: &UnitId,
) -> Result<Written, LedgerError> {
    let query = sql!(
        "SELECT coalesce(sum(rows_done), 0)::bigint, coalesce(sum(rows_hot), 0)::bigint FROM {}.backfill_ranges WHERE run_id = $1 AND unit = $2",
        schema
    );
    let row = client.query_typed_one(query.as_str(), &[(&run, Type::UUID), (&unit.0, Type::TEXT)]).await?;
    let count = |at: usize| Ok::<_, tokio_postgres::Error>(u64::try_from(row.try_get::<_, i64>(at)?).unwrap_or(0));
    Ok(Written { rows: count(0)?, hot: count(1)? })
}

fn range(row: &Row) -> Result<Range, tokio_postgres::Error> {
    let number = |at: usize| Ok::<_, tokio_postgres::Error>(u32::try_from(row.try_get::<_, i32>(at)?).unwrap_or(0));
    Ok(Range {
        sweep: number(0)?,
        number: number(1)?,
        heap: row.try_get(2)?,
        lo: row.try_get(3)?,
        hi: row.try_get(4)?,
        stripes: number(5)?,
        stripes_done: number(6)?,
        skipping: row.try_get(7)?,
    })
}

/// Records a claim. In a transaction of its own, behind the fence, and before any row of the range is touched.
pub async fn claim(tx: &impl GenericClient, place: &Place, unit: &UnitId, range: &Range) -> Result<(), LedgerError> {
    let insert = sql!(
        "INSERT INTO {}.backfill_ranges (run_id, unit, sweep, number, heap, lo, hi, stripes, stripes_done, skipping)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9)",
        place.schema
    );
    let whole = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    let (sweep, number, stripes) = (whole(range.sweep), whole(range.number), whole(range.stripes));
    let params: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 9] = [
        (&place.run, Type::UUID),
        (&unit.0, Type::TEXT),
        (&sweep, Type::INT4),
        (&number, Type::INT4),
        (&range.heap, Type::TEXT),
        (&range.lo, Type::TEXT_ARRAY),
        (&range.hi, Type::TEXT_ARRAY),
        (&stripes, Type::INT4),
        (&range.skipping, Type::BOOL),
    ];
    tx.execute_typed(insert.as_str(), &params).await?;
    Ok(())
}
