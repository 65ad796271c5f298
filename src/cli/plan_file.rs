//! A plan file, read and judged.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::{failure::CliError, session::Context};
use crate::{
    diag::Diags,
    exit::Exit,
    plan::{Fingerprint, Plan, parse},
};

/// A plan without errors.
#[derive(Debug)]
pub struct PlanFile {
    pub path: PathBuf,
    pub text: String,
    pub plan: Plan,
    pub fingerprint: Fingerprint,
    pub warnings: Diags,
}

/// Reads a plan; its diagnostics are printed, and an error among them ends the command with 65.
pub fn load(context: &Context, path: &Path) -> Result<PlanFile, CliError> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        CliError::new(
            Exit::PlanInvalid,
            format!("cannot read the plan {}: {error}", path.display()),
            "give the path of a plan file, such as plans/minimal.toml",
        )
    })?;
    let files = RefCell::new(Vec::new());
    let folder = path.parent().unwrap_or(Path::new("."));
    let read = |name: &str| {
        let text = std::fs::read_to_string(folder.join(name)).map_err(|error| error.to_string())?;
        files.borrow_mut().push((name.to_owned(), text.clone()));
        Ok(text)
    };
    let (plan, diags) = parse(&text, &read);
    show(context, path, &text, &diags);
    let Some(plan) = plan else { return Err(invalid(path, &diags)) };
    let fingerprint = Fingerprint::of(&text, &files.borrow()).map_err(|error| {
        CliError::new(Exit::PlanInvalid, error.to_string(), format!("tenantmig validate {}", path.display()))
    })?;
    Ok(PlanFile { path: path.to_owned(), text, plan, fingerprint, warnings: diags })
}

/// Prints diagnostics on standard error.
pub fn show(context: &Context, path: &Path, text: &str, diags: &Diags) {
    if !diags.0.is_empty() {
        context.console.tell(&diags.render(&path.display().to_string(), text, context.console.err.color));
        let codes: BTreeSet<&str> = diags.0.iter().map(|diag| diag.code).collect();
        let code = codes.first().filter(|_| codes.len() == 1).unwrap_or(&"CODE");
        context
            .console
            .tell(&format!("\nmore about {}: tenantmig explain {code}", if codes.len() == 1 { "it" } else { "each" }));
    }
}

/// The end of a command whose plan has errors.
pub fn invalid(path: &Path, diags: &Diags) -> CliError {
    let (errors, _) = diags.counts();
    let errors = if errors == 1 { "1 error".to_owned() } else { format!("{errors} errors") };
    CliError::new(
        Exit::PlanInvalid,
        format!("{} has {errors}; nothing was touched", path.display()),
        format!("mend the places above, then: tenantmig validate {}", path.display()),
    )
}
