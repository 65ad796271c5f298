//! Makes AlphaPulse's database as it is before the migration, with rows to migrate.

use tokio_postgres::Client;

use super::alphapulse::TENANTS;
use crate::{
    sql,
    sql::{Ident, Literal, Stmt},
};

/// The schema, before the migration.
const SCHEMA: &str = include_str!("seed.sql");

/// Roles are the cluster's and not the database's: another database of the same server may have brought them.
const ROLES: &str = "DO $$
    DECLARE name text;
    BEGIN
      FOREACH name IN ARRAY ARRAY['alphapulse', 'alphapulse_app'] LOOP
        BEGIN
          EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOBYPASSRLS', name);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END;
      END LOOP;
      -- Who migrates asks as the application whether the tenants are apart.
      IF NOT pg_has_role('alphapulse', 'alphapulse_app', 'MEMBER') THEN
        BEGIN
          GRANT alphapulse_app TO alphapulse;
        EXCEPTION WHEN unique_violation OR internal_error THEN NULL;
        END;
      END IF;
    END $$";

const GRANTS: &str = "GRANT SELECT, INSERT, UPDATE, DELETE
    ON users, trades, positions, orders, portfolio_snapshots, risk_metrics, agent_signals TO alphapulse_app;
  GRANT SELECT ON open_orders TO alphapulse_app";

/// How many rows each table has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// Users; every table's rows refer to them.
    pub users: u32,
}

impl Scale {
    /// Some 500,000 rows in all.
    pub const DEMO: Self = Self { users: 20_000 };

    /// The rows of a table by its name; 0 for one that the application has not.
    pub fn rows(self, table: &str) -> i64 {
        let a_user = match table {
            "users" => 1,
            "trades" => 10,
            "orders" => 6,
            "portfolio_snapshots" => 3,
            "positions" | "risk_metrics" | "agent_signals" => 2,
            _ => 0,
        };
        i64::from(self.users) * a_user
    }

    /// The rows of all tables.
    pub fn total(self) -> i64 {
        super::alphapulse::TABLES.iter().map(|table| self.rows(table)).sum()
    }
}

/// Creates roles, tables and rows in the current database, which becomes the owner's. `client` is a superuser's.
///
/// Some 4 s for the demo's scale. The same rows each time on the same server version: the random numbers are seeded.
pub async fn seed(client: &Client, scale: Scale) -> Result<(), tokio_postgres::Error> {
    client.batch_execute(ROLES).await?;
    let database: String = client.query_one("SELECT quote_ident(current_database())", &[]).await?.try_get(0)?;
    let own = sql!("ALTER DATABASE {} OWNER TO alphapulse", Stmt::raw(database));
    client.batch_execute(own.as_str()).await?;
    client.batch_execute("SET ROLE alphapulse").await?;
    client.batch_execute(SCHEMA).await?;
    client.batch_execute(GRANTS).await?;
    // The rows fit each other by how they are made; checking half a million foreign keys would take longer than making them.
    client.batch_execute("RESET ROLE; SET session_replication_role = replica; SELECT setseed(0.42)").await?;
    for fill in fills(scale) {
        client.batch_execute(fill.as_str()).await?;
    }
    client.batch_execute("RESET session_replication_role; ANALYZE").await?;
    Ok(())
}

