//! What belongs together is there together: migrations and twins, kinds and their rows.

use std::{collections::BTreeSet, fs};

use tenantmig::{checks, steps};

use crate::{found, none, source::root};

/// Files beside the kinds that are none.
const SUPPORT: &[&str] = &["mod", "objects", "trial"];

/// A row of one of the two tables.
struct Row {
    name: &'static str,
    example: &'static str,
    source: &'static str,
}

fn names(folder: &str, extension: &str) -> BTreeSet<String> {
    let entries =
        fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    entries.filter(|name| name.ends_with(extension)).collect()
}

/// `schema` is the text of the file that lists the twins.
fn twinless(migrations: &BTreeSet<String>, twins: &BTreeSet<String>, schema: &str) -> Vec<String> {
    let mut out = Vec::new();
    for name in migrations.union(twins) {
        let (version, _) = name.trim_start_matches('V').split_once("__").unwrap_or_default();
        let row = format!("({version}, include_str!(\"../../rollback/{name}\"))");
        if !migrations.contains(name) {
            out.push(format!("rollback/{name} undoes no migration"));
        } else if !twins.contains(name) {
            out.push(format!("migrations/{name} has no twin in rollback/"));
        } else if !schema.contains(&row) {
            out.push(format!("src/ledger/schema.rs does not list {row}"));
        }
        if version.parse::<i32>().is_err() {
            out.push(format!("{name} is not called V<number>__<what>.sql"));
        }
    }
    out
}

/// `files` are the names in the kinds' folder; `said` the words with which lines of a top comment begin.
fn incomplete(files: &BTreeSet<String>, rows: &[Row], said: &[&str]) -> Vec<String> {
    let mut out = Vec::new();
    let stems = files.iter().map(|file| file.trim_end_matches(".rs")).filter(|stem| !SUPPORT.contains(stem));
    for stem in stems.filter(|stem| !rows.iter().any(|row| row.name == *stem)) {
        out.push(format!("{stem}.rs has no row in the table"));
    }
    for row in rows {
        let top: Vec<&str> = row.source.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim).collect();
        if top.first().is_none_or(|line| line.is_empty()) {
            out.push(format!("{} has no top comment", row.name));
        }
        for word in said.iter().filter(|word| !top.iter().any(|line| line.starts_with(**word))) {
            out.push(format!("the top comment of {} has no line that begins with `{word}`", row.name));
        }
        let kind = |line: &str| line.replace(' ', "") == format!("kind=\"{}\"", row.name);
        if !row.example.lines().any(kind) {
            out.push(format!("the EXAMPLE of {} is of another kind", row.name));
        }
        if !row.source.contains("pub const EXAMPLE: &str") {
            out.push(format!("{} has no EXAMPLE of its own", row.name));
        }
    }
    out
}

#[test]
fn every_migration_has_its_twin() {
    let schema = fs::read_to_string(root().join("src/ledger/schema.rs")).unwrap();
    let migrations = names("migrations", ".sql");
    assert!(!migrations.is_empty());
    // The folders beside the twins hold the undo scripts of plans.
    none(&twinless(&migrations, &names("rollback", ".sql"), &schema));
}

#[test]
fn every_kind_has_its_row() {
    let rows: Vec<Row> =
        steps::KINDS.iter().map(|k| Row { name: k.name, example: k.example, source: k.source }).collect();
    none(&incomplete(&names("src/steps", ".rs"), &rows, &["Lock:", "Undo:"]));
    let rows: Vec<Row> =
        checks::KINDS.iter().map(|k| Row { name: k.name, example: k.example, source: k.source }).collect();
    none(&incomplete(&names("src/checks", ".rs"), &rows, &[]));
}

#[test]
fn planted_gaps_are_found() {
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<String>>();
    let schema = "&[(1, include_str!(\"../../rollback/V1__a.sql\"))]";
    found(&twinless(&set(&["V1__a.sql"]), &set(&["V1__a.sql"]), schema), &[]);
    found(&twinless(&set(&["V1__a.sql", "V2__b.sql"]), &set(&["V1__a.sql"]), schema), &["V2__b.sql has no twin"]);
    found(
        &twinless(&set(&["V1__a.sql"]), &set(&["V1__a.sql", "V2__b.sql"]), schema),
        &["V2__b.sql undoes no migration"],
    );
    found(&twinless(&set(&["V2__b.sql"]), &set(&["V2__b.sql"]), schema), &["does not list (2,"]);
    found(&twinless(&set(&["U1__a.sql"]), &set(&["U1__a.sql"]), schema), &["does not list", "not called"]);

    let row = |name, example, source| [Row { name, example, source }];
    let good = "//! Does it.\n//!\n//! Lock: none.\n//! Undo: nothing.\n\npub const EXAMPLE: &str = \"\";";
    let said = ["Lock:", "Undo:"];
    found(&incomplete(&set(&["a.rs", "mod.rs"]), &row("a", "kind = \"a\"", good), &said), &[]);
    found(&incomplete(&set(&["a.rs", "b.rs"]), &row("a", "kind = \"a\"", good), &said), &["b.rs has no row"]);
    found(&incomplete(&set(&["a.rs"]), &row("a", "kind = \"b\"", good), &said), &["another kind"]);
    let silent = "//! Does it.\n//! Lock: none.\n\n//! Undo: too late.\npub const EXAMPLE: &str = \"\";";
    found(&incomplete(&set(&["a.rs"]), &row("a", "kind = \"a\"", silent), &said), &["begins with `Undo:`"]);
    found(&incomplete(&set(&["a.rs"]), &row("a", "kind = \"a\"", "use x;"), &[]), &["no top comment", "no EXAMPLE"]);
}
