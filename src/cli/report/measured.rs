//! What is measured on the database for the page, where the user asks for it.

use tokio_postgres::Client;

use super::{isolation::matrix, options::Report};
use crate::{
    audit::{
        tenancy::Tenancy,
        waivers::{Waiver, Waivers},
    },
    cli::{audit, failure::CliError, session::Context},
    driver::{self, DriveError, Verdict, Verified},
    evidence::{Audit, Checked, Finding, Latency, Matrix, Section, Tone, Unmeasured},
    exit::Exit,
    hazards::Hazard,
    ledger::{self, LedgerError, RunRecord},
    pg::{self, Class, connect::Connection},
    sql::Ident,
};

/// The parts of the page that are not in the ledger.
pub(super) struct Measured {
    pub verified: Section<Vec<Checked>>,
    pub isolation: Section<Matrix>,
    pub audit: Section<Audit>,
    pub latency: Section<Vec<Latency>>,
    /// Why not all of what was asked for could be measured.
    pub errors: Vec<CliError>,
}

/// Measures what was asked for.
pub(super) async fn measured(
    context: &Context,
    session: &Connection,
    schema: &Ident,
    run: &RunRecord,
    args: &Report,
) -> Result<Measured, CliError> {
    let without = |option: &str| format!("the report was made without {option}");
    let mut errors = Vec::new();
    let (verified, isolation) = if args.verify {
        match verified(session, schema, run).await {
            Ok((verified, isolation, untold)) => {
                errors.extend(untold);
                (verified, isolation)
            }
            Err(error) => {
                let error = told(error)?;
                let why = format!("it could not be measured: {}", error.message);
                errors.push(error);
                (Section::Missing(why.clone()), Section::Missing(why))
            }
        }
    } else {
        (Section::Missing(without("--verify")), Section::Missing(without("--verify")))
    };
    let audit = if args.audit {
        let waivers = audit::waivers(args.waivers.as_deref())?;
        match audited(session, schema, run, &waivers).await {
            Ok((audit, failed)) => {
                errors.extend(failed);
                audit
            }
            Err(error) => {
                let error = told(error)?;
                let why = format!("it could not be measured: {}", error.message);
                errors.push(error);
                Section::Missing(why)
            }
        }
    } else {
        Section::Missing(without("--audit"))
    };
    context.stop.check()?;
    // An older ledger has no such table.
    let latency = match latency(session, schema, run).await {
        Ok(latency) => latency,
        Err(error) => Section::Missing(format!("it could not be read: {}", told(error)?.message)),
    };
    Ok(Measured { verified, isolation, audit, latency, errors })
}

/// The newest measurement of each probe, as the ledger keeps it: at p95, under the policies and without them.
async fn latency(session: &Connection, schema: &Ident, run: &RunRecord) -> Result<Section<Vec<Latency>>, DriveError> {
    let read = async |client: &Client| ledger::measurements(client, schema, run.id).await;
    let mut rows: Vec<Latency> = Vec::new();
    for kept in session.with(read).await? {
        let one = kept.measurement;
        let Some(then) = one.reference.or(one.before) else { continue };
        let probe = format!("{} as {}", one.probe, one.role);
        if !rows.iter().any(|row| row.probe == probe) {
            rows.push(Latency {
                probe,
                before_ms: then.p95,
                after_ms: one.now.p95,
                budget: format!("{} % and {} ms", one.budget.percent, one.budget.ms),
                tone: if one.over.is_empty() { Tone::Good } else { Tone::Bad },
            });
        }
    }
    let why = "no gate of the run measured a [[probe]]".to_owned();
    Ok(if rows.is_empty() { Section::Missing(why) } else { Section::Given(rows) })
}

/// What the server or a damaged ledger refuses is said on the page, which is written all the same; a lost connection ends it.
fn told(error: DriveError) -> Result<CliError, CliError> {
    let refused = if let DriveError::Server(fault) | DriveError::Ledger(LedgerError::Server(fault)) = &error {
        fault.class != Class::Ambiguous
    } else {
        matches!(error, DriveError::Ledger(_))
    };
    let error = CliError::from(error);
    if refused { Ok(error) } else { Err(error) }
}

async fn verified(
    session: &Connection,
    schema: &Ident,
    run: &RunRecord,
) -> Result<(Section<Vec<Checked>>, Section<Matrix>, Option<CliError>), DriveError> {
    let all = driver::verify(session, schema, Some(run.id)).await?;
    let untold = untold(&all);
    let reports: Vec<_> = all.iter().filter_map(|verified| verified.isolation.as_ref()).collect();
    let isolation = match reports.as_slice() {
        [] => Section::Missing(untried(&all)),
        reports => Section::Given(matrix(reports)),
    };
    Ok((Section::Given(all.into_iter().map(checked).collect()), isolation, untold))
}

