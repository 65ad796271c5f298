//! The catalogue as sorted lines of text, one a fact.

use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::FingerprintError;
use super::facts;
use super::snapshot::{self, Scope};

/// The catalogue's facts, sorted bytewise. Each is `kind identity: definition` or `kind identity property: value`, with
/// qualified and quoted names; a definition may run over several lines of text (functions, views). Absent properties (no
/// comment, no default) have no line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogPrint {
    /// The facts.
    pub lines: Vec<String>,
}

/// Reads the catalogue of the current database, but for `exclude_schemas` (exact names, unquoted), `pg_catalog`,
/// `information_schema`, `pg_toast*` and `pg_temp*`. What is covered and what is not: see the [module](super).
///
/// Takes one read-only snapshot with its own transaction: the session must not be in one. When the future is dropped
/// half-way, that transaction stays open; drop the connection too. Some twenty queries, whatever the number of
/// tables; PostgreSQL 13 to 18. `pg_get_*` functions look at the catalogue of the moment rather than the snapshot's, so
/// DDL in another session can fail the call (XX000) or mix the two.
pub async fn catalog(client: &Client, exclude_schemas: &[String]) -> Result<CatalogPrint, FingerprintError> {
    let read = match snapshot::begin(client, exclude_schemas).await {
        Ok(scope) => read(client, &scope).await,
        Err(error) => Err(error),
    };
    snapshot::end(client, read).await
}

pub(super) async fn read(client: &Client, scope: &Scope) -> Result<CatalogPrint, FingerprintError> {
    let mut lines = Vec::new();
    for facts in facts::ALL.iter().copied().flatten() {
        if scope.version < facts.since {
            continue;
        }
        let failed = || FingerprintError::query(facts.about);
        let params: &[(&(dyn tokio_postgres::types::ToSql + Sync), Type)] = &[(&scope.namespaces, Type::OID_ARRAY)];
        for row in client.query_typed(facts.sql, params).await.map_err(failed())? {
            lines.push(row.try_get::<_, String>(0).map_err(failed())?);
        }
    }
    lines.sort_unstable();
    Ok(CatalogPrint { lines })
}
