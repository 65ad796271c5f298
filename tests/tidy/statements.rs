//! SQL is put together from typed parts: `sql!` with positional holes, and no text pasted together elsewhere.

use crate::{
    found, none,
    source::{File, closing, files, words},
};

/// Texts that are SQL with holes and not made by `sql!`: the path, how the text begins, and why it is right.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("src/pg/transaction.rs", "BEGIN; SET LOCAL row_security", "a setting takes no parameter; the holes are numbers"),
    ("src/pg/transaction.rs", "SET lock_timeout = '{lock}ms'", "a setting takes no parameter; the holes are numbers"),
    ("src/pg/blockers.rs", "SELECT {SESSION}", "the hole is a constant list of columns"),
    ("src/pg/blockers.rs", "WITH held AS", "the hole is a constant list of columns"),
    ("src/pg/blockers.rs", "SELECT DISTINCT {SESSION}", "the hole is a constant list of columns"),
    ("src/engine/script.rs", "BEGIN;\\n{}COMMIT", "a script for people to read; its statements are typed"),
    (
        "src/engine/script.rs",
        "SET lock_timeout = '{}';\\n{body}",
        "a script for people to read; its statements are typed",
    ),
    ("src/demo/story.rs", "UPDATE {rows}", "what psql answers, for the screen"),
];

/// First words of statements. In capitals, as SQL is written here, so that words of English do not count.
const VERBS: &[&str] = &[
    "SELECT",
    "WITH",
    "VALUES",
    "INSERT",
    "UPDATE",
    "DELETE",
    "MERGE",
    "ALTER",
    "CREATE",
    "DROP",
    "TRUNCATE",
    "COMMENT",
    "GRANT",
    "REVOKE",
    "SET",
    "RESET",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT",
    "RELEASE",
    "DECLARE",
    "DO",
    "LOCK",
    "COPY",
    "VACUUM",
    "REINDEX",
    "NOTIFY",
    "LISTEN",
    "UNLISTEN",
    "PREPARE",
    "EXECUTE",
    "EXPLAIN",
    "REFRESH",
    "CALL",
];

/// What pastes text together.
const PASTES: &[&str] = &["format!(", "format_args!(", "write!(", "writeln!(", "concat!(", ".push_str("];

/// What takes text as SQL: pasted text does not belong in it, whatever it says.
const TAKES: &[&str] = &["Stmt::raw(format!", "Stmt::raw(&format!", "Expr::parse(&format!", "TypeName::parse(&format!"];

fn outside_sql(files: &[File]) -> impl Iterator<Item = &File> {
    files.iter().filter(|file| file.module().is_some_and(|module| module != "sql"))
}

/// The first string literal between `from` and `to`: its place and text.
fn literal(file: &File, from: usize, to: usize) -> Option<(usize, &str)> {
    let open = from + file.live[from..to].find('"')? + 1;
    let close = open + file.live[open..].find('"')?;
    Some((open, file.spoken.get(open..close)?))
}

fn named_holes(files: &[File]) -> Vec<String> {
    let mut out = Vec::new();
    for file in files.iter().filter(|file| file.module().is_some()) {
        for at in words(&file.live, "sql!(") {
            let Some((place, text)) = literal(file, at, closing(&file.live, at + "sql!".len())) else { continue };
            let plain = text.replace("{{", "  ");
            for (hole, _) in plain.match_indices('{') {
                let inner = plain[hole + 1..].split('}').next().unwrap_or_default();
                if !inner.chars().all(|c| c.is_ascii_digit()) {
                    out.push(format!("{}:{}: sql! with the hole {{{inner}}}", file.path, file.line(place + hole)));
                }
            }
        }
    }
    out
}