/// That something of it could not be told, as `verify` says it by its exit code.
fn untold(all: &[Verified]) -> Option<CliError> {
    let whys = all.iter().filter_map(|verified| match &verified.verdict {
        Verdict::Unmeasurable(why) => Some(format!("{}: {why}", verified.what)),
        Verdict::Passed | Verdict::Failed(_) | Verdict::Untried(_) => None,
    });
    first_of(whys, Exit::Privilege, "tenantmig verify says what each takes")
}

fn first_of(mut whys: impl Iterator<Item = String>, exit: Exit, advice: &str) -> Option<CliError> {
    let first = whys.next()?;
    let more = whys.count();
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    Some(CliError::new(exit, format!("{first}{more}"), advice))
}

/// Why nobody was asked.
fn untried(all: &[Verified]) -> String {
    let why = all.iter().find_map(|verified| match &verified.verdict {
        Verdict::Untried(why) => Some(why.clone()),
        Verdict::Passed | Verdict::Failed(_) | Verdict::Unmeasurable(_) => None,
    });
    why.unwrap_or_else(|| "no step of the run that stands protects a table".to_owned())
}

fn checked(verified: Verified) -> Checked {
    let Verified { phase, what, verdict, isolation: _, latency: _ } = verified;
    let (tone, result, details) = match verdict {
        Verdict::Passed => (Tone::Good, "passed", Vec::new()),
        Verdict::Failed(findings) => {
            let line = |f: crate::engine::Finding| {
                let example = f.example.map_or_else(String::new, |example| format!("; e.g. {example}"));
                format!("{}: {}{example}", f.what, f.count)
            };
            (Tone::Bad, "failed", findings.into_iter().map(line).collect())
        }
        Verdict::Unmeasurable(why) => (Tone::Caution, "cannot be told", vec![why]),
        Verdict::Untried(why) => (Tone::Plain, "not tried", vec![why]),
    };
    Checked { phase, what, tone, result: result.to_owned(), details }
}

async fn audited(
    session: &Connection,
    schema: &Ident,
    run: &RunRecord,
    waivers: &Waivers,
) -> Result<(Section<Audit>, Option<CliError>), DriveError> {
    let said = run.program.tenancy.clone();
    let Some(said) = said else { return Ok((Section::Missing("the plan has no [tenancy]".to_owned()), None)) };
    // Which tables belong to no tenant stands in the plan's text alone; one that reads files cannot be read here, and is audited
    // without.
    let plan = crate::plan::parse(&run.plan_text, &|_| Err("not kept".to_owned())).0;
    let tenancy = Tenancy {
        column: Some(said.column),
        setting: Some(said.setting),
        function: said.function,
        roles: said.roles,
        bypass: said.bypass,
        registry: Some(said.registry.table),
        shared: plan.map_or_else(Vec::new, |plan| plan.shared.into_iter().map(|shared| shared.name).collect()),
        force: said.force,
        told: Vec::new(),
    };
    let audited = pg::audit(session, tenancy, schema.as_str()).await.map_err(DriveError::Server)?;
    // As `audit` says it by its exit code.
    let failed = audited.failed.iter().map(|code| format!("{code} of the audit could not be looked for"));
    let failed = first_of(failed, Exit::Temporary, "tenantmig audit says why");
    let today = chrono::Utc::now().date_naive();
    let sorted = waivers.sort(audited.survey.hazards, today);
    let open = sorted.open.into_iter().map(|hazard| finding(hazard, None));
    let waived = sorted.waived.into_iter().map(|(hazard, waiver)| finding(hazard, Some(&waiver)));
    let findings = open.chain(waived).collect();
    let unmeasured = audited.survey.unmeasured.into_iter().map(|of| Unmeasured {
        codes: of.codes.into_iter().map(str::to_owned).collect(),
        why: of.why,
        advice: of.advice,
    });
    Ok((Section::Given(Audit { findings, unmeasured: unmeasured.collect() }), failed))
}

fn finding(hazard: Hazard, waiver: Option<&Waiver>) -> Finding {
    Finding {
        code: hazard.code.to_owned(),
        severity: hazard.severity.word().to_owned(),
        object: hazard.object,
        what: format!("{}: {}", hazard.title, hazard.what),
        fix: hazard.sql.unwrap_or_else(|| hazard.fix.to_owned()),
        waived: waiver.map(|waiver| format!("{}, until {}", waiver.reason, waiver.expires)),
    }
}
