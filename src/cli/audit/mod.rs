//! `audit`: what leaks, breaks or slows isolation in a database as it stands.

mod junit;
mod markdown;
pub mod options;
mod report;
mod sarif;
mod text;

use std::path::Path;

use self::{options::Audit, report::Report};
use super::{args::Form, failure::CliError, plan_file, session::Context};
use crate::{
    audit::{Look, rules, tenancy::Tenancy, waivers::Waivers},
    exit::Exit,
    hazards::Unmeasured,
    latency::Spec,
    pg::{self, Audited, Fault, connect::Connection, latency::answers},
};

/// Prints what it found: 3 when anything is open, a waiver has expired; 75 when a class could not be asked.
pub async fn run(context: &Context, args: &Audit) -> Result<Exit, CliError> {
    let waivers = waivers(args.waivers.as_deref())?;
    let (tenancy, probes) = tenancy(context, args)?;
    let session = context.look().await?;
    let ledger = context.schema()?;
    let mut audited = pg::audit(&session, tenancy, ledger.as_str()).await?;
    if audited.tenancy.column.is_none() {
        let message = "no policy compares a tenant column, and no tables have one of a usual name";
        return Err(CliError::new(Exit::Refused, message, "say which it is: tenantmig audit --column tenant_id"));
    }
    probed(&session, &probes, &mut audited).await?;
    let today = chrono::Utc::now().date_naive();
    let report = Report { probed: !probes.is_empty(), ..Report::new(audited, &waivers, today) };
    let text = match context.console.form {
        Form::Text | Form::Html => {
            context.console.show(&text::text(&report))?;
            return Ok(exit(&report));
        }
        Form::Json => report.json().to_string(),
        Form::Ndjson => report.lines_of_json(),
        Form::Sarif => sarif::sarif(&report).to_string(),
        Form::Junit => junit::junit(&report)?,
        Form::Markdown => markdown::markdown(&report),
    };
    context.console.print(&text)?;
    Ok(exit(&report))
}

fn exit(report: &Report) -> Exit {
    match (report.sorted.open.is_empty(), report.failed.is_empty()) {
        (false, _) => Exit::Findings,
        (true, false) => Exit::Temporary,
        (true, true) => Exit::Done,
    }
}

pub(super) fn waivers(path: Option<&Path>) -> Result<Waivers, CliError> {
    let Some(path) = path else { return Ok(Waivers::default()) };
    let wrong = |why: String| {
        let advice = "each is [[waiver]] with code, object, reason and expires = 2027-01-31";
        CliError::new(Exit::Usage, format!("--waivers {}: {why}", path.display()), advice)
    };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let codes: Vec<&str> = rules().iter().map(|rule| rule.code).collect();
    Waivers::read(&text, &codes).map_err(wrong)
}

/// Asks the queries of the plan that expect an answer, each as its tenants, in READ ONLY transactions that are rolled back.
async fn probed(session: &Connection, probes: &[Spec], audited: &mut Audited) -> Result<(), Fault> {
    let Some(rule) = rules().into_iter().find(|rule| matches!(rule.look, Look::Probes(_))) else { return Ok(()) };
    for spec in probes {
        let object = format!("probe {} as {}", spec.name, spec.role);
        match answers(session, spec).await? {
            Ok(wrong) => {
                let rows = wrong.into_iter().map(|what| (object.clone(), what, None, None));
                audited.survey.hazards.extend(rows.map(|row| rule.finding(row)));
            }
            Err(why) => {
                // Nobody is to take it for answered.
                audited.failed.push(rule.code);
                audited.survey.unmeasured.push(Unmeasured {
                    codes: vec![rule.code],
                    why: format!("{object}: {why}"),
                    advice: Some("mend that, and try again".to_owned()),
                });
            }
        }
    }
    Ok(())
}

/// Who the tenants are, and which queries of the plan expect an answer.
fn tenancy(context: &Context, args: &Audit) -> Result<(Tenancy, Vec<Spec>), CliError> {
    let mut tenancy = Tenancy {
        column: args.column.clone(),
        setting: args.setting.clone(),
        function: args.function.clone(),
        registry: args.registry.clone(),
        roles: args.roles.clone(),
        bypass: Vec::new(),
        shared: Vec::new(),
        force: true,
        told: Vec::new(),
    };
    let Some(path) = &args.plan else { return Ok((tenancy, Vec::new())) };
    let plan = plan_file::load(context, path)?.plan;
    let Some(said) = plan.tenancy else {
        let message = format!("{} has no [tenancy], so it says nothing of the tenants", path.display());
        return Err(CliError::new(Exit::Usage, message, "leave --plan out, or say --column and --setting"));
    };
    tenancy.told.push(format!("the tenancy is that of {}", path.display()));
    if tenancy.roles.is_empty() {
        tenancy.roles = said.roles;
    }
    tenancy.bypass = said.bypass;
    tenancy.column = Some(said.column);
    tenancy.setting = Some(said.setting);
    tenancy.function = said.function;
    tenancy.registry = Some(said.registry.table);
    tenancy.shared = plan.shared.into_iter().map(|shared| shared.name).collect();
    tenancy.force = said.force;
    Ok((tenancy, plan.probes.into_iter().filter(|probe| probe.expect.is_some()).collect()))
}
