//! Who has the lease now that this process has lost it: the last words of a holder that was taken over name its successor.

use std::time::Duration;

use tokio_postgres::Client;

use super::{error::DriveError, shell::Shell};
use crate::{
    ledger::{self, LedgerError},
    pg::connect::{SessionSpec, connect},
};

/// The answer is for people only, and whoever waits for the exit code does not wait longer for it.
const LOOK_MAX: Duration = Duration::from_secs(5);

impl Shell {
    /// The error with the successor's name, where the lease was lost and the ledger can be asked. The sessions of this process
    /// were ended by the takeover, so a new one asks.
    pub async fn name_successor(&self, error: DriveError) -> DriveError {
        if !matches!(error, DriveError::LeaseLost(_) | DriveError::Ledger(LedgerError::Fenced { .. })) {
            return error;
        }
        match tokio::time::timeout(LOOK_MAX, self.successor()).await {
            Ok(Ok(Some(text))) => DriveError::LeaseLost(text),
            Ok(Ok(None)) => error,
            Ok(Err(why)) => {
                tracing::debug!("who has the lease now cannot be told: {why}");
                error
            }
            Err(_) => error,
        }
    }

    async fn successor(&self) -> Result<Option<String>, DriveError> {
        let mut spec = SessionSpec::new("tenantmig look", LOOK_MAX);
        spec.statement_timeout = Some(LOOK_MAX);
        let session = connect(&self.settings, &spec).await?;
        let place = &self.journal.place;
        let look = async |client: &Client| {
            let now = ledger::epoch(client, &place.schema).await?;
            Ok::<_, DriveError>((now, ledger::holder(client, &place.schema).await?))
        };
        let (now, holder) = session.with(look).await?;
        let stranger = holder.as_ref().is_some_and(|holder| holder.id != place.holder);
        if now == place.epoch && !stranger {
            return Ok(None);
        }
        let ours = place.epoch;
        Ok(Some(match holder {
            Some(holder) => {
                format!("the lease was taken over by {holder}; this process (epoch {ours}) writes nothing any more")
            }
            None => format!(
                "the lease was taken over and is free again (epoch {now}); this process (epoch {ours}) writes nothing any more"
            ),
        }))
    }
}