/// Violations, and the exceptions that were needed.
fn pasted(files: &[File]) -> (Vec<String>, Vec<usize>) {
    let (mut out, mut used) = (Vec::new(), Vec::new());
    for file in outside_sql(files) {
        for paste in PASTES {
            for at in words(&file.live, paste) {
                let Some((place, text)) = literal(file, at, closing(&file.live, at + paste.len() - 1)) else {
                    continue;
                };
                let first = text.trim_start().split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
                // A whole text with no hole is no pasting, unless it is appended or put in by concat!.
                let holes = text.contains('{') || !paste.contains('f') && !paste.contains("write");
                if !VERBS.contains(&first) || !holes {
                    continue;
                }
                match EXCEPTIONS.iter().position(|(path, start, _)| file.path == *path && text.starts_with(start)) {
                    Some(exception) => used.push(exception),
                    None => out.push(format!("{}:{}: {paste}\"{first} …\"): use sql!", file.path, file.line(place))),
                }
            }
        }
        for take in TAKES {
            out.extend(words(&file.live, take).map(|at| format!("{}:{}: {take}: use sql!", file.path, file.line(at))));
        }
    }
    (out, used)
}

#[test]
fn holes_are_positional() {
    none(&named_holes(&files()));
}

#[test]
fn sql_is_put_together_by_type() {
    let (violations, used) = pasted(&files());
    none(&violations);
    for (i, (path, start, _)) in EXCEPTIONS.iter().enumerate() {
        assert!(used.contains(&i), "the exception for {path} ({start}) is not needed any more");
    }
}

#[test]
fn planted_holes_are_found() {
    let check = |path: &str, text: &str, expect: &[&str]| found(&named_holes(&[File::new(path, text)]), expect);
    check("src/steps/x.rs", "sql!(\"DROP TABLE {}\", t)", &[]);
    check("src/steps/x.rs", "sql!(\"SELECT {0} {{x}} {1}\", a, b)", &[]);
    check("src/steps/x.rs", "sql!(\"DROP TABLE {t}\")", &["x.rs:1: sql! with the hole {t}"]);
    check(
        "src/pg/x.rs",
        "sql!(\n    r#\"SELECT \"a\"\n  FROM {table:?}\"#\n)",
        &["x.rs:3: sql! with the hole {table:?}"],
    );
    check("src/pg/x.rs", "crate::sql!(\"{} {}{name}\", a, b)", &["{name}"]);
    check("src/pg/x.rs", "#[cfg(test)]\nmod tests { fn f() { sql!(\"{t}\") } } // sql!(\"{t}\")", &[]);
}

#[test]
fn planted_pasting_is_found() {
    let check = |path: &str, text: &str, expect: &[&str]| found(&pasted(&[File::new(path, text)]).0, expect);
    for verb in ["SELECT", "UPDATE", "ALTER", "CREATE", "DROP", "INSERT", "DELETE", "SET LOCAL"] {
        check("src/pg/x.rs", &format!("let a = format!(\"{verb} {{}}\", t);"), &["x.rs:1: format!("]);
    }
    check("src/cli/x.rs", "write!(f, \"\n  DELETE FROM {t}\")", &["write!("]);
    check("src/cli/x.rs", "text.push_str(\"SELECT 1\"); text.push_str(a)", &["push_str"]);
    check("src/steps/x.rs", "Stmt::raw(format!(\"x {t}\"))", &["Stmt::raw(format!"]);
    check("src/steps/x.rs", "Expr::parse(&format!(\"{a} = 1\"))", &["Expr::parse(&format!"]);
    check("src/pg/transaction.rs", "format!(\"SET lock_timeout = '{lock}ms'\")", &[]);
    check("src/driver/gate.rs", "format!(\"SET lock_timeout = '{lock}ms'\")", &["gate.rs"]);
    check("src/sql/stmt.rs", "format!(\"SELECT {}\", x)", &[]);
    check(
        "src/pg/x.rs",
        "format!(\"Update {x}: SELECT\"); format!(\"DROPPED {x}\"); f(\"SELECT 1\"); // format!(\"DROP {x}\")",
        &[],
    );
    check("src/pg/x.rs", "sql!(\"SELECT format('%s', {})\", x)", &[]);
}
