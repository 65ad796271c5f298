//! A variant of the plan in which a step fails, chosen by its id: `demo --fail-at`.

use anyhow::bail;

use crate::plan::parse;

/// The plan's text with a step that raises an error in front of the step `id`, and the phase that it is in.
///
/// `id` is a step's id (`users-rls`), or `phase/step` where two phases have steps of that id.
pub fn sabotage(text: &str, id: &str) -> anyhow::Result<(String, String)> {
    let (plan, _) = parse(text, &|path| Err(format!("the demo's plan names no file, and here is {path}")));
    let Some(plan) = plan else { bail!("the demo's own plan cannot be read") };
    let known = plan.phases.iter().flat_map(|phase| phase.steps.iter().map(move |step| (phase.id.as_str(), step)));
    let Some((phase, step)) = known.clone().find(|(phase, step)| step.id == id || format!("{phase}/{}", step.id) == id)
    else {
        let ids: Vec<&str> = known.map(|(_, step)| step.id.as_str()).collect();
        bail!("the demo's plan has no step `{id}`; --fail-at takes one of: {}", ids.join(", "))
    };
    let fails = "{ id = \"fails-on-purpose\", kind = \"sql\", description = \"fail on purpose\", \
                 up = \"DO $$ BEGIN RAISE EXCEPTION 'this step fails because of --fail-at'; END $$\", \
                 down = \"-- it did nothing\" },\n    ";
    let (head, tail) = text.split_at(step.span.start);
    Ok((format!("{head}{fails}{tail}"), phase.to_owned()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::demo::alphapulse::PLAN;

    #[track_caller]
    fn check(id: &str, phase: &str, next: &str) {
        let (text, found) = sabotage(PLAN, id).unwrap();
        assert_eq!(found, phase);
        let (plan, diags) = parse(&text, &|_| Err(String::new()));
        let plan = plan.unwrap_or_else(|| panic!("{diags:?}"));
        let steps: Vec<&str> = plan.phases.iter().flat_map(|p| p.steps.iter().map(|s| s.id.as_str())).collect();
        let at = steps.iter().position(|s| *s == "fails-on-purpose").unwrap();
        assert_eq!(steps[at + 1], next);
    }

    #[test]
    fn any_step_can_be_made_to_fail() {
        check("tenants", "schema", "tenants");
        check("trades-capture", "schema", "trades-capture");
        check("users_tenant_email_key", "constraints", "users_tenant_email_key");
        check("rls/users-rls", "rls", "users-rls");
        let error = sabotage(PLAN, "nothing").unwrap_err().to_string();
        assert!(error.contains("one of: tenants, users-tenant_id"), "{error}");
    }
}
