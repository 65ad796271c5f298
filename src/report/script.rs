//! A run as the driver would tell it, for the tests of every reporter.

#![allow(clippy::unwrap_used)]

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    engine::{Blocker, Event, Failure, Finding, Notice, Outcome},
    unit::{Before, Presence, UnitId},
};

/// 2026-03-01 03:00:00 UTC and so many milliseconds.
pub(super) fn at(ms: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(1_772_334_000) + TimeDelta::milliseconds(ms)
}

fn id(unit: &str) -> UnitId {
    UnitId(unit.to_owned())
}

fn unit(title: &str, undo: bool) -> Notice {
    Notice::Unit { title: title.to_owned(), undo }
}

fn started(unit: &str, presence: Presence) -> Notice {
    Notice::Event(Event::Started { unit: id(unit), before: Before { presence, ..Before::absent() } })
}

fn succeeded(unit: &str, rows: Option<u64>) -> Notice {
    Notice::Event(Event::Succeeded { unit: id(unit), rows })
}

fn phase(id: &str, number: usize) -> Notice {
    Notice::Phase { id: id.to_owned(), number, of: 2 }
}

/// A session that holds a lock; its query tries to clear the screen.
pub(super) fn blocker(pid: i32) -> Blocker {
    Blocker {
        pid,
        user: "app_rw".into(),
        application: "psql".into(),
        state: "idle in transaction".into(),
        transaction_age_ms: 250_000,
        query:
            "UPDATE app.trades\n   SET note = '\u{1b}[2J' WHERE id = 17 AND tenant_id = '0190' AND symbol = 'BTC-USD'"
                .into(),
    }
}

pub(super) fn lock_wait(blockers: Vec<Blocker>) -> Notice {
    Notice::LockWait {
        statement: "add column tenant_id to app.trades: canceling statement due to lock timeout".into(),
        attempt: 2,
        attempts: 20,
        blockers,
        again_in_ms: 1_500,
    }
}

pub(super) fn batch(rows_done: u64, walked_percent: f64) -> Notice {
    Notice::Batch {
        unit: "schema/fill/fill".into(),
        rows: 5_000,
        rows_done,
        rows_estimated: 2_000_000,
        walked_percent,
        millis: 250,
    }
}

/// The beginning up to the middle of a backfill: a column that was there, a lock that is not had, batches.
pub(super) fn backfill() -> Vec<(DateTime<Utc>, Notice)> {
    let opened =
        Notice::Opened { run: "0195".into(), plan: "alphapulse".into(), units_done: 0, units: 4, resumed: false };
    let mut all = vec![
        (at(0), opened),
        (at(0), phase("schema", 1)),
        (at(10), unit("add column tenant_id to app.users", false)),
        (at(10), started("schema/users/column", Presence::Present)),
        (at(20), succeeded("schema/users/column", None)),
        (at(20), unit("add column tenant_id to app.trades", false)),
        (at(20), started("schema/trades/column", Presence::Absent)),
        (at(2_020), lock_wait(vec![blocker(4711)])),
        (at(5_320), succeeded("schema/trades/column", None)),
        (at(6_000), unit("fill app.trades.tenant_id from app.users", false)),
        (at(6_000), started("schema/fill/fill", Presence::Absent)),
    ];
    // Four batches a second for 25 seconds.
    all.extend(
        (1..=100u32).map(|n| (at(6_000 + i64::from(n) * 250), batch(u64::from(n) * 5_000, f64::from(n) * 0.25))),
    );
    all
}

fn event(kept: &str) -> Notice {
    Notice::Event(serde_json::from_str(kept).unwrap())
}

