//! Which tables of a run are protected by now, and what asking them as the application gave.

use std::collections::BTreeMap;

use tokio_postgres::Client;

use super::{
    error::DriveError,
    verify::{Verdict, Verified},
};
use crate::{
    engine::{Finding, Program, Run, UnitState},
    isolation::{Probe, Report, Spec, Verdict as Probed, Way},
    pg::{
        connect::Connection,
        isolation::{IsolationError, isolation},
        lacks,
    },
    plan::Tenancy,
    sql::QName,
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
    let mut known: BTreeMap<QName, usize> = BTreeMap::new();
    for (number, (p, unit)) in program.units().enumerate() {
        if !unit.guards_rows || !matches!(state.unit(number), UnitState::Done { .. }) {
            continue;
        }
        for table in &unit.lock.on {
            if known.insert(table.clone(), out.len()).is_none() {
                out.push((program.phases[p].id.clone(), tenancy.isolation_of(table)));
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
        return Ok(vec![Verified {
            phase: None,
            what: "isolation, as the application".to_owned(),
            verdict: Verdict::Untried(why.to_owned()),
            isolation: None,
        }]);
    }
    // A plan may protect what belongs to no tenant by policies of its own.
    let mut others = Vec::new();
    for (_, spec) in &tables {
        let column = Object::Column(spec.table.clone(), spec.column.clone());
        if connection.with(async |client: &Client| lacks(client, &column, false).await).await?.is_some() {
            others.push(spec.table.clone());
        }
    }
    tables.retain(|(_, spec)| !others.contains(&spec.table));
    let specs: Vec<Spec> = tables.iter().map(|(_, spec)| spec.clone()).collect();
    let reports = isolation(connection, &specs).await?;
    let phase = |report: &Report| {
        tables.iter().find(|(_, spec)| spec.table.to_string() == report.table).map(|(phase, _)| phase.clone())
    };
    Ok(reports.into_iter().map(|report| verified(phase(&report), report)).collect())
}

fn verified(phase: Option<String>, report: Report) -> Verified {
    let findings = findings(&report);
    let unmeasured: Vec<String> = report
        .unmeasured()
        .map(|asked| format!("{} {}: {}", asked.probe.code(), asked.title, asked.verdict.why()))
        .collect();
    let verdict = match (findings.is_empty(), unmeasured.is_empty()) {
        (false, _) => Verdict::Failed(findings),
        (true, false) => Verdict::Unmeasurable(unmeasured.join("; ")),
        (true, true) => Verdict::Passed,
    };
    Verified { phase, what: title(&report), verdict, isolation: Some(report) }
}

/// Everything that fails, as a gate finds it.
pub(super) fn findings(report: &Report) -> Vec<Finding> {
    let found = |asked: &crate::isolation::Asked| Finding {
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
    format!("isolation of {} as {}, {way}: {held} of {} probes hold", report.table, report.role, report.probes.len())
}
