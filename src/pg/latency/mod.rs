//! Measures what a query of the application costs, under the policies and without them, by turns.
//!
//! Each execution is EXPLAIN (ANALYZE): the server's own time for planning and executing, without the way to it, together with the
//! plan; no row and no value leaves the server. Each is in a READ ONLY transaction of its own, which is rolled back, under a
//! statement_timeout. Which side goes first changes from pair to pair, and each tenant's first pair only warms the caches.

mod help;
mod side;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tokio_postgres::{Client, error::SqlState, types::Type};

use self::side::{Side, explained, first_value};
use super::{Bounds, Class, Fault, connect::Connection};
use crate::{
    latency::{Baseline, Budget, Measurement, NOBODY, Run, Spec, judge, worse},
    pg::isolation::{rolled_back, takeable},
    sql,
    sql::{Literal, QName},
};

/// The longest that one probe is measured, both sides together: what is slower is measured less often.
const PROBE_MAX: Duration = Duration::from_secs(30);
/// A probe waits for no lock that a writer or a migration has: it would measure the wait.
const LOCK_MAX: Duration = Duration::from_secs(1);
/// The tenants that a probe is asked as where it names none. A small one is slow where a large one is quick, and the other way
/// round.
const TENANTS: u32 = 5;

/// What came of one probe.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Measured(Box<Measurement>),
    /// It has no time to measure.
    Untimed,
    /// It ran into the deadline.
    TooLong(String),
    Unmeasurable(String),
}

/// How long the query takes before anything is touched, as the migrating role. That it cannot be told is no error: the column
/// that it names may be the plan's.
pub async fn baseline(session: &Connection, spec: &Spec) -> Result<Baseline, Fault> {
    let who = "SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), session_user::text";
    let row = session.with(async |client: &Client| Ok::<_, Fault>(client.query_typed_one(who, &[]).await?)).await?;
    let (at, by) = (row.try_get(0).map_err(Fault::from)?, row.try_get(1).map_err(Fault::from)?);
    let tenants = match tenants(session, spec).await {
        Ok(tenants) => tenants,
        Err(fault) => told(fault).map(|_| Vec::new())?,
    };
    // Without a tenant the query is asked all the same: nothing asks for one yet.
    let tenants = if tenants.is_empty() { vec![String::new()] } else { tenants };
    let started = Instant::now();
    let mut run = Run::default();
    let eyes = Side::eyes(spec);
    for turn in 0..rounds(spec, tenants.len()) {
        let number = turn % tenants.len();
        let mut said = None;
        for eye in &eyes {
            match once(session, spec, *eye, &tenants[number], started).await {
                Ok((ms, shape)) => {
                    said = None;
                    if turn >= tenants.len() {
                        run.add(number, ms, shape);
                    }
                    break;
                }
                Err(fault) => said = said.or(Some(told(fault)?)),
            }
        }
        if said.is_some() {
            return Ok(Baseline { at, by, run: None, why: said });
        }
        if started.elapsed() > PROBE_MAX {
            break;
        }
    }
    let why = run.samples.is_empty().then(|| format!("one execution takes longer than {} s", PROBE_MAX.as_secs()));
    Ok(Baseline { at, by, run: Some(run).filter(|run| !run.samples.is_empty()), why })
}

