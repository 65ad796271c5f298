//! About how much room a unit needs, by what the catalogue says; and how much a tablespace holds.

mod facts;
mod sample;

use std::time::Duration;

use tokio_postgres::{Client, types::Type};

use self::facts::{Settings, columns, heaps, settings};
use super::{Bounds, Fault, connect::Connection, in_transaction};
use crate::{
    disk::{self, Copying, Index, Need, Rewriting, Sort},
    sql::Ident,
    steps::add_column::keep,
    unit::{BackfillSpec, BackfillValue, CopySpec, Growth, Hold, IndexShape, KeepSpec, Op, Unit},
};

/// The catalogue is asked, and some thousand rows; where that is not quick an assumption does.
const BOUNDS: Bounds = Bounds { lock: Duration::from_secs(2), statement: Duration::from_secs(10) };
/// Bytes of a value of which nothing is known: a uuid's.
pub(super) const WIDTH_ASSUMED: f64 = 16.0;

/// About what the unit adds to the disk; `None`: unknown. `share` is what is left of a backfill.
pub async fn need(session: &Connection, unit: &Unit, share: f64) -> Result<Option<Need>, Fault> {
    match (&unit.grows, &unit.up) {
        (Growth::Unknown, _) => Ok(None),
        (Growth::Index(shape), _) => index(session, shape).await.map(Some),
        (Growth::Little, Op::Backfill(spec)) => backfill(session, spec, share).await.map(Some),
        (Growth::Little, Op::Tx(_)) if unit.lock.hold == Hold::Rewrite => {
            let mut all = Need::default();
            for table in &unit.lock.on {
                let heaps = in_transaction(session, BOUNDS, async |client: &Client| heaps(client, table).await).await?;
                all.then(&disk::rewrite(&heaps));
            }
            Ok(Some(all))
        }
        (Growth::Little, Op::Tx(_) | Op::Autocommit { .. } | Op::Assert(_) | Op::Keep(_) | Op::Restore(_)) => {
            Ok(Some(Need::default()))
        }
    }
}

/// About what keeping a column's values adds to the disk.
pub async fn need_to_keep(session: &Connection, spec: &KeepSpec) -> Result<Need, Fault> {
    let (rows, place, column) = in_transaction(session, BOUNDS, async |client: &Client| {
        let rows = heaps(client, &spec.table).await?.iter().map(|heap| heap.rows).sum::<f64>();
        let column = columns(client, &spec.table, std::slice::from_ref(&spec.column)).await?.into_iter().next();
        Ok::<_, Fault>((rows, settings(client).await?.tablespace, column))
    })
    .await?;
    let sampled = sample::kept(session, &spec.table, rows, &spec.column, &keep::differs(spec)).await?;
    if let Some((share, width)) = sampled {
        return Ok(disk::keep(rows * share, width, &place));
    }
    // What would come again cannot be asked, so all that has a value is kept.
    let (width, nulls) = column.map_or((WIDTH_ASSUMED, 0.0), |found| (found.column.width, found.column.nulls));
    Ok(disk::keep(rows * (1.0 - nulls), width, &place))
}

/// `max_wal_size` in bytes: about as much WAL as the server keeps.
pub async fn wal_max(session: &Connection) -> Result<u64, Fault> {
    in_transaction(session, BOUNDS, async |client: &Client| Ok(settings(client).await?.wal_max)).await
}

/// Bytes that a tablespace holds.
pub async fn held(session: &Connection, tablespace: &str) -> Result<u64, Fault> {
    in_transaction(session, BOUNDS, async |client: &Client| {
        let query = "SELECT pg_tablespace_size(oid)::bigint FROM pg_tablespace WHERE spcname = $1";
        let rows = client.query_typed(query, &[(&tablespace, Type::TEXT)]).await.map_err(Fault::from)?;
        let Some(row) = rows.first() else {
            return Err(Fault::new(super::Class::Fatal, format!("there is no tablespace {tablespace}")));
        };
        Ok(bytes(row.try_get(0)?))
    })
    .await
}

pub(super) fn bytes(of: i64) -> u64 {
    u64::try_from(of).unwrap_or(0)
}

