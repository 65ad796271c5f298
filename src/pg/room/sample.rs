//! What no statistics say, from some thousand rows of pages taken at random: an expression's width, and for how many rows a
//! condition holds.

use tokio_postgres::Client;

use super::{
    BOUNDS, WIDTH_ASSUMED,
    facts::{Found, align},
};
use crate::{
    disk::Column,
    pg::{Class, Fault, connect::Connection, in_transaction},
    sql,
    sql::{Expr, Ident, QName, Stmt},
};

/// Rows that are looked at: enough for a share of one in a hundred.
const ROWS_SAMPLED: f64 = 4_000.0;

/// Pages at random with about so many rows, under the table's own name. A plain LIMIT would show the oldest rows alone.
fn sampled(table: &QName, rows: f64) -> Stmt {
    sql!("{} AS {}", pages(table, rows), table.name)
}

fn pages(table: &QName, rows: f64) -> Stmt {
    const MILLIONTHS_ALL: f64 = 100e6;
    let millionths = (MILLIONTHS_ALL * ROWS_SAMPLED / rows.max(1.0)).clamp(1.0, MILLIONTHS_ALL) as u64;
    sql!("(SELECT * FROM {} TABLESAMPLE SYSTEM ({}::real / 1000000))", table, millionths)
}

/// The share of the rows, called `row`, for which `which` holds, and the width of their column. `None` where it cannot be asked.
pub(super) async fn kept(
    session: &Connection,
    table: &QName,
    rows: f64,
    column: &Ident,
    which: &Stmt,
) -> Result<Option<(f64, f64)>, Fault> {
    let query = sql!(
        "SELECT avg((w.is)::integer)::float8, avg(pg_column_size(row.{0})) FILTER (WHERE w.is)::float8
           FROM {1} AS row CROSS JOIN LATERAL (SELECT coalesce(({2}), false) AS is) w",
        column,
        pages(table, rows),
        which
    );
    let asked = in_transaction(session, BOUNDS, async |client: &Client| {
        client.batch_execute("SET TRANSACTION READ ONLY").await?;
        let row = client.query_typed_one(query.as_str(), &[]).await?;
        Ok::<_, Fault>((row.try_get::<_, Option<f64>>(0)?, row.try_get::<_, Option<f64>>(1)?))
    });
    match asked.await {
        Ok((Some(share), width)) => Ok(Some((share, width.unwrap_or(WIDTH_ASSUMED)))),
        Err(fault) if fault.class == Class::Ambiguous => Err(fault),
        Ok((None, _)) | Err(_) => Ok(None),
    }
}

/// The width of an expression's values. One that cannot be evaluated (its column is not there yet) is assumed.
pub(super) async fn expression(session: &Connection, table: &QName, rows: f64, expr: &Expr) -> Result<Found, Fault> {
    let query = sql!(
        "SELECT avg(pg_column_size(v))::float8, (avg((v IS NULL)::integer))::float8,
                (SELECT t.typalign::text FROM pg_type t WHERE t.oid = max(pg_typeof(v)::oid)),
                (SELECT t.typlen::integer FROM pg_type t WHERE t.oid = max(pg_typeof(v)::oid))
           FROM (SELECT ({}) AS v FROM {}) s",
        expr,
        sampled(table, rows)
    );
    let row = in_transaction(session, BOUNDS, async |client: &Client| {
        client.batch_execute("SET TRANSACTION READ ONLY").await?;
        let row = client.query_typed_one(query.as_str(), &[]).await?;
        let length: Option<i32> = row.try_get(3)?;
        Ok::<_, Fault>((row.try_get(0)?, row.try_get(1)?, row.try_get::<_, Option<String>>(2)?, length))
    })
    .await;
    let found = |width: f64, nulls: f64, align: u32, assumed: Option<String>| Found {
        column: Column { width, nulls, align, distinct: None, alike: false },
        distinct: None,
        assumed,
    };
    match row {
        Ok((Some(width), nulls, kind, length)) => {
            let (length, kind): (i32, String) = (length.unwrap_or(-1), kind.unwrap_or_default());
            let nulls: Option<f64> = nulls;
            Ok(found(width, nulls.unwrap_or(0.0), align(&kind, length, width), None))
        }
        Err(fault) if fault.class == Class::Ambiguous => Err(fault),
        Ok((None, ..)) | Err(_) => {
            Ok(found(WIDTH_ASSUMED, 0.0, 4, Some(format!("{WIDTH_ASSUMED} bytes for ({expr})"))))
        }
    }
}

/// The share of the rows for which a condition holds: the planner's or the sample's, whichever is larger, since the planner
/// knows nothing of expressions. `None` where neither can be asked.
pub(super) async fn share(
    session: &Connection,
    table: &QName,
    rows: f64,
    condition: &Expr,
) -> Result<Option<f64>, Fault> {
    let query = sql!("SELECT avg((coalesce(({}), false))::integer)::float8 FROM {}", condition, sampled(table, rows));
    let shares = in_transaction(session, BOUNDS, async |client: &Client| {
        client.batch_execute("SET TRANSACTION READ ONLY").await?;
        let seen: Option<f64> = client.query_typed_one(query.as_str(), &[]).await?.try_get(0)?;
        let with = planned(client, &sql!("EXPLAIN (FORMAT JSON) SELECT FROM {} WHERE ({})", table, condition)).await?;
        let all = planned(client, &sql!("EXPLAIN (FORMAT JSON) SELECT FROM {}", table)).await?;
        Ok::<_, Fault>((seen, with.zip(all).filter(|(_, all)| *all > 0.0).map(|(with, all)| with / all)))
    })
    .await;
    match shares {
        Ok((Some(seen), planned)) => Ok(Some(planned.unwrap_or(0.0).max(seen).clamp(0.0, 1.0))),
        Err(fault) if fault.class == Class::Ambiguous => Err(fault),
        Ok((None, _)) | Err(_) => Ok(None),
    }
}

async fn planned(client: &Client, query: &Stmt) -> Result<Option<f64>, Fault> {
    let plan: serde_json::Value = client.query_typed_one(query.as_str(), &[]).await?.try_get(0)?;
    Ok(plan.pointer("/0/Plan/Plan Rows").and_then(serde_json::Value::as_f64))
}
