//! What the guards of a rollback found, and whether who asks for it agrees to that.

use super::{args, failure::CliError, session::host};
use crate::{
    checks::Consent,
    engine::{Found, Given, Held, Program, Run, in_sight, option, options},
    exit::Exit,
};

/// The consents for all that was found, or a refusal that says all of it and what would let it pass.
pub fn agreed(
    found: Vec<Found>,
    args: &args::Rollback,
    by: &str,
    (program, run): (&Program, &Run),
) -> Result<Vec<Given>, CliError> {
    let given = |consent: Consent| match consent {
        Consent::DataLoss => args.allow_data_loss,
        Consent::Exposure => args.accept_exposure,
    };
    let open: Vec<&Found> = found.iter().filter(|found| !found.consent.is_some_and(given)).collect();
    if !open.is_empty() {
        let said: Vec<String> = open.iter().map(ToString::to_string).collect();
        let message = format!("what a guard forbids would be undone; nothing was changed\n{}", said.join("\n"));
        let again = format!("tenantmig rollback --to {}", args.to);
        let first = in_sight(program, run, &found).map(|keep| program.keep_name(keep));
        let advice = match (first, options(found.iter())) {
            // Two commands and not one: with RLS off, a finding must be for a person to decide by.
            (Some(first), all) => {
                let unseen =
                    all.map_or(String::new(), |all| format!("; or agree to it unseen: {again} {}", all.join(" ")));
                format!(
                    "tenantmig rollback --to {first}, which takes row-level security off, then again: {again}; \
                     or {again} as a member of the owner with BYPASSRLS (-U or --role){unseen}"
                )
            }
            (None, Some(all)) => format!("mend it, or agree to it: {again} {}", all.join(" ")),
            (None, None) => "mend it, or roll back to a later phase; no option lets this pass".to_owned(),
        };
        return Err(CliError::new(Exit::Refused, message, advice));
    }
    let agree = |found: Found| {
        found.consent.map(|consent| Given { consent, by: by.to_owned(), host: host(), found: found.clone() })
    };
    Ok(found.into_iter().filter_map(agree).collect())
}

/// What to type where guards held the rollback that a failure would have begun.
pub fn way_on(held: &Held) -> String {
    match options(&held.found) {
        Some(all) => format!(
            "mend the cause, then: tenantmig resume; or undo, and agree to what is told above: tenantmig rollback --to {} {}",
            held.keep,
            all.join(" ")
        ),
        None => format!(
            "mend the cause, then: tenantmig resume; or mend what the guards found, then: tenantmig rollback --to {}",
            held.keep
        ),
    }
}

/// The consents that a cycle gives: what it wrote itself may be lost, and what is lost of anything else its comparison finds.
pub fn of_a_cycle(found: Vec<Found>) -> Result<Vec<Given>, CliError> {
    let (free, fixed): (Vec<Found>, Vec<Found>) = found.into_iter().partition(|found| found.consent.is_some());
    if let Some(first) = fixed.first() {
        let message = format!("a guard forbids the way back: {first}");
        return Err(CliError::new(Exit::Refused, message, "mend what it found, or leave the guard out of this plan"));
    }
    let agree = |found: Found| {
        found.consent.map(|consent| Given { consent, by: "cycle".to_owned(), host: host(), found: found.clone() })
    };
    Ok(free.into_iter().filter_map(agree).collect())
}

/// The words of the option, for a preview.
pub fn needs(found: &Found) -> String {
    found.consent.map_or("no option lets it pass".to_owned(), |consent| format!("passes with {}", option(consent)))
}
