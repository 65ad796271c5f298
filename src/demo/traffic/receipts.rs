//! The application's memory: every write that the server acknowledged, so that the end can be held against it.

use std::collections::BTreeMap;

use tokio_postgres::{Client, Error, types::Type};

use crate::{
    demo::{alphapulse::TABLES, seed::Scale},
    sql,
    sql::Stmt,
};

/// The columns of a row that the application wrote; the tenant is not its business yet.
pub(super) fn columns(table: &str) -> &'static str {
    match table {
        "users" => "email, full_name, role",
        "trades" => "user_id, symbol, side, quantity, price, note",
        "positions" => "user_id, symbol, quantity, revision",
        "orders" => "user_id, symbol, status, quantity, note",
        "portfolio_snapshots" => "user_id, value, holdings",
        "risk_metrics" => "user_id, metric, value",
        "agent_signals" => "user_id, agent, signal, confidence",
        _ => "id",
    }
}

/// The checksum of a row, as SQL.
pub(super) fn checksum(table: &str) -> Stmt {
    sql!("md5(ROW({})::text)", Stmt::raw(columns(table)))
}

/// Acknowledged writes: by table and row, the checksum of the row as the server returned it last.
#[derive(Debug, Default)]
pub struct Receipts {
    rows: BTreeMap<&'static str, BTreeMap<i64, String>>,
    /// How many writes there were; a row that was updated counts again.
    pub writes: u64,
}

/// What the database kept of the receipts.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Rows with a receipt.
    pub rows: u64,
    /// Rows with a receipt that are gone.
    pub lost: u64,
    /// Rows that are not as the last receipt says.
    pub changed: u64,
    /// New rows without a receipt: written twice, or by nobody.
    pub unexplained: u64,
}

impl Receipts {
    /// The server acknowledged the transaction that wrote this row.
    pub fn acknowledge(&mut self, table: &'static str, id: i64, checksum: String) {
        self.rows.entry(table).or_default().insert(id, checksum);
        self.writes += 1;
    }

    /// Adds another session's; no two sessions write the same row.
    pub fn merge(&mut self, other: Self) {
        self.writes += other.writes;
        for (table, rows) in other.rows {
            self.rows.entry(table).or_default().extend(rows);
        }
    }

    /// Compares with the database. `client` sees every row. `others` is how many rows somebody else added to `users`.
    pub async fn compare(&self, client: &Client, scale: Scale, others: u64) -> Result<Kept, Error> {
        let mut kept = Kept::default();
        for table in TABLES {
            let none = BTreeMap::new();
            let receipts = self.rows.get(table).unwrap_or(&none);
            let ids: Vec<i64> = receipts.keys().copied().collect();
            let query = sql!(
                "SELECT id, {} FROM {} WHERE id > $1 OR id = ANY ($2)",
                checksum(table),
                // A name of TABLES.
                Stmt::raw(table)
            );
            let params: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
                [(&scale.rows(table), Type::INT8), (&ids, Type::INT8_ARRAY)];
            let (mut found, mut unexplained) = (0, 0);
            for row in client.query_typed(query.as_str(), &params).await? {
                match receipts.get(&row.try_get::<_, i64>(0)?) {
                    Some(checksum) => {
                        found += 1;
                        kept.changed += u64::from(*checksum != row.try_get::<_, String>(1)?);
                    }
                    None => unexplained += 1,
                }
            }
            kept.rows += ids.len() as u64;
            kept.lost += (ids.len() as u64).saturating_sub(found);
            kept.unexplained += if table == "users" { u64::abs_diff(unexplained, others) } else { unexplained };
        }
        Ok(kept)
    }
}
