//! What the guards of a rollback found, and whether who asks for it agrees to that.

use super::{args, failure::CliError, session::host};
use crate::{
    checks::Consent,
    engine::{Agreed, Found, Given, Held, Program, PutOff, Run, named, option, options, unenforced},
    exit::Exit,
};

/// Who sees rows that row-level security hides from a plain owner.
const BYPASSES: &str = "a member of the owner with BYPASSRLS (-U or --role)";

/// What to type where a guard that was put off stopped a rollback; its finding stands beside it.
pub const GUARD_NEXT: &str = "mend what the guard found, then: tenantmig resume; or agree, by tenantmig rollback with its option; or enforce again: tenantmig resume --forward";

/// The consents for all that was found, or a refusal that says all of it and what would let it pass.
pub fn agreed(found: Vec<Found>, args: &args::Rollback, by: &str) -> Result<Vec<Given>, CliError> {
    let given = |consent: Consent| match consent {
        Consent::DataLoss => args.allow_data_loss,
        Consent::Exposure => args.accept_exposure,
    };
    let open: Vec<&Found> = found.iter().filter(|found| !found.consent.is_some_and(given)).collect();
    if !open.is_empty() {
        let said: Vec<String> = open.iter().map(ToString::to_string).collect();
        let message = format!("what a guard forbids would be undone; nothing was changed\n{}", said.join("\n"));
        let again = format!("tenantmig rollback --to {}", args.to);
        let advice = match options(found.iter()) {
            Some(all) => format!("mend it, or agree to it: {again} {}", all.join(" ")),
            None => "mend it, or roll back to a later phase; no option lets this pass".to_owned(),
        };
        let blind = found.iter().any(Found::is_unmeasured);
        let look = if blind { format!("; what this role may not see, {BYPASSES} may: {again}") } else { String::new() };
        return Err(CliError::new(Exit::Refused, message, format!("{advice}{look}")));
    }
    let agree = |found: Found| {
        found.consent.map(|consent| Given { consent, by: by.to_owned(), host: host(), found: found.clone() })
    };
    Ok(found.into_iter().filter_map(agree).collect())
}

/// What the options agree to beforehand, for guards that are put off.
pub fn beforehand(args: &args::Rollback, by: &str) -> Vec<Agreed> {
    let given = [(args.allow_data_loss, Consent::DataLoss), (args.accept_exposure, Consent::Exposure)];
    let agree = |consent| Agreed { consent, by: by.to_owned(), host: host() };
    given.into_iter().filter(|(given, _)| *given).map(|(_, consent)| agree(consent)).collect()
}

/// What a cycle agrees to beforehand: the same as to what is found at once.
pub fn of_a_cycle_beforehand() -> Vec<Agreed> {
    let agree = |consent| Agreed { consent, by: "cycle".to_owned(), host: host() };
    [Consent::DataLoss, Consent::Exposure].map(agree).to_vec()
}

/// The words for guards that are put off: what is told before anything is touched.
pub fn later(put_off: &[PutOff]) -> Vec<String> {
    let each = put_off.iter().map(|one| format!("a guard is put off: {one}"));
    let by_a_role = put_off.iter().any(|one| !one.aside);
    let then = format!(
        "what such a guard finds stops the rollback there, with row-level security off what is undone by then; \
         to ask all of them before: the same command as {BYPASSES}"
    );
    let there = "what such a guard finds stops the rollback there, with what was put aside back".to_owned();
    let last = if by_a_role { then } else { there };
    each.chain((!put_off.is_empty()).then_some(last)).collect()
}

/// Which tables stand without row-level security while a rollback waits.
pub fn exposed(program: &Program, run: &Run) -> String {
    match unenforced(program, run).as_slice() {
        [] => "all that the plan protects is protected".to_owned(),
        off => format!("ROW-LEVEL SECURITY IS OFF {}", named(off)),
    }
}

/// What to type where a guard that was put off found something: nothing of what it guards is undone, and what was undone
/// before it stays so.
pub fn way_on_at(found: &Found, keep: &str) -> String {
    let agree = found.consent.map_or(String::new(), |consent| {
        format!("agree to it: tenantmig rollback --to {keep} {}; or ", option(consent))
    });
    format!(
        "mend it, then: tenantmig resume; or {agree}go forward again, which enforces again: tenantmig resume --forward"
    )
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
