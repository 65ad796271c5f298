//! Which tables of a run are protected by now, and what asking them as the application gave.

use std::collections::BTreeSet;

use tokio_postgres::Client;

use super::{
    error::DriveError,
    gate::Measured,
    verify::{Verdict, Verified},
};
use crate::{
    checks::Measure,
    engine::{Finding, Program, Run, UnitState},
    hazards::{Lacking, lacking},
    isolation::{Asked, Probe, Report, Spec, Verdict as Probed, Way},
    pg::{
        Tables,
        connect::Connection,
        isolation::{IsolationError, Liberty, isolation, pooled, untakeable},
        lacks,
    },
    plan::Tenancy,
    sql::{Ident, QName},
    steps::Object,
};

impl From<IsolationError> for DriveError {
    fn from(error: IsolationError) -> Self {
        match error {
            IsolationError::Server(fault) => Self::Server(fault),
            IsolationError::Connect(error) => Self::Connect(error),
        }
    }
}

/// The tables that units of the run protect, each with the phase that does, in the order of doing.
fn enforced(program: &Program, state: &Run, tenancy: &Tenancy) -> Vec<(String, Spec)> {
    let mut out: Vec<(String, Spec)> = Vec::new();
    let mut known: BTreeSet<QName> = BTreeSet::new();
    for (number, (p, unit)) in program.units().enumerate() {
        if !unit.guards_rows || !matches!(state.unit(number), UnitState::Done { .. }) {
            continue;
        }
        for table in &unit.lock.on {
            if known.insert(table.clone()) {
                let phase = &program.phases[p];
                // A later phase may ask for more: no fallback any more.
                let asked =
                    |q: &usize| *q == p || (0..program.phases[*q].gates.len()).all(|g| state.gate_passed(*q, g));
                let gates = (p..program.phases.len()).filter(asked).flat_map(|q| &program.phases[q].gates);
                let mut gate = gates.filter_map(|gate| match &gate.measure {
                    Measure::Isolation(spec) if spec.table == *table => Some((**spec).clone()),
                    Measure::Isolation(_)
                    | Measure::Latency(_)
                    | Measure::Query
                    | Measure::Tenants(_)
                    | Measure::Approval(_) => None,
                });
                out.push((phase.id.clone(), gate.next_back().unwrap_or_else(|| tenancy.isolation_of(table))));
            }
        }
    }
    out
}

/// Asks every protected table of the run as the application; nothing where the plan has no tenants.
pub(super) async fn verify_isolation(
    connection: &Connection,
    program: &Program,
    state: &Run,
) -> Result<Vec<Verified>, DriveError> {
    let Some(tenancy) = &program.tenancy else { return Ok(Vec::new()) };
    let mut tables = enforced(program, state, tenancy);
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    if tenancy.roles.is_empty() && connection.origin().app.is_none() {
        let why = "nobody to be: name the application's roles in [tenancy], or give its connection string (TENANTMIG_APP_URL)";
        let verdict = Verdict::Untried(why.to_owned());
        return Ok(vec![Verified::new(None, "isolation, as the application".to_owned(), verdict)]);
    }
    // A plan may protect what belongs to no tenant by policies of its own.
    let mut others = Vec::new();
    let names: Vec<QName> = tables.iter().map(|(_, spec)| spec.table.clone()).collect();
    let known = connection.with(async |client: &Client| Tables::read(client, &names).await).await?;
    for (_, spec) in &tables {
        let column = Object::Column(spec.table.clone(), spec.column.clone());
        if connection.with(async |client: &Client| lacks(client, &known, &column, false).await).await?.is_some() {
            others.push(spec.table.clone());
        }
    }
    tables.retain(|(_, spec)| !others.contains(&spec.table));
    let specs: Vec<Spec> = tables.iter().map(|(_, spec)| spec.clone()).collect();
    let mut reports = isolation(connection, &specs, Liberty::Looks).await?;
    reports.extend(pooled(connection, &specs).await?);
    // Once: it is about the server, and not about a table.
    if let Some(holes) = holes(connection) {
        let _told = reports.iter_mut().any(|report| report.weaken(Probe::Role, &holes));
    }
    let phase = |report: &Report| {
        tables.iter().find(|(_, spec)| spec.table.to_string() == report.table).map(|(phase, _)| phase.clone())
    };
    Ok(reports.into_iter().map(|report| verified(phase(&report), report)).collect())
}

/// The known holes in row-level security of the server's version.
fn holes(connection: &Connection) -> Option<String> {
    let version = u32::try_from(connection.server_version_num).unwrap_or(0);
    let told = |fault: &Lacking| format!("{} ({}): {}", fault.cve, fault.since, fault.what);
    let all: Vec<String> = lacking(version).iter().map(told).collect();
    let server = format!("{}.{}", version / 10_000, version % 10_000);
    (!all.is_empty()).then(|| format!("the server's version, {server}, has known holes: {}", all.join("; ")))
}

