//! The shape of a JSON line. Version 1; fields may be added, none is renamed, retyped or taken away without a new `v`.
//!
//! Every line has `v` (1), `at` (RFC 3339, UTC, milliseconds) and `kind`. By kind:
//!
//! | `kind` | Further fields |
//! |---|---|
//! | `opened` | `run`, `plan`, `units_done`, `units`, `resumed` |
//! | `phase` | `phase`, `number`, `of` |
//! | `unit` | `title`, `undo` |
//! | `started` | `unit`, `presence` (`absent`, `partial`, `present`, `conflict`: what was there before), `found` |
//! | `succeeded` | `unit`, `rows` |
//! | `failed`, `undo_failed` | `unit`, `failure` (`sqlstate`, `message`, `statement`, `advice`) |
//! | `undo_started`, `undone` | `unit` |
//! | `gate` | `phase`, `title` |
//! | `gate_passed` | `phase`, `gate` |
//! | `gate_failed` | `phase`, `gate`, `findings` (each `what`, `count`, `example`) |
//! | `batch` | `unit`, `rows`, `rows_done`, `rows_estimated` (0: unknown), `walked_percent`, `millis` |
//! | `lock_wait` | `statement`, `attempt`, `attempts`, `blockers` (each `pid`, `user`, `application`, `state`, `transaction_age_ms`, `query`), `again_in_ms` |
//! | `waiting` | `why`, `again_in_ms` |
//! | `throttled` | `unit`, `signal`, `why` |
//! | `unthrottled` | `unit`, `waited_ms` |
//! | `retuned` | `by`, `from` (a host), `asked_at` (RFC 3339, UTC, by the server's clock), `tuning`: what was changed, of `target_batch`, `max_replica_lag` (`"20ms"`), `max_replica_lag_bytes`, `max_wal_rate` (`"67108864B"`), `workers`, `max_active_sessions` (numbers), `hold` (the reason; null: goes on) |
//! | `rollback_requested` | `keep`: a phase, or `start` |
//! | `paused` | `why`; where an operator asked for it, `by`, `from`, `asked_at` |
//! | `resumed` | |
//! | `note` | `text` |
//! | `closed` | `outcome` (`completed`, `rolled_back`, `stuck`, `paused`), with `keep` (phases that stay) or `stuck_unit` (its number, from 0) |
//!
//! After them comes what the command itself says, without `at`: `summary` (`outcome`, `exit`, `message`, `next` …) or `error`.
//!
//! A field whose value is unknown is null; it is not left out, except in `closed`.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::engine::{Event, Notice, Outcome};

/// The version of the shape.
const V: u32 = 1;

/// The line for a notice, with its end of line.
pub(super) fn line(at: DateTime<Utc>, notice: &Notice) -> String {
    let (kind, body) = shape(notice);
    let at = at.to_rfc3339_opts(SecondsFormat::Millis, true);
    let head = format!(r#"{{"v":{V},"at":"{at}","kind":"{kind}""#);
    // `v`, `at` and `kind` come first for the eye; the rest is one JSON object whose opening brace is exchanged for a comma.
    match body.to_string().strip_prefix('{') {
        Some("}") | None => format!("{head}}}\n"),
        Some(rest) => format!("{head},{rest}\n"),
    }
}

fn shape(notice: &Notice) -> (&'static str, Value) {
    match notice {
        Notice::Opened { run, plan, units_done, units, resumed } => (
            "opened",
            json!({ "run": run, "plan": plan, "units_done": units_done, "units": units, "resumed": resumed }),
        ),
        Notice::Phase { id, number, of } => ("phase", json!({ "phase": id, "number": number, "of": of })),
        Notice::Unit { title, undo } => ("unit", json!({ "title": title, "undo": undo })),
        Notice::Event(event) => (event.kind(), event_shape(event)),
        Notice::Batch { unit, rows, rows_done, rows_estimated, walked_percent, millis } => (
            "batch",
            json!({
                "unit": unit, "rows": rows, "rows_done": rows_done, "rows_estimated": rows_estimated,
                "walked_percent": walked_percent, "millis": millis
            }),
        ),
        Notice::LockWait { statement, attempt, attempts, blockers, again_in_ms } => (
            "lock_wait",
            json!({
                "statement": statement, "attempt": attempt, "attempts": attempts, "blockers": blockers,
                "again_in_ms": again_in_ms
            }),
        ),
        Notice::Waiting { why, again_in_ms } => ("waiting", json!({ "why": why, "again_in_ms": again_in_ms })),
        Notice::Gate { phase, title } => ("gate", json!({ "phase": phase, "title": title })),
        Notice::Note { text } => ("note", json!({ "text": text })),
        Notice::Closed { outcome } => ("closed", outcome_shape(*outcome)),
    }
}

fn event_shape(event: &Event) -> Value {
    match event {
        Event::Started { unit, before } => {
            json!({ "unit": unit, "presence": before.presence, "found": before.found })
        }
        Event::Succeeded { unit, rows } => json!({ "unit": unit, "rows": rows }),
        Event::Failed { unit, failure } | Event::UndoFailed { unit, failure } => {
            json!({ "unit": unit, "failure": failure })
        }
        Event::UndoStarted { unit } | Event::Undone { unit } => json!({ "unit": unit }),
        Event::GatePassed { phase, gate, approved: None } => json!({ "phase": phase, "gate": gate }),
        Event::GatePassed { phase, gate, approved } => json!({ "phase": phase, "gate": gate, "approved": approved }),
        Event::GateFailed { phase, gate, findings, held: None } | Event::UndoChecked { phase, gate, findings } => {
            json!({ "phase": phase, "gate": gate, "findings": findings })
        }
        Event::GateFailed { phase, gate, findings, held } => {
            json!({ "phase": phase, "gate": gate, "findings": findings, "held": held })
        }
        Event::RollbackRequested { keep, consents } if consents.is_empty() => json!({ "keep": keep }),
        Event::RollbackRequested { keep, consents } => json!({ "keep": keep, "consents": consents }),
        Event::GuardsPutOff { guards, agreed } => json!({ "guards": guards, "agreed": agreed }),
        Event::GuardAsked { phase, gate, found, agreed } => {
            json!({ "phase": phase, "gate": gate, "found": found, "agreed": agreed })
        }
        Event::TurnedRound => json!({}),
        Event::Throttled { unit, signal, why } => json!({ "unit": unit, "signal": signal, "why": why }),
        Event::Unthrottled { unit, waited_ms } => json!({ "unit": unit, "waited_ms": waited_ms }),
        Event::Retuned { by, host, asked_at, tuning } => {
            json!({ "by": by, "from": host, "asked_at": asked_at, "tuning": tuning })
        }
        Event::Paused { why, asked: None } => json!({ "why": why }),
        Event::Paused { why, asked: Some(asked) } => {
            json!({ "why": why, "by": asked.by, "from": asked.host, "asked_at": asked.at })
        }
        Event::Drifted { phase, since, found } | Event::DriftAccepted { phase, since, found } => {
            json!({ "phase": phase, "since": since, "found": found })
        }
        Event::Repaired { what } => json!({ "what": what }),
        Event::Resumed => json!({}),
    }
}

fn outcome_shape(outcome: Outcome) -> Value {
    match outcome {
        Outcome::Completed => json!({ "outcome": "completed" }),
        Outcome::RolledBack { keep } => json!({ "outcome": "rolled_back", "keep": keep }),
        Outcome::Stuck { unit } => json!({ "outcome": "stuck", "stuck_unit": unit }),
        Outcome::Paused => json!({ "outcome": "paused" }),
    }
}
