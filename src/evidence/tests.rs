//! The page of a small run, as a whole and where it is contradicted.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, TimeZone, Utc};

use super::{
    Facing, Facts, Head, Logged, Print, Progress, RangeRow, RunFacts, Section, Server, assemble, html, json,
    model::Tone,
};
use crate::{
    engine::{
        Event, Failure, Program, Run, lower,
        ranges::{Heap, Range},
    },
    plan::{ServerFacts, parse},
    unit::{Before, UnitId},
};

const PLAN: &str = "format = 1
name = 'small'
[[phase]]
id = 'expand'
step = [
    { id = 'make', kind = 'sql', up = 'ALTER TABLE app.users ADD COLUMN tenant_id uuid', down = 'ALTER TABLE app.users DROP COLUMN tenant_id' },
    { id = 'fill', kind = 'backfill', table = 'app.users', column = 'tenant_id', from = { table = 'app.accounts', match = { account_id = 'id' } } },
]
";

fn at(seconds: i64) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, 4, 5, 6, 7).unwrap() + Duration::seconds(seconds)
}

fn program() -> Program {
    lower(&parse(PLAN, &|_| Err(String::new())).0.unwrap(), ServerFacts::default())
}

/// Fails, is undone, and is done; two days lie between.
fn events(program: &Program) -> Vec<(i64, i64, Event)> {
    let mut out: Vec<(i64, i64, Event)> = Vec::new();
    let mut done: Vec<UnitId> = Vec::new();
    let units: Vec<UnitId> = program.units().map(|(_, unit)| unit.id.clone()).collect();
    for (n, unit) in units.iter().take(2).enumerate() {
        out.push((n as i64 * 2, 1, Event::Started { unit: unit.clone(), before: Before::absent() }));
        if n == 0 {
            out.push((1, 1, Event::Succeeded { unit: unit.clone(), rows: None }));
            done.push(unit.clone());
        } else {
            let failure = Failure::new("no room \u{202e} <i>left</i>").advise("make room");
            out.push((5, 1, Event::Failed { unit: unit.clone(), failure }));
            done.push(unit.clone());
        }
    }
    for unit in done.iter().rev() {
        out.push((6, 1, Event::UndoStarted { unit: unit.clone() }));
        out.push((7, 1, Event::Undone { unit: unit.clone() }));
    }
    let days = 172_800;
    out.push((days, 2, Event::Resumed));
    for (n, unit) in units.iter().enumerate() {
        let from = days + 10 * n as i64;
        out.push((from, 2, Event::Started { unit: unit.clone(), before: Before::absent() }));
        let rows = unit.0.contains("/fill/").then_some(300);
        out.push((from + 9, 2, Event::Succeeded { unit: unit.clone(), rows }));
    }
    for gate in &program.phases[0].gates {
        let phase = program.phases[0].id.clone();
        out.push((days + 60, 2, Event::GatePassed { phase, gate: gate.id.clone(), approved: None }));
    }
    out
}

fn ranges(unit: &UnitId, parts: &[(u64, u64)]) -> Vec<RangeRow> {
    let row = |(i, (lo, hi)): (usize, &(u64, u64))| RangeRow {
        unit: unit.clone(),
        range: Range {
            sweep: 0,
            number: u32::try_from(i).unwrap() + 1,
            heap: "app.users".to_owned(),
            lo: *lo,
            hi: *hi,
            stripes: 2,
            stripes_done: 2,
            skipping: false,
        },
        rows: 100,
        rows_hot: 80,
        claimed_at: at(172_810 + i as i64),
        updated_at: at(172_812 + 2 * i as i64),
    };
    parts.iter().enumerate().map(row).collect()
}

fn facing(value: &str) -> Facing {
    let facts = BTreeMap::from([("column app.users.tenant_id".to_owned(), value.to_owned())]);
    BTreeMap::from([("table app.users".to_owned(), facts)])
}

fn print(phase: &str, seconds: i64, value: &str) -> Print {
    Print { phase: phase.to_owned(), format: 1, server: 15, taken_at: at(seconds), facts: facing(value) }
}

fn facts(parts: &[(u64, u64)]) -> Facts {
    let program = program();
    let events = events(&program);
    let state = Run::fold(&program, events.iter().map(|(_, _, event)| event)).unwrap();
    let fill = program.units().map(|(_, unit)| unit.id.clone()).find(|id| id.0.contains("/fill/")).unwrap();
    let logged = |(i, (seconds, epoch, event)): (usize, (i64, i64, Event))| Logged {
        number: i as i64 + 1,
        at: at(seconds),
        epoch,
        actor: "migrator".to_owned(),
        host: "db-tools".to_owned(),
        event,
    };
    let log: Vec<Logged> = events.into_iter().enumerate().map(logged).collect();
    Facts {
        made_at: at(200_000),
        made_by: "auditor".to_owned(),
        tool_version: "0.0.0".to_owned(),
        run: RunFacts {
            id: "00000000-0000-7000-8000-000000000001".to_owned(),
            plan_path: Some("plan.toml".to_owned()),
            plan_text: PLAN.to_owned(),
            fingerprint: "ab".repeat(32),
            baselines: BTreeMap::new(),
            created_at: at(0),
            created_by: "migrator <b>x</b>".to_owned(),
            host: "db-tools".to_owned(),
            tool_version: "0.0.0".to_owned(),
        },
        state,
        damage: None,
        head: Some(Head { number: log.len() as i64, digest: "cd".repeat(32), base: 0 }),
        log,
        server: Server {
            database: "shop".to_owned(),
            at: "db:5432".to_owned(),
            version: "15.0".to_owned(),
            system_identifier: Some(7),
            timeline: Some(1),
            ledger_system_identifier: Some(7),
            ledger_schema: "tenantmig".to_owned(),
            ledger_version: Some(6),
        },
        progress: vec![Progress {
            unit: fill.clone(),
            walk: Some((0, vec![Heap { name: "app.users".to_owned(), end: 30 }])),
        }],
        ranges: ranges(&fill, parts),
        prints: vec![print("start", 0, "integer"), print("expand", 172_900, "uuid")],
        now: Section::Given(facing("uuid")),
        requests: Vec::new(),
        approvals: Vec::new(),
        verified: Section::Missing("not asked for".to_owned()),
        isolation: Section::Missing("not asked for".to_owned()),
        audit: Section::Missing("not asked for".to_owned()),
        latency: Section::Missing("not asked for".to_owned()),
        program,
    }
}

