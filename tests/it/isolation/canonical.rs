//! What a plan makes passes: every type of tenant, inline and by a function, strict or not, with and without floor and FORCE.

use tenantmig::isolation::Way;

use super::ground::{Asks, Ground, Shape, told, word};

const ASKED: usize = 15;

#[track_caller]
fn check(name: &str, shape: Shape, asks: Asks, not: &[(&str, &str)]) {
    let ground = Ground::new(name, shape);
    for report in ground.ask(asks, true) {
        for asked in &report.probes {
            let code = asked.probe.code();
            let expect = not.iter().find(|(c, _)| *c == code).map_or("holds", |(_, word)| word);
            let expect = if code == "P13" { "untried" } else { expect };
            assert_eq!(word(&asked.verdict), expect, "{name} {code}: {report:#?}");
        }
        if report.way == Way::SetRole {
            assert_eq!(report.probes.len(), ASKED, "{:?}", told(&report));
        }
    }
    let rows: i64 = ground.db.one("SELECT count(*) FROM app.t");
    assert_eq!(rows, i64::from(shape.rows) * 2, "nothing stays of what was tried");
}

#[test]
fn every_type_of_tenant() {
    for r#type in ["uuid", "bigint", "integer", "text"] {
        check("isolation_type", Shape { r#type, ..Shape::default() }, Asks::Owner, &[]);
    }
}

#[test]
fn a_function_a_floor_no_force_strict() {
    let shape = Shape { function: true, floor: true, ..Shape::default() };
    check("isolation_function", shape, Asks::Owner, &[]);
    check("isolation_super", shape, Asks::Superuser, &[]);
    check("isolation_strict", Shape { strict: true, ..shape }, Asks::Owner, &[]);
    check("isolation_unforced", Shape { force: false, ..shape }, Asks::Owner, &[("P9", "untried")]);
}

#[test]
fn a_partitioned_table() {
    let shape = Shape { partitioned: true, floor: true, ..Shape::default() };
    check("isolation_parts", shape, Asks::Owner, &[]);
}
