//! Who stands in the way of a lock.

use std::time::Duration;

use tokio_postgres::{Client, Row, types::Type};

use super::Fault;
use crate::{engine::Blocker, sql::QName};

/// Statements of others are cut to this, in characters: enough to recognise them.
const QUERY_CHARS_MAX: i32 = 120;

const SESSION: &str = "a.pid, coalesce(a.usename, ''), coalesce(a.application_name, ''), coalesce(a.state, ''),
    coalesce((extract(epoch FROM clock_timestamp() - a.xact_start) * 1000)::bigint, 0),
    left(regexp_replace(coalesce(a.query, ''), '\\s+', ' ', 'g'), $2)";

/// The sessions that `pid` waits for at this moment. Prepared transactions have no session and are named by their id.
pub async fn blockers(client: &Client, pid: i32) -> Result<Vec<Blocker>, Fault> {
    let query = format!(
        "SELECT {SESSION} FROM pg_stat_activity a WHERE a.pid = ANY (pg_blocking_pids($1))
         UNION ALL
         SELECT 0, p.owner::text, '', 'prepared',
                (extract(epoch FROM clock_timestamp() - p.prepared) * 1000)::bigint, p.gid
           FROM pg_prepared_xacts p WHERE 0 = ANY (pg_blocking_pids($1)) AND p.database = current_database()"
    );
    let rows = client.query_typed(&query, &[(&pid, Type::INT4), (&QUERY_CHARS_MAX, Type::INT4)]).await?;
    rows.iter().map(read).collect()
}

/// The transactions older than `age` that hold a lock on one of `tables`: DDL would queue behind them, and everybody else behind it.
pub async fn old_transactions(client: &Client, tables: &[QName], age: Duration) -> Result<Vec<Blocker>, Fault> {
    let query = format!(
        "SELECT DISTINCT {SESSION} FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid AND l.granted
          WHERE l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND l.relation = ANY (SELECT to_regclass(t) FROM unnest($1) t)
            AND a.xact_start < clock_timestamp() - $3 * interval '1 ms' AND a.pid <> pg_backend_pid()"
    );
    let names: Vec<String> = tables.iter().map(QName::to_string).collect();
    let params: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 3] =
        [(&names, Type::TEXT_ARRAY), (&QUERY_CHARS_MAX, Type::INT4), (&millis(age), Type::FLOAT8)];
    client.query_typed(&query, &params).await?.iter().map(read).collect()
}

/// What a transaction may be in the way of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InTheWay {
    /// CREATE INDEX CONCURRENTLY waits for those that may write the table (locks that conflict with SHARE), then for every
    /// snapshot in the database that is older than its second scan. An idle READ COMMITTED transaction has neither.
    OfBuild,
    /// DROP INDEX CONCURRENTLY waits for whoever uses the table.
    OfDrop,
}

/// The transactions older than `age` that CONCURRENTLY on `tables` would wait for. What does not count: VACUUM and other builds,
/// whose snapshots a build passes by, and autovacuum, which gives way. Of a prepared transaction only the locks count; it is known by the
/// lock on its own number, since its virtual one changes with a restart.
pub async fn in_the_way(client: &Client, tables: &[QName], of: InTheWay, age: Duration) -> Result<Vec<Blocker>, Fault> {
    let query = format!(
        "WITH held AS (
             SELECT l.pid, l.virtualtransaction FROM pg_locks l
              WHERE l.locktype = 'relation' AND l.granted AND l.relation = ANY (SELECT to_regclass(t) FROM unnest($1) t)
                AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                AND NOT ($4 AND l.mode IN ('AccessShareLock', 'RowShareLock')))
         SELECT {SESSION} FROM pg_stat_activity a
          WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
            AND a.backend_type NOT IN ('autovacuum worker', 'walsender')
            AND a.xact_start < clock_timestamp() - $3 * interval '1 ms'
            AND (a.pid IN (SELECT pid FROM held)
                 OR $4 AND a.backend_xmin IS NOT NULL
                    AND a.pid NOT IN (SELECT pid FROM pg_stat_progress_vacuum UNION ALL SELECT pid FROM pg_stat_progress_create_index))
         UNION ALL
         SELECT 0, p.owner::text, '', 'prepared', (extract(epoch FROM clock_timestamp() - p.prepared) * 1000)::bigint, p.gid
           FROM pg_prepared_xacts p
          WHERE p.database = current_database() AND p.prepared < clock_timestamp() - $3 * interval '1 ms'
            AND EXISTS (SELECT FROM held h JOIN pg_locks l ON l.virtualtransaction = h.virtualtransaction AND l.pid IS NULL
                         WHERE h.pid IS NULL AND l.locktype = 'transactionid' AND l.transactionid = p.transaction)
          ORDER BY 5 DESC"
    );
    let names: Vec<String> = tables.iter().map(QName::to_string).collect();
    let params: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 4] = [
        (&names, Type::TEXT_ARRAY),
        (&QUERY_CHARS_MAX, Type::INT4),
        (&millis(age), Type::FLOAT8),
        (&(of == InTheWay::OfBuild), Type::BOOL),
    ];
    client.query_typed(&query, &params).await?.iter().map(read).collect()
}

fn millis(age: Duration) -> f64 {
    f64::from(u32::try_from(age.as_millis()).unwrap_or(u32::MAX))
}

fn read(row: &Row) -> Result<Blocker, Fault> {
    Ok(Blocker {
        pid: row.try_get(0)?,
        user: row.try_get(1)?,
        application: row.try_get(2)?,
        state: row.try_get(3)?,
        transaction_age_ms: row.try_get(4)?,
        query: row.try_get(5)?,
    })
}

/// After how long a wait the server looks for a deadlock, and ends whoever finds one: the session that waited, ours or not.
pub async fn deadlock_timeout(client: &Client) -> Result<Duration, Fault> {
    let query = "SELECT setting::bigint FROM pg_settings WHERE name = 'deadlock_timeout'";
    let ms: i64 = client.query_typed_one(query, &[]).await?.try_get(0)?;
    Ok(Duration::from_millis(u64::try_from(ms).unwrap_or(1)))
}
