//! A schema of many tables, made by rule: a registry, chains of tables below it, every tenth partitioned, every ninth shared.
//! INIT_TABLES says how many; `make many` takes 500 and prints how long each command takes.

use std::{fmt::Write as _, time::Instant};

use super::{Scene, isolation, plan::Written};
use crate::harness::Tool;

/// So many in the suite; 500 are `make many`'s.
const TABLES: usize = 12;

fn count() -> usize {
    std::env::var("INIT_TABLES").ok().and_then(|n| n.parse().ok()).unwrap_or(TABLES)
}

/// The schema with three tenants and a few rows in each table.
fn schema(tables: usize) -> String {
    let mut out = String::from("CREATE TABLE tenants (id uuid PRIMARY KEY, name text NOT NULL);\n");
    out.push_str("INSERT INTO tenants SELECT ('00000000-0000-0000-0000-00000000000' || n)::uuid, 'tenant ' || n FROM generate_series(1, 3) n;\n");
    let mut parents: Vec<usize> = Vec::new();
    for n in 1..tables {
        if n % 9 == 0 {
            writeln!(out, "CREATE TABLE list_{n} (code text PRIMARY KEY); INSERT INTO list_{n} VALUES ('a'), ('b');")
                .unwrap();
            continue;
        }
        let parent = parents.len().checked_sub(3).map(|at| parents[at]);
        let (to, of, value) = match parent {
            None => (
                "tenants".to_owned(),
                "owner_ref uuid".to_owned(),
                "('00000000-0000-0000-0000-00000000000' || 1 + n % 3)::uuid".to_owned(),
            ),
            Some(parent) => (format!("t{parent}"), "parent_ref bigint".to_owned(), "n".to_owned()),
        };
        if n % 10 == 0 {
            // Nothing points at it: its key has the partition's column in it.
            writeln!(
                out,
                "CREATE TABLE t{n} (id bigint, {of} NOT NULL REFERENCES {to}, at date NOT NULL, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
                 CREATE TABLE t{n}_a PARTITION OF t{n} FOR VALUES FROM ('2026-01-01') TO ('2026-07-01');
                 CREATE TABLE t{n}_b PARTITION OF t{n} FOR VALUES FROM ('2026-07-01') TO ('2027-01-01');
                 INSERT INTO t{n} SELECT n, {value}, '2026-01-01'::date + n * 10 FROM generate_series(1, 30) n;"
            )
            .unwrap();
            continue;
        }
        writeln!(
            out,
            "CREATE TABLE t{n} (id bigint PRIMARY KEY, {of} NOT NULL REFERENCES {to}, number text NOT NULL UNIQUE);
             INSERT INTO t{n} SELECT n, {value}, 'n' || n FROM generate_series(1, 30) n;"
        )
        .unwrap();
        parents.push(n);
    }
    out
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let out = work();
    println!("{what}: {:.1} s", begun.elapsed().as_secs_f64());
    out
}

#[test]
fn many_tables() {
    let tables = count();
    let scene = timed("schema", || Scene::of("init_many", &schema(tables)));
    let written: Written = timed("init", || scene.written());
    assert_eq!(written.tables.len() + written.shared.len(), tables);
    assert_eq!(written.shared.len(), (tables - 1) / 9);
    let bound = std::time::Duration::from_secs(1800);
    let run = |words: &[&str]| {
        let tool = Tool::new(&scene.db).timeout(bound);
        let path = tool.file("plan.toml", &written.text);
        tool.args([words[0].as_ref(), path.as_os_str()]).args(&words[1..]).run().expect_code(0)
    };
    let _ = timed("validate", || run(&["validate"]));
    let _ = timed("cycle", || run(&["cycle", "--yes", "--accept-exposure", "--role", &scene.owner]));
    let _ = timed("apply", || run(&["apply", "--yes", "--role", &scene.owner]));
    timed("isolation", || isolation::holds(&scene, &written));
}
