//! Break-glass: a program's phases as scripts that a DBA runs with psql alone, without this tool and without its ledger.

use super::{Program, ProgramPhase, rollback::Preview};
use crate::{
    checks::Measure,
    plan::{Millis, Safety},
    sql,
    sql::{List, Literal, Stmt, split},
    unit::{BackfillSpec, BackfillValue, CopySpec, Down, Due, Op, Unit},
};

/// Rows of one commit in a script: short enough for writers to wait for.
const SCRIPT_BATCH_ROWS: u32 = 5_000;

/// The forward script of one phase: its units, then its gates as queries that stop the script.
pub fn forward(program: &Program, phase: &ProgramPhase) -> String {
    let mut text = head(&program.plan, &format!("applies phase {}.", phase.id), &program.safety);
    // By this name the trigger of `keep` knows a backfill.
    let name = Stmt::raw("SET application_name = 'tenantmig script'");
    text.push_str(&closed(&name));
    for unit in &phase.units {
        text.push_str(&format!("\n{}{}", comment(&unit.title), op(&unit.up, &unit.title, &program.safety)));
    }
    for gate in &phase.gates {
        text.push_str(&format!("\n{}", comment(&format!("gate: {}", gate.title))));
        let asked = matches!(gate.measure, Measure::Isolation(_) | Measure::Latency(_));
        if matches!(gate.measure, Measure::Approval(_)) {
            text.push_str("-- not asked here: whoever runs this decides\n");
            continue;
        }
        match &gate.baseline {
            None if asked => text.push_str("-- not measured here: tenantmig verify asks it\n"),
            Some(_) => text.push_str("-- not measured here: it compares with a number from before the plan began\n"),
            None => text.push_str(&guard(&gate.title, &gate.query)),
        }
    }
    text
}

/// The undo script of one phase as the program has it, for a database in which nothing of it was there before.
pub fn backward_phase(program: &Program, phase: &ProgramPhase) -> String {
    let what = format!(
        "undoes phase {}, for a database in which nothing of it stood before. Phases after it go first.",
        phase.id
    );
    let mut text = head(&program.plan, &what, &program.safety);
    for unit in phase.units.iter().rev() {
        text.push_str(&format!(
            "\n{}{}",
            comment(&format!("undo: {}", unit.undo_title())),
            down(unit, &program.safety)
        ));
    }
    text
}

/// The undo script of what a run really did, with what it found before.
pub fn backward(program: &Program, preview: &Preview) -> String {
    let mut text = head(&program.plan, &format!("goes back to {}.", program.keep_name(preview.keep)), &program.safety);
    for undo in &preview.undos {
        text.push_str(&format!("\n{}", comment(&format!("undo: {}", undo.title))));
        match &undo.nothing {
            Some(why) => text.push_str(&comment(&format!("nothing to run: {why}"))),
            None if undo.autocommit => text.push_str(&alone(&undo.sql, undo.due.as_ref(), &program.safety)),
            None => text.push_str(&transaction(&undo.sql)),
        }
    }
    text
}

/// `row_security = off` for the session, since the backfill's DO commits: rows that a policy hides are an error, not left out.
fn head(plan: &str, what: &str, safety: &Safety) -> String {
    format!(
        "{}\
         -- Run it with: psql -X -v ON_ERROR_STOP=1 -f THIS_FILE\n\
         -- It changes the database and not tenantmig's ledger: break-glass, for when the tool cannot be used.\n\
         \\set ON_ERROR_STOP on\n\
         SET row_security = off;\n\
         SET lock_timeout = '{}';\n\
         SET statement_timeout = '{}';\n",
        comment(&format!("Plan {plan}: this script {what}")),
        time(safety.lock_timeout),
        time(safety.statement_deadline),
    )
}

/// A length of time as PostgreSQL's settings have it, in the largest unit that fits.
fn time(Millis(ms): Millis) -> String {
    const UNITS: [(u64, &str); 3] = [(3_600_000, "h"), (60_000, "min"), (1_000, "s")];
    let fits = UNITS.iter().find(|(length, _)| ms > 0 && ms.is_multiple_of(*length));
    fits.map_or_else(|| format!("{ms}ms"), |(length, unit)| format!("{}{unit}", ms / length))
}

/// A line of comment, whatever the text: a line break in it (a quoted name may have one) must not end the comment.
fn comment(text: &str) -> String {
    format!("-- {}\n", text.split(['\n', '\r']).map(str::trim).collect::<Vec<_>>().join(" "))
}

