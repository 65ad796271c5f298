//! Which server it is: the cluster's own number, given at initdb and copied to replicas, and its timeline, which a promotion raises.

use std::fmt;

use tokio_postgres::Client;

/// A server as it names itself. What a role may not see, or a server does not tell, is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Identity {
    /// `pg_control_system()`: the same on a primary, its replicas and its file copies; another after initdb, hence after a
    /// restore of a dump or pg_upgrade.
    pub system: Option<i64>,
    /// The timeline that is written to; unknown on a standby.
    pub timeline: Option<i64>,
}

/// How a server differs from the one that was worked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// Another cluster, so at best a copy of the database.
    Other { found: i64, known: i64 },
    /// An older timeline: a primary from before a failover, whose rows went on elsewhere.
    Stale { found: i64, known: i64 },
}

impl Identity {
    /// Whether both could be the same server, at the same time or later. Unknown differs from nothing.
    pub fn follows(self, known: Self) -> Result<(), Difference> {
        match (self.system, known.system) {
            (Some(found), Some(known)) if found != known => return Err(Difference::Other { found, known }),
            (Some(_) | None, Some(_) | None) => {}
        }
        match (self.timeline, known.timeline) {
            (Some(found), Some(known)) if found < known => Err(Difference::Stale { found, known }),
            (Some(_) | None, Some(_) | None) => Ok(()),
        }
    }

    /// What is known of it now that `later` was seen.
    pub(super) fn then(self, later: Self) -> Self {
        Self { system: self.system.or(later.system), timeline: self.timeline.max(later.timeline) }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: Option<i64>| value.map_or_else(|| "unknown".to_owned(), |value| value.to_string());
        write!(f, "system {}, timeline {}", shown(self.system), shown(self.timeline))
    }
}

/// Asks the server who it is. Both functions are open to every role from 13 to 18; where one is withheld, or is not there
/// (servers that are only like PostgreSQL), the answer is unknown.
pub(super) async fn ask(client: &Client, in_recovery: bool) -> Result<Identity, tokio_postgres::Error> {
    const SYSTEM: &str = "SELECT system_identifier FROM pg_control_system()";
    // The name begins with the timeline, in hexadecimal. pg_control_checkpoint() lags behind a promotion.
    const TIMELINE: &str = "SELECT ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint";
    let system = tolerant(client.query_typed(SYSTEM, &[]).await)?;
    let timeline = if in_recovery { None } else { tolerant(client.query_typed(TIMELINE, &[]).await)? };
    Ok(Identity { system, timeline })
}

fn tolerant(
    asked: Result<Vec<tokio_postgres::Row>, tokio_postgres::Error>,
) -> Result<Option<i64>, tokio_postgres::Error> {
    match asked {
        Ok(rows) => rows.first().map(|row| row.try_get(0)).transpose(),
        Err(error) if error.as_db_error().is_some() => {
            tracing::debug!("the server does not say who it is: {error}");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_may_follow_itself_and_its_replicas() {
        let is = |system, timeline| Identity { system, timeline };
        let check = |found: Identity, known: Identity, want: Result<(), Difference>| {
            assert_eq!(found.follows(known), want, "{found} after {known}");
        };
        let known = is(Some(7), Some(2));
        check(known, known, Ok(()));
        check(is(Some(7), Some(3)), known, Ok(()));
        check(is(Some(7), Some(1)), known, Err(Difference::Stale { found: 1, known: 2 }));
        check(is(Some(8), Some(2)), known, Err(Difference::Other { found: 8, known: 7 }));
        check(is(Some(8), Some(1)), known, Err(Difference::Other { found: 8, known: 7 }));
        check(Identity::default(), known, Ok(()));
        check(is(Some(7), None), known, Ok(()));
        check(known, Identity::default(), Ok(()));
        assert_eq!(known.then(is(Some(7), None)), known);
        assert_eq!(known.then(is(Some(7), Some(3))), is(Some(7), Some(3)));
    }
}
