//! Requests to a run, as commands write them and wait for their answer: `throttle`, `pause`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_postgres::{Client, types::Type};

use super::failure::CliError;
use crate::{
    ledger::{self, Answer, Holder, LedgerError, Request, Wish},
    pg::connect::Connection,
    sql::Ident,
};

/// How long an answer is waited for. A backfill looks for requests twice a second and between two batches, a wait for a lock
/// every second; a statement that runs longer than this may run for hours.
pub const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How often it is looked for an answer.
const ANSWER_EVERY: Duration = Duration::from_millis(200);

/// What became of a request while it was waited for.
pub enum Fate {
    /// The event of this number, by whoever held the lease then.
    Taken {
        event: i64,
        holder: Option<Holder>,
    },
    Refused {
        why: String,
    },
    /// Nobody works on the run.
    Unheld,
    /// Somebody does, and has not answered.
    Late {
        holder: Holder,
    },
}

/// Waits for the answer to request `id`.
pub async fn wait(session: &Connection, schema: &Ident, id: i64) -> Result<Fate, CliError> {
    let end = Instant::now() + ANSWER_MAX;
    let mut last = None;
    loop {
        // The holder first: one that answers and leaves between the two questions has answered.
        let look = async |client: &Client| {
            let holder = ledger::holder(client, schema).await?.filter(|holder| holder.alive);
            Ok::<_, LedgerError>((ledger::answer(client, schema, id).await?, holder))
        };
        match session.with(look).await? {
            (Some(Answer::Event(event)), holder) => return Ok(Fate::Taken { event, holder: holder.or(last) }),
            (Some(Answer::Refused(why)), _) => return Ok(Fate::Refused { why }),
            (None, None) => return Ok(Fate::Unheld),
            (None, Some(holder)) if Instant::now() >= end => return Ok(Fate::Late { holder }),
            (None, holder) => last = holder,
        }
        tokio::time::sleep(ANSWER_EVERY).await;
    }
}

/// `apply by dba on host1, pid 4711`.
pub fn who(holder: &Holder) -> String {
    format!("{} by {} on {}, pid {}", holder.purpose, holder.role, holder.host, holder.pid)
}

/// A request that nobody has taken yet, for programs.
pub fn json(request: &Request) -> Value {
    let Request { id, asked_at, actor, host, wish } = request;
    let (tuning, pause, unreadable) = match wish {
        Ok(Wish::Retune(tuning)) => (Some(tuning), None, None),
        Ok(Wish::Pause(pause)) => (None, Some(pause), None),
        Err(why) => (None, None, Some(why)),
    };
    json!({
        "request": id, "by": actor, "from": host, "asked_at": asked_at,
        "tuning": tuning, "pause": pause, "unreadable": unreadable,
    })
}

/// What lets a role look at the ledger and ask, and no more: who asks, and when, stays the server's word.
pub async fn grants(session: &Connection, schema: &Ident) -> Result<String, CliError> {
    let query =
        "SELECT format('GRANT USAGE ON SCHEMA %1$I TO %2$I; GRANT SELECT ON ALL TABLES IN SCHEMA %1$I TO %2$I; '
        'GRANT INSERT (run_id, host, kind, body) ON %1$I.requests TO %2$I', $1, current_user)";
    let ask = async |client: &Client| {
        Ok::<_, CliError>(client.query_typed_one(query, &[(&schema.as_str(), Type::TEXT)]).await?)
    };
    Ok(session.with(ask).await?.try_get(0)?)
}
