//! What a rollback is said to do.

use tenantmig::{
    engine::{Destination, preview},
    plan::OnFailure::Pause,
    sql::Stmt,
    unit::{Down, UnitId},
};

use super::{ALL, P0, P1, program, run};

/// What a rollback to `to` is said to do: a line for each undo.
#[track_caller]
fn check_preview(script: &str, to: &str, expect: &[&str]) {
    let program = program(Pause);
    let shown = preview(&program, &run(&program, script), Destination(program.keep(to).unwrap()));
    let lines = match shown {
        Ok(shown) => {
            let lines = shown.undos.iter().map(|undo| {
                let sql: Vec<_> = undo.sql.iter().map(Stmt::as_str).collect();
                let alone = if undo.autocommit { "alone " } else { "" };
                let what = undo.nothing.clone().unwrap_or_else(|| format!("{alone}{}", sql.join("; ")));
                let loses = undo.loses.as_ref().map_or(String::new(), |loses| format!(" (loses {loses})"));
                format!("{}: {what}{loses}", undo.unit)
            });
            let to = format!("to {}", program.keep_name(shown.keep));
            std::iter::once(to).chain(lines).collect()
        }
        Err(illegal) => vec![illegal.to_string()],
    };
    assert_eq!(lines, expect, "after `{script}`, to {to}");
}

#[test]
fn the_preview_names_what_is_undone() {
    let a = "a: DROP a (loses what is in a)";
    check_preview(P1, "start", &["to start", "c: undone together with b", "b: alone DROP b (loses what is in b)", a]);
    check_preview(P1, "p0", &["to p0", "c: undone together with b", "b: alone DROP b (loses what is in b)"]);
    check_preview(P1, "p1", &["to p1"]);
    check_preview("", "start", &["to start"]);
    // What was replaced comes back; what was there before, or stood in the way, stays.
    check_preview("start a replaced; done a", "start", &["to start", "a: DROP a; RESTORE (loses what is in a)"]);
    check_preview("start a present; done a", "start", &["to start", "a: it was there before and stays"]);
    let conflict = &format!("{P0}; start b conflict; fail b");
    check_preview(conflict, "p0", &["to p0", "b: something else stood in its place, which was not touched"]);
    let adopted = &format!("{P0}; start b present; done b; start c; done c");
    let stays = "c: what b would have made was there before: what was filled in stays";
    check_preview(adopted, "p0", &["to p0", stays, "b: it was there before and stays"]);
    // What was never completed has nothing to lose; a completed unit that is being undone still has.
    check_preview("start a; pause", "start", &["to start", "a: DROP a"]);
    check_preview(&format!("{P0}; rollback start; undo a"), "start", &["to start", a]);
    // A rollback under way is not cut short.
    check_preview(&format!("{P0}; rollback start"), "p0", &["to start", a]);
    check_preview(ALL, "p1", &["`e` cannot be undone: it is gone"]);
    check_preview(ALL, "p2", &["to p2"]);
}

#[test]
fn a_fill_in_a_later_phase_stays_with_its_column() {
    let mut program = program(Pause);
    program.phases[2].units[0].down = Down::CoveredBy(UnitId("a".to_owned()));
    let run = run(&program, &format!("{P1}; start d; done d"));
    let nothing = |keep| preview(&program, &run, Destination(keep)).unwrap().undos[0].nothing.clone().unwrap();
    assert_eq!(nothing(1), "what a made stays, and what was filled in with it");
    assert_eq!(nothing(0), "undone together with a");
}
