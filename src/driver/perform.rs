//! Carries out one unit. Intent before effect, outcome with effect, and nothing believed that a probe does not say.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::{
    attempt::execute,
    errands::{Errands, Wreck, both},
    error::DriveError,
    outside,
    shell::{Shell, cancellable, millis},
    stop::{Stop, Until},
};
use crate::{
    engine::{Event, Failure, Notice, UnitState},
    ledger::LedgerError,
    pg::{
        Bounds, Class, Fault,
        connect::{SessionSpec, connect},
        in_transaction, probe,
    },
    sql,
    sql::Stmt,
    unit::{Before, Due, Op, Presence, Probe, Unit},
};

/// How often a build of ours that outlived its client is looked at.
const BUILD_POLL: Duration = Duration::from_millis(500);
/// Clearing a wreck after Ctrl-C must fit into what is left of the ten seconds that a stop may take.
const CLEAR_BOUNDS: Bounds = Bounds { lock: Duration::from_secs(2), statement: Duration::from_secs(4) };

impl Shell {
    /// Does the unit with this number, or recognises that it is done.
    pub async fn up(&mut self, number: usize) -> Result<(), DriveError> {
        let Some(unit) = self.unit(number) else { return Ok(()) };
        self.say(Notice::Unit { title: unit.title.clone(), undo: false });
        let ours = match self.journal.run.unit(number) {
            UnitState::Started { before } | UnitState::Failed { before } => !before.is_untouched(),
            UnitState::Pending | UnitState::Done { .. } | UnitState::Undoing { .. } | UnitState::UndoFailed { .. } => {
                false
            }
        };
        let found = match &unit.up {
            // Of a column that was there before nothing was ever kept, and nothing will be.
            Op::Restore(spec) if self.stays(spec) => Before { presence: Presence::Present, ..Before::absent() },
            Op::Tx(_)
            | Op::Autocommit { .. }
            | Op::Backfill(_)
            | Op::Assert(_)
            | Op::Watch(_)
            | Op::Restore(_)
            | Op::Keep(_) => self.look_when_quiet(&unit, ours).await?,
        };
        let begins = matches!(found.presence, Presence::Absent | Presence::Partial);
        if begins && !self.has_room(&unit).await? {
            return Ok(());
        }
        self.record_begun(Event::Started { unit: unit.id.clone(), before: found.clone() }).await?;
        let result = match found.presence {
            Presence::Present => self.record(Event::Succeeded { unit: unit.id.clone(), rows: None }).await,
            Presence::Conflict => Err(conflict(&unit, &found).into()),
            Presence::Absent | Presence::Partial => self.deed(&unit, &found).await,
        };
        match result {
            Ok(()) => Ok(()),
            Err(error) => {
                self.not_the_units(&error)?;
                let failure = failure(error)?;
                let event = self.unless_held(Event::Failed { unit: unit.id, failure }).await?;
                self.record(event).await
            }
        }
    }

    /// What was cancelled after a signal, or hit by a cancel that came late, says nothing about the unit.
    pub(super) fn not_the_units(&self, error: &DriveError) -> Result<(), DriveError> {
        if error.class() == Some(Class::Cancelled) { self.stop.check() } else { Ok(()) }
    }

    /// The unit with this number.
    pub(super) fn unit(&self, number: usize) -> Option<Unit> {
        self.journal.record.program.unit(number).map(|(_, unit)| unit.clone())
    }

    async fn deed(&mut self, unit: &Unit, found: &Before) -> Result<(), DriveError> {
        match &unit.up {
            Op::Tx(stmts) => self.transaction(unit, stmts).await,
            Op::Autocommit { due: Some(due), .. } => Box::pin(self.errands_deed(unit, due, found)).await,
            Op::Autocommit { stmt, repair, due: None } => self.autocommit_deed(unit, stmt, repair, found).await,
            Op::Backfill(spec) => Box::pin(self.backfill(unit, spec)).await,
            Op::Assert(query) => self.assert(unit, query).await,
            Op::Watch(spec) => Box::pin(self.watch(unit, spec)).await,
            Op::Keep(spec) => Box::pin(self.keep_values(unit, spec)).await,
            Op::Restore(spec) => {
                let done = Event::Succeeded { unit: unit.id.clone(), rows: None };
                Box::pin(self.write_back(unit, spec, done)).await
            }
        }
    }