/// Measures it now.
pub async fn measure(
    session: &Connection,
    spec: &Spec,
    budget: Budget,
    before: Option<&Baseline>,
) -> Result<Outcome, Fault> {
    if !spec.timed {
        return Ok(Outcome::Untimed);
    }
    if let Err(why) = takeable(session, &spec.role).await? {
        return Ok(Outcome::Unmeasurable(format!("probe {}: {why}", spec.name)));
    }
    let tenants = match tenants(session, spec).await {
        Ok(tenants) if tenants.is_empty() => {
            let why = format!("probe {}: {} has no tenant to be", spec.name, spec.registry.0);
            return Ok(Outcome::Unmeasurable(why));
        }
        Ok(tenants) => tenants,
        Err(fault) => return Ok(Outcome::Unmeasurable(format!("probe {}: {}", spec.name, told(fault)?))),
    };
    let started = Instant::now();
    let exempt = match exempt(session, spec, &tenants[0], started).await? {
        Ok(exempt) => exempt,
        Err(why) => return Ok(Outcome::Unmeasurable(format!("probe {}: {why}", spec.name))),
    };
    match pairs(session, spec, &tenants, exempt, started).await {
        Ok((now, reference)) => {
            let base = before.and_then(|before| before.run.as_ref());
            if reference.is_none() && base.is_none() {
                return Ok(Outcome::Unmeasurable(format!(
                    "probe {}: there is nothing to compare with. It was not measured before the run, and {NOBODY}",
                    spec.name
                )));
            }
            let others: Vec<&Run> = reference.iter().chain(base).collect();
            let helps = helps(session, spec, budget, &now, &others).await?;
            let judged = judge(spec, budget, &now, reference.as_ref(), before, &helps);
            Ok(judged.map_or(Outcome::Untimed, |measurement| Outcome::Measured(Box::new(measurement))))
        }
        Err(fault) if fault.is(&SqlState::QUERY_CANCELED) => Ok(Outcome::TooLong(format!(
            "probe {} as {}: not over after {} s, under the policies",
            spec.name,
            spec.role,
            PROBE_MAX.as_secs()
        ))),
        Err(fault) => Ok(Outcome::Unmeasurable(format!("probe {} as {}: {}", spec.name, spec.role, told(fault)?))),
    }
}

/// What the query's first row begins with, under the policies; one line for each tenant whose answer is another than expected.
pub async fn answers(session: &Connection, spec: &Spec) -> Result<Result<Vec<String>, String>, Fault> {
    let Some(expect) = &spec.expect else { return Ok(Ok(Vec::new())) };
    if let Err(why) = takeable(session, &spec.role).await? {
        return Ok(Err(why));
    }
    let tenants = match tenants(session, spec).await {
        Ok(tenants) if tenants.is_empty() => return Ok(Err(format!("{} has no tenant to be", spec.registry.0))),
        Ok(tenants) => tenants,
        Err(fault) => return told(fault).map(Err),
    };
    let started = Instant::now();
    let mut wrong = Vec::new();
    for tenant in &tenants {
        match first_value(session, bounds(started), Side::Policies(&spec.role), spec, tenant).await {
            Ok(Some(found)) if found == *expect => {}
            Ok(found) => {
                let found = found.unwrap_or_else(|| "nothing".to_owned());
                wrong.push(format!("answered {found}, and {expect} was expected, as tenant {tenant}"));
            }
            Err(fault) => return told(fault).map(Err),
        }
    }
    Ok(Ok(wrong))
}

/// Both sides by turns, or the one under the policies alone.
async fn pairs(
    session: &Connection,
    spec: &Spec,
    tenants: &[String],
    exempt: Option<Side<'_>>,
    started: Instant,
) -> Result<(Run, Option<Run>), Fault> {
    let (mut now, mut reference) = (Run::default(), exempt.map(|_| Run::default()));
    let policies = Side::Policies(&spec.role);
    for turn in 0..rounds(spec, tenants.len()) {
        let number = turn % tenants.len();
        let tenant = &tenants[number];
        let (ours, theirs) = match exempt {
            None => (once(session, spec, policies, tenant, started).await?, None),
            Some(side) if turn % 2 == 0 => {
                let ours = once(session, spec, policies, tenant, started).await?;
                (ours, Some(once(session, spec, side, tenant, started).await?))
            }
            Some(side) => {
                let theirs = once(session, spec, side, tenant, started).await?;
                (once(session, spec, policies, tenant, started).await?, Some(theirs))
            }
        };
        let late = started.elapsed() > PROBE_MAX;
        // Of a query so slow that there is no second round, the first counts: better than nothing.
        if turn >= tenants.len() || late {
            now.add(number, ours.0, ours.1);
            if let (Some(reference), Some((ms, shape))) = (&mut reference, theirs) {
                reference.add(number, ms, shape);
            }
        }
        if late {
            break;
        }
    }
    Ok((now, reference))
}

/// Every tenant once to warm up, and then as often as the probe says.
fn rounds(spec: &Spec, tenants: usize) -> usize {
    usize::try_from(spec.repeat).unwrap_or(usize::MAX).saturating_add(tenants)
}

