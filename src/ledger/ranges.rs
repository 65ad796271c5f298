//! `backfill_ranges`: what of a table is claimed and committed, one row a range; and the statement of one batch, which
//! writes rows and progress in one round trip.

use tokio_postgres::{Client, GenericClient, Row, types::Type};

use super::{append::Place, error::LedgerError};
use crate::{
    engine::ranges::Range,
    pg::batch::Work,
    sql,
    sql::{Ident, Literal, Stmt},
    unit::UnitId,
};

/// What a unit's ranges add up to, or what one batch wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    pub rows: u64,
    /// Of these, new versions in the same page, without index entries.
    pub hot: u64,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batch {
    Done(Written),
    /// The ledger says that this batch is not the range's next: it was committed before its answer was lost.
    Elsewhere,
}

/// The ranges of the newest sweep, in the order of claiming.
pub async fn ranges(client: &impl GenericClient, place: &Place, unit: &UnitId) -> Result<Vec<Range>, LedgerError> {
    let query = sql!(
        "SELECT sweep, number, heap, lo, hi, stripes, stripes_done, skipping FROM {}.backfill_ranges WHERE run_id = $1 AND unit = $2
            AND sweep = (SELECT max(sweep) FROM {}.backfill_ranges WHERE run_id = $1 AND unit = $2) ORDER BY number",
        place.schema,
        place.schema
    );
    let rows = client.query_typed(query.as_str(), &[(&place.run, Type::UUID), (&unit.0, Type::TEXT)]).await?;
    Ok(rows.iter().map(range).collect::<Result<_, _>>()?)
}

/// The newest sweep that has a range; `None` before the first.
pub async fn newest_sweep(
    client: &impl GenericClient,
    place: &Place,
    unit: &UnitId,
) -> Result<Option<u32>, LedgerError> {
    let query = sql!("SELECT max(sweep) FROM {}.backfill_ranges WHERE run_id = $1 AND unit = $2", place.schema);
    let row = client.query_typed_one(query.as_str(), &[(&place.run, Type::UUID), (&unit.0, Type::TEXT)]).await?;
    Ok(row.try_get::<_, Option<i32>>(0)?.and_then(|sweep| u32::try_from(sweep).ok()))
}

/// One range as it stands.
pub async fn range_now(
    client: &impl GenericClient,
    place: &Place,
    unit: &UnitId,
    range_: &Range,
) -> Result<Option<Range>, LedgerError> {
    let query = sql!(
        "SELECT sweep, number, heap, lo, hi, stripes, stripes_done, skipping FROM {}.backfill_ranges WHERE {}",
        place.schema,
        row_of(place, unit, range_)
    );
    let row = client.query_typed_opt(query.as_str(), &[]).await?;
    Ok(row.as_ref().map(range).transpose()?)
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
    Ok(Written { rows: count(&row, 0)?, hot: count(&row, 1)? })
}

/// Records a claim, behind the fence, before any row of the range is touched.
pub async fn claim(client: &Client, place: &Place, unit: &UnitId, range: &Range) -> Result<(), LedgerError> {
    let Range { sweep, number, heap, lo, hi, stripes, stripes_done: _, skipping } = range;
    let insert = sql!(
        "WITH tenantmig_fence AS ({})
         INSERT INTO {}.backfill_ranges (run_id, unit, sweep, number, heap, lo, hi, stripes, skipping)
         SELECT {}, {}, {}, {}, {}, {}, {}, {}, {} FROM tenantmig_fence",
        fence(place),
        place.schema,
        uuid(place),
        Literal::new(unit.0.clone()),
        sweep,
        number,
        Literal::new(heap.clone()),
        lo,
        hi,
        stripes,
        boolean(*skipping)
    );
    match client.execute_typed(insert.as_str(), &[]).await? {
        0 => Err(LedgerError::Fenced { ours: place.epoch }),
        _ => Ok(()),
    }
}

/// Ends a range whose heap is gone, behind the fence.
pub async fn abandon(client: &Client, place: &Place, unit: &UnitId, range: &Range) -> Result<(), LedgerError> {
    let update = sql!(
        "WITH tenantmig_fence AS MATERIALIZED ({})
         UPDATE {}.backfill_ranges SET stripes_done = stripes, updated_at = clock_timestamp() FROM tenantmig_fence WHERE {}",
        fence(place),
        place.schema,
        row_of(place, unit, range)
    );
    match client.execute_typed(update.as_str(), &[]).await? {
        0 => Err(LedgerError::Fenced { ours: place.epoch }),
        _ => Ok(()),
    }
}

/// Carries out `work` as the next batch of `range`, unless the epoch is over or the batch was committed before. Fence, rows
/// and progress are one statement, hence one transaction and one round trip.
///
/// The statement's parts run in the order of their dependence: `tenantmig_open` locks the lease (against a takeover) and the
/// range (against a backend of ours that outlived its connection), the work asks it first, progress counts the work. The count
/// of HOT updates is the backend's own, pending and not yet in the statistics, so it is exact and without delay.
pub async fn batch(
    client: &Client,
    place: &Place,
    unit: &UnitId,
    range: &Range,
    work: &Work,
) -> Result<Batch, LedgerError> {
    let next = range.stripes_done + 1;
    let kept = sql!("stripes_done = {}, skipping = {}, ", next, boolean(range.skipping));
    let statement = statement(place, unit, range, work, kept);
    run(client, place, &statement).await
}