    async fn transaction(&mut self, unit: &Unit, stmts: &[Stmt]) -> Result<(), DriveError> {
        let bounds = self.bounds();
        self.attempt(&unit.lock, bounds, async |client: &Client| {
            execute(client, stmts).await?;
            recognise(client, unit).await?;
            Ok(Event::Succeeded { unit: unit.id.clone(), rows: None })
        })
        .await
    }

    async fn assert(&mut self, unit: &Unit, query: &Stmt) -> Result<(), DriveError> {
        let bounds = self.bounds();
        self.attempt(&unit.lock, bounds, async |client: &Client| {
            is_true(client, &unit.title, query).await?;
            Ok(Event::Succeeded { unit: unit.id.clone(), rows: None })
        })
        .await
    }

    /// Statements outside a transaction, as many as are due.
    async fn errands_deed(&mut self, unit: &Unit, due: &Due, found: &Before) -> Result<(), DriveError> {
        self.say_partial(found);
        self.run_errands(unit, due, found, Errands::Deed).await?;
        self.conclude_alone(unit).await
    }

    fn say_partial(&self, found: &Before) {
        if found.presence == Presence::Partial {
            let what = found.found.as_deref().unwrap_or("a wreck");
            self.say(Notice::Note { text: format!("clearing what an earlier attempt left: {what}") });
        }
    }

    /// A statement outside a transaction: what a failed attempt left is cleared at once.
    async fn autocommit_deed(
        &mut self,
        unit: &Unit,
        stmt: &Stmt,
        repair: &[Stmt],
        found: &Before,
    ) -> Result<(), DriveError> {
        let bounds = Bounds { lock: self.safety().index_wait.duration(), ..self.bounds() };
        self.say_partial(found);
        if found.presence == Presence::Partial {
            self.clear(repair, bounds).await?;
        }
        let mut number = 0;
        loop {
            number += 1;
            let (watch, sampled) = self.watch_blockers(bounds.lock);
            let run = self.autocommit(bounds, stmt.as_str()).await;
            watch.abort();
            let Err(error) = run else { break };
            let error = in_statement(error, stmt);
            let error = match error.class() {
                Some(Class::Ambiguous) => return Err(error),
                None => {
                    // Without the lease what stands there may be the successor's.
                    if matches!(error, DriveError::Interrupted(_)) {
                        self.clear_in_haste(Wreck::Known(repair)).await;
                    }
                    return Err(error);
                }
                Some(Class::Transient | Class::Privilege | Class::Cancelled | Class::Resources | Class::Fatal) => {
                    both(error, self.clear(repair, bounds).await)?
                }
            };
            self.try_again(error, number, sampled.take(), "CONCURRENTLY").await?;
        }
        self.conclude_alone(unit).await
    }

    /// Records that it is done, when the probe says so.
    async fn conclude_alone(&mut self, unit: &Unit) -> Result<(), DriveError> {
        let now = self.look(&unit.probe).await?;
        if now.presence != Presence::Present && matches!(unit.probe, Probe::Catalog { .. }) {
            return Err(unrecognised(unit, &now).into());
        }
        self.record(Event::Succeeded { unit: unit.id.clone(), rows: None }).await
    }

    /// Clears a wreck, within the bounds of the deed itself.
    pub(super) async fn clear(&self, repair: &[Stmt], bounds: Bounds) -> Result<(), DriveError> {
        for stmt in repair {
            self.autocommit(bounds, stmt.as_str()).await.map_err(|error| in_statement(error, stmt))?;
        }
        Ok(())
    }

