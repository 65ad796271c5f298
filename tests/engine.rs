//! The state machine by examples: its table row by row, previews, lowering, and what the ledger keeps of it.
//!
//! Units, events and states are written as words: `start a; done a; pass p0/g`. The model (`model.rs`) has every order of them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "engine/ledger.rs"]
mod ledger;
#[path = "engine/pace.rs"]
mod pace;
#[path = "engine/rollback.rs"]
mod rollback;

use tenantmig::{
    checks::{Gate, Measure},
    engine::{Event, Failure, Mode, Program, ProgramPhase, Run, lower},
    plan::{Disk, OnFailure, Pacing, Safety, ServerFacts, parse},
    sql::Stmt,
    unit::{Before, Down, Growth, Lock, Op, Presence, Probe, Unit, UnitId},
};

/// Three phases: p0 with `a` and the gate `g`; p1 with `b` (outside a transaction), `c` (taken back with `b`) and the gates
/// `h` and `i`; p2 with `d`, from which there is no way back, and `e`.
fn program(on_failure: OnFailure) -> Program {
    let tx = |name: &str| Op::Tx(vec![Stmt::raw(format!("MAKE {name}"))]);
    let alone = |verb: &str| Op::Autocommit {
        stmt: Stmt::raw(format!("{verb} b")),
        repair: vec![Stmt::raw("REPAIR b")],
        due: None,
    };
    let for_good = || Down::Irreversible { why: "it is gone".to_owned() };
    let drop = |name: &str| Down::tx([Stmt::raw(format!("DROP {name}"))]);
    let phases = vec![
        phase("p0", OnFailure::Rollback, vec![unit("a", tx("a"), drop("a"))], &["g"]),
        phase(
            "p1",
            on_failure,
            vec![
                unit("b", alone("MAKE"), Down::Op(alone("DROP"))),
                unit("c", tx("c"), Down::CoveredBy(UnitId("b".to_owned()))),
            ],
            &["h", "i"],
        ),
        phase("p2", on_failure, vec![unit("d", tx("d"), for_good()), unit("e", alone("MAKE"), for_good())], &[]),
    ];
    Program {
        plan: "p".to_owned(),
        server: ServerFacts::default(),
        safety: Safety::default(),
        pacing: Pacing::default(),
        disk: Disk::default(),
        backup: Default::default(),
        tenancy: None,
        probes: Vec::new(),
        phases,
    }
}

fn phase(id: &str, on_failure: OnFailure, units: Vec<Unit>, gates: &[&str]) -> ProgramPhase {
    let gate = |id: &&str| Gate {
        id: (*id).to_owned(),
        kind: "nulls".to_owned(),
        title: format!("gate {id}"),
        query: Stmt::raw("SELECT"),
        baseline: None,
        wait: None,
        measure: Measure::Query,
        tables: vec![],
    };
    ProgramPhase {
        id: id.to_owned(),
        on_failure,
        units,
        gates: gates.iter().map(gate).collect(),
        before_undo: vec![],
        after_undo: vec![],
    }
}

fn unit(name: &str, up: Op, down: Down) -> Unit {
    let probe = Probe::catalog(Stmt::raw("PROBE"));
    let (id, title) = (UnitId(name.to_owned()), format!("make {name}"));
    Unit {
        id,
        title,
        up,
        down,
        probe,
        lock: Lock::none(),
        loses: Some(format!("what is in {name}")),
        guards_rows: false,
        grows: Growth::Little,
    }
}

fn event(text: &str) -> Event {
    let words: Vec<&str> = text.split(' ').collect();
    let unit = || UnitId(words[1].to_owned());
    let failure = || Failure::new("it failed");
    let gate = || words[1].split_once('/').map(|(phase, gate)| (phase.to_owned(), gate.to_owned())).unwrap();
    match words[0] {
        "start" => Event::Started { unit: unit(), before: before(words.get(2).copied().unwrap_or("absent")) },
        "done" => Event::Succeeded { unit: unit(), rows: None },
        "fail" => Event::Failed { unit: unit(), failure: failure() },
        "undo" => Event::UndoStarted { unit: unit() },
        "undone" => Event::Undone { unit: unit() },
        "undo-fails" => Event::UndoFailed { unit: unit(), failure: failure() },
        "pass" => Event::GatePassed { phase: gate().0, gate: gate().1, approved: None },
        "block" => Event::GateFailed { phase: gate().0, gate: gate().1, findings: vec![], held: None },
        "rollback" => Event::RollbackRequested { keep: words[1].to_owned(), consents: vec![] },
        "pause" => Event::Paused { why: "asked to".to_owned(), asked: None },
        "resume" => Event::Resumed,
        other => panic!("no event is written {other}"),
    }
}

