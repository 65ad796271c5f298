//! What a user reads of a plan that is wrong, plan by plan, and that plans that are right say nothing. No server.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use tenantmig::{
    diag::Diags,
    plan::{Plan, parse},
};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/plans").join(name)
}

/// The plans of a folder by name, in the order of their names.
fn plans(name: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder(name)).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ext| ext == "toml") {
            let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
            found.push((stem, fs::read_to_string(&path).unwrap()));
        }
    }
    found.sort();
    found
}

/// Reads a plan of the folder, and the files that it names beside it.
fn read(name: &str, source: &str) -> (Option<Plan>, Diags) {
    let beside = folder(name);
    parse(source, &|path| fs::read_to_string(beside.join(path)).map_err(|error| error.to_string()))
}

#[test]
fn bad_plans_are_told_what_is_wrong_and_where() {
    const BAD_MIN: usize = 36;
    let bad = plans("bad");
    assert!(bad.len() >= BAD_MIN, "only {} bad plans", bad.len());
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(folder("snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let mut differing = Vec::new();
    for (name, source) in &bad {
        let (plan, diags) = read("bad", source);
        assert!(!diags.0.is_empty(), "{name}: nothing found");
        assert_eq!(plan.is_none(), diags.has_errors(), "{name}");
        let text = diags.render(&format!("{name}.toml"), source, false);
        let same = || settings.bind(|| insta::assert_snapshot!(name.as_str(), text));
        if catch_unwind(AssertUnwindSafe(same)).is_err() {
            differing.push(name.as_str());
        }
    }
    assert!(differing.is_empty(), "these read otherwise than before: {}", differing.join(", "));
}

/// Laws of every finding, whatever the plan.
#[track_caller]
fn check_findings(name: &str, source: &str, diags: &Diags) {
    for (i, d) in diags.0.iter().enumerate() {
        let places = [Some(&d.span), d.other.as_ref().map(|(span, _)| span)];
        for span in places.into_iter().flatten() {
            assert!(source.get(span.clone()).is_some(), "{name}: {span:?} is no place: {d:?}");
            assert!(
                !span.is_empty() || source.is_empty() || span.start == source.len(),
                "{name}: marks nothing: {d:?}"
            );
        }
        assert!(d.code.len() == 6 && d.code.starts_with("TM0"), "{name}: {d:?}");
        assert!(!d.message.is_empty() && !d.message.ends_with('.') && !d.message.contains('\n'), "{name}: {d:?}");
        let again = diags.0[..i].iter().any(|e| (e.code, &e.message, &e.span) == (d.code, &d.message, &d.span));
        assert!(!again, "{name}: said twice: {d:?}");
    }
}

#[test]
fn every_finding_marks_a_place_once() {
    for (name, source) in plans("bad") {
        check_findings(&name, &source, &read("bad", &source).1);
    }
}
