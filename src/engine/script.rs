//! Break-glass: a program's phases as scripts that a DBA runs with psql alone, without this tool and without its ledger.

use super::{Program, ProgramPhase, rollback::Preview};
use crate::{
    plan::Safety,
    sql,
    sql::{Literal, Stmt},
    unit::{BackfillSpec, BackfillValue, Down, Op, Unit},
};

/// The forward script of one phase: its units, then its gates as queries that stop the script.
pub fn forward(program: &Program, phase: &ProgramPhase) -> String {
    let mut text = head(&program.plan, &phase.id, "applies", &program.safety);
    for unit in &phase.units {
        text.push_str(&format!("\n-- {}\n", unit.title));
        text.push_str(&op(&unit.up, &program.safety));
    }
    for gate in phase.gates.iter().filter(|gate| gate.baseline.is_none()) {
        text.push_str(&format!("\n-- gate: {}\n{}\n", gate.title, guard(&gate.query)));
    }
    text
}

/// The undo script of one phase as the program has it, for a database in which nothing of it was there before.
pub fn backward_phase(program: &Program, phase: &ProgramPhase) -> String {
    let mut text = head(&program.plan, &phase.id, "undoes", &program.safety);
    for unit in phase.units.iter().rev() {
        text.push_str(&format!("\n-- undo: {}\n{}", unit.title, down(unit, &program.safety)));
    }
    text
}

/// The undo script of what a run really did, with what it found before.
pub fn backward(program: &Program, preview: &Preview) -> String {
    let mut text = head(&program.plan, program.keep_name(preview.keep), "goes back to", &program.safety);
    for undo in &preview.undos {
        text.push_str(&format!("\n-- undo: {}\n", undo.title));
        match &undo.nothing {
            Some(why) => text.push_str(&format!("-- nothing to run: {}\n", why.replace('\n', " "))),
            None if undo.autocommit => text.push_str(&alone(&undo.sql, &program.safety)),
            None => text.push_str(&transaction(&undo.sql)),
        }
    }
    text
}

fn head(plan: &str, phase: &str, verb: &str, safety: &Safety) -> String {
    format!(
        "-- Plan {plan}: this script {verb} phase {phase}.\n\
         -- Run it with: psql -v ON_ERROR_STOP=1 -f THIS_FILE\n\
         -- It changes the database and not tenantmig's ledger: break-glass, for when the tool cannot be used.\n\
         \\set ON_ERROR_STOP on\n\
         SET row_security = off;\n\
         SET lock_timeout = '{}ms';\n",
        safety.lock_timeout.0
    )
}

fn op(op: &Op, safety: &Safety) -> String {
    match op {
        Op::Tx(stmts) => transaction(stmts),
        Op::Autocommit { stmt, .. } => alone(std::slice::from_ref(stmt), safety),
        Op::Backfill(spec) => backfill(spec),
        Op::Assert(query) => format!("{}\n", guard(&sql!("SELECT 1 WHERE ({}) IS NOT TRUE", query))),
    }
}

fn down(unit: &Unit, safety: &Safety) -> String {
    match &unit.down {
        Down::Op(back) => op(back, safety),
        Down::CoveredBy(other) => format!("-- nothing to run: undone together with {other}\n"),
        Down::Nothing { why } => format!("-- nothing to run: {}\n", why.replace('\n', " ")),
        Down::Irreversible { why } => format!("-- CANNOT BE UNDONE: {}\n", why.replace('\n', " ")),
    }
}

fn transaction(stmts: &[Stmt]) -> String {
    let body: Vec<String> = stmts.iter().map(|stmt| format!("{};\n", stmt.as_str().trim_end())).collect();
    format!("BEGIN;\n{}COMMIT;\n", body.concat())
}

/// CONCURRENTLY waits for older transactions within lock_timeout, so it gets the longer bound.
fn alone(stmts: &[Stmt], safety: &Safety) -> String {
    let body: Vec<String> = stmts.iter().map(|stmt| format!("{};\n", stmt.as_str().trim_end())).collect();
    format!(
        "SET lock_timeout = '{}ms';\n{}SET lock_timeout = '{}ms';\n",
        safety.index_wait.0,
        body.concat(),
        safety.lock_timeout.0
    )
}

/// Stops the script when the query returns a row.
fn guard(query: &Stmt) -> String {
    let body = sql!("DO {} LANGUAGE plpgsql;", Literal::new(guard_body(query)));
    body.as_str().to_owned()
}

fn guard_body(query: &Stmt) -> String {
    format!("BEGIN IF EXISTS ({query}) THEN RAISE EXCEPTION 'the check found something: run its query'; END IF; END")
}

/// The simple form of the engine's batches: rows that nobody holds, a commit after each thousand.
fn backfill(spec: &BackfillSpec) -> String {
    let (value, join) = match &spec.value {
        BackfillValue::Constant(text) => (sql!("{}", text), Stmt::raw("")),
        BackfillValue::Expr(expr) => (sql!("({})", expr), Stmt::raw("")),
        BackfillValue::Parent { table, column, on } => {
            let equal: Vec<Stmt> = on.iter().map(|(child, parent)| sql!("parent.{} = row.{}", parent, child)).collect();
            (sql!("parent.{}", column), sql!(" JOIN {} AS parent ON {}", table, sql::List(&equal, " AND ")))
        }
    };
    let only = spec.only.as_ref().map_or(Stmt::raw(""), |only| sql!(" AND ({})", only));
    let update = sql!(
        "WITH due AS (SELECT row.ctid AS at, {} AS value FROM {} AS row{} WHERE row.{} IS NULL AND ({}) IS NOT NULL{} LIMIT {} FOR NO KEY UPDATE OF row SKIP LOCKED)
         UPDATE {} AS t SET {} = due.value FROM due WHERE t.ctid = due.at",
        value,
        spec.table,
        join,
        spec.column,
        value,
        only,
        SCRIPT_BATCH_ROWS,
        spec.table,
        spec.column
    );
    let body = format!(
        "DECLARE n bigint; BEGIN LOOP {update}; GET DIAGNOSTICS n = ROW_COUNT; EXIT WHEN n = 0; COMMIT; END LOOP; END"
    );
    format!("{}\n", sql!("DO {} LANGUAGE plpgsql;", Literal::new(body)))
}

/// Rows of one commit in a script: short enough for writers to wait for.
const SCRIPT_BATCH_ROWS: u32 = 5_000;
