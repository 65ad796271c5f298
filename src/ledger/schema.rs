//! Installs the ledger by refinery's embedded migrations, and takes it away by their twins under rollback/.

use std::collections::BTreeMap;

use tokio_postgres::{Client, GenericClient, types::Type};

use super::{error::LedgerError, layout::version};
use crate::{
    pg::Fault,
    sql,
    sql::{Ident, Literal},
};

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// Serialises installs: "tenantmi" as a number.
const INSTALL_LOCK: i64 = 0x7465_6e61_6e74_6d69;

/// refinery's table, as its runner makes it.
const HISTORY: &str = "CREATE TABLE IF NOT EXISTS refinery_schema_history(
             version INT4 PRIMARY KEY,
             name VARCHAR(255),
             applied_on VARCHAR(255),
             checksum VARCHAR(255))";

/// The undo of each migration, newest last.
const TWINS: &[(i32, &str)] = &[
    (1, include_str!("../../rollback/V1__ledger.sql")),
    (2, include_str!("../../rollback/V2__ranges.sql")),
    (3, include_str!("../../rollback/V3__heads.sql")),
    (4, include_str!("../../rollback/V4__kept.sql")),
    (5, include_str!("../../rollback/V5__measurements.sql")),
    (6, include_str!("../../rollback/V6__approvals.sql")),
];

/// Whether the database has a ledger.
pub async fn exists(client: &impl GenericClient, schema: &Ident) -> Result<bool, LedgerError> {
    Ok(version(client, schema).await?.is_some())
}

/// Refuses a ledger of another version, for a command that only looks: its tables would not be those that are asked.
pub async fn require(client: &Client, schema: &Ident) -> Result<(), LedgerError> {
    let known = known_version();
    match version(client, schema).await? {
        None => Err(LedgerError::Missing),
        Some(found) if found > known => Err(LedgerError::Newer { found, known }),
        Some(found) if found < known => Err(LedgerError::Older { found, known }),
        Some(_) => Ok(()),
    }
}

/// The newest version that this program knows.
pub fn known_version() -> i32 {
    TWINS.iter().map(|(version, _)| *version).max().unwrap_or(0)
}

/// Whether nothing is to be installed; refused where a newer version stands.
pub async fn is_current(client: &Client, schema: &Ident) -> Result<bool, LedgerError> {
    let known = known_version();
    match version(client, schema).await? {
        Some(found) if found > known => Err(LedgerError::Newer { found, known }),
        found => Ok(found == Some(known)),
    }
}

/// Creates the schema and brings its tables up to date, in the open transaction: all of it or nothing. Of several at once one
/// does it, and the others wait and find it done. refinery's own runner sets the search_path of the session, which behind a
/// pooler is somebody else's, and takes no lock; so its migrations and its table are used, and not its runner.
pub async fn install(tx: &Client, schema: &Ident) -> Result<(), LedgerError> {
    tx.query_typed("SELECT pg_advisory_xact_lock($1)", &[(&INSTALL_LOCK, Type::INT8)]).await?;
    if is_current(tx, schema).await? {
        return Ok(());
    }
    prepare(tx, schema).await?;
    tx.batch_execute(HISTORY).await?;
    let rows = tx.query_typed("SELECT version, checksum FROM refinery_schema_history", &[]).await?;
    let applied: BTreeMap<i32, String> =
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect::<Result<_, tokio_postgres::Error>>()?;
    let mut migrations = embedded::migrations::runner().get_migrations().clone();
    migrations.sort();
    for migration in migrations {
        match applied.get(&migration.version()) {
            None => migrate(tx, &migration).await?,
            Some(checksum) if *checksum == migration.checksum().to_string() => {}
            Some(_) => {
                let what = format!("its tables were made by another text of {migration}");
                return Err(LedgerError::Install(what));
            }
        }
    }
    tx.batch_execute(describe(schema).as_str()).await?;
    Ok(())
}

async fn migrate(tx: &Client, migration: &refinery::Migration) -> Result<(), LedgerError> {
    let fault = |error| Fault::from(error).in_statement(&migration.to_string());
    tx.batch_execute(migration.sql().unwrap_or_default()).await.map_err(fault)?;
    let insert = "INSERT INTO refinery_schema_history (version, name, applied_on, checksum) VALUES ($1, $2, $3, $4)";
    let (now, checksum) = (chrono::Utc::now().to_rfc3339(), migration.checksum().to_string());
    let params: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 4] = [
        (&migration.version(), Type::INT4),
        (&migration.name(), Type::VARCHAR),
        (&now, Type::VARCHAR),
        (&checksum, Type::VARCHAR),
    ];
    tx.execute_typed(insert, &params).await?;
    Ok(())
}

/// Makes the schema where it is missing and turns to it. IF NOT EXISTS would ask for CREATE on the database even where the
/// schema stands (PostgreSQL checks the privilege first), and who prepares it for a role may not want to grant that.
async fn prepare(client: &Client, schema: &Ident) -> Result<(), Fault> {
    let there = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)";
    let there: bool = client.query_typed_one(there, &[(&schema.as_str(), Type::TEXT)]).await?.try_get(0)?;
    if !there {
        client.batch_execute(sql!("CREATE SCHEMA {}", schema).as_str()).await?;
    }
    Ok(client.batch_execute(sql!("SET LOCAL search_path = {}", schema).as_str()).await?)
}

/// Takes the ledger away by the twins, newest first. Only for a database in which nothing is applied.
pub async fn uninstall(client: &mut Client, schema: &Ident) -> Result<(), LedgerError> {
    let found = version(client, schema).await?.ok_or(LedgerError::Missing)?;
    let tx = client.transaction().await?;
    tx.batch_execute(sql!("SET LOCAL search_path = {}", schema).as_str()).await?;
    for (version, twin) in TWINS.iter().rev().filter(|(version, _)| *version <= found) {
        tx.batch_execute(twin).await?;
        let forget = sql!("DELETE FROM {}.refinery_schema_history WHERE version = {}", schema, i64::from(*version));
        tx.batch_execute(forget.as_str()).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// The comment that tells a DBA what the schema is.
fn describe(schema: &Ident) -> sql::Stmt {
    let text =
        "tenantmig's ledger: which plans were applied here, what happened, and who may write. See tenantmig status.";
    sql!("COMMENT ON SCHEMA {} IS {}", schema, Literal::new(text))
}