/// Carries out `work` on some rows of the range, of which a batch could not be done as one: the rows count, the batch does not.
pub async fn piece(
    client: &Client,
    place: &Place,
    unit: &UnitId,
    range: &Range,
    work: &Work,
) -> Result<Batch, LedgerError> {
    let statement = statement(place, unit, range, work, Stmt::raw(""));
    run(client, place, &statement).await
}

async fn run(client: &Client, place: &Place, statement: &Stmt) -> Result<Batch, LedgerError> {
    let row = client.query_typed_one(statement.as_str(), &[]).await?;
    match (count(&row, 0)?, count(&row, 1)?) {
        (0, _) => Err(LedgerError::Fenced { ours: place.epoch }),
        (_, 0) => Ok(Batch::Elsewhere),
        (_, _) => Ok(Batch::Done(Written { rows: count(&row, 2)?, hot: count(&row, 3)? })),
    }
}

/// The totals of a range reach `migration_progress` with its last batch and not with each: under an old snapshot each update
/// of that one row would leave a version that every later one has to step over.
fn statement(place: &Place, unit: &UnitId, range: &Range, work: &Work, kept: Stmt) -> Stmt {
    let schema = &place.schema;
    let oid = sql!("{}::regclass", Literal::new(range.heap.clone()));
    let row = row_of(place, unit, range);
    sql!(
        "WITH tenantmig_fence AS MATERIALIZED ({}),
              tenantmig_range AS MATERIALIZED (SELECT FROM {}.backfill_ranges WHERE {} AND stripes_done = {} FOR UPDATE),
              tenantmig_open AS MATERIALIZED (SELECT fence, range, fence = 1 AND range = 1 AS ok, pg_stat_get_xact_tuples_hot_updated({}) AS hot
                   FROM (SELECT (SELECT count(*) FROM tenantmig_fence) AS fence, (SELECT count(*) FROM tenantmig_range) AS range) AS held),
              {},
              tenantmig_rows AS MATERIALIZED (SELECT count(*) AS rows FROM tenantmig_done),
              tenantmig_told AS MATERIALIZED (SELECT rows, greatest(pg_stat_get_xact_tuples_hot_updated({}) - (SELECT hot FROM tenantmig_open), 0) AS hot
                   FROM tenantmig_rows WHERE rows >= 0),
              tenantmig_kept AS (UPDATE {}.backfill_ranges SET {} rows_done = rows_done + (SELECT rows FROM tenantmig_told),
                     rows_hot = rows_hot + (SELECT hot FROM tenantmig_told), updated_at = clock_timestamp()
                   WHERE {} AND (SELECT ok FROM tenantmig_open) RETURNING rows_done, stripes, stripes_done),
              tenantmig_summed AS (UPDATE {}.migration_progress p SET rows_done = p.rows_done + k.rows_done, updated_at = clock_timestamp()
                   FROM tenantmig_kept k WHERE k.stripes_done = k.stripes AND p.run_id = {} AND p.unit = {})
         SELECT o.fence, o.range, t.rows, t.hot FROM tenantmig_open o, tenantmig_told t",
        fence(place),
        schema,
        row,
        range.stripes_done,
        oid,
        work.0,
        oid,
        schema,
        kept,
        row,
        schema,
        uuid(place),
        Literal::new(unit.0.clone())
    )
}

fn fence(place: &Place) -> Stmt {
    let holder = Literal::new(place.holder.to_string());
    sql!("SELECT FROM {}.lease WHERE epoch = {} AND holder = {}::uuid FOR KEY SHARE", place.schema, place.epoch, holder)
}

fn row_of(place: &Place, unit: &UnitId, range: &Range) -> Stmt {
    let unit = Literal::new(unit.0.clone());
    sql!("run_id = {} AND unit = {} AND sweep = {} AND number = {}", uuid(place), unit, range.sweep, range.number)
}

fn uuid(place: &Place) -> Stmt {
    sql!("{}::uuid", Literal::new(place.run.to_string()))
}

fn boolean(value: bool) -> Stmt {
    Stmt::raw(if value { "true" } else { "false" })
}

pub(super) fn range(row: &Row) -> Result<Range, tokio_postgres::Error> {
    let small = |at: usize| Ok::<_, tokio_postgres::Error>(u32::try_from(row.try_get::<_, i32>(at)?).unwrap_or(0));
    Ok(Range {
        sweep: small(0)?,
        number: small(1)?,
        heap: row.try_get(2)?,
        lo: count(row, 3)?,
        hi: count(row, 4)?,
        stripes: small(5)?,
        stripes_done: small(6)?,
        skipping: row.try_get(7)?,
    })
}

pub(super) fn count(row: &Row, at: usize) -> Result<u64, tokio_postgres::Error> {
    Ok(u64::try_from(row.try_get::<_, i64>(at)?).unwrap_or(0))
}
