//! Words about the pace change nothing else, whichever way the run goes.

use tenantmig::{
    engine::{Event, Illegal},
    plan::{Millis, OnFailure::Pause, Tuning},
    unit::UnitId,
};

use super::{P0, P1, program, run};

#[test]
fn another_pace_may_be_asked_in_every_mode_and_moves_nothing() {
    let program = program(Pause);
    let retuned = |tuning: Tuning| Event::Retuned {
        by: "dba".to_owned(),
        host: "host2".to_owned(),
        asked_at: "2026-03-01T03:00:55Z".to_owned(),
        tuning,
    };
    let unwinding = format!("{P1}; rollback start");
    for script in
        ["", "start a", P0, P1, &format!("{P0}; pause"), &unwinding, &format!("{unwinding}; undo c; undo-fails c")]
    {
        let mut run = run(&program, script);
        let (next, mode) = (run.next(&program), run.mode().clone());
        run.apply(&program, &retuned(Tuning { workers: Some(3), ..Tuning::default() })).unwrap();
        run.apply(&program, &retuned(Tuning { target_batch: Some(Millis(20)), ..Tuning::default() })).unwrap();
        assert_eq!((run.next(&program), run.mode()), (next, &mode), "after `{script}`");
        assert_eq!((run.tuning().workers, run.tuning().target_batch), (Some(3), Some(Millis(20))));
    }
}

#[test]
fn only_a_unit_under_way_is_throttled() {
    let program = program(Pause);
    let unit = || UnitId("a".to_owned());
    let waits = Event::Throttled { unit: unit(), signal: "replica lag".to_owned(), why: "12 s".to_owned() };
    let goes = Event::Unthrottled { unit: unit(), waited_ms: 12_000 };
    let mut under_way = run(&program, "start a");
    let before = under_way.clone();
    under_way.apply(&program, &waits).unwrap();
    under_way.apply(&program, &goes).unwrap();
    assert_eq!(under_way, before);
    for script in ["", "start a; done a", "start a; pause"] {
        let refused = run(&program, script).apply(&program, &waits);
        assert!(
            matches!(refused, Err(Illegal::OutOfOrder { event: "throttled", .. })),
            "after `{script}`: {refused:?}"
        );
    }
}
