//! What is measured on the database for the page, where the user asks for it.

use uuid::Uuid;

use super::options::Report;
use crate::{
    cli::{failure::CliError, session::Context},
    driver::{self, Verdict, Verified},
    evidence::{Checked, Finding, Latency, Matrix, Section, Tone},
    pg::connect::Connection,
    sql::Ident,
};

/// The parts of the page that are not in the ledger.
pub(super) struct Measured {
    pub verified: Section<Vec<Checked>>,
    pub isolation: Section<Matrix>,
    pub audit: Section<Vec<Finding>>,
    pub latency: Section<Vec<Latency>>,
}

const NOT_BUILT: &str = "this version of tenantmig cannot measure it";

/// Measures what was asked for.
pub(super) async fn measured(
    context: &Context,
    session: &Connection,
    schema: &Ident,
    run: Uuid,
    args: &Report,
) -> Result<Measured, CliError> {
    let verified = if args.verify {
        match driver::verify(session, schema, Some(run)).await {
            Ok(all) => Section::Given(all.into_iter().map(checked).collect()),
            // A page about a damaged ledger is written all the same.
            Err(driver::DriveError::Ledger(error)) => {
                context.console.note(&format!("note: not verified: {error}"));
                Section::Missing(error.to_string())
            }
            Err(error) => return Err(error.into()),
        }
    } else {
        Section::Missing("the report was made without --verify".to_owned())
    };
    Ok(Measured {
        verified,
        isolation: Section::Missing(NOT_BUILT.to_owned()),
        audit: Section::Missing(NOT_BUILT.to_owned()),
        latency: Section::Missing(NOT_BUILT.to_owned()),
    })
}

fn checked(verified: Verified) -> Checked {
    let Verified { phase, what, verdict } = verified;
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
    };
    Checked { phase, what, tone, result: result.to_owned(), details }
}
