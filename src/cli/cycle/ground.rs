//! The ground of a cycle: whether the database is at rest, and a ledger of the cycle's own, so that the real one is neither
//! needed nor disturbed and nothing stays behind.

use tokio_postgres::Client;

use super::role::Actor;
use crate::{
    checks::{Consent, Guard},
    cli::{failure::CliError, plan_file::PlanFile},
    engine::{Effect, Mode, Outcome, Program, named},
    exit::Exit,
    ledger::{self, Holder, Kept, LedgerError},
    pg::{Fault, connect::Connection},
    sql,
    sql::{Ident, QName},
    unit::Down,
};

/// The schema of the cycle's own ledger, beside the real one's.
pub fn ledger_schema(real: &Ident) -> Ident {
    Ident::derived(&[real.as_str(), "cycle"])
}

/// A cycle needs the way back of every unit.
pub fn refuse_irreversible(program: &Program) -> Result<(), CliError> {
    let fixed = program.units().find_map(|(_, unit)| match &unit.down {
        Down::Irreversible { why } => Some(format!("`{}` cannot be undone ({why})", unit.title)),
        Down::Op(_) | Down::CoveredBy(_) | Down::With { .. } | Down::Nothing { .. } => None,
    });
    match fixed {
        Some(what) => Err(CliError::new(
            Exit::Refused,
            format!("{what}, and a cycle goes all the way back; nothing was changed"),
            "cycle a plan without that step; the step itself needs a backup that was tried",
        )),
        None => Ok(()),
    }
}

/// Its way down takes row-level security off what its way up protected. Told before it begins, since there it would stop half-way.
pub fn refuse_exposure(program: &Program) -> Result<(), CliError> {
    let exposes = |guard: &&Guard| guard.consent == Some(Consent::Exposure);
    let guards: Vec<&Guard> = program.phases.iter().flat_map(|phase| &phase.before_undo).filter(exposes).collect();
    let mut tables: Vec<QName> = guards.iter().flat_map(|guard| guard.gate.tables.clone()).collect();
    tables.sort();
    tables.dedup();
    if tables.is_empty() {
        return Ok(());
    }
    Err(CliError::new(
        Exit::Refused,
        format!(
            "a cycle takes row-level security off {} again, and whatever tenants have rows there by then see each other's; nothing was changed",
            named(&tables)
        ),
        "agree to it with --accept-exposure, or cycle a throwaway database: --on-demo SCHEMA.SQL",
    ))
}

/// Refused while a real run is under way or half done, and where this plan is applied: a cycle would take it back.
pub async fn refuse_unrest(session: &Connection, real: &Ident, file: &PlanFile) -> Result<(), CliError> {
    let Some((holder, runs)) = session.with(async |client: &Client| standing(client, real).await).await? else {
        return Ok(());
    };
    if let Some(holder) = holder {
        return Err(LedgerError::Held(Box::new(holder)).into());
    }
    for Kept { record, run, .. } in runs {
        if run.is_untouched() {
            continue;
        }
        let plan = &record.plan;
        if *plan == file.plan.name || record.fingerprint == file.fingerprint.0 {
            let message =
                format!("the plan `{plan}` is applied here ({} units); a cycle would take it back", run.units_done());
            return Err(CliError::new(
                Exit::Refused,
                message,
                "run the cycle on a copy, or first: tenantmig rollback --to start",
            ));
        }
        match run.next(&record.program) {
            Effect::Halt(Outcome::Completed) => {}
            Effect::Halt(Outcome::RolledBack { .. } | Outcome::Stuck { .. } | Outcome::Paused)
            | Effect::Do(_)
            | Effect::Undo(_)
            | Effect::Gate(..)
            | Effect::Check(..)
            | Effect::Ask(..) => {
                let message =
                    format!("the plan `{plan}` is not finished here ({}); nothing was changed", run.mode().word());
                return Err(CliError::new(
                    Exit::Refused,
                    message,
                    "tenantmig resume, or tenantmig rollback --to start",
                ));
            }
        }
    }
    Ok(())
}

