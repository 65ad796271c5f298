//! What is kept of what rollbacks and steps took away, as status shows it: what, how much, since when, and how to be rid of it.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio_postgres::Client;

use super::failure::CliError;
use crate::{
    ledger::{self, Listed},
    pg::kept::{self, KeptColumn, KeptTable},
    plan::Bytes,
    report::quantity,
    sql::Ident,
};

/// All of it.
pub(super) struct Kept {
    values: Vec<Listed>,
    tables: Vec<KeptTable>,
    columns: Vec<KeptColumn>,
}

pub(super) async fn look(client: &Client, schema: &Ident) -> Result<Kept, CliError> {
    Ok(Kept {
        values: ledger::listed(client, schema).await?,
        tables: kept::tables(client).await?,
        columns: kept::columns(client).await?,
    })
}

impl Kept {
    /// `12 values of app.users.tenant_id (48 KiB) in tenantmig.preimage_3, since …`, a line each.
    pub fn lines(&self) -> Vec<String> {
        let values = self.values.iter().map(|of| {
            let column = of.column.as_ref().map_or(String::new(), |column| format!(".{column}"));
            let state = match (&of.restored_at, of.complete) {
                (_, false) => ", being kept".to_owned(),
                (None, true) => ", for the next apply".to_owned(),
                (Some(at), true) => format!(", written back {}; it goes when a newer one is made", minute(*at)),
            };
            format!(
                "{} of {}{column} ({}) in {}, since {}{state}",
                quantity::counted(natural(of.rows), "value", "values"),
                of.table,
                Bytes(natural(of.bytes)),
                of.place,
                minute(of.kept_at)
            )
        });
        let tables = self.tables.iter().map(|of| {
            let rows = of.rows.map_or(String::new(), |rows| format!("about {}, ", quantity::rows(natural(rows))));
            let said = |text: &Option<String>, before: &str| {
                text.as_ref().map_or(String::new(), |text| format!("{before}{text}"))
            };
            format!(
                "{} ({rows}{}) in {}{}{}; to be rid of it for good: {}",
                of.table.as_deref().unwrap_or("a table"),
                Bytes(natural(of.bytes)),
                of.schema,
                said(&of.by, ", by "),
                said(&of.at, ", since "),
                of.purge()
            )
        });
        let columns = self
            .columns
            .iter()
            .map(|of| format!("column {} of {}; to be rid of it for good: {}", of.kept, of.table, of.purge()));
        values.chain(tables).chain(columns).collect()
    }

    pub fn json(&self) -> Value {
        let values = self.values.iter().map(|of| {
            json!({
                "kind": "values", "table": of.table, "column": of.column, "in": of.place.to_string(), "rows": of.rows, "bytes": of.bytes,
                "since": of.kept_at, "written_back": of.restored_at, "complete": of.complete,
            })
        });
        let tables = self.tables.iter().map(|of| {
            json!({
                "kind": "table", "table": of.table, "in": of.schema.to_string(), "rows": of.rows, "bytes": of.bytes, "by": of.by, "since": of.at,
                "purge": of.purge().to_string(),
            })
        });
        let columns = self.columns.iter().map(|of| {
            json!({ "kind": "column", "table": of.table.to_string(), "in": of.kept.to_string(), "purge": of.purge().to_string() })
        });
        values.chain(tables).chain(columns).collect()
    }
}

fn natural(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

/// A moment, to the minute.
pub(super) fn minute(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}
