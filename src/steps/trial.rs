//! A step tried by itself, for the kinds' own tests: the findings of its check and the units it is lowered to.

use std::collections::BTreeMap;

use crate::{
    diag::Diags,
    plan::{Lowering, ServerFacts, parse},
    unit::Unit,
};

/// Reads one `[[phase.step]]`, with or without that line. The units are there when no finding is an error.
pub fn lower(step: &str, version_num: u32) -> (Vec<Unit>, Diags) {
    let body = step.trim().trim_start_matches("[[phase.step]]");
    let source = format!("format = 1\nname = \"t\"\n[[phase]]\nid = \"p\"\n[[phase.step]]\n{body}");
    let (plan, diags) = parse(&source, &|_| Err("no files here".to_owned()));
    let Some(plan) = plan else { return (Vec::new(), diags) };
    let made = BTreeMap::new();
    let mut units = Vec::new();
    for step in plan.phases.iter().flat_map(|phase| &phase.steps) {
        units.extend(step.step.lower(&Lowering {
            phase: "p",
            step: &step.id,
            server: ServerFacts { version_num },
            tenancy: None,
            backfill: &plan.backfill,
            filled: &Default::default(),
            made: &made,
        }));
    }
    (units, diags)
}

/// Asserts which codes the check of a step finds, in the order in which it finds them.
#[track_caller]
pub fn finds(step: &str, codes: &[&str]) {
    const VERSION: u32 = 150_000;
    let (_, diags) = lower(step, VERSION);
    let found: Vec<&str> = diags.0.iter().map(|d| d.code).collect();
    assert_eq!(found, codes, "{step}\n{diags:#?}");
}
