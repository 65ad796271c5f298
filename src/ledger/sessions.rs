//! The sessions of a holder, what they are at, and how a successor ends them: every one carries the last digits of the holder's uuid in its application_name, so that whoever
//! takes the lease over finds them and ends them.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use tokio_postgres::{
    Client,
    types::{ToSql, Type},
};
use uuid::Uuid;

use super::error::LedgerError;
use crate::pg::{Class, Fault, connect::Connection};

/// How long a session that was told to end is waited for. One that cannot be interrupted (an fsync that hangs) is fenced anyway.
pub(super) const END_WAIT: Duration = Duration::from_secs(5);
/// Between two looks whether they are gone; a backend ends within milliseconds.
pub(super) const END_POLL: Duration = Duration::from_millis(20);

/// What stands behind `tenantmig batch` in the names of a holder's sessions: `#3f2a9c1b`, the end of its uuid (random bits).
pub fn tag(holder: Uuid) -> String {
    format!("#{:08x}", holder.as_u128() & 0xffff_ffff)
}

/// What became of a former holder's sessions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ended {
    pub ended: usize,
    /// Those that are still there.
    pub left: Vec<Left>,
}

/// A session of a former holder that could not be ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    pub pid: i32,
    pub why: String,
}

impl Ended {
    /// With a later look at the same holder: those that were left then are the ones that are left.
    pub(super) fn and(self, later: Self) -> Self {
        Self { ended: self.ended + later.ended, left: later.left }
    }
}

/// A backend, as `pg_stat_activity` tells it from another one that has got its pid later. The start is NULL to a role that may
/// not see it.
type Backend = (i32, Option<DateTime<Utc>>);

/// Ends the sessions of `holder` in this database, and waits so long for them to be gone. A pid is told to end only in the
/// statement that compares its start and its name: by the next one it may be another's.
pub(super) async fn end(session: &Connection, holder: Uuid, wait: Duration) -> Result<Ended, LedgerError> {
    let (tag, begun) = (tag(holder), Instant::now());
    let (mut told, mut refused) = (BTreeSet::new(), Vec::<(Backend, String)>::new());
    loop {
        // Each look in a turn of its own: within one transaction the view would not change.
        let there = session.with(async |client: &Client| sessions(client, &tag).await).await?;
        for backend in &there {
            if !told.contains(backend) && !refused.iter().any(|(known, _)| known == backend) {
                match session.with(async |client: &Client| terminate(client, backend, &tag).await).await {
                    Ok(()) => drop(told.insert(*backend)),
                    Err(fault) if fault.class == Class::Privilege => refused.push((*backend, fault.message)),
                    Err(fault) => return Err(fault.into()),
                }
            }
        }
        let pending = there.iter().filter(|backend| told.contains(*backend)).count();
        if pending == 0 || begun.elapsed() >= wait {
            let why = |backend: &Backend| {
                let refused = refused.iter().find(|(known, _)| known == backend);
                refused.map_or("it was told to end and has not yet".to_owned(), |(_, why)| why.clone())
            };
            // With no time to wait, what was told to end counts as ended.
            let stays = |backend: &&Backend| !told.contains(*backend) || !wait.is_zero();
            let left: Vec<_> =
                there.iter().filter(stays).map(|backend| Left { pid: backend.0, why: why(backend) }).collect();
            let pending = if wait.is_zero() { 0 } else { pending };
            return Ok(Ended { ended: told.len() - pending, left });
        }
        tokio::time::sleep(END_POLL).await;
    }
}

/// Whether the server has sessions of `holder` in this database.
pub(super) async fn are_there(session: &Connection, holder: Uuid) -> Result<bool, LedgerError> {
    let tag = tag(holder);
    session.with(async |client: &Client| Ok(!sessions(client, &tag).await?.is_empty())).await
}

async fn sessions(client: &Client, tag: &str) -> Result<Vec<Backend>, LedgerError> {
    let query =
        "SELECT pid, backend_start FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
                    AND starts_with(application_name, 'tenantmig ') AND strpos(application_name, $1) > 0";
    let rows = client.query_typed(query, &[(&tag, Type::TEXT)]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// A session of the holder in the middle of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AtWork {
    pub pid: i32,
    pub statement: String,
    pub age_ms: i64,
    /// It waits for a lock, or as CONCURRENTLY does for transactions to end.
    pub waits: bool,
    /// Where an index build is: the phase, and blocks done of all.
    pub build: Option<(String, i64, i64)>,
}

/// Statements of the holder that have run for longer than this are told, and those that wait: batches are over by then.
const AT_WORK_MIN_MS: i64 = 1000;
/// As much of a statement as is shown.
const STATEMENT_CHARS_MAX: i32 = 120;

/// What the sessions of `holder` have been at for a while, the longest first.
pub async fn at_work(client: &Client, holder: Uuid) -> Result<Vec<AtWork>, LedgerError> {
    let query = "SELECT a.pid, left(regexp_replace(a.query, '\\s+', ' ', 'g'), $2), q.ms, cardinality(pg_blocking_pids(a.pid)) > 0,
                        p.phase, coalesce(p.blocks_done, 0), coalesce(p.blocks_total, 0)
                   FROM pg_stat_activity a
                  CROSS JOIN LATERAL (SELECT (extract(epoch FROM clock_timestamp() - a.query_start) * 1000)::bigint AS ms) q
                   LEFT JOIN pg_stat_progress_create_index p ON p.pid = a.pid
                  WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.state = 'active'
                    AND (q.ms >= $3 OR a.wait_event_type = 'Lock')
                    AND starts_with(a.application_name, 'tenantmig ') AND strpos(a.application_name, $1) > 0
                  ORDER BY q.ms DESC";
    let tag = tag(holder);
    let params: [(&(dyn ToSql + Sync), Type); 3] =
        [(&tag, Type::TEXT), (&STATEMENT_CHARS_MAX, Type::INT4), (&AT_WORK_MIN_MS, Type::INT8)];
    let rows = client.query_typed(query, &params).await?;
    rows.iter()
        .map(|row| {
            let phase: Option<String> = row.try_get(4)?;
            let (done, total) = (row.try_get(5)?, row.try_get(6)?);
            Ok(AtWork {
                pid: row.try_get(0)?,
                statement: row.try_get(1)?,
                age_ms: row.try_get(2)?,
                waits: row.try_get(3)?,
                build: phase.map(|phase| (phase, done, total)),
            })
        })
        .collect()
}

async fn terminate(client: &Client, (pid, start): &Backend, tag: &str) -> Result<(), Fault> {
    let query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                  WHERE pid = $1 AND backend_start IS NOT DISTINCT FROM $2 AND strpos(application_name, $3) > 0";
    client.query_typed(query, &[(pid, Type::INT4), (start, Type::TIMESTAMPTZ), (&tag, Type::TEXT)]).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_the_end_of_the_uuid() {
        let holder = Uuid::from_u128(0x0193_a7c0_0000_7000_8000_0000_0f2a_9c1b);
        assert_eq!(tag(holder), "#0f2a9c1b");
        assert!(holder.to_string().ends_with(&tag(holder)[1..]));
    }
}