const WHOLE: [(u64, u64); 3] = [(0, 10), (10, 20), (20, 30)];

#[test]
fn the_page_of_a_small_run() {
    let evidence = assemble(&facts(&WHOLE));
    let page = html(&evidence);
    assert_eq!(page, html(&assemble(&facts(&WHOLE))), "the same facts give the same bytes");
    assert!(page.contains("migrator &lt;b&gt;x&lt;/b&gt;") && !page.contains("<b>x") && !page.contains("<i>left"));
    assert!(
        page.contains("no room \\u{202e}") && !page.contains('\u{202e}'),
        "text that turns around is shown as such"
    );
    assert_eq!(evidence.contradictions(), Vec::<String>::new());
    // Without the style, one tag a line: a change is then a line of the diff.
    let style = page.find("<style>").unwrap()..page.find("</style>").unwrap();
    let bare = format!("{}{}", &page[..style.start], &page[style.end..]).replace('<', "\n<");
    insta::with_settings!({ snapshot_path => "../../tests/fixtures/evidence", prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("page", bare);
    });
    let said: serde_json::Value = serde_json::from_str(&json(&evidence).unwrap()).unwrap();
    assert_eq!(said["v"], 1);
}

#[test]
fn a_gap_and_an_overlap_are_found_in_the_ranges_themselves() {
    let check = |parts: &[(u64, u64)], gaps: &[(u64, u64)], overlaps: &[(u64, u64)]| {
        let evidence = assemble(&facts(parts));
        let heap = &evidence.backfills[0].walks[0].heaps[0];
        assert_eq!((heap.gaps.as_slice(), heap.overlaps.as_slice()), (gaps, overlaps), "{parts:?}");
        let good = gaps.is_empty() && overlaps.is_empty();
        assert_eq!(evidence.backfills[0].tone, if good { Tone::Good } else { Tone::Bad }, "{parts:?}");
        assert_eq!(evidence.contradictions().is_empty(), good);
        assert_eq!(html(&evidence).contains("contradicted"), !good);
    };
    check(&WHOLE, &[], &[]);
    check(&[(0, 10), (20, 30), (12, 20)], &[(10, 12)], &[]);
    check(&[(0, 10), (8, 20), (20, 30)], &[], &[(8, 10)]);
    check(&[(5, 10), (10, 20), (20, 29)], &[(0, 5), (29, 30)], &[]);
    check(&[(0, 30), (10, 20), (20, 25)], &[], &[(10, 20), (20, 25)]);
}

#[test]
fn rows_that_do_not_add_up_and_a_lost_range_contradict() {
    let mut facts = facts(&WHOLE);
    facts.ranges[1].rows = 99;
    assert_eq!(assemble(&facts).backfills[0].tone, Tone::Bad);
    facts.ranges[1].rows = 100;
    assert_eq!(assemble(&facts).backfills[0].tone, Tone::Good);
    facts.ranges[1].range.stripes_done = 1;
    assert_eq!(assemble(&facts).backfills[0].tone, Tone::Bad, "a range that is not finished");
    facts.ranges[1].range.stripes_done = 2;
    facts.ranges[2].range.number = 4;
    assert_eq!(assemble(&facts).backfills[0].tone, Tone::Bad, "a number is missing");
}

#[test]
fn a_damaged_log_and_a_drift_are_said_first() {
    let mut facts = facts(&WHOLE);
    facts.damage = Some("event 3 was changed".to_owned());
    facts.now = Section::Given(BTreeMap::new());
    let evidence = assemble(&facts);
    assert_eq!(evidence.contradictions(), ["The log was not edited or cut: event 3 was changed"]);
    let since = evidence.catalogue.since.changes.given().unwrap();
    assert_eq!((since[0].object.as_str(), since[0].changes[0].is.as_ref()), ("table app.users", None));
}

#[test]
fn who_took_over_from_whom_is_told() {
    let mut facts = facts(&WHOLE);
    // The last deed's second half was written by another process.
    let begun = facts.log.iter().rposition(|logged| matches!(logged.event, Event::Started { .. })).unwrap();
    facts.log.iter_mut().skip(begun + 1).for_each(|logged| logged.epoch = 3);
    let evidence = assemble(&facts);
    let took: Vec<bool> = evidence.terms.iter().map(|term| term.took_over.is_some()).collect();
    assert_eq!(took, [false, false, true]);
}
