//! What a rollback would do, before it does it.

use serde::Serialize;

use super::{
    Event, Program,
    run::{Illegal, Run},
};
use crate::{
    sql::Stmt,
    unit::{Before, Down, Due, KeepSpec, Op, UnitId},
};

/// Where a rollback goes: the number of phases that stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Destination(pub usize);

/// The units that a rollback takes back, last done first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Preview {
    pub keep: usize,
    pub undos: Vec<Undo>,
}

/// One unit to be taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Undo {
    pub unit: UnitId,
    pub phase: usize,
    /// What the unit did.
    pub title: String,
    /// The SQL of the undo, in order; empty when there is nothing to run.
    pub sql: Vec<Stmt>,
    /// Whether the SQL must run outside a transaction.
    pub autocommit: bool,
    /// What says the SQL where the table is partitioned.
    #[serde(skip)]
    pub due: Option<Due>,
    /// Why nothing is run, where nothing is.
    pub nothing: Option<String>,
    /// What is destroyed.
    pub loses: Option<String>,
}

/// Lists what a rollback would undo if it were asked for now, or says which unit forbids it. Where one is under way that goes
/// further back, `keep` in the answer is that one's.
pub fn preview(program: &Program, run: &Run, Destination(asked): Destination) -> Result<Preview, Illegal> {
    let keep = run.mode().reaches(asked);
    if let Some(illegal) = run.irreversible(program, keep) {
        return Err(illegal);
    }
    let mut undos = Vec::new();
    for (number, (phase, unit)) in program.units().enumerate().collect::<Vec<_>>().into_iter().rev() {
        let state = run.unit(number);
        let Some(before) = state.before().filter(|_| phase >= keep) else { continue };
        let mut undo = Undo {
            unit: unit.id.clone(),
            phase,
            title: unit.undo_title(),
            sql: Vec::new(),
            autocommit: false,
            due: None,
            nothing: None,
            loses: unit.loses.clone(),
        };
        undo.nothing = nothing_to_run(program, run, keep, number);
        match unit.down.in_effect(|by| run.was_there(program, by)) {
            _ if undo.nothing.is_some() => {}
            Down::Op(Op::Tx(stmts)) => undo.sql = [stmts.clone(), before.restore.clone()].concat(),
            Down::Op(Op::Autocommit { due: Some(due), .. }) if due.restores => {
                (undo.sql, undo.autocommit) = (before.restore.clone(), true);
            }
            Down::Op(Op::Autocommit { stmt, due, .. }) => {
                (undo.sql, undo.autocommit, undo.due) = (vec![stmt.clone()], true, due.clone());
            }
            Down::Op(Op::Backfill(_) | Op::Assert(_) | Op::Watch(_) | Op::Keep(_) | Op::Restore(_))
            | Down::CoveredBy(_)
            | Down::With { .. }
            | Down::Nothing { .. }
            | Down::Irreversible { .. } => {}
        }
        if undo.nothing.is_some() || !state.is_done() {
            undo.loses = None;
        }
        undos.push(undo);
    }
    Ok(Preview { keep, undos })
}

/// Whether the last rollback of these events was somebody's wish, and not the answer to a failure.
pub fn taken_back<'a>(events: impl DoubleEndedIterator<Item = &'a Event>) -> bool {
    let word = |event: &Event| match event {
        Event::RollbackRequested { .. } => Some(true),
        Event::Failed { .. } | Event::GateFailed { .. } | Event::TurnedRound => Some(false),
        Event::Started { .. }
        | Event::Succeeded { .. }
        | Event::UndoStarted { .. }
        | Event::Undone { .. }
        | Event::UndoFailed { .. }
        | Event::GatePassed { .. }
        | Event::UndoChecked { .. }
        | Event::GuardsPutOff { .. }
        | Event::GuardAsked { .. }
        | Event::Paused { .. }
        | Event::Drifted { .. }
        | Event::DriftAccepted { .. }
        | Event::Throttled { .. }
        | Event::Unthrottled { .. }
        | Event::Retuned { .. }
        | Event::Repaired { .. }
        | Event::Resumed => None,
    };
    events.rev().find_map(word).unwrap_or(false)
}

/// Why taking back the unit with this number runs no statement, in words; `None` where it runs one.
pub fn nothing_to_run(program: &Program, run: &Run, keep: usize, number: usize) -> Option<String> {
    let (_, unit) = program.unit(number)?;
    if let Some(why) = run.unit(number).before().and_then(Before::hands_off) {
        return Some(why.to_owned());
    }
    match unit.down.in_effect(|by| run.was_there(program, by)) {
        Down::Op(Op::Tx(_) | Op::Autocommit { .. }) => None,
        Down::Op(Op::Keep(spec) | Op::Restore(spec)) => kept(program, run, spec),
        Down::Op(Op::Backfill(_) | Op::Assert(_) | Op::Watch(_)) => Some("its undo writes no statement".to_owned()),
        Down::CoveredBy(other) | Down::With { unit: other, .. } => Some(covered(program, run, keep, other)),
        Down::Nothing { why } | Down::Irreversible { why } => Some(why.clone()),
    }
}

/// Whether the values of a column are kept: not where the column was there before, and stays.
fn kept(program: &Program, run: &Run, spec: &KeepSpec) -> Option<String> {
    let (of, ..) = program.find(&spec.of)?;
    let stays = run.unit(of).before().is_some_and(Before::is_untouched);
    stays.then(|| format!("{}.{} was there before and stays, with its values", spec.table, spec.column))
}

/// What becomes of a unit that the undo of another takes along. That one may stay: it was there before, or its phase is kept.
fn covered(program: &Program, run: &Run, keep: usize, by: &UnitId) -> String {
    match program.find(by) {
        Some((number, ..)) if run.unit(number).before().is_some_and(Before::is_untouched) => {
            format!("what {by} would have made was there before: what was filled in stays")
        }
        Some((_, phase, _)) if phase < keep => format!("what {by} made stays, and what was filled in with it"),
        Some(_) | None => format!("undone together with {by}"),
    }
}
