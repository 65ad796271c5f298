//! The audit as JUnit XML: a class is a test case, which fails with its findings.

use quick_junit::{NonSuccessKind, Report as Junit, TestCase, TestCaseStatus, TestSuite};

use super::report::Report;
use crate::{
    audit::{Look, rules},
    cli::failure::CliError,
    exit::Exit,
    hazards::Hazard,
};

/// A class that could not be looked for is skipped, and so is one all of whose findings are waived.
pub fn junit(report: &Report) -> Result<String, CliError> {
    let mut suite = TestSuite::new("isolation");
    for rule in rules() {
        let mut case = TestCase::new(format!("{} {}", rule.code, rule.title), status(report, rule.code, rule.look));
        case.set_classname("tenantmig.audit");
        suite.add_test_case(case);
    }
    let mut junit = Junit::new("tenantmig audit");
    junit.add_test_suite(suite);
    junit.to_string().map_err(|error| CliError::new(Exit::Failed, error.to_string(), "another --format"))
}

fn status(report: &Report, code: &str, look: Look) -> TestCaseStatus {
    let open: Vec<&Hazard> = report.sorted.open.iter().filter(|finding| finding.code == code).collect();
    if let Some(first) = open.first() {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        let lines: Vec<String> = open.iter().map(|finding| line(finding)).collect();
        status.set_type(first.severity.word()).set_message(first.why).set_description(lines.join("\n"));
        return status;
    }
    let skipped = |why: String| {
        let mut status = TestCaseStatus::skipped();
        status.set_message(why);
        status
    };
    let not_asked = match look {
        Look::Elsewhere(why) => Some(why),
        Look::Probes(why) => Some(why).filter(|_| !report.probed),
        Look::Text(_) | Look::Built(_) | Look::AsHazard(_) | Look::Policies(_) => None,
    };
    if let Some(why) = not_asked {
        return skipped(why.to_owned());
    }
    if let Some(unmeasured) = report.unmeasured.iter().find(|unmeasured| unmeasured.codes.contains(&code)) {
        return skipped(unmeasured.why.clone());
    }
    match report.sorted.waived.iter().find(|(finding, _)| finding.code == code) {
        Some((_, waiver)) => skipped(format!("waived until {}: {}", waiver.expires, waiver.reason)),
        None => TestCaseStatus::success(),
    }
}

fn line(finding: &Hazard) -> String {
    let fix = finding.sql.as_deref().unwrap_or(finding.fix);
    let evidence = finding.evidence.as_ref().map_or(String::new(), |evidence| format!(" ({evidence})"));
    format!("{}: {}{evidence}; fix: {fix}", finding.object, finding.what)
}