fn before(word: &str) -> Before {
    let (presence, restore) = match word {
        "absent" => (Presence::Absent, vec![]),
        "wreck" => (Presence::Partial, vec![]),
        "replaced" => (Presence::Partial, vec![Stmt::raw("RESTORE")]),
        "present" => (Presence::Present, vec![]),
        "conflict" => (Presence::Conflict, vec![]),
        other => panic!("nothing before is written {other}"),
    };
    Before { presence, found: None, restore }
}

fn run(program: &Program, script: &str) -> Run {
    let events: Vec<Event> = script.split("; ").filter(|text| !text.is_empty()).map(event).collect();
    Run::fold(program, &events).unwrap_or_else(|illegal| panic!("{script}: {illegal}"))
}

fn mode(program: &Program, mode: &Mode) -> String {
    match mode {
        Mode::Forward => "forward".to_owned(),
        Mode::Unwinding { keep } => format!("unwinding to {}", program.keep_name(*keep)),
        Mode::Stuck { unit, keep } => format!("stuck at {unit} on the way to {}", program.keep_name(*keep)),
        Mode::Paused { then } => format!("paused {}", self::mode(program, then)),
    }
}

/// `forward | done pending pending pending pending | g`: the mode, the units, the gates that passed.
fn state(program: &Program, run: &Run) -> String {
    let units: Vec<_> = program.units().enumerate().map(|(number, _)| run.unit(number).word()).collect();
    let gates = program.phases.iter().enumerate().flat_map(|(p, phase)| {
        phase.gates.iter().enumerate().filter(move |(g, _)| run.gate_passed(p, *g)).map(|(_, gate)| gate.id.as_str())
    });
    let gates: Vec<&str> = gates.collect();
    format!("{} | {} | {}", mode(program, run.mode()), units.join(" "), gates.join(" "))
}

/// What `next` becomes of a run to which `script` happened. A refusal must leave no trace.
#[track_caller]
fn check(on_failure: OnFailure, script: &str, next: &str, expect: &str) {
    let program = program(on_failure);
    let was = run(&program, script);
    let mut run = was.clone();
    let found = match run.apply(&program, &event(next)) {
        Ok(()) => state(&program, &run),
        Err(illegal) => {
            assert_eq!(run, was, "{script}: {next}: a refusal left a trace");
            format!("illegal: {illegal}")
        }
    };
    assert_eq!(found, expect, "after `{script}`, `{next}`");
}

const P0: &str = "start a; done a; pass p0/g";
const P1: &str = "start a; done a; pass p0/g; start b; done b; start c; done c; pass p1/h; pass p1/i";
const ALL: &str = "start a; done a; pass p0/g; start b; done b; start c; done c; pass p1/h; pass p1/i; start d; done d; start e; done e";
use OnFailure::{Pause, Rollback, RollbackAll};

#[test]
fn the_table_going_forward() {
    check(Rollback, "", "start a", "forward | running pending pending pending pending | ");
    check(Rollback, "start a", "start a", "forward | running pending pending pending pending | ");
    check(Rollback, "start a", "done a", "forward | done pending pending pending pending | ");
    check(Rollback, "start a; done a", "pass p0/g", "forward | done pending pending pending pending | g");
    check(Rollback, "start a", "fail a", "unwinding to start | failed pending pending pending pending | ");
    check(Rollback, &format!("{P0}; start b"), "fail b", "unwinding to p0 | done failed pending pending pending | g");
    check(
        RollbackAll,
        &format!("{P0}; start b"),
        "fail b",
        "unwinding to start | done failed pending pending pending | g",
    );
    check(Pause, &format!("{P0}; start b"), "fail b", "paused forward | done failed pending pending pending | g");
    check(
        Pause,
        &format!("{P0}; start b; fail b; resume"),
        "start b",
        "forward | done running pending pending pending | g",
    );
    let h = &format!("{P0}; start b; done b; start c; done c; pass p1/h");
    check(Rollback, h, "block p1/i", "unwinding to p0 | done done done pending pending | g h");
    check(RollbackAll, h, "block p1/i", "unwinding to start | done done done pending pending | g h");
    check(Pause, h, "block p1/i", "paused forward | done done done pending pending | g h");
    let d = &format!("{P1}; start d; done d; start e");
    check(Rollback, d, "fail e", "paused forward | done done done done failed | g h i");
    check(
        RollbackAll,
        &format!("{P1}; start d"),
        "fail d",
        "unwinding to start | done done done failed pending | g h i",
    );
    check(
        Rollback,
        &format!("{P1}; start d present; done d; start e"),
        "fail e",
        "unwinding to p1 | done done done done failed | g h i",
    );
}

