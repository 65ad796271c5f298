//! What steps of a run have put aside (`drop_table`, `drop_column`): nobody can look at it until that step is undone.

use super::{Program, Run};
use crate::sql::QName;

/// The tables of which units after that of number `after` have put something aside, each with whether the whole of it is.
pub fn put_aside(program: &Program, run: &Run, after: usize) -> Vec<(QName, bool)> {
    let later = program.units().enumerate().skip(after + 1);
    // Also one whose undo has begun, or failed: it may be aside still.
    let begun = later.filter(|(number, _)| run.unit(*number).before().is_some_and(|before| !before.is_untouched()));
    begun.filter_map(|(_, (_, unit))| unit.lock.on.first().cloned().zip(unit.puts_aside())).collect()
}
