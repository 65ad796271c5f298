//! Opens a run: the ledger, the lease, the sessions, and the run that the command means.

use std::time::Duration;

use tokio_postgres::{Client, types::Type};
use uuid::Uuid;

use super::{
    error::DriveError,
    heartbeat::Lease,
    journal::Journal,
    latency, outside,
    sentinel::Sentinel,
    shell::{Shell, Tell, sessions},
    stop::Stop,
};
use crate::{
    engine::{Effect, Event, Notice, Outcome, Program, taken_back},
    ledger::{self, Kept, LedgerError, NewRun, Place, Purpose, RunRecord, Term},
    pg::{Bounds, Class, Fault, connect::Connection, in_transaction, settings::Settings},
    plan::Safety,
    sql::Ident,
};

/// The longest that one tenantmig waits for another that is installing the ledger, and for its own few CREATE TABLEs.
const INSTALL_BOUNDS: Bounds = Bounds { lock: Duration::from_secs(10), statement: Duration::from_secs(30) };

/// Who works where.
#[derive(Clone)]
pub struct Access {
    pub settings: Settings,
    /// The ledger's schema.
    pub schema: Ident,
    pub host: String,
    /// This process; the end of it is in the name of each of its sessions.
    pub holder: Uuid,
    /// How long a lease that another one holds is waited for.
    pub wait: Option<Duration>,
    pub tell: Tell,
    pub stop: Stop,
    /// Whether another server than the ledger's last one is meant: a restored copy, or the same after pg_upgrade.
    pub accept_server: bool,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").field("schema", &self.schema).field("host", &self.host).finish_non_exhaustive()
    }
}

/// A plan that is to be applied.
#[derive(Debug)]
pub struct Request<'a> {
    pub path: Option<&'a str>,
    pub text: &'a str,
    pub fingerprint: &'a str,
    pub program: &'a Program,
    pub purpose: Purpose,
}

/// Opens the run of this plan: the one that is under way, or a new one. Nothing else is changed.
pub async fn begin(access: &Access, request: &Request<'_>) -> Result<(Shell, Lease), DriveError> {
    // Nothing is done before the first event, so there is nothing to wait for after a signal.
    access.stop.unless_signalled(begin_run(access, request)).await
}

async fn begin_run(access: &Access, request: &Request<'_>) -> Result<(Shell, Lease), DriveError> {
    let safety = &request.program.safety;
    let (work, monitor) = sessions(&access.settings, safety).await?;
    let _looks_after_it = Sentinel::over(&work, &monitor, &access.settings);
    outside::way(&work, &outside::forward(request.program)).await?;
    install(access, &work).await?;
    let lease = Lease::take(access, request.purpose, Term(safety.lease.duration())).await?;
    let result = async {
        let run = match work.with(async |client: &Client| choose(client, access, request).await).await? {
            Some(run) => run,
            None => create(access, &work, &lease, request).await?,
        };
        let place = place(access, &lease, run);
        let read = async |client: &Client| {
            ledger::works_on(client, &access.schema, place.hold(), place.run).await?;
            Journal::read(client, place).await
        };
        let journal = work.with(read).await?;
        refuse_operators_pause(&journal)?;
        Ok(Shell::new(access, &lease, (work, monitor), journal))
    }
    .await;
    match result {
        Ok(shell) => Ok((shell, lease)),
        Err(error) => {
            lease.give_back().await;
            Err(error)
        }
    }
}

/// Opens a run that is in the ledger, by the ledger alone: the newest, or the one named.
pub async fn reopen(access: &Access, run: Option<Uuid>, purpose: Purpose) -> Result<(Shell, Lease), DriveError> {
    access.stop.unless_signalled(reopen_run(access, run, purpose)).await
}

async fn reopen_run(access: &Access, run: Option<Uuid>, purpose: Purpose) -> Result<(Shell, Lease), DriveError> {
    let (work, monitor) = sessions(&access.settings, &Safety::default()).await?;
    let _looks_after_it = Sentinel::over(&work, &monitor, &access.settings);
    let record = work.with(async |client: &Client| current(client, &access.schema, run).await).await?.record;
    if !matches!(purpose, Purpose::Rollback | Purpose::Pause) {
        outside::way(&work, &outside::forward(&record.program)).await?;
    }
    // An earlier version may have begun the run.
    install(access, &work).await?;
    let lease = Lease::take(access, purpose, Term(record.program.safety.lease.duration())).await?;
    let place = place(access, &lease, record.id);
    let journal = work.with(async |client: &Client| {
        refuse_buried(client, access, &record).await?;
        ledger::works_on(client, &access.schema, place.hold(), place.run).await?;
        Journal::read(client, place).await
    });
    match journal.await {
        Ok(journal) => {
            let shell = Shell::new(access, &lease, (work, monitor), journal);
            Ok((shell, lease))
        }
        Err(error) => {
            lease.give_back().await;
            Err(error)
        }
    }
}