#[test]
fn the_table_of_requests() {
    check(Rollback, P1, "rollback start", "unwinding to start | done done done pending pending | g h i");
    check(Rollback, P1, "rollback p0", "unwinding to p0 | done done done pending pending | g h i");
    check(Rollback, &format!("{P1}; pause"), "rollback p0", "unwinding to p0 | done done done pending pending | g h i");
    check(
        Rollback,
        &format!("{P1}; rollback p0"),
        "rollback start",
        "unwinding to start | done done done pending pending | g h i",
    );
    check(
        Rollback,
        &format!("{P1}; rollback start"),
        "rollback p0",
        "unwinding to start | done done done pending pending | g h i",
    );
    check(
        Rollback,
        &format!("{P1}; rollback start; pause"),
        "rollback p0",
        "unwinding to start | done done done pending pending | g h i",
    );
    let stuck = &format!("{P1}; rollback p0; undo c; undo-fails c");
    check(Rollback, stuck, "rollback start", "unwinding to start | done done stuck pending pending | g");
    check(Rollback, stuck, "rollback p1", "unwinding to p0 | done done stuck pending pending | g");
    check(Rollback, stuck, "resume", "unwinding to p0 | done done stuck pending pending | g");
    check(Rollback, P0, "pause", "paused forward | done pending pending pending pending | g");
    check(Rollback, &format!("{P0}; pause"), "resume", "forward | done pending pending pending pending | g");
    check(
        Rollback,
        &format!("{P0}; rollback start; pause"),
        "resume",
        "unwinding to start | done pending pending pending pending | g",
    );
    check(
        Rollback,
        &format!("{P0}; rollback start; undo a; undone a"),
        "resume",
        "forward | pending pending pending pending pending | ",
    );
    check(Rollback, ALL, "rollback p2", "unwinding to p2 | done done done done done | g h i");
}

#[test]
fn the_table_of_unwinding() {
    let back = &format!("{P1}; rollback p0");
    check(Rollback, back, "undo c", "unwinding to p0 | done done undoing pending pending | g");
    check(Rollback, &format!("{back}; undo c"), "undo c", "unwinding to p0 | done done undoing pending pending | g");
    check(Rollback, &format!("{back}; undo c"), "undone c", "unwinding to p0 | done done pending pending pending | g");
    check(
        Rollback,
        &format!("{back}; undo c"),
        "undo-fails c",
        "stuck at 2 on the way to p0 | done done stuck pending pending | g",
    );
    check(
        Rollback,
        &format!("{back}; undo c; undo-fails c; resume"),
        "undo c",
        "unwinding to p0 | done done undoing pending pending | g",
    );
    check(
        Rollback,
        "start a; rollback start",
        "undo a",
        "unwinding to start | undoing pending pending pending pending | ",
    );
    check(Rollback, "start a; fail a", "undo a", "unwinding to start | undoing pending pending pending pending | ");
}

