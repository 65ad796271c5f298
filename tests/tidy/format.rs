//! Formatting. `cargo fmt` follows `mod` declarations and so passes over the kinds, which a macro declares.

use std::{fs, process::Command};

use crate::{
    none,
    source::{paths, root},
};

fn unformatted(folder: &std::path::Path, paths: &[String]) -> Vec<String> {
    let run =
        Command::new("rustfmt").args(["--check", "--edition", "2024", "-l"]).args(paths).current_dir(folder).output();
    let run = run.expect("rustfmt runs: rustup component add rustfmt");
    let said = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    if run.status.success() { Vec::new() } else { said.lines().map(|line| format!("not formatted: {line}")).collect() }
}

#[test]
fn every_file_is_formatted() {
    none(&unformatted(&root(), &paths()));
}

#[test]
fn a_planted_file_is_not() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(root().join("rustfmt.toml"), folder.path().join("rustfmt.toml")).unwrap();
    fs::write(folder.path().join("good.rs"), "fn f() {}\n").unwrap();
    fs::write(folder.path().join("bad.rs"), "fn  f( ) { }\n").unwrap();
    none(&unformatted(folder.path(), &["good.rs".to_owned()]));
    let said = unformatted(folder.path(), &["good.rs".to_owned(), "bad.rs".to_owned()]);
    assert!(said.len() == 1 && said[0].contains("bad.rs"), "{said:?}");
}