/// A run on which a newer one stands neither goes on nor back: the newer plan may need what this one would change.
async fn refuse_buried(client: &Client, access: &Access, record: &RunRecord) -> Result<(), DriveError> {
    let runs = ledger::runs(client, &access.schema).await?;
    for newer in runs.iter().take_while(|run| run.id != record.id) {
        let Some(kept) = ledger::read(client, &access.schema, newer.id).await? else { continue };
        if !kept.run.is_untouched() {
            return Err(DriveError::Refused {
                what: format!(
                    "the plan `{}` was applied on top of `{}` and stands; nothing was changed",
                    newer.plan, record.plan
                ),
                advice: format!("undo the newer one first: tenantmig rollback --to start --run {}", newer.id),
                exit: 4,
            });
        }
    }
    Ok(())
}

/// A job that is tried again must not wake a run that a person wants to stand still: that takes `resume`.
pub fn refuse_operators_pause(journal: &Journal) -> Result<(), DriveError> {
    let Some((why, asked)) = &journal.pause else { return Ok(()) };
    Err(DriveError::Refused {
        what: format!(
            "the run of `{}` is paused by {} on {} since {}: {why}; nothing was changed",
            journal.record.plan, asked.by, asked.host, asked.at
        ),
        advice: "tenantmig resume; or undo: tenantmig rollback --to PHASE".to_owned(),
        exit: 75,
    })
}

/// The run that is meant: the one named, or else the newest of which anything stands in the database, or else the newest.
pub async fn find(client: &Client, schema: &Ident, run: Option<Uuid>) -> Result<Kept, DriveError> {
    newest(client, schema, run, |kept| !kept.run.is_untouched()).await
}

/// The run that is worked on: the one named, or else the newest that nobody asked to take back whole, or else the newest. A
/// run that failed and was rolled back by itself is still worked on.
pub async fn current(client: &Client, schema: &Ident, run: Option<Uuid>) -> Result<Kept, DriveError> {
    let asked_back = |kept: &Kept| kept.run.is_untouched() && taken_back(kept.events.iter().map(|r| &r.event));
    newest(client, schema, run, |kept| !asked_back(kept)).await
}

/// The ledger knows no such run.
pub(super) fn no_run(id: Uuid) -> DriveError {
    DriveError::Refused {
        what: format!("the ledger has no run {id}"),
        advice: "tenantmig status prints the run's id".to_owned(),
        exit: 4,
    }
}

async fn newest(
    client: &Client,
    schema: &Ident,
    run: Option<Uuid>,
    is_meant: impl Fn(&Kept) -> bool,
) -> Result<Kept, DriveError> {
    let missing = DriveError::Ledger(LedgerError::Missing);
    if !ledger::exists(client, schema).await? {
        return Err(missing);
    }
    if let Some(id) = run {
        return ledger::read(client, schema, id).await?.ok_or_else(|| no_run(id));
    }
    let mut newest = None;
    for name in ledger::runs(client, schema).await? {
        let Some(kept) = ledger::read(client, schema, name.id).await? else { continue };
        if is_meant(&kept) {
            return Ok(kept);
        }
        newest.get_or_insert(kept);
    }
    newest.ok_or(missing)
}

pub(super) fn place(access: &Access, lease: &Lease, run: Uuid) -> Place {
    Place {
        schema: access.schema.clone(),
        run,
        holder: access.holder,
        epoch: lease.acquired.epoch,
        host: access.host.clone(),
    }
}

async fn install(access: &Access, work: &Connection) -> Result<(), DriveError> {
    let known = work.with(async |client: &Client| ledger::is_current(client, &access.schema).await).await?;
    if known {
        return Ok(());
    }
    let install = async |client: &Client| ledger::install(client, &access.schema).await;
    match in_transaction(work, INSTALL_BOUNDS, install).await {
        Err(ledger::LedgerError::Server(mut fault)) if fault.class == Class::Privilege => {
            let grant = "SELECT format('GRANT CREATE ON DATABASE %I TO %I', current_database(), current_user)";
            let asked = work.with(async |client: &Client| Ok::<_, Fault>(client.query_typed_one(grant, &[]).await?));
            let grant: String = asked.await?.try_get(0)?;
            fault.hint = Some(format!("the ledger needs a schema of its own: {grant}"));
            Err(fault.into())
        }
        installed => Ok(installed?),
    }
}