/// The holder, if one is alive, and every run of a ledger; `None` where there is none.
type Standing = Option<(Option<Holder>, Vec<Kept>)>;

async fn standing(client: &Client, schema: &Ident) -> Result<Standing, CliError> {
    if !ledger::exists(client, schema).await? {
        return Ok(None);
    }
    let holder = ledger::holder(client, schema).await?.filter(|holder| holder.alive);
    let mut runs = Vec::new();
    for name in ledger::runs(client, schema).await? {
        runs.extend(ledger::read(client, schema, name.id).await?);
    }
    Ok(Some((holder, runs)))
}

/// Refused where an earlier cycle left something standing, or still works.
pub async fn refuse_leftover(session: &Connection, own: &Ident, back: &str) -> Result<(), CliError> {
    let Some((holder, runs)) = session.with(async |client: &Client| standing(client, own).await).await? else {
        return Ok(());
    };
    if let Some(holder) = holder {
        let message = format!("another cycle works on this database: {holder}");
        return Err(CliError::new(Exit::Temporary, message, "wait for its end"));
    }
    for Kept { record, run, .. } in runs {
        if !run.is_untouched() || !matches!(run.mode(), Mode::Forward | Mode::Unwinding { .. }) {
            let message = format!(
                "an earlier cycle of `{}` was stopped half-way and left {} units",
                record.plan,
                run.units_done()
            );
            return Err(CliError::new(Exit::Refused, message, format!("take them back: {back}")));
        }
    }
    Ok(())
}

/// Makes the cycle's ledger schema for the role. What an earlier cycle left of its own ledger was looked at before
/// ([`refuse_leftover`]) and goes.
pub async fn prepare(session: &Connection, own: &Ident, actor: &Actor) -> Result<(), CliError> {
    let exists = async |client: &Client| ledger::exists(client, own).await;
    if session.with(exists).await? {
        clear(session, own).await?;
    }
    // An empty one is what a cycle leaves that was killed at its very start; without CASCADE nothing else can go.
    let create = sql!("DROP SCHEMA IF EXISTS {}; CREATE SCHEMA {} AUTHORIZATION {}", own, own, actor.ident()?);
    let create = async |client: &Client| Ok::<_, Fault>(client.batch_execute(create.as_str()).await?);
    match session.with(create).await {
        Ok(()) => Ok(()),
        Err(fault) if fault.sqlstate.as_deref() == Some("42501") => {
            let name = "SELECT quote_ident(current_database())";
            let name = async |client: &Client| Ok::<_, Fault>(client.query_typed_one(name, &[]).await?);
            let database: String = session.with(name).await?.try_get(0)?;
            Err(CliError::new(
                Exit::Privilege,
                format!("{} may not create the schema {own} for the cycle's ledger; nothing was changed", actor.login),
                format!("as its owner: GRANT CREATE ON DATABASE {database} TO {}", actor.login),
            ))
        }
        Err(fault) if matches!(fault.sqlstate.as_deref(), Some("42P06" | "2BP01")) => Err(CliError::new(
            Exit::Refused,
            format!(
                "there is a schema {own} that is no cycle's ledger, or another cycle begins just now; nothing was changed"
            ),
            format!(
                "look with \\dn+ in psql; what a killed cycle left goes with: DROP SCHEMA {own} CASCADE; another place: --ledger-schema NAME"
            ),
        )),
        Err(fault) => Err(fault.into()),
    }
}

/// Takes the cycle's ledger away when nothing stands that it would be needed to undo. `false`: it stays.
pub async fn clear(session: &Connection, own: &Ident) -> Result<bool, CliError> {
    session
        .with(async |client: &Client| {
            let standing = standing(client, own).await?;
            if standing.is_some_and(|(_, runs)| runs.iter().any(|kept| !kept.run.is_untouched())) {
                return Ok(false);
            }
            // CASCADE takes the ledger's own tables; nobody else has a reason to depend on them.
            client.batch_execute(sql!("DROP SCHEMA IF EXISTS {} CASCADE", own).as_str()).await?;
            Ok(true)
        })
        .await
}
