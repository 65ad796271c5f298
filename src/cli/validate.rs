//! `validate`: reads a plan without a database.

use serde_json::json;

use super::{args, args::Format, failure::CliError, plan_file::load, session::Context};
use crate::{engine::lower, exit::Exit, plan::ServerFacts, report::quantity};

/// Prints what the plan holds; 65 when it has an error.
pub fn run(context: &Context, args: &args::PlanFile) -> Result<Exit, CliError> {
    let file = load(context, &args.path())?;
    let program = lower(&file.plan, ServerFacts::default());
    let (phases, units) = (program.phases.len(), program.units().count());
    let gates: usize = program.phases.iter().map(|phase| phase.gates.len()).sum();
    let (_, warnings) = file.warnings.counts();
    match context.console.format {
        Format::Text => {
            let warned = if warnings == 0 { String::new() } else { format!(", {warnings} warnings") };
            let tables = match file.plan.tables.len() {
                0 => String::new(),
                n => format!("{} in ", quantity::counted(n as u64, "table", "tables")),
            };
            context.console.show(&format!(
                "{}: valid{warned}. Plan `{}`, {tables}{phases} phases, {units} units, {gates} gates, fingerprint {}",
                file.path.display(),
                file.plan.name,
                file.fingerprint.short()
            ))?;
        }
        Format::Json | Format::Ndjson => {
            let value = json!({
                "v": 1, "valid": true, "plan": file.plan.name, "fingerprint": file.fingerprint,
                "tables": file.plan.tables.len(), "shared": file.plan.shared.len(),
                "phases": phases, "units": units, "gates": gates, "warnings": warnings,
            });
            context.console.print(&value.to_string())?;
        }
    }
    Ok(Exit::Done)
}