async fn once(
    session: &Connection,
    spec: &Spec,
    side: Side<'_>,
    tenant: &str,
    started: Instant,
) -> Result<(f64, crate::latency::Shape), Fault> {
    explained(session, bounds(started), side, spec, tenant).await
}

/// What is left of the probe's time; the last execution is left a second.
fn bounds(started: Instant) -> Bounds {
    let left = PROBE_MAX.saturating_sub(started.elapsed()).max(LOCK_MAX);
    Bounds { lock: LOCK_MAX, statement: left }
}

/// Who may ask without policies: `None` where nobody may. Why, where the query fails otherwise.
async fn exempt<'s>(
    session: &Connection,
    spec: &'s Spec,
    tenant: &str,
    started: Instant,
) -> Result<Result<Option<Side<'s>>, String>, Fault> {
    for side in Side::eyes(spec) {
        match once(session, spec, side, tenant, started).await {
            Ok(_) => return Ok(Ok(Some(side))),
            Err(fault) if fault.class == Class::Privilege => {}
            // Without policies it reads all tenants' rows, which may be too many.
            Err(fault) if fault.is(&SqlState::QUERY_CANCELED) => {
                let seconds = PROBE_MAX.as_secs();
                return Ok(Err(format!(
                    "without policies it is not over after {seconds} s, so there is nothing to compare with"
                )));
            }
            Err(fault) => return told(fault).map(Err),
        }
    }
    Ok(Ok(None))
}

/// The tenants to be: the one that is named, or some of the registry's, the same each time.
async fn tenants(session: &Connection, spec: &Spec) -> Result<Vec<String>, Fault> {
    if let Some(tenant) = &spec.tenant {
        return Ok(vec![tenant.clone()]);
    }
    let (registry, key) = &spec.registry;
    let some = sql!(
        "SELECT {0}::text FROM {1} WHERE {0} IS NOT NULL ORDER BY md5({0}::text) LIMIT {2}",
        key,
        registry,
        TENANTS
    );
    let mut said = None;
    for side in Side::eyes(spec) {
        let look = rolled_back(session, bounds(Instant::now()), async |client: &Client| {
            side.enter(client).await?;
            let rows = client.query_typed(some.as_str(), &[]).await?;
            Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<String>, _>>()?)
        });
        match look.await {
            Ok(keys) => return Ok(keys),
            Err(fault) => said = said.or(Some(fault)),
        }
    }
    said.map_or_else(|| Ok(Vec::new()), Err)
}

/// What would help the tables of which too many rows are read.
async fn helps(
    session: &Connection,
    spec: &Spec,
    budget: Budget,
    now: &Run,
    others: &[&Run],
) -> Result<BTreeMap<String, String>, Fault> {
    let mut helps = BTreeMap::new();
    for other in others {
        for table in worse(now, other, budget) {
            if !helps.contains_key(&table)
                && let Some(help) = help::help(session, spec, &table, other).await?
            {
                helps.insert(table, help);
            }
        }
    }
    Ok(helps)
}

/// What the server said, without the statement; a lost session is the caller's.
fn told(fault: Fault) -> Result<String, Fault> {
    match (&fault.sqlstate, fault.class) {
        (None, _) | (Some(_), Class::Ambiguous) => Err(fault),
        (Some(state), Class::Transient | Class::Privilege | Class::Cancelled | Class::Resources | Class::Fatal) => {
            Ok(format!("{} ({state})", fault.message))
        }
    }
}

/// Whether the table is there and carries the tenant, and in which column.
async fn tenant_column(session: &Connection, spec: &Spec, table: &QName) -> Result<Option<crate::sql::Ident>, Fault> {
    let column = if *table == spec.registry.0 { &spec.registry.1 } else { &spec.column };
    let query = sql!(
        "SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass({}) AND attname = $1 AND NOT attisdropped",
        Literal::new(table.to_string())
    );
    let name = column.as_str();
    let look =
        async |client: &Client| Ok::<_, Fault>(client.query_typed_opt(query.as_str(), &[(&name, Type::TEXT)]).await?);
    Ok(session.with(look).await?.map(|_| column.clone()))
}
