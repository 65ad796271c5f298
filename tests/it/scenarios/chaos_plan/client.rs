//! A client of the firm's database that keeps its session: what it asks, and what it is told.

use std::sync::Arc;

use tokio_postgres::{Client as Session, SimpleQueryMessage};

use crate::harness::block_on;
use crate::scenarios::firm::{ORGANIZATIONS, cell, said, session};

/// The three tables that the migration protects.
pub const TABLES: [&str; 3] = ["funds", "portfoliocompanies", "investments"];
/// The tenant that the tests work as, and another one.
pub const OWN: &str = ORGANIZATIONS[0];
pub const VICTIM: &str = ORGANIZATIONS[1];

/// One session, for as long as it lives.
pub struct Client(Arc<Session>);

impl Client {
    #[track_caller]
    pub fn of(url: &str) -> Self {
        let url = url.to_owned();
        Self(Arc::new(block_on(async move { session(&url).await.unwrap() })))
    }

    /// Runs statements as an application without parameters sends them; `SQLSTATE: message` of what was refused.
    pub fn run(&self, statements: &str) -> Result<Vec<SimpleQueryMessage>, String> {
        let (session, statements) = (self.0.clone(), statements.to_owned());
        block_on(async move { session.simple_query(&statements).await.map_err(|error| said(&error)) })
    }

    /// The first column of the first row.
    pub fn text(&self, query: &str) -> Result<String, String> {
        Ok(cell(&self.run(query)?, 0).unwrap_or_default())
    }

    pub fn count(&self, query: &str) -> Result<i64, String> {
        let text = self.text(query)?;
        text.parse().map_err(|_| format!("no number: {text:?}"))
    }

    /// How many rows the last statement wrote.
    pub fn written(&self, statements: &str) -> Result<u64, String> {
        let messages = self.run(statements)?;
        let tags = messages
            .iter()
            .filter_map(|it| if let SimpleQueryMessage::CommandComplete(n) = it { Some(*n) } else { None });
        Ok(tags.last().unwrap_or_default())
    }

    /// Sets the tenant until the transaction's end, as a parameter.
    pub fn tenant(&self, tenant: &str) -> Result<(), String> {
        let (session, tenant) = (self.0.clone(), tenant.to_owned());
        block_on(async move {
            let set = session.execute("SELECT set_config('app.current_org', $1, true)", &[&tenant]).await;
            set.map(|_| ()).map_err(|error| said(&error))
        })
    }

    /// In one transaction as `tenant`, which is rolled back.
    pub fn tried<T>(&self, tenant: &str, ask: impl FnOnce(&Self) -> Result<T, String>) -> Result<T, String> {
        let answer = self.run("BEGIN").and_then(|_| self.tenant(tenant)).and_then(|()| ask(self));
        self.run("ROLLBACK").unwrap();
        answer
    }

    /// What stands in the setting now.
    #[track_caller]
    pub fn setting(&self) -> String {
        self.text("SELECT coalesce(current_setting('app.current_org', true), '')").unwrap()
    }

    /// How many funds the session sees as it is.
    pub fn funds(&self) -> Result<i64, String> {
        self.count("SELECT count(*) FROM funds")
    }
}

/// The SQLSTATE of what was refused.
#[track_caller]
pub fn code<T: std::fmt::Debug>(answer: Result<T, String>) -> String {
    let refused = answer.expect_err("nothing was refused");
    refused.split(':').next().unwrap_or_default().to_owned()
}
