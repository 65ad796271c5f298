//! Outside `pg`, statements run in turns, which set what they need for themselves; a bare client is the exception.

use crate::{
    found, none,
    source::{File, files, words},
};

/// Files that may send on a bare client, and why.
const EXCEPTIONS: &[(&str, &str)] = &[
    (
        "src/driver/outside.rs",
        "CONCURRENTLY and VACUUM are allowed in no transaction, and a turn behind a pooler is one",
    ),
    ("src/driver/sentinel.rs", "one look at pg_stat_activity on a session of its own, which must not wait for a turn"),
    ("src/cli/cycle/legs.rs", "a fingerprint opens its own transaction, and a cancelled one is closed"),
];

/// Violations, and the exceptions that were needed.
fn bare(files: &[File]) -> (Vec<String>, Vec<usize>) {
    let (mut out, mut used) = (Vec::new(), Vec::new());
    let outside = files.iter().filter(|file| file.module().is_some_and(|module| module != "pg"));
    for file in outside {
        for at in words(&file.live, ".client") {
            // `.client()` is a turn's.
            if file.live[at + ".client".len()..].starts_with('(') {
                continue;
            }
            match EXCEPTIONS.iter().position(|(path, _)| file.path == *path) {
                Some(exception) => used.push(exception),
                None => out.push(format!("{}:{}: a bare client: use Connection::with", file.path, file.line(at))),
            }
        }
    }
    (out, used)
}

#[test]
fn statements_run_in_turns() {
    let (violations, used) = bare(&files());
    none(&violations);
    for (i, (path, _)) in EXCEPTIONS.iter().enumerate() {
        assert!(used.contains(&i), "the exception for {path} is not needed any more");
    }
}

#[test]
fn planted_bare_clients_are_found() {
    let check = |path: &str, text: &str, expect: &[&str]| found(&bare(&[File::new(path, text)]).0, expect);
    check("src/driver/x.rs", "session.client.batch_execute(\"x\")", &["x.rs:1: a bare client"]);
    check("src/ledger/x.rs", "let a =\n    session\n    .client\n    .query()", &["x.rs:3: a bare client"]);
    check("src/driver/x.rs", "f(turn.client()); a.client_name; x.clients // a.client", &[]);
    check("src/pg/x.rs", "session.client.query()", &[]);
    check("src/driver/outside.rs", "session.client.query()", &[]);
}
