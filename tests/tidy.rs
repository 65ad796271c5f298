//! The rules of this repository that no compiler checks, as tests. ARCHITECTURE.md says why they are there.
//!
//! Every rule is a function from files to violations, so each is tried on the repository and on planted violations: a rule
//! that cannot turn red is none.
//!
//! | File | Rule |
//! |---|---|
//! | `layers.rs` | imports run downward only; who may use tokio-postgres and refinery; what pure layers may not do |
//! | `size.rs` | files of at most 400 lines, functions of at most 70, names that say what is in a file |
//! | `statements.rs` | SQL is put together by type, in `sql!`, and nowhere else |
//! | `sessions.rs` | outside `pg` no statement is sent on a bare client, with the exceptions named |
//! | `tables.rs` | migrations have their twins, kinds of steps and checks their row, example and top comment |
//! | `codes.rs` | each code that is told is explained, once |
//! | `format.rs` | every file is formatted, those that `cargo fmt` does not see included |

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "tidy/codes.rs"]
mod codes;
#[path = "tidy/format.rs"]
mod format;
#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/sessions.rs"]
mod sessions;
#[path = "tidy/size.rs"]
mod size;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/statements.rs"]
mod statements;
#[path = "tidy/tables.rs"]
mod tables;

/// Fails with all violations, one a line.
#[track_caller]
fn none(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

/// Fails unless the violations are `expect`, each by a part of its text.
#[track_caller]
fn found(violations: &[String], expect: &[&str]) {
    let same = violations.len() == expect.len() && violations.iter().zip(expect).all(|(v, e)| v.contains(e));
    assert!(same, "expected {expect:?}, found {violations:#?}");
}
