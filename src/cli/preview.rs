//! Looks at the live database before a plan is applied: what would fail is found before anything is touched.

use super::{failure::CliError, plan_file, plan_file::PlanFile, session::Context};
use crate::{
    driver::{self, preflight},
    engine::Program,
    exit::Exit,
    pg::connect::Connection,
    plan::ServerFacts,
};

/// What lowering must know of the server.
pub fn facts(session: &Connection) -> ServerFacts {
    ServerFacts { version_num: u32::try_from(session.server_version_num).unwrap_or(0) }
}

/// What would fail is found before anything is touched.
pub async fn look_ahead(
    context: &Context,
    file: &PlanFile,
    program: &Program,
    session: &Connection,
) -> Result<(), CliError> {
    let diags = preflight(&session.client, &file.plan).await?;
    plan_file::show(context, &file.path, &file.text, &diags);
    if diags.has_errors() {
        let owner_only = diags.0.iter().all(|d| d.code == "TM0303");
        let mut error = plan_file::invalid(&file.path, &diags);
        if owner_only {
            error.exit = Exit::Privilege;
        }
        return Err(error);
    }
    let hidden = driver::hidden(&session.client, program).await?;
    if !hidden.is_empty() {
        let message = format!(
            "row-level security hides rows of {} from this role: a backfill would change a part of them, silently; nothing was touched",
            hidden.join(", ")
        );
        return Err(CliError::new(
            Exit::Privilege,
            message,
            "connect as a role with BYPASSRLS (-U or --role), or take FORCE off these tables first",
        ));
    }
    Ok(())
}
