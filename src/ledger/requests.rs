//! `requests`: what operators ask of a run, from any host. Only the holder of the lease writes events, so everybody else asks
//! here, and the holder makes an event of each request, or says why it is none.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_postgres::{GenericClient, Row, types::Type};
use uuid::Uuid;

use super::{append::Place, error::LedgerError};
use crate::{
    plan::{HOLD_CHARS_MAX, Tuning},
    sql,
    sql::Ident,
};

/// Requests that are read at once: whoever may insert them must not be able to keep the holder from its work.
const REQUESTS_MAX: u32 = 100;

/// What can be asked. Another kind is a variant here, its word in the table's CHECK, and an arm in the driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// Another pace for backfills.
    Retune(Tuning),
    /// To stand still until somebody resumes.
    Pause(Pause),
}

/// The wish to stand still.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    pub why: Option<String>,
}

impl Pause {
    /// What is wrong with it, a fragment.
    pub fn check(&self) -> Result<(), String> {
        match &self.why {
            Some(why) if why.trim().is_empty() || why.chars().count() > HOLD_CHARS_MAX => {
                Err(format!("the reason has 1 to {HOLD_CHARS_MAX} characters"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Retune(tuning) => write!(f, "{tuning}"),
            Self::Pause(Pause { why: Some(why) }) => write!(f, "pause: {why}"),
            Self::Pause(Pause { why: None }) => f.write_str("pause"),
        }
    }
}

/// A request that nobody has answered yet.
#[derive(Debug, Clone)]
pub struct Request {
    pub id: i64,
    /// By the server's clock, UTC, RFC 3339.
    pub asked_at: String,
    pub actor: String,
    pub host: String,
    /// What is asked, or why it cannot be read: the row may have been written by hand.
    pub wish: Result<Wish, String>,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The event of this number.
    Event(i64),
    /// None, and why.
    Refused(String),
}

impl Wish {
    /// The word in the column `kind`.
    fn kind(&self) -> &'static str {
        match self {
            Self::Retune(_) => "retune",
            Self::Pause(_) => "pause",
        }
    }

    fn body(&self) -> Result<Value, serde_json::Error> {
        match self {
            Self::Retune(tuning) => serde_json::to_value(tuning),
            Self::Pause(pause) => serde_json::to_value(pause),
        }
    }

    fn read(kind: &str, body: Value) -> Result<Self, String> {
        match kind {
            "retune" => {
                let tuning: Tuning = serde_json::from_value(body).map_err(|e| e.to_string())?;
                tuning.check().map(|()| Self::Retune(tuning))
            }
            "pause" => {
                let pause: Pause = serde_json::from_value(body).map_err(|e| e.to_string())?;
                pause.check().map(|()| Self::Pause(pause))
            }
            other => Err(format!("`{other}` is not known to this version")),
        }
    }
}

/// Asks it of the run and gives the request's number. Who asks, and when, the server notes.
pub async fn ask(
    client: &impl GenericClient,
    schema: &Ident,
    run: Uuid,
    host: &str,
    wish: &Wish,
) -> Result<i64, LedgerError> {
    let insert =
        sql!("INSERT INTO {}.requests (run_id, host, kind, body) VALUES ($1, $2, $3, $4) RETURNING request_id", schema);
    let body = wish.body().map_err(|e| LedgerError::Install(e.to_string()))?;
    let params: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 4] =
        [(&run, Type::UUID), (&host, Type::TEXT), (&wish.kind(), Type::TEXT), (&body, Type::JSONB)];
    Ok(client.query_typed_one(insert.as_str(), &params).await?.try_get(0)?)
}

/// The requests that wait for an answer, oldest first.
pub async fn open_requests(
    client: &impl GenericClient,
    schema: &Ident,
    run: Uuid,
) -> Result<Vec<Request>, LedgerError> {
    let query = sql!(
        "SELECT request_id, asked_at, actor, host, kind, body FROM {}.requests
          WHERE run_id = $1 AND event IS NULL AND refused IS NULL ORDER BY request_id LIMIT {}",
        schema,
        REQUESTS_MAX
    );
    client.query_typed(query.as_str(), &[(&run, Type::UUID)]).await?.iter().map(request).collect()
}

/// A wish as a row of another reader has it.
pub(super) fn wish(kind: &str, body: Value) -> Result<Wish, String> {
    Wish::read(kind, body)
}

fn request(row: &Row) -> Result<Request, LedgerError> {
    let (at, kind): (DateTime<Utc>, String) = (row.try_get(1)?, row.try_get(4)?);
    Ok(Request {
        id: row.try_get(0)?,
        asked_at: at.to_rfc3339_opts(SecondsFormat::Secs, true),
        actor: row.try_get(2)?,
        host: row.try_get(3)?,
        wish: Wish::read(&kind, row.try_get(5)?),
    })
}

/// Whether a pause waits for an answer that could be given now. A row that somebody holds counts as none: whoever stopped for
/// it could not take it.
pub async fn pause_is_asked(client: &impl GenericClient, schema: &Ident, run: Uuid) -> Result<bool, LedgerError> {
    let query = sql!(
        "SELECT request_id FROM {}.requests WHERE run_id = $1 AND kind = 'pause' AND event IS NULL AND refused IS NULL
          LIMIT 1 FOR UPDATE SKIP LOCKED",
        schema
    );
    Ok(client.query_typed_opt(query.as_str(), &[(&run, Type::UUID)]).await?.is_some())
}

/// Notes the event that a request became, in the event's own transaction and behind its fence.
pub async fn taken(tx: &impl GenericClient, place: &Place, id: i64, event: i64) -> Result<(), LedgerError> {
    let update = sql!("UPDATE {}.requests SET event = $2 WHERE request_id = $1 AND event IS NULL", place.schema);
    tx.execute_typed(update.as_str(), &[(&id, Type::INT8), (&event, Type::INT8)]).await?;
    Ok(())
}

/// Notes why a request becomes no event. Behind the fence.
pub async fn refuse(tx: &impl GenericClient, place: &Place, id: i64, why: &str) -> Result<(), LedgerError> {
    let update = sql!("UPDATE {}.requests SET refused = $2 WHERE request_id = $1 AND event IS NULL", place.schema);
    tx.execute_typed(update.as_str(), &[(&id, Type::INT8), (&why, Type::TEXT)]).await?;
    Ok(())
}

/// What became of a request; `None` while nobody has answered it.
pub async fn answer(client: &impl GenericClient, schema: &Ident, id: i64) -> Result<Option<Answer>, LedgerError> {
    let query = sql!("SELECT event, refused FROM {}.requests WHERE request_id = $1", schema);
    let row = client.query_typed_one(query.as_str(), &[(&id, Type::INT8)]).await?;
    let (event, refused): (Option<i64>, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
    Ok(event.map(Answer::Event).or(refused.map(Answer::Refused)))
}
