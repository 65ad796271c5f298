//! Asks the database what `isolation` wants to know: as the application's role by SET ROLE, and over its own connection string.
//!
//! Every statement is in a transaction that is rolled back, under a lock_timeout and a statement_timeout of its own, and bound by
//! row_security = on, which no other session of ours has. What a rollback does not undo: a sequence's next number (no statement
//! here asks for one; rows are inserted with the numbers that their clones have), and what a trigger does outside the
//! transaction, so that nothing is written into a table whose triggers or rules a write would fire.

mod actor;
mod around;
mod copy;
mod facts;
mod pooler;
mod reads;
mod role;
mod shape;
mod tenant;
mod transaction;
mod trial;
mod writes;

use tokio_postgres::Client;

use self::{
    actor::Actor,
    facts::{facts, name, rights},
    tenant::tenants,
    transaction::BOUNDS,
    trial::{Found, Trial},
};
pub(super) use self::{
    role::takeable,
    transaction::{become_role, rolled_back, set},
};
use super::{
    Fault,
    connect::{ConnectError, Connection, SessionSpec, connect},
    settings::Settings,
};
use crate::{
    isolation::{Asked, Probe, Report, Spec, Verdict, Way},
    sql,
    sql::{Ident, Literal},
};

pub use self::tenant::Liberty;

/// Why nothing could be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum IsolationError {
    #[error("{0}")]
    Server(#[from] Fault),
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// Asks all probes of these tables, as each of their roles. `admin` is a session of the migrating role's.
pub async fn isolation(admin: &Connection, specs: &[Spec], liberty: Liberty) -> Result<Vec<Report>, IsolationError> {
    let mut reports = Vec::new();
    let mut found = Vec::new();
    for spec in specs {
        match look(admin, spec, liberty).await? {
            Some(one) => found.push(one),
            None => reports.push(unasked(
                spec,
                "",
                Way::SetRole,
                format!("there is no table {} with a column {}", spec.table, spec.column),
            )),
        }
    }
    let settings = admin.origin();
    let own = settings.past_pooler().unwrap_or_else(|| settings.clone());
    let mut taken = Vec::new();
    for role in roles(specs) {
        let of: Vec<&Found<'_>> = found.iter().filter(|found| found.spec.roles.contains(&role)).collect();
        match takeable(admin, &role).await? {
            Ok(()) => {
                let session = open(&own).await?;
                let actor = Actor { session: &session, role: Some(&role), name: &role, way: Way::SetRole };
                reports.extend(ask(admin, &actor, &of, true).await?);
                taken.push(role);
            }
            Err(why) if settings.app.is_none() => {
                let why = format!("{why}; or give the application's connection string: TENANTMIG_APP_URL");
                reports.extend(of.iter().map(|found| unasked(found.spec, role.as_str(), Way::SetRole, why.clone())));
            }
            // Everything is asked over the application's own connection then.
            Err(_) => {}
        }
    }
    if let Some(app) = &settings.app {
        reports.extend(logged_in(admin, app, &found, &taken).await?);
    }
    reports.sort_by(|a, b| (&a.table, &a.role).cmp(&(&b.table, &b.role)));
    Ok(reports)
}

/// Why a role cannot be taken; `None` where it can, or is not there yet.
pub async fn untakeable(session: &Connection, role: &Ident) -> Result<Option<String>, Fault> {
    let known = sql!("SELECT to_regrole({}) IS NOT NULL", Literal::new(role.to_string()));
    let look = async |client: &Client| Ok::<_, Fault>(client.query_typed_one(known.as_str(), &[]).await?.try_get(0)?);
    if !session.with(look).await? {
        return Ok(None);
    }
    Ok(takeable(session, role).await?.err())
}

/// Over the application's own connection string.
async fn logged_in(
    admin: &Connection,
    app: &Settings,
    found: &[Found<'_>],
    taken: &[Ident],
) -> Result<Vec<Report>, IsolationError> {
    let session = match open(app).await {
        Ok(session) => session,
        Err(error) => {
            let told = format!("the application's connection string leads nowhere: {error}");
            return Ok(found
                .iter()
                .map(|f| unasked(f.spec, app.user.value.as_str(), Way::Login, told.clone()))
                .collect());
        }
    };
    let who = "SELECT current_user::text, current_database()::text";
    let row =
        rolled_back(&session, BOUNDS, async |client: &Client| Ok(client.query_typed_one(who, &[]).await?)).await?;
    let (user, database): (String, String) =
        (row.try_get(0).map_err(Fault::from)?, row.try_get(1).map_err(Fault::from)?);
    let ours = rolled_back(admin, BOUNDS, async |client: &Client| Ok(client.query_typed_one(who, &[]).await?)).await?;
    let ours: String = ours.try_get(1).map_err(Fault::from)?;
    let way = if session.pooled { Way::Pooler } else { Way::Login };
    if ours != database {
        let told = format!("the application's connection string leads to the database {database}, not to {ours}");
        return Ok(found.iter().map(|f| unasked(f.spec, &user, way, told.clone())).collect());
    }
    let user = name(user)?;
    let actor = Actor { session: &session, role: None, name: &user, way };
    let all: Vec<&Found<'_>> = found.iter().collect();
    let mut reports = ask(admin, &actor, &all, !taken.contains(&user)).await?;
    if let (true, Some(first), Some(report)) = (session.pooled, found.first(), reports.first_mut()) {
        report.probes.extend(pooler::pooler(app, first.spec, &first.phantoms.phantom).await?);
    }
    for found in found {
        for role in found.spec.roles.iter().filter(|role| !taken.contains(role) && **role != user) {
            let why = format!(
                "the application's connection string is {user}'s, and the migrating role may not SET ROLE {role}"
            );
            reports.push(unasked(found.spec, role.as_str(), Way::Login, why));
        }
    }
    Ok(reports)
}

/// All probes of these tables on one session: first of each what only a session can be asked that never had a tenant.
async fn ask(admin: &Connection, actor: &Actor<'_>, found: &[&Found<'_>], whole: bool) -> Result<Vec<Report>, Fault> {
    let mut trials = Vec::new();
    for found in found {
        let rights =
            rolled_back(admin, BOUNDS, async |client: &Client| rights(client, found.spec, actor.name).await).await?;
        let mut trial = Trial::new(found, rights);
        trial.fresh(admin, actor).await?;
        trials.push(trial);
    }
    let mut reports = Vec::new();
    for mut trial in trials {
        trial.later(admin, actor, whole).await?;
        reports.push(trial.report(actor));
    }
    Ok(reports)
}

async fn look<'s>(admin: &Connection, spec: &'s Spec, liberty: Liberty) -> Result<Option<Found<'s>>, Fault> {
    let facts = rolled_back(admin, BOUNDS, async |client: &Client| facts(client, spec).await).await?;
    let Some(facts) = facts else { return Ok(None) };
    let tenants = tenants(admin, spec, liberty).await?;
    let phantoms = tenant::phantoms(admin, &facts).await?;
    Ok(Some(Found { spec, facts, tenants, phantoms }))
}