fn op(op: &Op, title: &str, safety: &Safety) -> String {
    match op {
        Op::Tx(stmts) => transaction(stmts),
        Op::Autocommit { stmt, repair, due } => {
            let again: Vec<String> =
                repair.iter().map(|stmt| comment(&format!("if it fails, first: {stmt};"))).collect();
            format!("{}{}", again.concat(), alone(std::slice::from_ref(stmt), due.as_ref(), safety))
        }
        Op::Backfill(spec) => backfill(spec),
        Op::Keep(spec) => comment(&format!(
            "not done by a script: the values of {}.{} are kept by the tool alone; copy them first, if they matter",
            spec.table, spec.column
        )),
        Op::Restore(spec) => {
            comment(&format!("nothing to run: a script finds no kept values of {}.{}", spec.table, spec.column))
        }
        Op::Watch(spec) => {
            let asked = spec
                .query
                .as_ref()
                .map_or(String::new(), |query| guard(title, &sql!("SELECT 1 WHERE (\n{}\n) IS NOT TRUE", query)));
            format!("{}{asked}", comment(&format!("not done by a script, look yourself: {title}")))
        }
        Op::Assert(query) => guard(title, &sql!("SELECT 1 WHERE (\n{}\n) IS NOT TRUE", query)),
    }
}

fn down(unit: &Unit, safety: &Safety) -> String {
    match &unit.down {
        Down::Op(Op::Autocommit { stmt, due: Some(due), .. }) if due.restores => patient(&closed(stmt), safety),
        Down::Op(Op::Autocommit { stmt, due: Some(due), .. }) => dropped(stmt, due, safety),
        Down::Op(back) => op(back, &unit.title, safety),
        Down::CoveredBy(other) => comment(&format!("nothing to run: undone together with {other}")),
        Down::With { unit, alone } => {
            let alone = match alone.as_ref() {
                Down::Op(Op::Tx(stmts)) => List(stmts, "; ").to_string(),
                Down::Op(_)
                | Down::CoveredBy(_)
                | Down::With { .. }
                | Down::Nothing { .. }
                | Down::Irreversible { .. } => "nothing".to_owned(),
            };
            comment(&format!(
                "nothing to run: undone together with {unit}; where that was there before and stays: {alone}"
            ))
        }
        Down::Nothing { why } => comment(&format!("nothing to run: {why}")),
        Down::Irreversible { why } => comment(&format!("CANNOT BE UNDONE: {why}")),
    }
}

fn transaction(stmts: &[Stmt]) -> String {
    match stmts {
        [] => comment("nothing to run"),
        // A transaction by itself.
        [one] if split(one.as_str()).is_ok_and(|statements| statements.len() == 1) => closed(one),
        many => format!("BEGIN;\n{}COMMIT;\n", many.iter().map(closed).collect::<String>()),
    }
}

/// CONCURRENTLY waits for older transactions within lock_timeout, so it gets the longer bound.
fn alone(stmts: &[Stmt], due: Option<&Due>, safety: &Safety) -> String {
    let body = patient(&stmts.iter().map(closed).collect::<String>(), safety);
    due.map_or(body.clone(), |due| either(due, &each(due, safety), &body))
}

fn patient(body: &str, safety: &Safety) -> String {
    format!(
        "SET lock_timeout = '{}';\n{body}SET lock_timeout = '{}';\n",
        time(safety.index_wait),
        time(safety.lock_timeout)
    )
}

/// PostgreSQL refuses CONCURRENTLY on a partitioned table, and whether it is one is known to the server alone.
fn either(due: &Due, partitioned: &str, plain: &str) -> String {
    let kind = sql!(
        "SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass({}) AND relkind = 'p') AS partitioned \\gset",
        Literal::new(due.table.to_string())
    );
    format!("{kind}\n\\if :partitioned\n{partitioned}\\else\n{plain}\\endif\n")
}

/// psql asks for the statements, and runs them one by one. Those that others queue behind wait for a moment only.
fn each(due: &Due, safety: &Safety) -> String {
    let stmt = sql!(
        "SELECT format('SET lock_timeout = %L', CASE WHEN due.kind IN ('clear', 'build') THEN {} ELSE {} END), due.sql FROM (\n{}\n) AS due\n ORDER BY due.place \\gexec",
        Literal::new(time(safety.index_wait)),
        Literal::new(time(safety.lock_timeout)),
        due.query
    );
    format!("{stmt}\nSET lock_timeout = '{}';\n", time(safety.lock_timeout))
}

/// The short form of the undo, for scripts that are kept: dropping the index of a partitioned table drops what is attached to
/// it. Of a build that was not finished it leaves the rest; `rollback --dry-run --sql` lists all.
fn dropped(stmt: &Stmt, due: &Due, safety: &Safety) -> String {
    if !stmt.as_str().contains("CONCURRENTLY ") {
        return closed(stmt);
    }
    let whole = Stmt::raw(stmt.as_str().replacen("CONCURRENTLY ", "", 1));
    either(due, &closed(&whole), &patient(&closed(stmt), safety))
}