/// Goes on from [`backfill`]: a replica lags for 24 seconds, operators change the pace, and one of them holds it.
pub(super) fn throttled() -> Vec<(DateTime<Utc>, Notice)> {
    let lag = |tenths: u32| format!("replica app_replica is {}.{} s behind (limit 10 s)", tenths / 10, tenths % 10);
    let held = || "an operator holds the backfills: the nightly report runs".to_owned();
    let waits =
        |signal: &str, why: String| Event::Throttled { unit: id("schema/fill/fill"), signal: signal.into(), why };
    let mut all = vec![(at(31_000), Notice::Event(waits("replica lag", lag(123))))];
    all.extend(
        (1..=12u32)
            .map(|n| (at(31_000 + i64::from(n) * 2_000), Notice::Waiting { why: lag(123 - n), again_in_ms: 2_000 })),
    );
    all.extend([
        (at(55_000), Notice::Event(Event::Unthrottled { unit: id("schema/fill/fill"), waited_ms: 24_000 })),
        (at(55_250), batch(505_000, 25.25)),
        (at(56_000), event(r#"{"retuned": {"by": "dba", "host": "host2", "asked_at": "2026-03-01T03:00:55Z", "tuning": {"target_batch": "20ms", "workers": 3, "max_replica_lag_bytes": "67108864B"}}}"#)),
        (at(56_250), batch(510_000, 25.5)),
        (at(58_000), event(r#"{"retuned": {"by": "dba", "host": "host2", "asked_at": "2026-03-01T03:00:57Z", "tuning": {"hold": "the nightly report\nruns"}}}"#)),
        (at(58_000), Notice::Waiting { why: held(), again_in_ms: 500 }),
        (at(59_000), Notice::Waiting { why: held(), again_in_ms: 500 }),
        (at(59_000), Notice::Event(waits("hold", held()))),
        (at(59_500), Notice::Waiting { why: held(), again_in_ms: 500 }),
    ]);
    all
}

/// Goes on from [`backfill`]: the second phase fails, is rolled back, and everything is told.
pub(super) fn rollback() -> Vec<(DateTime<Utc>, Notice)> {
    let failure = Failure {
        sqlstate: Some("23505".into()),
        message: "could not create unique index \"trades_ref\":\nKey (ref)=(A-1) is duplicated.".into(),
        statement: Some("CREATE UNIQUE INDEX CONCURRENTLY trades_ref ON app.trades (tenant_id, ref)".into()),
        advice: Some("remove the duplicates, then apply again".into()),
        disk_full: false,
        held: None,
    };
    let finding =
        Finding { what: "rows of app.trades without a tenant".into(), count: 3, example: Some("id 17".into()) };
    let (index, title) = ("indexes/trades/index", "create unique index trades_ref on app.trades");
    let gate = "no NULL is left in app.trades.tenant_id";
    let asked = |phase: &str| Notice::Gate { phase: phase.into(), title: gate.into() };
    vec![
        (at(40_000), Notice::Waiting { why: "a replica is 12 s behind".into(), again_in_ms: 2_000 }),
        (at(42_000), Notice::Waiting { why: "a replica is 11 s behind".into(), again_in_ms: 2_000 }),
        (at(256_000), succeeded("schema/fill/fill", Some(1_999_996))),
        (at(256_000), asked("schema")),
        (
            at(257_000),
            Notice::Event(Event::GatePassed { phase: "schema".into(), gate: "nulls/trades".into(), approved: None }),
        ),
        (at(257_000), phase("indexes", 2)),
        (at(257_000), unit(title, false)),
        (at(257_000), started(index, Presence::Partial)),
        (at(270_000), Notice::Event(Event::Failed { unit: id(index), failure: failure.clone() })),
        (at(270_000), unit(title, true)),
        (at(270_000), Notice::Event(Event::UndoStarted { unit: id(index) })),
        (at(270_045), Notice::Event(Event::Undone { unit: id(index) })),
        (at(270_100), Notice::Closed { outcome: Outcome::RolledBack { keep: 1 } }),
        (at(300_000), Notice::Event(Event::Resumed)),
        (at(300_000), asked("indexes")),
        (
            at(301_000),
            Notice::Event(Event::GateFailed {
                phase: "indexes".into(),
                gate: "nulls/trades".into(),
                findings: vec![finding],
                held: None,
            }),
        ),
        (at(301_000), Notice::Event(Event::RollbackRequested { keep: "start".into(), consents: vec![] })),
        (at(301_000), Notice::Event(Event::UndoStarted { unit: id("schema/trades/column") })),
        (at(301_900), Notice::Event(Event::UndoFailed { unit: id("schema/trades/column"), failure })),
        (at(302_000), Notice::Closed { outcome: Outcome::Stuck { unit: 1 } }),
        (at(303_000), Notice::Note { text: "the lease was lost and taken again".into() }),
        (at(303_000), Notice::Event(Event::Paused { why: "SIGTERM".into(), asked: None })),
        (at(303_000), Notice::Closed { outcome: Outcome::Paused }),
        (at(303_000), Notice::Closed { outcome: Outcome::Completed }),
    ]
}