    /// Clears a wreck on the way out, within what is left of the time that a stop may take: on a session of its own, because
    /// the statement may still be under way on the other, or its cancel arrive late. What does not fit is cleared by `resume`
    /// or the rollback.
    pub(super) async fn clear_in_haste(&self, wreck: Wreck<'_>) {
        let left = self.stop.left(Until::Cleared, CLEAR_BOUNDS.statement);
        let bounds = Bounds { lock: CLEAR_BOUNDS.lock.min(left), statement: left };
        let spec = SessionSpec::new("tenantmig clear", bounds.lock);
        // The run's own reason to stop would end this at once.
        let unstopped = Stop::new();
        let work = async {
            let session = connect(&self.settings, &spec).await.map_err(|error| error.to_string())?;
            let stmts = session.with(async |client: &Client| wreck.stmts(client).await).await;
            for stmt in stmts.map_err(|fault| fault.to_string())? {
                let done = outside::run(&session, &unstopped, bounds, stmt.as_str()).await;
                done.map_err(|error| format!("{stmt}: {error}"))?;
            }
            Ok::<_, String>(())
        };
        let done = tokio::time::timeout(left, work).await;
        if let Err(why) = done.unwrap_or_else(|_| Err("not in time".to_owned())) {
            self.say(Notice::Note { text: format!("left for resume: what the statement may have left ({why})") });
        }
    }

    /// Asks the probe, in a transaction that changes nothing. A comparison with what the server would make locks the table
    /// for a moment, and is tried for again like any lock.
    pub(super) async fn look(&self, what: &Probe) -> Result<Before, DriveError> {
        let mut number = 0;
        loop {
            number += 1;
            let (watch, sampled) = self.watch_blockers(self.bounds().lock);
            let looked =
                in_transaction(&self.work, self.bounds(), async |client: &Client| Ok(probe(client, what).await?));
            let looked = cancellable(&self.work, &self.stop, looked).await;
            watch.abort();
            let Err(error) = looked else { return looked };
            self.try_again(error, number, sampled.take(), "a look at what is there").await?;
        }
    }

    /// Asks the probe. A build of ours that outlived its client (it may still become valid) is waited for, within a bound.
    pub(super) async fn look_when_quiet(&self, unit: &Unit, ours: bool) -> Result<Before, DriveError> {
        let begun = Instant::now();
        loop {
            let found = self.look(&unit.probe).await?;
            let waits = ours && found.presence == Presence::Conflict && matches!(unit.up, Op::Autocommit { .. });
            if !waits || begun.elapsed() >= self.safety().index_wait.duration() {
                return Ok(found);
            }
            let why = format!("{}: {}", unit.title, found.found.as_deref().unwrap_or("still under way"));
            self.say(Notice::Waiting { why, again_in_ms: millis(BUILD_POLL) });
            self.rest(BUILD_POLL).await?;
        }
    }
}

/// Asks a query of one boolean, and fails where that is not true.
pub(super) async fn is_true(client: &Client, title: &str, query: &Stmt) -> Result<(), Fault> {
    let fail = |what: &str| {
        let fault = Fault::new(Class::Fatal, format!("{title}: the answer {what}"));
        Err(fault.in_statement(query.as_str()))
    };
    // The server names the type, and says yes or no as text: the driver would look up a type that it does not know by
    // a prepared statement, which behind a pooler stays on one connection and is asked for on another.
    // Two rows are as wrong as a million, and a million would fill the memory.
    let two = sql!(
        "SELECT t.name, CASE WHEN t.name = 'boolean' THEN a.said::text END,
                (SELECT count(*) FROM json_object_keys(row_to_json(a.*)))
           FROM ({}) AS a (said),
        LATERAL (SELECT coalesce(
           (SELECT format_type(d.typbasetype, d.typtypmod) FROM pg_type AS d
             WHERE d.oid = pg_typeof(a.said) AND d.typbasetype = 'boolean'::regtype),
           pg_typeof(a.said)::text) AS name) AS t LIMIT 2",
        query
    );
    let rows = client.query_typed(two.as_str(), &[]).await;
    let rows = rows.map_err(|error| Fault::from(error).in_statement(query.as_str()))?;
    let [row] = rows.as_slice() else {
        return fail(if rows.is_empty() { "has no row" } else { "has more than one row" });
    };
    let columns: i64 = row.try_get(2)?;
    if columns != 1 {
        return fail(&format!("has {columns} columns, not one"));
    }
    let of: &str = row.try_get(0)?;
    if of != "boolean" {
        return fail(&format!("is of type {of}, not boolean"));
    }
    match row.try_get::<_, Option<&str>>(1)? {
        Some("true") => Ok(()),
        Some(_) => fail("is false"),
        None => fail("is NULL"),
    }
}

