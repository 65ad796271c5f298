//! The chain over a run's log: SHA-256 links that the server computes, by the same expressions when an event is written and when
//! the log is read. A log that was cut, or in which a row was edited, does not lead to its head.

use tokio_postgres::{GenericClient, Row, types::Type};
use uuid::Uuid;

use super::{append::Place, error::LedgerError};
use crate::{
    sql,
    sql::{Ident, Stmt},
};

/// A run's own row (`r`) as text that is the same on every server: JSON arrays of plain values, and times in UTC to the
/// microsecond, since how a timestamp or a double is shown depends on settings and versions.
const RUN: &str = "jsonb_build_array(r.run_id, r.plan, r.plan_path, r.plan_text, r.fingerprint, r.program, r.baselines,
    to_char(r.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US'), r.created_by, r.host, r.tool_version)::text";

/// An event's row (`e`) but for its link, likewise.
const EVENT: &str =
    "jsonb_build_array(e.number, to_char(e.at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US'), e.epoch, e.actor,
    e.host, e.kind, e.unit, e.event)::text";

fn run_text() -> Stmt {
    Stmt::raw(RUN)
}

fn event_text() -> Stmt {
    Stmt::raw(EVENT)
}

fn digest(text: &Stmt) -> Stmt {
    sql!("encode(sha256(convert_to({}, 'UTF8')), 'hex')", text)
}

/// Over the run's own row and the events up to number `upto`, links included.
fn base_digest(schema: &Ident, upto: &Stmt) -> Stmt {
    digest(&sql!(
        "{} || coalesce((SELECT string_agg({} || coalesce(e.link, ''), '' ORDER BY e.number)
                           FROM {}.events e WHERE e.run_id = r.run_id AND e.number <= {}), '')",
        run_text(),
        event_text(),
        schema,
        upto
    ))
}

/// Begins the chain behind event `number`: 0 for a new run; the last one where an earlier version wrote those before. `false`:
/// there is a head already, or there were links and the head is gone.
pub(super) async fn begin(tx: &impl GenericClient, place: &Place, number: i64) -> Result<bool, LedgerError> {
    let schema = &place.schema;
    let insert = sql!(
        "INSERT INTO {}.event_heads (run_id, number, digest, base, base_digest)
         SELECT b.run_id, $2, b.digest, $2, b.digest
           FROM (SELECT r.run_id, {} AS digest FROM {}.runs r WHERE r.run_id = $1) AS b
          WHERE NOT EXISTS (SELECT FROM {}.events x WHERE x.run_id = $1 AND (x.link IS NOT NULL OR x.number > $2))
         ON CONFLICT (run_id) DO NOTHING",
        schema,
        base_digest(schema, &Stmt::raw("$2")),
        schema,
        schema
    );
    Ok(tx.execute_typed(insert.as_str(), &[(&place.run, Type::UUID), (&number, Type::INT8)]).await? == 1)
}

/// Takes the log as it stands for the truth: all its events become the base.
pub(super) async fn rebase(tx: &impl GenericClient, place: &Place, number: i64) -> Result<(), LedgerError> {
    let schema = &place.schema;
    let insert = sql!(
        "INSERT INTO {}.event_heads AS h (run_id, number, digest, base, base_digest)
         SELECT b.run_id, $2, b.digest, $2, b.digest
           FROM (SELECT r.run_id, {} AS digest FROM {}.runs r WHERE r.run_id = $1) AS b
         ON CONFLICT (run_id) DO UPDATE SET number = $2, digest = excluded.digest, base = $2, base_digest = excluded.digest",
        schema,
        base_digest(schema, &Stmt::raw("$2")),
        schema
    );
    tx.execute_typed(insert.as_str(), &[(&place.run, Type::UUID), (&number, Type::INT8)]).await?;
    Ok(())
}

/// The statement that writes an event and moves the head to it: $1 run, $2 number, $3 epoch, $4 host, $5 kind, $6 unit, $7 event.
/// Nothing is written where the head is not at the event before.
pub(super) fn insert(schema: &Ident) -> Stmt {
    sql!(
        "WITH head AS MATERIALIZED (SELECT digest FROM {}.event_heads WHERE run_id = $1 AND number = $2 - 1 FOR UPDATE),
              e AS MATERIALIZED (SELECT $1 AS run_id, $2 AS number, clock_timestamp() AS at, $3 AS epoch, session_user::text AS actor,
                                        $4 AS host, $5 AS kind, $6 AS unit, $7 AS event),
              written AS (INSERT INTO {}.events (run_id, number, at, epoch, actor, host, kind, unit, event, link)
                          SELECT e.*, {} FROM e, head RETURNING link)
         UPDATE {}.event_heads SET number = $2, digest = written.link FROM written WHERE run_id = $1",
        schema,
        schema,
        digest(&sql!("head.digest || {}", event_text())),
        schema
    )
}

