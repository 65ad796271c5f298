//! The example of each code is read as a plan, and gives that very code.

use tenantmig::{
    codes::{Example, meanings},
    plan::parse,
};

const HEAD: &str = "format = 1\nname = \"x\"\n";
const TENANCY: &str = "[tenancy]\nregistry = { table = \"app.tenants\", key = \"id\", type = \"uuid\" }\ncolumn = \"tenant_id\"\nsetting = \"app.tenant_id\"\n";
const PHASE: &str = "[[phase]]\nid = \"p\"\n";
const STEP: &str = "[[phase.step]]\nkind = \"sql\"\nup = \"SELECT 1\"\ndown = \"-- nothing\"\n";

/// What an example may stand in: it shows only what the code is about.
fn around(example: &str) -> [String; 8] {
    [
        example.to_owned(),
        format!("{HEAD}{example}"),
        format!("{HEAD}{TENANCY}{example}"),
        format!("{HEAD}{PHASE}{example}"),
        format!("{HEAD}{TENANCY}{PHASE}{example}"),
        format!("{HEAD}{PHASE}{STEP}{example}"),
        format!("{HEAD}{TENANCY}{PHASE}{STEP}{example}"),
        format!("{HEAD}{example}{PHASE}{STEP}"),
    ]
}

fn codes_of(plan: &str) -> Vec<&'static str> {
    parse(plan, &|_| Err("not there".to_owned())).1.0.iter().map(|diag| diag.code).collect()
}

#[test]
fn every_example_gives_its_code_and_little_else() {
    let mut wrong = Vec::new();
    for meaning in meanings() {
        let Example::Plan(example) = meaning.example else { continue };
        let told: Vec<Vec<&str>> = around(example).iter().map(|plan| codes_of(plan)).collect();
        // By itself: an example that is wrong in two ways shows neither.
        if !told.iter().any(|codes| !codes.is_empty() && codes.iter().all(|code| *code == meaning.code)) {
            wrong.push(format!("{}: {told:?}\n{example}", meaning.code));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
