//! Who may use what.

use crate::{
    found, none,
    source::{File, closing, files, words},
};

/// Every module, lowest first, and the modules that it may import. Each stands below it, but for the three of L1, which are
/// one thing in three folders: a plan holds steps and checks, and these are told of the plan around them by its types.
const LAYERS: &[(&str, &[&str])] = &[
    // L0
    ("codes", &[]),
    ("diag", &[]),
    ("sql", &[]),
    ("unit", &["sql"]),
    ("activity", &["sql", "unit"]),
    ("isolation", &["sql"]),
    ("latency", &["sql"]),
    // L1
    ("checks", &["isolation", "latency", "plan", "sql", "unit"]),
    ("steps", &["checks", "diag", "isolation", "plan", "sql", "unit"]),
    ("plan", &["checks", "diag", "isolation", "latency", "sql", "steps", "unit"]),
    ("hazards", &["plan", "sql"]),
    ("audit", &["hazards", "sql"]),
    // L2
    ("engine", &["checks", "latency", "plan", "sql", "unit"]),
    ("pace", &["engine", "plan"]),
    ("disk", &["plan"]),
    ("infer", &["sql"]),
    // L3
    (
        "pg",
        &[
            "activity",
            "audit",
            "disk",
            "engine",
            "hazards",
            "infer",
            "isolation",
            "latency",
            "pace",
            "plan",
            "sql",
            "steps",
            "unit",
        ],
    ),
    ("ledger", &["activity", "engine", "latency", "pg", "plan", "sql", "unit"]),
    // L4: the reporters know the engine's events and nothing of where they come from
    (
        "driver",
        &[
            "activity",
            "checks",
            "diag",
            "disk",
            "engine",
            "hazards",
            "isolation",
            "latency",
            "ledger",
            "pace",
            "pg",
            "plan",
            "sql",
            "steps",
            "unit",
        ],
    ),
    ("report", &["engine", "unit"]),
    // A page about a run, out of facts that others gather.
    ("evidence", &["checks", "engine", "plan", "report", "sql", "unit"]),
    // L5
    ("exit", &[]),
    ("demo", &["exit", "pg", "plan", "sql"]),
    (
        "cli",
        &[
            "audit",
            "codes",
            "demo",
            "diag",
            "disk",
            "driver",
            "engine",
            "evidence",
            "exit",
            "hazards",
            "infer",
            "isolation",
            "latency",
            "ledger",
            "pace",
            "pg",
            "plan",
            "report",
            "sql",
            "steps",
            "checks",
            "unit",
        ],
    ),
    ("main", &["cli", "exit"]),
    ("lib", &[]),
];

/// Who names a crate at all.
const USERS: &[(&str, &[&str])] = &[
    // pg and ledger carry out. driver, cli and demo hold clients of connections that pg opened, name types of parameters and
    // pass errors on; what is below, and the reporters, know nothing of a server.
    ("tokio_postgres", &["src/pg/", "src/ledger/", "src/driver/", "src/cli/", "src/demo/"]),
    // Connections are opened as psql opens them, but for the demo's traffic, which plays an application.
    ("tokio_postgres::connect", &["src/pg/connect/", "src/demo/traffic/session.rs"]),
    ("tokio_postgres::Config", &["src/pg/"]),
    ("refinery", &["src/ledger/"]),
    ("anyhow", &["src/driver/", "src/cli/", "src/demo/"]),
];

const PURE: &[&str] = &[
    "codes",
    "diag",
    "sql",
    "unit",
    "isolation",
    "latency",
    "activity",
    "checks",
    "steps",
    "plan",
    "hazards",
    "audit",
    "engine",
    "pace",
    "disk",
    "infer",
    "evidence",
];

/// Time, chance, files and output come in as arguments and go out as values.
const IMPURE: &[&str] = &[
    "async fn",
    "async move",
    ".await",
    "fs::",
    "std::fs",
    "env::",
    "std::env",
    "process::",
    "std::net",
    "SystemTime",
    "Instant::now",
    "Utc::now",
    "Local::now",
    "rand",
    "tokio",
    "println!",
    "eprintln!",
    "print!",
    "eprint!",
];

fn imports(file: &File) -> Vec<(usize, String)> {
    let Some(module) = file.module() else { return Vec::new() };
    let name = |at: usize| {
        let rest = &file.live[at..];
        rest[..rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len())].to_owned()
    };
    let depth = file.path.trim_start_matches("src/").trim_end_matches("/mod.rs").matches('/').count() + 1;
    let up = "super::".repeat(depth);
    let mut out = Vec::new();
    for root in ["crate::", "tenantmig::", up.as_str()] {
        for at in words(&file.live, root).filter(|at| !file.live[..*at].ends_with(['$', ':'])) {
            let start = at + root.len();
            if !file.live[start..].starts_with('{') {
                out.push((at, name(start)));
                continue;
            }
            let end = closing(&file.live, start) - 1;
            let mut item = start + 1;
            while item < end {
                item += file.live[item..end].len()
                    - file.live[item..end].trim_start_matches(|c: char| c.is_whitespace() || c == ',').len();
                out.push((item, name(item)));
                let stop = file.live[item..end].find([',', '{']).map_or(end, |n| item + n);
                item = if file.live[stop..].starts_with('{') { closing(&file.live, stop) } else { stop };
                item += file.live[item..end].len()
                    - file.live[item..end].trim_start_matches(|c: char| c.is_whitespace() || c == ',').len();
            }
        }
    }
    out.retain(|(_, to)| to != module && to != "self" && !to.is_empty());
    out
}