fn fills(scale: Scale) -> Vec<Stmt> {
    // 7919 is prime, so that neighbouring rows are of different users.
    let user = sql!("1 + (i * 7919) % {}", scale.rows("users"));
    let symbol = Stmt::raw("(ARRAY['BTC-USD', 'ETH-USD', 'AAPL', 'MSFT', 'EURUSD', 'SPY', 'TLT', 'GLD'])[1 + i % 8]");
    let [default, northwind, borealis] = TENANTS.map(|tenant| Literal::new(tenant.domain));
    let email = sql!(
        "'user' || i || '@' || CASE WHEN i % 10 < 5 THEN {} WHEN i % 10 < 8 THEN {} ELSE {} END",
        default,
        northwind,
        borealis
    );
    let side = Stmt::raw("CASE WHEN random() < 0.5 THEN 'buy' ELSE 'sell' END");
    let status = Stmt::raw("CASE WHEN random() < 0.1 THEN 'open' ELSE 'filled' END");
    let quantity = Stmt::raw("round((random() * 100 + 1)::numeric, 4)");
    let value = Stmt::raw("round((random() * 1000000)::numeric, 2)");
    [
        fill(scale, "users", "email, full_name", sql!("{}, 'User ' || i", email)),
        fill(
            scale,
            "trades",
            "user_id, symbol, side, quantity, price",
            sql!("{}, {}, {}, {}, {}", user, symbol, side, quantity, value),
        ),
        fill(scale, "positions", "user_id, symbol, quantity", sql!("{}, {}, {}", user, symbol, quantity)),
        fill(
            scale,
            "orders",
            "user_id, symbol, status, quantity",
            sql!("{}, {}, {}, {}", user, symbol, status, quantity),
        ),
        fill(
            scale,
            "portfolio_snapshots",
            "user_id, value, holdings",
            sql!("{}, {}, jsonb_build_object({}, i % 100)", user, value, symbol),
        ),
        fill(
            scale,
            "risk_metrics",
            "user_id, metric, value",
            sql!("{}, (ARRAY['var_95', 'sharpe', 'drawdown', 'beta'])[1 + i % 4], random()", user),
        ),
        fill(
            scale,
            "agent_signals",
            "user_id, agent, signal, confidence",
            sql!("{}, 'agent-' || i % 6, (ARRAY['buy', 'hold', 'sell'])[1 + i % 3], random()::real", user),
        ),
    ]
    .concat()
}

/// Rows 1 to N of a table of ours, and its identity set to go on after them. They are spread over a year, oldest first, as
/// the rows of an application that grew are. `values` are of row `i`.
fn fill(scale: Scale, table: &'static str, columns: &'static str, values: Stmt) -> Vec<Stmt> {
    let (rows, table, columns) = (scale.rows(table), Stmt::raw(table), Stmt::raw(columns));
    vec![
        sql!(
            "INSERT INTO {0} (id, {1}, created_at)
             SELECT i, {2}, timestamptz '2026-01-01 00:00:00+00' - interval '1 year' * (({3} - i)::float8 / {3})
               FROM generate_series(1::bigint, {3}) AS i",
            table,
            columns,
            values,
            rows
        ),
        sql!("ALTER TABLE {} ALTER COLUMN id RESTART WITH {}", table, rows + 1),
    ]
}

/// Accounts that differ in the case of their e-mail address only: the application never forbade it, and the plan's unique
/// index meets them. Returns how many there are.
pub async fn add_duplicates(client: &Client) -> Result<u64, tokio_postgres::Error> {
    client
        .execute(
            "INSERT INTO users (email, full_name)
             SELECT initcap(split_part(email, '@', 1)) || '@' || split_part(email, '@', 2), full_name || ' (again)'
               FROM users WHERE id IN (101, 102, 103)",
            &[],
        )
        .await
}

/// What the operator does about the accounts of `add_duplicates`; they are changed and not deleted.
pub const RESOLVE_DUPLICATES: &str =
    "UPDATE users SET email = 'merged-' || id || '-' || lower(email) WHERE full_name LIKE '% (again)'";

/// The rows that `seed` made in `table`, as a count and a sum over the hashes of their text: the same rows, the same answer.
/// Columns that were added since are part of it.
pub async fn checksum(client: &Client, table: &Ident, last: i64) -> Result<(i64, String), tokio_postgres::Error> {
    let query = sql!(
        "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0)::text FROM {} AS t WHERE t.id <= {}",
        table,
        last
    );
    let row = client.query_one(query.as_str(), &[]).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}