/// The statement with its semicolon, on a line of its own where the last line may end in a comment.
fn closed(stmt: &Stmt) -> String {
    let text = stmt.as_str().trim_end();
    let own_line = text.lines().next_back().is_some_and(|last| last.contains("--"));
    format!("{text}{};\n", if own_line { "\n" } else { "" })
}

/// Stops the script when the query returns a row.
fn guard(title: &str, query: &Stmt) -> String {
    let message = Literal::new(format!("not so: {title}; run the query of this check to see why"));
    block(&sql!(
        "BEGIN\n  IF EXISTS (\n{}\n  ) THEN\n    RAISE EXCEPTION USING MESSAGE = {};\n  END IF;\nEND",
        query,
        message
    ))
}

/// An anonymous block on lines of its own.
fn block(body: &Stmt) -> String {
    format!("{};\n", Stmt::block(body))
}

/// The simple form of the engine's batches: first the rows that nobody holds, a commit after each batch, then the ones that
/// are left, waiting for their locks. It may be run again and goes on where it stopped.
fn backfill(spec: &BackfillSpec) -> String {
    if let Some(spec_of_copy) = CopySpec::of(spec) {
        return copy(spec, spec_of_copy);
    }
    let none = Stmt::raw("");
    // A constant stays out of the CTE: there it would become text, here it takes the column's type.
    let (value, new, join) = match &spec.value {
        BackfillValue::Constant(text) => (sql!("{}", text), sql!("{}", text), none.clone()),
        BackfillValue::Expr(expr) => (sql!("({})", expr), Stmt::raw("due.value"), none.clone()),
        BackfillValue::Copy(_) => return String::new(),
        BackfillValue::Parent { table, column, on } => {
            let equal: Vec<Stmt> = on.iter().map(|(child, parent)| sql!("parent.{} = row.{}", parent, child)).collect();
            (
                sql!("parent.{}", column),
                Stmt::raw("due.value"),
                sql!("\n      JOIN {} AS parent ON {}", table, List(&equal, " AND ")),
            )
        }
    };
    let only = spec.only.as_ref().map_or(none, |only| sql!("\n       AND ({})", only));
    let update = |locking: Stmt| {
        sql!(
            "    WITH due AS (
      SELECT row.tableoid AS part, row.ctid AS at, {} AS value
      FROM {} AS row{}
      WHERE row.{} IS NULL AND ({}) IS NOT NULL{}
      LIMIT {} FOR NO KEY UPDATE OF row{}
    )
    UPDATE {} AS t SET {} = {} FROM due WHERE t.tableoid = due.part AND t.ctid = due.at;",
            value,
            spec.table,
            join,
            spec.column,
            value,
            only,
            SCRIPT_BATCH_ROWS,
            locking,
            spec.table,
            spec.column,
            new
        )
    };
    let rounds = |update: Stmt| {
        sql!("  LOOP\n{}\n    GET DIAGNOSTICS n = ROW_COUNT;\n    EXIT WHEN n = 0;\n    COMMIT;\n  END LOOP;", update)
    };
    block(&sql!(
        "DECLARE n bigint;\nBEGIN\n{}\n  -- rows that others held meanwhile\n{}\nEND",
        rounds(update(Stmt::raw(" SKIP LOCKED"))),
        rounds(update(Stmt::raw("")))
    ))
}

/// Rows copied and recorded, a commit after each batch, as the engine does it.
fn copy(spec: &BackfillSpec, copy: &CopySpec) -> String {
    let only = spec.only.as_ref().map_or(Stmt::raw(""), |only| sql!(" AND ({})", only));
    let batch = |locking: &str| {
        let from = sql!(
            "FROM {} AS row WHERE {}{} LIMIT {} FOR SHARE OF row{}",
            spec.table,
            copy.is_due(),
            only,
            SCRIPT_BATCH_ROWS,
            Stmt::raw(locking)
        );
        sql!("    WITH {} SELECT count(*) INTO n FROM tenantmig_done;", copy.insert(&from))
    };
    let rounds = |batch: Stmt| sql!("  LOOP\n{}\n    EXIT WHEN n = 0;\n    COMMIT;\n  END LOOP;", batch);
    block(&sql!(
        "DECLARE n bigint;\nBEGIN\n{}\n  -- rows that others held meanwhile\n{}\nEND",
        rounds(batch(" SKIP LOCKED")),
        rounds(batch(""))
    ))
}
