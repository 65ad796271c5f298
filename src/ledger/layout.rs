//! The tables and columns that a ledger of each version has. One that lacks some is refused before anything is touched: what a
//! statement on it would say depends on which statement comes first.

use std::collections::BTreeSet;

use tokio_postgres::{GenericClient, types::Type};

use super::error::LedgerError;
use crate::{sql, sql::Ident};

/// refinery's own table.
const HISTORY: &str = "refinery_schema_history";

/// Since which version, which table, which columns. Only what the program reads or writes.
const TABLES: &[(i32, &str, &str)] = &[
    (
        1,
        "runs",
        "run_id plan plan_path plan_text fingerprint program baselines created_at created_by host tool_version",
    ),
    (1, "events", "run_id number at epoch actor host kind unit event"),
    (
        1,
        "migration_progress",
        "run_id unit ordinal phase step title status rows_done rows_estimated cursor attempts started_at finished_at updated_at error",
    ),
    (
        1,
        "lease",
        "one_row epoch holder host pid purpose role backend_pid backend_start acquired_at heartbeat_at expires_at",
    ),
    (
        2,
        "backfill_ranges",
        "run_id unit sweep number heap lo hi stripes stripes_done rows_done rows_hot skipping claimed_at updated_at",
    ),
    (2, "requests", "request_id run_id asked_at actor host kind body event refused"),
    (2, "migration_progress", "pace"),
    (3, "events", "link"),
    (3, "event_heads", "run_id number digest base base_digest"),
    (3, "lease", "run_id system_identifier timeline"),
    (
        4,
        "preimages",
        "preimage_id run_id unit table_name column_name key_columns relation complete rows_kept kept_at restored_at",
    ),
    (4, "phase_prints", "run_id phase format server lines taken_at spent_at"),
    (5, "measurements", "measurement_id run_id phase gate probe over measured measured_at measured_by"),
    (6, "approvals", "approval_id run_id phase approved_at actor host reason"),
];

/// The version of the ledger that stands in the database, `None` without one. Refused where a part of it is gone. Of a version
/// that this program does not know, only the number is asked.
pub async fn version(client: &impl GenericClient, schema: &Ident) -> Result<Option<i32>, LedgerError> {
    let there = columns(client, schema).await?;
    let has = |table: &str| there.iter().any(|(name, _)| name == table);
    let some = TABLES.iter().any(|(_, table, _)| has(table));
    if !has(HISTORY) {
        return if some { Err(gone(schema, format!("the table {HISTORY} is missing"))) } else { Ok(None) };
    }
    let query = sql!("SELECT max(version) FROM {}.refinery_schema_history", schema);
    let found: Option<i32> = client.query_typed_one(query.as_str(), &[]).await?.try_get(0)?;
    // An uninstalled ledger leaves refinery's own table behind, empty.
    let Some(found) = found.filter(|version| *version > 0) else {
        return if some { Err(gone(schema, format!("the table {HISTORY} is empty"))) } else { Ok(None) };
    };
    // Another one may have installed it since the tables were read, and only ever adds to them.
    let there = columns(client, schema).await?;
    let has = |table: &str| there.iter().any(|(name, _)| name == table);
    let known = TABLES.iter().map(|(since, ..)| *since).max().unwrap_or(0);
    for (_, table, columns) in TABLES.iter().filter(|(since, ..)| found <= known && *since <= found) {
        if !has(table) {
            return Err(gone(schema, format!("the table {table} is missing")));
        }
        let lacks = |column: &&str| !there.contains(&((*table).to_owned(), (*column).to_owned()));
        if let Some(column) = columns.split(' ').find(lacks) {
            return Err(gone(schema, format!("the table {table} has no column {column}")));
        }
    }
    Ok(Some(found))
}

async fn columns(client: &impl GenericClient, schema: &Ident) -> Result<BTreeSet<(String, String)>, LedgerError> {
    let query = "SELECT c.relname::text, a.attname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                   JOIN pg_attribute a ON a.attrelid = c.oid
                  WHERE n.nspname = $1 AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped";
    let rows = client.query_typed(query, &[(&schema.as_str(), Type::TEXT)]).await?;
    Ok(rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect::<Result<_, tokio_postgres::Error>>()?)
}

fn gone(schema: &Ident, what: String) -> LedgerError {
    LedgerError::Broken {
        what,
        advice: format!("nothing was changed. Restore the schema {schema} from a backup: pg_restore --schema={schema}"),
    }
}
