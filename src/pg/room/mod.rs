//! About how much room a unit needs, by what the catalogue says; and how much a tablespace holds.

mod facts;
mod known;
mod sample;

use std::time::Duration;

use tokio_postgres::{Client, types::Type};

use self::facts::{Found, Settings, settings};
pub use self::known::Known;
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

/// What the catalogue says of everything that these units write.
pub async fn known(session: &Connection, units: &[&Unit]) -> Result<Known, Fault> {
    in_transaction(session, BOUNDS, async |client: &Client| Known::read(client, units).await).await
}

/// Whether the unit may add anything worth to be asked about.
pub fn grows(unit: &Unit) -> bool {
    match (&unit.grows, &unit.up) {
        (Growth::Unknown | Growth::Index(_), _) | (Growth::Little, Op::Backfill(_)) => true,
        (
            Growth::Little,
            Op::Tx(_) | Op::Autocommit { .. } | Op::Assert(_) | Op::Watch(_) | Op::Keep(_) | Op::Restore(_),
        ) => unit.lock.hold == Hold::Rewrite,
    }
}

/// About what the unit adds to the disk; `None`: unknown. `share` is what is left of a backfill.
pub async fn need(session: &Connection, known: &Known, unit: &Unit, share: f64) -> Result<Option<Need>, Fault> {
    Ok(match (&unit.grows, &unit.up) {
        (Growth::Unknown, _) => None,
        (Growth::Index(shape), _) => Some(index(session, known, shape).await?),
        (Growth::Little, Op::Backfill(spec)) => Some(backfill(known, spec, share)),
        (Growth::Little, Op::Tx(_)) if unit.lock.hold == Hold::Rewrite => {
            let mut all = Need::default();
            unit.lock.on.iter().for_each(|table| all.then(&disk::rewrite(known.heaps(table))));
            Some(all)
        }
        (
            Growth::Little,
            Op::Tx(_) | Op::Autocommit { .. } | Op::Assert(_) | Op::Watch(_) | Op::Keep(_) | Op::Restore(_),
        ) => Some(Need::default()),
    })
}

/// About what keeping a column's values adds to the disk.
pub async fn need_to_keep(session: &Connection, spec: &KeepSpec) -> Result<Need, Fault> {
    let read = async |client: &Client| Known::of_column(client, &spec.table, &spec.column).await;
    let known = in_transaction(session, BOUNDS, read).await?;
    let rows = known.heaps(&spec.table).iter().map(|heap| heap.rows).sum::<f64>();
    let place = &known.settings.tablespace;
    let sampled = sample::kept(session, &spec.table, rows, &spec.column, &keep::differs(spec)).await?;
    if let Some((share, width)) = sampled {
        return Ok(disk::keep(rows * share, width, place));
    }
    // What would come again cannot be asked, so all that has a value is kept.
    let column = known.column(&spec.table, &spec.column);
    let (width, nulls) = column.map_or((WIDTH_ASSUMED, 0.0), |found| (found.column.width, found.column.nulls));
    Ok(disk::keep(rows * (1.0 - nulls), width, place))
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

async fn index(session: &Connection, known: &Known, shape: &IndexShape) -> Result<Need, Fault> {
    let wreck = known.size(&shape.table.sibling(shape.name.clone()));
    let mut columns: Vec<Found> = shape.columns.iter().filter_map(|name| known.column(&shape.table, name)).collect();
    let (heaps, settings) = (known.heaps(&shape.table), &known.settings);
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
    let Settings { tablespace, temp, memory, parallel_blocks, .. } = settings;
    let place = shape.tablespace.as_ref().map_or(tablespace.as_str(), Ident::as_str);
    for heap in heaps {
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

fn backfill(known: &Known, spec: &BackfillSpec, share: f64) -> Need {
    let (heaps, settings) = (known.heaps(&spec.table), &known.settings);
    if let Some(copy) = CopySpec::of(spec) {
        let into = known.heaps(&copy.into);
        let how = Copying { indexes: into.first().map_or(1, |heap| heap.indexes.len()), keys: copy.key.len(), share };
        let place = into.first().map_or(settings.tablespace.as_str(), |heap| heap.tablespace.as_str());
        return disk::copy(heaps, place, &settings.tablespace, how);
    }
    let (table, column) = known::source(spec);
    let (width, in_page) = (known.column(table, column), !known.is_indexed(&spec.table, &spec.column));
    let full_pages = settings.full_pages;
    let assumed = width.as_ref().and_then(|found| found.assumed.clone());
    let width = match &spec.value {
        BackfillValue::Constant(value) if assumed.is_some() => value.0.len() as f64,
        BackfillValue::Constant(_) | BackfillValue::Parent { .. } | BackfillValue::Expr(_) | BackfillValue::Copy(_) => {
            width.map_or(WIDTH_ASSUMED, |found| found.column.width)
        }
    };
    let mut need = disk::backfill(heaps, Rewriting { width, in_page, share, full_pages });
    need.assumed.extend(assumed);
    if in_page {
        need.assumed.push("most new versions stay in their pages".to_owned());
    }
    need
}
