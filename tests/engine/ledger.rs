//! What the ledger keeps comes back as it went, and whatever it holds, the machine answers.

use proptest::prelude::*;
use tenantmig::{
    engine::{Approved, Asker, Event, Failure, Finding, Program, Run},
    plan::{Millis, OnFailure, OnUnset, Registry, Tenancy},
    sql::{Expr, Ident, Literal, QName, Stmt, TypeName},
    unit::{
        BackfillSpec, BackfillValue, Before, Down, Hold, Lock, LockLevel, OnOrphan, Op, Presence, Probe, Twin, UnitId,
    },
};

use super::program;

fn any_before() -> impl Strategy<Value = Before> {
    let presence =
        prop::sample::select(vec![Presence::Absent, Presence::Partial, Presence::Present, Presence::Conflict]);
    let restore = prop::collection::vec(any::<String>().prop_map(Stmt::raw), 0..3);
    (presence, any::<Option<String>>(), restore).prop_map(|(presence, found, restore)| Before {
        presence,
        found,
        restore,
    })
}

fn any_failure() -> impl Strategy<Value = Failure> {
    (any::<Option<String>>(), any::<String>(), any::<Option<String>>(), any::<Option<String>>()).prop_map(
        |(sqlstate, message, statement, advice)| Failure {
            disk_full: sqlstate.is_some(),
            sqlstate,
            message,
            statement,
            advice,
            held: None,
        },
    )
}

fn any_approval() -> impl Strategy<Value = Approved> {
    (any::<i64>(), any::<[String; 3]>(), any::<Option<String>>())
        .prop_map(|(number, [by, host, at], reason)| Approved { number, by, host, at, reason })
}

/// Events about the units and gates that exist, and now and then about one that does not.
fn any_event() -> impl Strategy<Value = Event> {
    let unit = || prop::sample::select(vec!["a", "b", "c", "d", "e", "x"]).prop_map(|name| UnitId(name.to_owned()));
    let phase = || prop::sample::select(vec!["start", "p0", "p1", "p2", "p3"]).prop_map(str::to_owned);
    let gate = || prop::sample::select(vec!["g", "h", "i", "x"]).prop_map(str::to_owned);
    let finding = (any::<String>(), any::<i64>(), any::<Option<String>>());
    let finding = finding.prop_map(|(what, count, example)| Finding { what, count, example });
    let found = finding.clone();
    prop_oneof![
        (unit(), any_before()).prop_map(|(unit, before)| Event::Started { unit, before }),
        (unit(), any::<Option<u64>>()).prop_map(|(unit, rows)| Event::Succeeded { unit, rows }),
        (unit(), any_failure()).prop_map(|(unit, failure)| Event::Failed { unit, failure }),
        unit().prop_map(|unit| Event::UndoStarted { unit }),
        unit().prop_map(|unit| Event::Undone { unit }),
        (unit(), any_failure()).prop_map(|(unit, failure)| Event::UndoFailed { unit, failure }),
        (phase(), gate(), prop::option::of(any_approval())).prop_map(|(phase, gate, approved)| Event::GatePassed {
            phase,
            gate,
            approved
        }),
        (phase(), gate(), prop::collection::vec(finding, 0..3)).prop_map(|(phase, gate, findings)| Event::GateFailed {
            phase,
            gate,
            findings,
            held: None
        }),
        phase().prop_map(|keep| Event::RollbackRequested { keep, consents: vec![] }),
        (phase(), gate(), prop::collection::vec(found, 0..2))
            .prop_map(|(phase, gate, findings)| { Event::UndoChecked { phase, gate, findings } }),
        (phase(), gate()).prop_map(|(phase, gate)| Event::GuardAsked { phase, gate, found: None, agreed: None }),
        Just(Event::TurnedRound),
        any::<String>().prop_map(|why| Event::Paused { why, asked: None }),
        any::<[String; 4]>().prop_map(|[why, by, host, at]| Event::Paused { why, asked: Some(Asker { by, host, at }) }),
        (phase(), any::<[String; 2]>()).prop_map(|(phase, [since, found])| Event::Drifted { phase, since, found }),
        (phase(), any::<[String; 2]>()).prop_map(|(phase, [since, found])| Event::DriftAccepted {
            phase,
            since,
            found
        }),
        Just(Event::Resumed),
    ]
}