async fn open(settings: &Settings) -> Result<Connection, ConnectError> {
    let mut spec = SessionSpec::new("tenantmig probe", BOUNDS.lock);
    spec.statement_timeout = Some(BOUNDS.statement);
    connect(settings, &spec).await
}

/// B1 to B5 alone, over the application's way through its pooler; once, since they are about the pooler and not about a table.
pub async fn pooled(admin: &Connection, specs: &[Spec]) -> Result<Option<Report>, IsolationError> {
    let Some(settings) = &admin.origin().pooler else { return Ok(None) };
    let mut found = None;
    for spec in specs {
        found = look(admin, spec, Liberty::Looks).await?;
        if found.is_some() {
            break;
        }
    }
    let Some(Found { spec, phantoms, .. }) = found else { return Ok(None) };
    let user = settings.user.value.as_str();
    let report = |probes| Report { probes, ..unasked(spec, user, Way::Pooler, String::new()) };
    let untold = |why: String| Ok(Some(report(vec![Asked::new(Probe::Canary, Verdict::Unmeasured(why))])));
    let session = match open(settings).await {
        Ok(session) => session,
        Err(error) => return untold(format!("the connection string of the pooler leads nowhere: {error}")),
    };
    if !session.pooled {
        return untold("the connection string of the pooler leads to the server itself".to_owned());
    }
    let (ours, theirs) = (database(admin).await?, database(&session).await?);
    if ours != theirs {
        return untold(format!("the connection string of the pooler leads to the database {theirs}, not to {ours}"));
    }
    Ok(Some(report(pooler::pooler(settings, spec, &phantoms.phantom).await?)))
}

async fn database(session: &Connection) -> Result<String, Fault> {
    let query = "SELECT current_database()::text";
    let row = rolled_back(session, BOUNDS, async |client: &Client| Ok(client.query_typed_one(query, &[]).await?));
    Ok(row.await?.try_get(0)?)
}

/// Each once, in their order.
fn roles(specs: &[Spec]) -> Vec<Ident> {
    let mut roles: Vec<Ident> = Vec::new();
    for role in specs.iter().flat_map(|spec| &spec.roles) {
        if !roles.contains(role) {
            roles.push(role.clone());
        }
    }
    roles
}

fn unasked(spec: &Spec, role: &str, way: Way, why: String) -> Report {
    Report {
        table: spec.table.to_string(),
        role: role.to_owned(),
        way,
        probes: vec![Asked::new(Probe::Role, Verdict::Unmeasured(why))],
        matrix: Vec::new(),
    }
}