/// The deed must be recognisable in the transaction that makes it; otherwise it was not what the plan says.
async fn recognise(client: &Client, unit: &Unit) -> Result<(), DriveError> {
    if matches!(unit.probe, Probe::Ledger) {
        return Ok(());
    }
    let now = probe(client, &unit.probe).await?;
    if now.presence == Presence::Present { Ok(()) } else { Err(unrecognised(unit, &now).into()) }
}

fn unrecognised(unit: &Unit, now: &Before) -> Fault {
    let found = now.found.as_deref().map_or(String::new(), |found| format!(": {found}"));
    Fault::new(Class::Fatal, format!("the server reported success, but \"{}\" is not there{found}", unit.title))
}

fn conflict(unit: &Unit, found: &Before) -> Fault {
    let what = found.found.as_deref().unwrap_or("something");
    let mut fault =
        Fault::new(Class::Fatal, format!("cannot {}: something else stands in its place: {what}", unit.title));
    fault.hint = Some("give it another name in the plan, or remove what stands there".to_owned());
    fault
}

pub(super) fn in_statement(error: DriveError, stmt: &Stmt) -> DriveError {
    error.map_fault(|fault| fault.in_statement(stmt.as_str()))
}

/// What is kept of an error that the run answers for. An end from outside and a lost connection are none: they are given
/// back, nothing is recorded, and the run goes on later from its intent.
pub(super) fn failure(error: DriveError) -> Result<Failure, DriveError> {
    match error {
        DriveError::Server(fault) if fault.class != Class::Ambiguous => {
            let advice = match (advice(&fault), fault.hint.clone()) {
                (Some(ours), Some(hint)) => Some(format!("{ours}; the server says: {hint}")),
                (ours, hint) => ours.or(hint),
            };
            let disk_full = fault.is_disk_full();
            let detail = fault.detail.as_ref().map_or(String::new(), |d| format!("; {d}"));
            Ok(Failure {
                sqlstate: fault.sqlstate,
                message: format!("{}{detail}", fault.message),
                statement: fault.statement,
                advice,
                disk_full,
                held: None,
            })
        }
        DriveError::Ledger(LedgerError::Damaged { run, what }) => {
            Err(DriveError::Ledger(LedgerError::Damaged { run, what }))
        }
        other @ (DriveError::Server(_)
        | DriveError::Ledger(_)
        | DriveError::Interrupted(_)
        | DriveError::LeaseLost(_)
        | DriveError::Silence(_)
        | DriveError::Away { .. }
        | DriveError::Connect(_)
        | DriveError::Illegal(_)
        | DriveError::Yield
        | DriveError::Refused { .. }) => Err(other),
    }
}

fn advice(fault: &Fault) -> Option<String> {
    let text = match fault.class {
        Class::Transient => {
            "a lock was not had within lock_timeout, lock_retries times: end the transactions named above, or raise lock_retries in [safety]"
        }
        Class::Privilege => {
            "if a policy hides rows from this role (FORCE ROW LEVEL SECURITY), run as a role with BYPASSRLS; otherwise grant what is missing"
        }
        Class::Cancelled => {
            "the statement ran into its deadline: raise statement_deadline or index_wait in [safety], or look for what it waited for"
        }
        Class::Resources if fault.is_disk_full() => {
            "make room on the disk (what the failed statement had written is gone), then: tenantmig resume"
        }
        Class::Resources => "the server is out of memory or sessions: make room, then: tenantmig resume",
        Class::Ambiguous | Class::Fatal => return None,
    };
    Some(text.to_owned())
}