fn upward(files: &[File]) -> Vec<String> {
    let mut out = Vec::new();
    for file in files {
        let Some(module) = file.module() else { continue };
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == module) else {
            out.push(format!("{}: the module `{module}` is of no layer", file.path));
            continue;
        };
        for (at, to) in imports(file).iter().filter(|(_, to)| !allowed.contains(&to.as_str())) {
            out.push(format!("{}:{}: {module} imports {to}", file.path, file.line(*at)));
        }
    }
    out
}

fn strangers(files: &[File]) -> Vec<String> {
    let mut out = Vec::new();
    for file in files.iter().filter(|file| file.module().is_some()) {
        for (name, users) in USERS.iter().filter(|(_, users)| !users.iter().any(|user| file.path.starts_with(user))) {
            if let Some(at) = words(&file.live, name).next() {
                out.push(format!("{}:{}: uses {name}, which is for {}", file.path, file.line(at), users.join(", ")));
            }
        }
    }
    out
}

fn impure(files: &[File]) -> Vec<String> {
    let mut out = Vec::new();
    for file in files.iter().filter(|file| file.module().is_some_and(|module| PURE.contains(&module))) {
        for word in IMPURE {
            out.extend(words(&file.live, word).map(|at| format!("{}:{}: {word}", file.path, file.line(at))));
        }
    }
    out
}

#[test]
fn imports_run_downward_only() {
    none(&upward(&files()));
    // The table itself: nothing above, but for L1 among themselves.
    let rank = |name: &str| LAYERS.iter().position(|(n, _)| *n == name).unwrap();
    for (module, allowed) in LAYERS {
        for to in *allowed {
            let among = ["checks", "steps", "plan"];
            assert!(rank(to) < rank(module) || (among.contains(module) && among.contains(to)), "{module} → {to}");
        }
    }
}

#[test]
fn only_some_know_the_driver_crates() {
    none(&strangers(&files()));
}

#[test]
fn pure_layers_do_nothing() {
    none(&impure(&files()));
}

#[test]
fn planted_imports_are_found() {
    let check = |path: &str, text: &str, expect: &[&str]| found(&upward(&[File::new(path, text)]), expect);
    check("src/engine/run.rs", "use crate::driver::Shell;", &["run.rs:1: engine imports driver"]);
    check(
        "src/report/bar.rs",
        "use crate::{\n    engine::{Event, Outcome},\n    pg::Fault,\n};",
        &["bar.rs:3: report imports pg"],
    );
    check(
        "src/report/bar.rs",
        "fn f() { let x = crate::ledger::load; super::super::driver::go() }",
        &["ledger", "driver"],
    );
    check("src/diag.rs", "use super::sql::Ident;", &["diag imports sql"]);
    check("src/checks/mod.rs", "use super::{sql, steps};", &["checks imports steps"]);
    check("src/unit.rs", "use crate::{plan, sql::{self, Ident}, steps};", &["plan", "steps"]);
    check("src/tools/x.rs", "", &["of no layer"]);
    check("src/engine/run.rs", "// use crate::driver;\n#[cfg(test)]\nmod tests { use crate::driver; }", &[]);
    check("src/sql/stmt.rs", "macro_rules! m { () => { $crate::plan::x } }", &[]);
    check("tests/a.rs", "use tenantmig::driver;", &[]);
}

#[test]
fn planted_strangers_are_found() {
    let check = |path: &str, text: &str, expect: &[&str]| found(&strangers(&[File::new(path, text)]), expect);
    check("src/engine/run.rs", "use tokio_postgres::Client;", &["src/engine/run.rs:1: uses tokio_postgres"]);
    check("src/report/x.rs", "fn f(e: &tokio_postgres::Error) {}", &["tokio_postgres"]);
    check("src/driver/x.rs", "fn f() { tokio_postgres::connect(u, n) }", &["tokio_postgres::connect"]);
    check("src/pg/x.rs", "use refinery::Error;", &["refinery"]);
    check("src/pg/x.rs", "use anyhow::Result;", &["anyhow"]);
    check("src/cli/x.rs", "// tokio_postgres\nlet a = \"refinery\"; use tokio_postgres_rustls as x;", &[]);
}

#[test]
fn planted_impurity_is_found() {
    let check = |path: &str, text: &str, expect: &[&str]| found(&impure(&[File::new(path, text)]), expect);
    check("src/plan/x.rs", "use std::fs;\nasync fn f() {}", &["2: async fn", "1: std::fs"]);
    check("src/plan/x.rs", "use std::{fs, io};\nfn f() { fs::read(p) }", &["2: fs::"]);
    check(
        "src/engine/x.rs",
        "let t = Instant::now();\nlet s = SystemTime::now();",
        &["2: SystemTime", "1: Instant::now"],
    );
    check("src/steps/x.rs", "use rand::Rng; println!(); eprintln!();", &["rand", "println!", "eprintln!"]);
    check("src/unit.rs", "// println!\nlet operand = \"SystemTime\";\n#[cfg(test)]\nfn f() { fs::read(p) }", &[]);
    check("src/pg/x.rs", "async fn f() { Instant::now() }", &[]);
}
