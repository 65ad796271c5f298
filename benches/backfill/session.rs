//! A connection of the benchmark's own, for use from plain code.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, Config, NoTls, Row};

/// The server is on this machine and idle when asked.
const CONNECT_SECONDS_MAX: u64 = 10;

/// One session. Dropping it ends it.
#[derive(Debug)]
pub struct Session {
    // Dropped in this order: the client's end is what ends the connection's task.
    client: Client,
    runtime: Runtime,
}

impl Session {
    /// Opens it; no statement runs longer than `deadline`.
    pub fn open(url: &str, deadline: Duration) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build().context("start a runtime")?;
        let mut config: Config = url.parse().context("read the server's address")?;
        config.application_name("benchmark").connect_timeout(Duration::from_secs(CONNECT_SECONDS_MAX));
        let client = runtime.block_on(async {
            let (client, connection) = config.connect(NoTls).await?;
            tokio::spawn(connection);
            Ok::<_, tokio_postgres::Error>(client)
        });
        let session = Self { client: client.context("connect to the benchmark's server")?, runtime };
        session.run(&format!("SET statement_timeout = {}", deadline.as_millis()))?;
        Ok(session)
    }

    /// Runs statements.
    pub fn run(&self, statements: &str) -> Result<()> {
        self.runtime
            .block_on(self.client.batch_execute(statements))
            .map_err(told)
            .with_context(|| statements.lines().next().unwrap_or_default().to_owned())
    }

    /// The one row of `query`.
    pub fn row(&self, query: &str) -> Result<Row> {
        self.runtime.block_on(self.client.query_one(query, &[])).map_err(told).with_context(|| query.to_owned())
    }

    /// The number in the one row of `query`.
    pub fn number(&self, query: &str) -> Result<u64> {
        let number: i64 = self.row(query)?.try_get(0).with_context(|| query.to_owned())?;
        Ok(u64::try_from(number).unwrap_or_default())
    }

    /// The text in the one row of `query`.
    pub fn text(&self, query: &str) -> Result<String> {
        self.row(query)?.try_get(0).with_context(|| query.to_owned())
    }
}

/// The server's own words, which the client's error hides behind "db error".
fn told(error: tokio_postgres::Error) -> anyhow::Error {
    match error.as_db_error() {
        Some(db) => anyhow::anyhow!("{} (SQLSTATE {})", db.message(), db.code().code()),
        None => error.into(),
    }
}

/// Whether the server ended the statement because its time was up.
pub fn timed_out(error: &anyhow::Error) -> bool {
    format!("{error:#}").contains("SQLSTATE 57014")
}