async fn index(session: &Connection, shape: &IndexShape) -> Result<Need, Fault> {
    let (heaps, mut columns, settings, wreck) = in_transaction(session, BOUNDS, async |client: &Client| {
        let query = "SELECT coalesce(pg_relation_size(to_regclass($1)), 0)::bigint";
        let name = shape.table.sibling(shape.name.clone()).to_string();
        let wreck: i64 = client.query_typed_one(query, &[(&name, Type::TEXT)]).await?.try_get(0)?;
        let columns = columns(client, &shape.table, &shape.columns).await?;
        Ok::<_, Fault>((heaps(client, &shape.table).await?, columns, settings(client).await?, bytes(wreck)))
    })
    .await?;
    let mut need = Need::default();
    need.assumed.extend(columns.iter().filter_map(|found| found.assumed.clone()));
    let rows = heaps.iter().map(|heap| heap.rows).sum::<f64>();
    for expr in &shape.exprs {
        columns.push(sample::expression(session, &shape.table, rows, expr).await?);
    }
    let share = match &shape.condition {
        Some(condition) => sample::share(session, &shape.table, rows, condition).await?,
        None => Some(1.0),
    };
    if share.is_none() {
        need.assumed.push("the index's condition holds for every row".to_owned());
    }
    if !["btree", "hash", "brin"].contains(&shape.method.as_str()) {
        need.assumed.push(format!("{} indexes differ much with what is in them", shape.method));
    }
    let Settings { tablespace, temp, memory, parallel_blocks, .. } = &settings;
    let place = shape.tablespace.as_ref().map_or(tablespace.as_str(), Ident::as_str);
    for heap in &heaps {
        let blocks = heap.bytes as f64 / 8192.0;
        let rows = heap.rows * share.unwrap_or(1.0);
        let of = Index {
            method: shape.method.as_str().to_owned(),
            rows,
            blocks,
            columns: columns.iter().map(|found| found.of(rows)).collect(),
            fillfactor: shape.fillfactor,
            unique: shape.unique,
            includes: shape.included > 0,
        };
        let size = disk::index(&of);
        let mut one = Need { wal: size, ..Need::default() };
        one.add(place, |place| place.index += size);
        let sort = Sort { memory: *memory, parallel: parallel_blocks.is_some_and(|least| blocks >= least) };
        one.add(temp, |place| place.sort += disk::sort_bytes(&of, sort));
        need.then(&one);
    }
    // What an earlier attempt left is dropped first.
    need.add(place, |place| place.index = place.index.saturating_sub(wreck));
    Ok(need)
}

async fn backfill(session: &Connection, spec: &BackfillSpec, share: f64) -> Result<Need, Fault> {
    if let Some(copy) = CopySpec::of(spec) {
        return in_transaction(session, BOUNDS, async |client: &Client| {
            let (from, into) = (heaps(client, &spec.table).await?, heaps(client, &copy.into).await?);
            let settings = settings(client).await?;
            let how =
                Copying { indexes: into.first().map_or(1, |heap| heap.indexes.len()), keys: copy.key.len(), share };
            let place = into.first().map_or(settings.tablespace.as_str(), |heap| heap.tablespace.as_str());
            Ok::<_, Fault>(disk::copy(&from, place, &settings.tablespace, how))
        })
        .await;
    }
    let (heaps, width, in_page, full_pages) = in_transaction(session, BOUNDS, async |client: &Client| {
        let (table, column) = match &spec.value {
            BackfillValue::Parent { table, column, .. } => (table, column),
            BackfillValue::Constant(_) | BackfillValue::Expr(_) | BackfillValue::Copy(_) => (&spec.table, &spec.column),
        };
        let known = columns(client, table, std::slice::from_ref(column)).await?;
        let heaps = heaps(client, &spec.table).await?;
        let in_page = !facts::is_indexed(client, &spec.table, &spec.column).await?;
        Ok::<_, Fault>((heaps, known.into_iter().next(), in_page, settings(client).await?.full_pages))
    })
    .await?;
    let assumed = width.as_ref().and_then(|found| found.assumed.clone());
    let width = match &spec.value {
        BackfillValue::Constant(value) if assumed.is_some() => value.0.len() as f64,
        BackfillValue::Constant(_) | BackfillValue::Parent { .. } | BackfillValue::Expr(_) | BackfillValue::Copy(_) => {
            width.map_or(WIDTH_ASSUMED, |found| found.column.width)
        }
    };
    let mut need = disk::backfill(&heaps, Rewriting { width, in_page, share, full_pages });
    need.assumed.extend(assumed);
    if in_page {
        need.assumed.push("most new versions stay in their pages".to_owned());
    }
    Ok(need)
}
