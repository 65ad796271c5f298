//! Installs the ledger by refinery's embedded migrations, and takes it away by their twins under rollback/.

use std::time::Duration;

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

/// The longest that one tenantmig waits for another that is installing the ledger: a few CREATE TABLEs.
const INSTALL_WAIT: Duration = Duration::from_secs(10);

/// Serialises installs: "tenantmi" as a number. refinery takes no lock of its own.
const INSTALL_LOCK: i64 = 0x7465_6e61_6e74_6d69;

/// The undo of each migration, newest last.
const TWINS: &[(i32, &str)] = &[
    (1, include_str!("../../rollback/V1__ledger.sql")),
    (2, include_str!("../../rollback/V2__ranges.sql")),
    (3, include_str!("../../rollback/V3__heads.sql")),
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

/// Creates the schema and brings its tables up to date. Of several at once one does it and the others find it done.
/// `client` runs the migrations; `guard` holds a transaction with an advisory lock meanwhile.
pub async fn install(client: &mut Client, guard: &mut Client, schema: &Ident) -> Result<(), LedgerError> {
    if let Some(found) = version(client, schema).await? {
        let known = known_version();
        if found > known {
            return Err(LedgerError::Newer { found, known });
        }
        if found == known {
            return Ok(());
        }
    }
    let lock = guard.transaction().await?;
    let wait = format!("SET LOCAL lock_timeout = '{}ms'", INSTALL_WAIT.as_millis());
    lock.batch_execute(&wait).await?;
    lock.query_typed("SELECT pg_advisory_xact_lock($1)", &[(&INSTALL_LOCK, Type::INT8)]).await?;
    let result = match prepare(client, schema).await {
        Ok(()) => embedded::migrations::runner().run_async(client).await.map(drop).map_err(install_error),
        Err(fault) => Err(LedgerError::Server(fault)),
    };
    client.batch_execute("RESET search_path").await?;
    lock.rollback().await?;
    result?;
    client.batch_execute(describe(schema).as_str()).await?;
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
    Ok(client.batch_execute(sql!("SET search_path = {}", schema).as_str()).await?)
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

/// refinery hides the server's error; this digs it out.
fn install_error(error: refinery::Error) -> LedgerError {
    let mut source: Option<&dyn std::error::Error> = Some(&error);
    while let Some(inner) = source {
        if let Some(pg) = inner.downcast_ref::<tokio_postgres::Error>()
            && let Some(db) = pg.as_db_error()
        {
            return LedgerError::Install(format!("{} ({})", db.message(), db.code().code()));
        }
        source = inner.source();
    }
    LedgerError::Install(error.to_string())
}

/// The comment that tells a DBA what the schema is.
fn describe(schema: &Ident) -> sql::Stmt {
    let text =
        "tenantmig's ledger: which plans were applied here, what happened, and who may write. See tenantmig status.";
    sql!("COMMENT ON SCHEMA {} IS {}", schema, Literal::new(text))
}
