//! One read-only transaction, so that a fingerprint is one snapshot, with the settings that make text comparable.

use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::FingerprintError;

/// Why each setting: names come out schema-qualified only when nothing but pg_catalog is on the path (pg_temp is named
/// last, since it is otherwise searched first for relations); the output functions of dates, floats, money and bytea
/// follow settings; `row_security = off` turns rows that a policy would hide into an error (42501) instead of a smaller
/// count; the compiler costs more than it gains on catalogue queries. `lock_timeout` bounds the wait behind an ACCESS
/// EXCLUSIVE lock, which `pg_get_viewdef` and every count need to get past: 10 s is far above any well-behaved DDL.
/// All are LOCAL: nothing stays behind in the session, nor in a pooler's server connection.
const BEGIN: &str = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL row_security = off;
SET LOCAL lock_timeout = '10s';
SET LOCAL jit = off;
SET LOCAL quote_all_identifiers = off;
SET LOCAL DateStyle = 'ISO, YMD';
SET LOCAL IntervalStyle = 'postgres';
SET LOCAL TimeZone = 'UTC';
SET LOCAL extra_float_digits = 1;
SET LOCAL bytea_output = 'hex';
SET LOCAL lc_monetary = 'C';
SET LOCAL xmlbinary = 'base64'";

/// The namespaces in scope. `pg_toast` and `pg_temp` come numbered, one a backend; what is put aside is kept like what the ledger's
/// schema keeps.
const SCOPE: &str = "SELECT current_setting('server_version_num')::int4,
       coalesce(array_agg(n.oid) FILTER (WHERE n.nspname <> ALL ($1)
                                           AND n.nspname NOT IN ('pg_catalog', 'information_schema')
                                           AND n.nspname !~ '^(pg_(toast|temp)|tenantmig_aside_)'), '{}')
FROM pg_namespace n";

/// What every query of a fingerprint needs to know.
#[derive(Debug)]
pub(super) struct Scope {
    /// As in `server_version_num`: 150004 is 15.4.
    pub version: i32,
    /// OIDs of the schemas to look into; they never get into the output.
    pub namespaces: Vec<u32>,
}

/// Opens the transaction. The session must not be in one already.
pub(super) async fn begin(client: &Client, exclude_schemas: &[String]) -> Result<Scope, FingerprintError> {
    let failed = || FingerprintError::query("the snapshot");
    client.batch_execute(BEGIN).await.map_err(failed())?;
    let row = client.query_typed(SCOPE, &[(&exclude_schemas, Type::TEXT_ARRAY)]).await.map_err(failed())?;
    // An aggregate without GROUP BY always returns one row.
    let mut scope = Scope { version: 0, namespaces: Vec::new() };
    for row in row {
        scope.version = row.try_get(0).map_err(failed())?;
        scope.namespaces = row.try_get(1).map_err(failed())?;
    }
    Ok(scope)
}

/// Ends the transaction, whatever came of it, and keeps the first error. It only read, so it is rolled back.
pub(super) async fn end<T>(client: &Client, read: Result<T, FingerprintError>) -> Result<T, FingerprintError> {
    let ended = client.batch_execute("ROLLBACK").await;
    let value = read?;
    ended.map_err(FingerprintError::query("the snapshot"))?;
    Ok(value)
}
