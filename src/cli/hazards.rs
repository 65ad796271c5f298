//! What `plan` says of the hazards in the database.

use serde_json::{Value, json};

use crate::{hazards::Survey, report::quantity};

/// The paragraph below the phases.
pub(super) fn text(survey: &Survey) -> String {
    let mut out = match survey.by_kind().len() {
        0 => "\nHazards: none found.\n".to_owned(),
        kinds => {
            let kinds = quantity::counted(u64::try_from(kinds).unwrap_or(u64::MAX), "kind", "kinds");
            format!("\nHazards in the database, {kinds}, the worst first; docs/hazards.md explains each:\n")
        }
    };
    out.extend(survey.lines().iter().map(|line| format!("  {line}\n")));
    out
}

/// The same for programs.
pub(super) fn json(survey: &Survey) -> Value {
    json!({ "found": survey.hazards, "not_looked_for": survey.unmeasured })
}
