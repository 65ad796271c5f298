//! What is wrong with the ledger of a run, and the acceptance of its log as it stands.

use tokio_postgres::Client;
use uuid::Uuid;

use super::{
    error::DriveError,
    heartbeat::Lease,
    open::{Access, no_run, place},
    shell::sessions,
};
use crate::{
    engine::Run,
    ledger::{self, Kept, LedgerError, Purpose, Term},
    pg::{Bounds, in_transaction},
    plan::Safety,
    sql::Ident,
};

/// What is wrong with a run's ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    Whole,
    /// The log was edited or cut; it may still be one that can be folded.
    Damaged(String),
    /// The log is whole, and the rows that status shows say something else.
    Disagrees(String),
}

/// Judges one run's log, and the rows that people look at against it.
pub async fn health(client: &Client, schema: &Ident, run: Uuid) -> Result<Health, DriveError> {
    match ledger::read(client, schema, run).await {
        Ok(None) => Err(no_run(run)),
        Ok(Some(Kept { record, run: state, .. })) => {
            let differing = differing(client, schema, &record, &state).await?;
            Ok(if differing.is_empty() { Health::Whole } else { Health::Disagrees(differing.join("; ")) })
        }
        Err(LedgerError::Damaged { what, .. }) => Ok(Health::Damaged(what)),
        Err(error) => Err(error.into()),
    }
}

/// Units whose row in `migration_progress` says another state than the events.
pub async fn differing(
    client: &Client,
    schema: &Ident,
    record: &ledger::RunRecord,
    state: &Run,
) -> Result<Vec<String>, DriveError> {
    let rows = ledger::progress(client, schema, record.id).await?;
    let mut out = Vec::new();
    for (number, (_, unit)) in record.program.units().enumerate() {
        let word = state.unit(number).word();
        let shown = rows.iter().find(|row| row.unit == unit.id.0).map_or("missing", |row| row.status.as_str());
        if shown != word {
            out.push(format!("{}: migration_progress says {shown}, the events say {word}", unit.id));
        }
    }
    Ok(out)
}

/// Takes the run's log as it stands for the truth: under the lease, in one fenced transaction, with an event that says so.
pub async fn accept(access: &Access, run: Uuid, what: &str) -> Result<(), DriveError> {
    let safety = Safety::default();
    let (work, _monitor) = sessions(&access.settings, &safety).await?;
    let bounds = Bounds { lock: safety.lock_timeout.duration(), statement: safety.statement_deadline.duration() };
    let lease = Lease::take(access, Purpose::Repair, Term(safety.lease.duration())).await?;
    let place = place(access, &lease, run);
    let accepted = in_transaction(&work, bounds, async |client: &Client| {
        ledger::fence(client, &place.schema, place.hold()).await?;
        let kept = ledger::read_as_it_stands(client, &place.schema, run).await?.ok_or(LedgerError::Missing)?;
        Ok::<_, DriveError>(ledger::accept(client, &place, &kept, what).await?)
    })
    .await;
    lease.give_back().await;
    accepted
}