/// The run of this plan that goes on; `None` when a new one is due; refused when another plan is in the way.
async fn choose(client: &Client, access: &Access, request: &Request<'_>) -> Result<Option<Uuid>, DriveError> {
    for name in ledger::runs(client, &access.schema).await? {
        let Some(Kept { record, run, .. }) = ledger::read(client, &access.schema, name.id).await? else { continue };
        let untouched = run.is_untouched();
        let same_plan = record.plan == request.program.plan;
        if same_plan && record.fingerprint == request.fingerprint {
            return Ok(Some(record.id));
        }
        if untouched {
            continue;
        }
        if same_plan {
            return Err(changed(&record, request));
        }
        match run.next(&record.program) {
            Effect::Halt(Outcome::Completed) => {}
            Effect::Halt(Outcome::RolledBack { .. } | Outcome::Stuck { .. } | Outcome::Paused)
            | Effect::Do(_)
            | Effect::Undo(_)
            | Effect::Gate(..)
            | Effect::Check(..)
            | Effect::Ask(..) => {
                return Err(DriveError::Refused {
                    what: format!("the plan `{}` is not finished here ({})", record.plan, run.mode().word()),
                    advice: "look with: tenantmig status; then tenantmig resume, or tenantmig rollback --to start"
                        .to_owned(),
                    exit: 4,
                });
            }
        }
    }
    Ok(None)
}

fn changed(record: &RunRecord, request: &Request<'_>) -> DriveError {
    let short = |fingerprint: &str| fingerprint.get(..12).unwrap_or(fingerprint).to_owned();
    DriveError::Refused {
        what: format!(
            "the plan `{}` was changed since it was applied here (fingerprint {} in the ledger, {} now)",
            record.plan,
            short(&record.fingerprint),
            short(request.fingerprint)
        ),
        advice: "apply the plan as it was, or undo it first with: tenantmig rollback --to start; \
                 what comes on top of a finished plan belongs in a plan with another name"
            .to_owned(),
        exit: 4,
    }
}

async fn create(access: &Access, work: &Connection, lease: &Lease, request: &Request<'_>) -> Result<Uuid, DriveError> {
    let safety = &request.program.safety;
    let bounds = Bounds { lock: safety.lock_timeout.duration(), statement: safety.statement_deadline.duration() };
    let place = place(access, lease, Uuid::now_v7());
    let probes = latency::before(work, request.program).await?;
    in_transaction(work, bounds, async |client: &Client| {
        ledger::fence(client, &place.schema, place.hold()).await?;
        let mut baselines = baselines(client, request.program).await?;
        baselines.extend(probes.clone());
        let new = NewRun {
            plan_path: request.path,
            plan_text: request.text,
            fingerprint: request.fingerprint,
            program: request.program,
            baselines: serde_json::Value::Object(baselines),
        };
        Ok::<_, DriveError>(ledger::create_run(client, &place, &new).await?)
    })
    .await?;
    Ok(place.run)
}

async fn baselines(
    client: &Client,
    program: &Program,
) -> Result<serde_json::Map<String, serde_json::Value>, DriveError> {
    let mut values = serde_json::Map::new();
    for gate in program.phases.iter().flat_map(|phase| &phase.gates) {
        if let Some(baseline) = &gate.baseline {
            // A table that the plan itself makes has no rows yet.
            let tables: Vec<String> = gate.tables.iter().map(ToString::to_string).collect();
            let there = "SELECT bool_and(to_regclass(t) IS NOT NULL) FROM unnest($1) t";
            let there: Option<bool> =
                client.query_typed_one(there, &[(&tables, Type::TEXT_ARRAY)]).await?.try_get(0)?;
            let value: i64 = match there {
                Some(false) => 0,
                Some(true) | None => client.query_typed_one(baseline.as_str(), &[]).await?.try_get(0)?,
            };
            values.insert(gate.id.clone(), value.into());
        }
    }
    Ok(values)
}

impl Shell {
    /// Tells which run begins or goes on.
    pub fn open(&self) {
        let Journal { place, record, run, .. } = &self.journal;
        self.say(Notice::Opened {
            run: place.run.to_string(),
            plan: record.plan.clone(),
            units_done: run.units_done(),
            units: record.program.units().count(),
            resumed: self.journal.last() > 0,
        });
        for text in &self.work.notes {
            self.say(Notice::Note { text: text.clone() });
        }
    }

    /// Makes a run that rests ready to go the way of the command: forward for apply and resume.
    pub async fn wake(&mut self) -> Result<(), DriveError> {
        self.outlive(async |shell: &mut Self| match shell.journal.next() {
            Effect::Halt(Outcome::Paused | Outcome::RolledBack { .. } | Outcome::Stuck { .. }) => {
                shell.record(Event::Resumed).await
            }
            Effect::Halt(Outcome::Completed)
            | Effect::Do(_)
            | Effect::Undo(_)
            | Effect::Gate(..)
            | Effect::Check(..)
            | Effect::Ask(..) => Ok(()),
        })
        .await
    }
}
