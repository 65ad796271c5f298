//! Each code that the source tells is explained, once, and no other is.

use std::collections::{BTreeMap, BTreeSet};

use tenantmig::{audit, codes, hazards};

use crate::{
    found, none,
    source::{File, files},
};

/// The codes of a text: TM and four digits, quoted.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    let code = |at: usize| text.get(at + 1..at + 7).filter(|_| text.get(at + 7..at + 8) == Some("\""));
    let is_code = |code: &&str| code[2..].bytes().all(|byte| byte.is_ascii_digit());
    text.match_indices("\"TM").filter_map(move |(at, _)| code(at)).filter(is_code)
}

/// What is told and not explained, explained and not told, or explained twice.
fn violations(files: &[File], explained: &[&str]) -> Vec<String> {
    let mut told: BTreeMap<&str, &str> = BTreeMap::new();
    for file in files.iter().filter(|file| file.path.starts_with("src/") && !file.path.starts_with("src/codes/")) {
        quoted(&file.spoken).for_each(|code| {
            told.entry(code).or_insert(&file.path);
        });
    }
    let once: BTreeSet<&str> = explained.iter().copied().collect();
    let missing = told.iter().filter(|(code, _)| !once.contains(*code));
    let missing = missing.map(|(code, path)| format!("{path}: {code} is told, and src/codes does not explain it"));
    let idle = once.iter().filter(|code| !told.contains_key(*code));
    let idle = idle.map(|code| format!("{code} is explained, and nothing tells it"));
    let twice = once.iter().filter(|code| explained.iter().filter(|other| other == code).count() > 1);
    let twice = twice.map(|code| format!("{code} is explained twice"));
    missing.chain(idle).chain(twice).collect()
}

#[test]
fn every_code_is_explained_once() {
    let of_plans = codes::meanings().into_iter().map(|meaning| meaning.code);
    let explained: Vec<&str> = of_plans
        .chain(hazards::kinds().map(|kind| kind.code))
        .chain(audit::rules().iter().map(|rule| rule.code))
        .collect();
    assert!(explained.len() > 200, "only {} codes", explained.len());
    none(&violations(&files(), &explained));
}

#[test]
fn what_is_not_explained_is_found() {
    let check = |text: &str, explained: &[&str], expect: &[&str]| {
        found(&violations(&[File::new("src/plan/x.rs", text)], explained), expect);
    };
    check("fn f() { tell(\"TM0101\") }", &["TM0101"], &[]);
    check("fn f() { tell(\"TM0101\", \"TM0102\") }", &["TM0101"], &["x.rs: TM0102 is told"]);
    check("/// \"TM0102\"\nfn f() { tell(\"TM0101\") }", &["TM0101", "TM0103"], &["TM0103 is explained"]);
    check("fn f() { tell(\"TM0101\") }", &["TM0101", "TM0101"], &["explained twice"]);
}