#[test]
fn what_finds_no_row_is_illegal() {
    let out = |event: &str, why: &str| format!("illegal: `{event}` cannot follow here: {why}");
    check(Rollback, "", "start b", &out("started", "`b` is not the next unit"));
    check(Rollback, "", "start x", "illegal: the program has no unit `x`");
    check(Rollback, "", "done a", &out("succeeded", "`a` is pending while the run is going forward"));
    check(Rollback, "", "fail a", &out("failed", "`a` is pending while the run is going forward"));
    check(Rollback, "start a; done a", "start a", &out("started", "`a` is not the next unit"));
    check(Rollback, "start a; done a", "start b", &out("started", "`b` is not the next unit"));
    check(Rollback, "start a; pause", "done a", &out("succeeded", "`a` is running while the run is paused"));
    check(Rollback, "start a; pause", "start a", &out("started", "`a` is not the next unit"));
    check(Rollback, "start a", "pass p0/g", &out("gate_passed", "gate `g` of phase `p0` is not next"));
    check(Rollback, P0, "pass p0/g", &out("gate_passed", "gate `g` of phase `p0` is not next"));
    check(Rollback, P0, "pass p0/x", &out("gate_passed", "gate `x` of phase `p0` is not next"));
    check(Rollback, P0, "block p9/g", "illegal: the program has no phase `p9`");
    check(Rollback, P0, "undo a", &out("undo_started", "`a` is not the next to be undone"));
    check(Rollback, P0, "resume", &out("resumed", "the run is going forward and can simply go on"));
    check(Rollback, P0, "rollback p9", "illegal: the program has no phase `p9`");
    let back = &format!("{P1}; rollback p0");
    check(Rollback, back, "undo b", &out("undo_started", "`b` is not the next to be undone"));
    check(Rollback, back, "undone c", &out("undone", "`c` is done while the run is rolling back"));
    check(Rollback, back, "undo-fails c", &out("undo_failed", "`c` is done while the run is rolling back"));
    check(Rollback, back, "start d", &out("started", "`d` is not the next unit"));
    check(Rollback, back, "resume", &out("resumed", "the run is rolling back and can simply go on"));
    check(
        Rollback,
        &format!("{back}; undo c; undone c; undo b; undone b"),
        "undo a",
        &out("undo_started", "`a` is not the next to be undone"),
    );
    check(Rollback, &format!("{back}; pause"), "pause", &out("paused", "the run is paused already"));
    check(Rollback, &format!("{back}; undo c; undo-fails c"), "pause", &out("paused", "the run is stuck already"));
    check(
        Rollback,
        &format!("{back}; undo c; undo-fails c"),
        "undo c",
        &out("undo_started", "`c` is not the next to be undone"),
    );
    let fixed = |unit: &str| format!("illegal: `{unit}` cannot be undone: it is gone");
    check(Rollback, ALL, "rollback p1", &fixed("e"));
    check(Rollback, &format!("{P1}; start d; done d"), "rollback start", &fixed("d"));
    // Started inside a transaction without outcome: it did not happen. Outside of one it may have.
    check(
        Rollback,
        &format!("{P1}; start d"),
        "rollback p1",
        "unwinding to p1 | done done done running pending | g h i",
    );
    check(Rollback, &format!("{P1}; start d present; done d; start e"), "rollback p1", &fixed("e"));
}

#[test]
fn what_was_there_first_counts_unless_nothing_was_touched() {
    for (script, first) in [
        ("start a absent; start a present", Presence::Absent),
        ("start a replaced; start a wreck", Presence::Partial),
        ("start a conflict; start a absent", Presence::Absent),
        ("start a present; start a absent", Presence::Absent),
        (
            "start a absent; done a; pass p0/g; rollback start; undo a; undone a; resume; start a present",
            Presence::Present,
        ),
    ] {
        let run = run(&program(Rollback), script);
        assert_eq!(run.unit(0).before().unwrap().presence, first, "{script}");
    }
}

#[test]
fn of_two_gates_with_one_id_in_a_phase_the_first_stays() {
    let gate = |column: &str| format!("[[phase.gate]]\nkind = 'nulls'\ntable = 'app.users'\ncolumns = ['{column}']\n");
    let phase = |id: &str, column: &str| {
        format!(
            "[[phase]]\nid = '{id}'\n[[phase.step]]\nkind = 'add_column'\ntable = 'app.users'\ncolumn = '{column}'\ntype = 'int'\n"
        )
    };
    let text = [
        "format = 1\nname = 'x'\n",
        &phase("p0", "m"),
        &gate("m"),
        &gate("n"),
        &gate("m"),
        &phase("p1", "n"),
        &gate("m"),
    ];
    let (plan, diags) = parse(&text.concat(), &|_| Err("no file".to_owned()));
    let plan = plan.unwrap_or_else(|| panic!("{diags:?}"));
    let program = lower(&plan, ServerFacts::default());
    let gates = |p: usize| program.phases[p].gates.iter().map(|gate| gate.id.as_str()).collect::<Vec<_>>();
    assert_eq!(gates(0), ["nulls:app.users.m", "nulls:app.users.n"]);
    assert_eq!(gates(1), ["nulls:app.users.m"]);
    let json = serde_json::to_string(&program).unwrap();
    assert_eq!(serde_json::from_str::<Program>(&json).unwrap(), program);
}

#[test]
fn keep_and_its_name_are_inverse() {
    let program = program(Rollback);
    for keep in 0..=program.phases.len() {
        assert_eq!(program.keep(program.keep_name(keep)), Some(keep));
    }
    assert_eq!(
        ["start", "p0", "p1", "p2", "p3", ""].map(|name| program.keep(name)),
        [Some(0), Some(1), Some(2), Some(3), None, None]
    );
    let firsts: Vec<_> = (0..=3).map(|p| program.first_unit(p)).collect();
    assert_eq!(firsts, [0, 1, 3, 5]);
}
