//! WAL files that wait for the archiver. Not looked at where nothing is archived.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::{pace::Seen, pg::Fault};

/// The server reads the folder and every file's status for it, of which there may be thousands when the archiver has been
/// stuck for long; a backlog does not grow in less time than this.
const EVERY: Duration = Duration::from_secs(5);

/// The backlog as last seen.
#[derive(Debug)]
pub(super) struct Archive {
    on: bool,
    last: Option<(Instant, Seen<u64>)>,
}

impl Archive {
    pub(super) fn new(on: bool) -> Self {
        Self { on, last: None }
    }

    pub(super) fn is_on(&self) -> bool {
        self.on
    }

    /// The number of files. A statement of its own: without the right to it the server raises an error, which must not hide
    /// the other signals.
    pub(super) async fn look(&mut self, client: &Client, now: Instant) -> Result<Seen<u64>, Fault> {
        if let Some((_, seen)) = self.last.as_ref().filter(|(at, _)| now.duration_since(*at) < EVERY) {
            return Ok(seen.clone());
        }
        let query = "SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'";
        let seen = match client.query_typed_one(query, &[]).await.map_err(Fault::from) {
            Ok(row) => Seen::Known(u64::try_from(row.try_get::<_, i64>(0)?).unwrap_or(0)),
            Err(fault) if fault.sqlstate.is_some() && !client.is_closed() => Seen::Unknown(fault.to_string()),
            Err(fault) => return Err(fault),
        };
        self.last = Some((now, seen.clone()));
        Ok(seen)
    }
}