/// The query that reads the events of run $1 with what the chain says of each, and the head beside them: one statement, hence
/// one snapshot, for the holder may be writing the next event.
pub(super) fn select(schema: &Ident) -> Stmt {
    let before = "coalesce(CASE WHEN e.number = h.base + 1 THEN h.base_digest ELSE lag(e.link) OVER (ORDER BY e.number) END, '')";
    sql!(
        "WITH h AS MATERIALIZED (SELECT h.number, h.digest, h.base, h.base_digest, h.base_digest = {} AS whole
                                   FROM {}.event_heads h JOIN {}.runs r USING (run_id) WHERE h.run_id = $1)
         SELECT e.number, e.at, e.epoch, e.actor, e.host, e.event, h.number, h.base, h.whole, h.digest, e.link,
                e.number <= h.base OR e.link IS NOT DISTINCT FROM {}, h.base_digest
           FROM (VALUES (1)) AS one (x) LEFT JOIN h ON true LEFT JOIN {}.events e ON e.run_id = $1 ORDER BY e.number",
        base_digest(schema, &Stmt::raw("h.base")),
        schema,
        schema,
        digest(&sql!("{} || {}", Stmt::raw(before), event_text())),
        schema
    )
}

/// What is wrong with a log, as [`select`] gave it; `None` for one that is whole, or that no chain covers yet.
pub(super) fn judge(rows: &[Row]) -> Result<Option<String>, tokio_postgres::Error> {
    let Some(first) = rows.first() else { return Ok(None) };
    let written: Option<i64> = first.try_get(6)?;
    let events = rows.iter().map(|row| row.try_get::<_, Option<i64>>(0)).collect::<Result<Vec<_>, _>>()?;
    let gap = events.iter().flatten().zip(1i64..).find(|(number, expected)| **number != *expected);
    let Some(written) = written else {
        let linked = rows.iter().map(|row| row.try_get::<_, Option<String>>(10)).collect::<Result<Vec<_>, _>>()?;
        return Ok(match (gap, linked.iter().flatten().next()) {
            (Some((next, expected)), _) => Some(missing(expected, *next)),
            (None, Some(_)) => Some("the head of its log is missing".to_owned()),
            (None, None) => None,
        });
    };
    let (base, whole): (i64, bool) = (first.try_get(7)?, first.try_get(8)?);
    if let Some((next, expected)) = gap {
        return Ok(Some(missing(expected, *next)));
    }
    if !whole {
        return Ok(Some(match base {
            0 => "the run's own row was changed: its plan, program or baselines".to_owned(),
            n => {
                format!("the run's own row (its plan, program or baselines) or one of its first {n} events was changed")
            }
        }));
    }
    for row in rows {
        if let (Some(number), Some(false)) = (row.try_get::<_, Option<i64>>(0)?, row.try_get::<_, Option<bool>>(11)?) {
            return Ok(Some(format!("event {number} was changed")));
        }
    }
    let end = events.iter().flatten().next_back().copied().unwrap_or(0);
    let link: Option<String> = match rows.last().filter(|_| end > base) {
        Some(last) => last.try_get(10)?,
        None => first.try_get(12)?,
    };
    let head: Option<String> = first.try_get(9)?;
    Ok(match end.cmp(&written) {
        std::cmp::Ordering::Less => Some(format!("its log ends at event {end}; {written} were written")),
        std::cmp::Ordering::Greater => {
            Some(format!("its log has {end} events; only {written} were written by tenantmig"))
        }
        std::cmp::Ordering::Equal if link != head => Some("the head of its log was changed".to_owned()),
        std::cmp::Ordering::Equal => None,
    })
}

fn missing(expected: i64, next: i64) -> String {
    format!("event {expected} is missing; the next one is {next}")
}

/// What an event could not be written behind.
pub(super) fn moved(run: Uuid, number: i64) -> LedgerError {
    LedgerError::Damaged {
        run: run.to_string(),
        what: format!("its log does not end at event {}, where it was read", number - 1),
    }
}
