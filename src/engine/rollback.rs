//! What a rollback would do, before it does it.

use serde::Serialize;

use super::{
    Program,
    run::{Illegal, Run},
};
use crate::{
    sql::Stmt,
    unit::{Before, Down, Op, UnitId},
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
    /// Why nothing is run, where nothing is.
    pub nothing: Option<String>,
    /// What is destroyed.
    pub loses: Option<String>,
}

/// Lists what a rollback to `keep` would undo, or says which unit forbids it.
pub fn preview(program: &Program, run: &Run, Destination(keep): Destination) -> Result<Preview, Illegal> {
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
            title: unit.title.clone(),
            sql: Vec::new(),
            autocommit: false,
            nothing: None,
            loses: unit.loses.clone(),
        };
        match &unit.down {
            _ if before.is_untouched() => undo.nothing = Some("it was there before and stays".to_owned()),
            Down::Op(Op::Tx(stmts)) => undo.sql = [stmts.clone(), before.restore.clone()].concat(),
            Down::Op(Op::Autocommit { stmt, .. }) => (undo.sql, undo.autocommit) = (vec![stmt.clone()], true),
            Down::Op(Op::Backfill(_) | Op::Assert(_)) => undo.nothing = Some("its undo writes no statement".to_owned()),
            Down::CoveredBy(other) => undo.nothing = Some(covered(program, run, other)),
            Down::Nothing { why } | Down::Irreversible { why } => undo.nothing = Some(why.clone()),
        }
        if undo.nothing.is_some() || !state.is_done() {
            undo.loses = None;
        }
        undos.push(undo);
    }
    Ok(Preview { keep, undos })
}

fn covered(program: &Program, run: &Run, by: &UnitId) -> String {
    let adopted = program.find(by).and_then(|(number, ..)| run.unit(number).before()).is_some_and(Before::is_untouched);
    if adopted {
        format!("what {by} would have made was there before: what was filled in stays")
    } else {
        format!("undone together with {by}")
    }
}
