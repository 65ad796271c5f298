//! A variant of the plan in which a step fails, chosen by its id: `demo --fail-at`.

use anyhow::bail;

use crate::plan::{PlanStep, parse};

/// The plan with a step that raises an error in front of another one.
#[derive(Debug, Clone)]
pub struct Sabotage {
    /// The step that is not reached, as the user named it.
    pub step: String,
    /// The phase that it is in.
    pub phase: String,
    /// The plan's text.
    pub plan: String,
}

impl Sabotage {
    /// `step` is a step's id (`users-rls`), or `phase/step` where two phases have steps of that id.
    pub fn at(text: &str, step: &str) -> anyhow::Result<Self> {
        let (plan, _) = parse(text, &|path| Err(format!("the demo's plan names no file, and here is {path}")));
        let Some(plan) = plan else { bail!("the demo's own plan cannot be read") };
        let known = plan.phases.iter().flat_map(|phase| phase.steps.iter().map(move |step| (phase.id.as_str(), step)));
        let is_meant = |(phase, known): &(&str, &PlanStep)| known.id == step || format!("{phase}/{}", known.id) == step;
        let Some((phase, found)) = known.clone().find(is_meant) else {
            let ids: Vec<&str> = known.map(|(_, step)| step.id.as_str()).collect();
            bail!("the demo's plan has no step `{step}`; it has: {}", ids.join(", "))
        };
        let fails = "{ id = \"fails-on-purpose\", kind = \"sql\", description = \"fail on purpose\", \
                     up = \"DO $$ BEGIN RAISE EXCEPTION 'this step fails because of --fail-at'; END $$\", \
                     down = \"-- it did nothing\" },\n    ";
        let (head, tail) = text.split_at(found.span.start);
        Ok(Self { step: step.to_owned(), phase: phase.to_owned(), plan: format!("{head}{fails}{tail}") })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::demo::alphapulse::PLAN;

    #[track_caller]
    fn check(id: &str, phase: &str, next: &str) {
        let sabotage = Sabotage::at(PLAN, id).unwrap();
        assert_eq!(sabotage.phase, phase);
        let (plan, diags) = parse(&sabotage.plan, &|_| Err(String::new()));
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
        let error = Sabotage::at(PLAN, "nothing").unwrap_err().to_string();
        assert!(error.contains("it has: tenants, users-tenant_id"), "{error}");
    }
}