/// A gate: what fails, else what could not be asked, else what is to be told.
pub(super) async fn measure_isolation(connection: &Connection, spec: &Spec) -> Result<Measured, DriveError> {
    let reports = isolation(connection, std::slice::from_ref(spec), Liberty::MayLock).await?;
    let failed: Vec<Finding> = reports.iter().flat_map(findings).collect();
    if !failed.is_empty() {
        return Ok(Measured::Failed(failed));
    }
    let unmeasured: Vec<String> = reports.iter().flat_map(unmeasured).collect();
    if !unmeasured.is_empty() || reports.is_empty() {
        return Ok(Measured::Unmeasurable(unmeasured.join("; ")));
    }
    let mut notes = Vec::new();
    for report in &reports {
        let of = |line: String| format!("{} as {}: {line}", report.table, report.role);
        notes.extend(report.asides().into_iter().map(of));
    }
    Ok(if notes.is_empty() { Measured::Passed } else { Measured::Noted(notes) })
}

/// What could not be asked.
fn unmeasured(report: &Report) -> Vec<String> {
    let told = |asked: &Asked| format!("{} {}: {}", asked.probe.code(), asked.title, asked.verdict.why());
    report.unmeasured().map(told).collect()
}

/// Why tables cannot be asked, before anything is touched: nobody whom the migrating role may be, and no connection string. A role
/// that the plan makes is not there yet. Of a run that goes on only what is still to come is asked for.
pub async fn unaskable(
    connection: &Connection,
    program: &Program,
    run: Option<&Run>,
) -> Result<Option<String>, DriveError> {
    let gates = program
        .phases
        .iter()
        .enumerate()
        .flat_map(|(p, phase)| phase.gates.iter().enumerate().map(move |(g, gate)| (p, g, gate)));
    for (_, _, gate) in gates.filter(|(p, g, _)| run.is_none_or(|run| !run.gate_passed(*p, *g))) {
        let asked: Vec<(String, &Ident)> = match &gate.measure {
            Measure::Isolation(spec) if connection.origin().app.is_none() => {
                spec.roles.iter().map(|role| (spec.table.to_string(), role)).collect()
            }
            Measure::Latency(gauge) => gauge
                .probes
                .iter()
                .map(|probe| (format!("probe {}, by SET ROLE in any case,", probe.name), &probe.role))
                .collect(),
            Measure::Isolation(_) | Measure::Query | Measure::Tenants(_) | Measure::Approval(_) => Vec::new(),
        };
        for (what, role) in asked {
            if let Some(why) = untakeable(connection, role).await? {
                return Ok(Some(format!("{what} is asked as {role} once it is protected, and that cannot be: {why}")));
            }
        }
    }
    Ok(None)
}

fn verified(phase: Option<String>, report: Report) -> Verified {
    let findings = findings(&report);
    let unmeasured = unmeasured(&report);
    let verdict = match (findings.is_empty(), unmeasured.is_empty()) {
        (false, _) => Verdict::Failed(findings),
        (true, false) => Verdict::Unmeasurable(unmeasured.join("; ")),
        (true, true) => Verdict::Passed,
    };
    Verified { isolation: Some(report.clone()), ..Verified::new(phase, title(&report), verdict) }
}

/// Everything that fails, as a gate finds it.
pub(super) fn findings(report: &Report) -> Vec<Finding> {
    let found = |asked: &Asked| Finding {
        what: format!(
            "{} as {}: {} {}: {}",
            report.table,
            report.role,
            asked.probe.code(),
            asked.title,
            asked.verdict.why()
        ),
        count: 1,
        example: None,
    };
    report.failures().map(found).collect()
}

fn title(report: &Report) -> String {
    let way = match report.way {
        Way::SetRole => "by SET ROLE",
        Way::Login => "by its own login",
        Way::Pooler => "by its own login, through a pooler",
    };
    if let [only] = report.probes.as_slice()
        && only.probe == Probe::Role
    {
        return format!("isolation of {} as {}, {way}: not asked", report.table, report.role);
    }
    let held = report.probes.iter().filter(|asked| matches!(asked.verdict, Probed::Holds(_))).count();
    if report.is_of_the_pooler() {
        return format!("what a pool keeps, as {}: {held} of {} probes hold", report.role, report.probes.len());
    }
    format!("isolation of {} as {}, {way}: {held} of {} probes hold", report.table, report.role, report.probes.len())
}
