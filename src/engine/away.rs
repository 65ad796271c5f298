//! What steps of a run have put aside (`drop_table`, `drop_column`): nobody can look at it until that step is undone.

use super::{Program, Run};
use crate::{
    sql::QName,
    steps::{drop_column, drop_table::aside},
    unit::{Op, Unit},
};

/// The tables of which units after that of number `after` have put something aside, each with whether the whole of it is.
pub fn put_aside(program: &Program, run: &Run, after: usize) -> Vec<(QName, bool)> {
    let later = program.units().enumerate().skip(after + 1);
    // Also one whose undo has begun, or failed: it may be aside still.
    let begun = later.filter(|(number, _)| run.unit(*number).before().is_some_and(|before| !before.is_untouched()));
    begun.filter_map(|(_, (_, unit))| unit.lock.on.first().cloned().zip(takes_away(unit))).collect()
}

/// Whether the deed puts a table aside whole; `None` where it puts nothing aside.
fn takes_away(unit: &Unit) -> Option<bool> {
    let Op::Tx(stmts) = &unit.up else { return None };
    let says = |what: &str| stmts.iter().any(|stmt| stmt.as_str().contains(what));
    if says(aside::DROPPED) { Some(true) } else { says(drop_column::PREFIX).then_some(false) }
}