/// No file of failed cases: the smallest one is printed, and becomes a test of its own.
fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn events_come_back_from_the_ledger_as_they_went(event in any_event()) {
        let json = serde_json::to_value(&event).unwrap();
        prop_assert_eq!(serde_json::from_value::<Event>(json).unwrap(), event);
    }

    /// Whatever a ledger holds, the machine answers; what it refuses leaves no trace, and what it took folds to the same.
    #[test]
    fn no_ledger_makes_the_machine_panic(events in prop::collection::vec(any_event(), 0..60)) {
        let program = program(OnFailure::RollbackAll);
        let mut run = Run::new(&program);
        let mut taken = Vec::new();
        for event in events {
            let was = run.clone();
            match run.apply(&program, &event) {
                Ok(()) => taken.push(event),
                Err(_) => prop_assert_eq!(&run, &was),
            }
            run.next(&program);
        }
        prop_assert_eq!(Run::fold(&program, &taken), Ok(run));
    }
}

/// A program with one of each, whose names are what a database may hold: mixed case, quotes, any alphabet.
fn full_program(on_failure: OnFailure, name: Ident, text: String, number: u32) -> Program {
    let table = QName::new(name.clone(), name.clone());
    let expr = Expr::parse("coalesce(row.a, 'x')").unwrap();
    let values = [
        BackfillValue::Constant(Literal::new(text.clone())),
        BackfillValue::Parent { table: table.clone(), column: name.clone(), on: vec![(name.clone(), name.clone())] },
        BackfillValue::Expr(expr.clone()),
    ];
    let spec = |value| BackfillSpec {
        table: table.clone(),
        column: name.clone(),
        value,
        only: Some(expr.clone()),
        on_orphan: OnOrphan::Skip,
        batch_rows: number,
    };
    let stmt = Stmt::raw(text.clone());
    let mut program = program(on_failure);
    let units = program.phases.iter_mut().flat_map(|phase| &mut phase.units);
    for (unit, value) in units.zip(values) {
        unit.up = Op::Backfill(spec(value));
        unit.down = Down::Op(Op::Assert(stmt.clone()));
        unit.lock = Lock::on(LockLevel::ShareRowExclusive, &table, Hold::Scan).and(&table);
        let twin = Twin { setup: vec![stmt.clone()], query: stmt.clone() };
        unit.probe = Probe::Catalog { query: stmt.clone(), twin: Some(twin) };
    }
    program.phases[0].gates[0].tables = vec![table.clone()];
    program.phases[0].gates[0].baseline = Some(stmt);
    program.safety.lock_timeout = Millis(number.into());
    let registry = Registry { table, key: name.clone(), r#type: TypeName::parse("numeric(12, 2)").unwrap() };
    program.tenancy = Some(Tenancy {
        registry,
        column: name.clone(),
        setting: text,
        roles: vec![name],
        bypass: vec![],
        function: None,
        force: true,
        on_unset: OnUnset::Error,
        fallback: None,
    });
    program
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_program_comes_back_from_the_ledger_as_it_went(
        on_failure in prop::sample::select(vec![OnFailure::Rollback, OnFailure::RollbackAll, OnFailure::Pause]),
        name in any::<String>().prop_filter_map("not a name", |name| Ident::new(name).ok()),
        text in any::<String>(),
        number in any::<u32>(),
    ) {
        let program = full_program(on_failure, name, text, number);
        let json = serde_json::to_value(&program).unwrap();
        prop_assert_eq!(serde_json::from_value::<Program>(json).unwrap(), program);
    }
}

/// Logs of versions that did not say who approved are read, and written again byte for byte: the chain's links are over that text.
#[test]
fn a_gate_that_passed_in_an_earlier_version_stays_as_it_is() {
    let old = serde_json::json!({ "gate_passed": { "phase": "p1", "gate": "approved:p1" } });
    let event: Event = serde_json::from_value(old.clone()).unwrap();
    assert_eq!(event, Event::GatePassed { phase: "p1".to_owned(), gate: "approved:p1".to_owned(), approved: None });
    assert_eq!(serde_json::to_value(&event).unwrap(), old);
}
