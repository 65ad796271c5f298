//! Tables that a step compares with what an earlier one saw.

use std::collections::BTreeSet;

use super::types::Phase;
use crate::{
    diag::{Diag, Diags},
    steps::Object,
};

/// Every table that is watched was observed before.
pub(super) fn observed(phases: &[Phase], diags: &mut Diags) {
    let mut seen: BTreeSet<Object> = BTreeSet::new();
    for step in phases.iter().flat_map(|phase| &phase.steps) {
        for (key, object) in step.step.needs() {
            if let Object::Activity(table) = &object
                && !seen.contains(&object)
            {
                let place = step.keys.get(key).unwrap_or(&step.span).clone();
                let what = format!("no earlier step observes {table}, so there is nothing to compare with");
                diags.push(Diag::error("TM0369", place, what).help(format!(
                    "write a step before the change: kind = \"observe\", tables = [\"{table}\"], for = \"30s\""
                )));
            }
        }
        let made = step.step.makes().into_iter().map(|(object, _)| object);
        seen.extend(made.filter(|object| matches!(object, Object::Activity(_))));
    }
}
