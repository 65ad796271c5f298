//! `plan`: what apply would do, without doing it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use comfy_table::{Table, presets};
use serde_json::json;
use tokio_postgres::Client;

use super::{
    args,
    args::Format,
    disk::Room,
    failure::CliError,
    hazards, plan_file,
    plan_file::PlanFile,
    preview::{facts, known, look_ahead},
    session::Context,
};
use crate::{
    driver::{self, DriveError},
    engine::{Program, ProgramPhase, Run, lower, script},
    exit::Exit,
    pg::{connect::Connection, partitions, rows_of_each},
    plan::{ServerFacts, explicit},
    report::quantity,
    sql::QName,
    steps::enforce_rls::family::ALL_BELOW,
    unit::{Down, Hold, LockLevel, Op, Unit},
};

/// Rows a second, as measured with one worker (rows of 150 bytes, no trigger, no load): what an estimate of the time is made
/// of. The lower end of what was measured, since triggers, wide rows and indexes on the column only make it slower.
const BACKFILL_ROWS_PER_SECOND: f64 = 100_000.0;
const SCAN_ROWS_PER_SECOND: f64 = 5_000_000.0;
const INDEX_ROWS_PER_SECOND: f64 = 1_500_000.0;

/// Prints the plan's phases against the live database; scripts of the way back without one.
pub async fn run(context: &Context, args: &args::Plan) -> Result<Exit, CliError> {
    let file = plan_file::load(context, &args.file.path())?;
    if args.expand {
        return explicit_form(context, &file);
    }
    if args.undo {
        let program = lower(&file.plan, ServerFacts { version_num: args.server * 10_000 });
        return scripts(context, &program, args, script::backward_phase);
    }
    let session = context.look().await?;
    let program = lower(&file.plan, facts(&session));
    if args.sql {
        if known(context, &session, &file).await?.is_none() {
            look_ahead(context, &file, &program, &session).await?;
        }
        return scripts(context, &program, args, script::forward);
    }
    show(context, &file, &program, &session).await
}

/// Prints the plan without [[table]].
fn explicit_form(context: &Context, file: &PlanFile) -> Result<Exit, CliError> {
    let Some(form) = explicit(&file.text) else { return Err(plan_file::invalid(&file.path, &file.warnings)) };
    match context.console.format {
        Format::Text => context.console.print(form.text.trim_end())?,
        Format::Json | Format::Ndjson => {
            let value = json!({
                "v": 1, "plan": file.plan.name, "fingerprint": file.fingerprint,
                "tables": file.plan.tables.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "text": form.text, "explicit": form.values,
            });
            context.console.print(&value.to_string())?;
        }
    }
    Ok(Exit::Done)
}

/// Prints or writes one script a phase: in the order of running them, so the undo of the last phase comes first.
fn scripts(
    context: &Context,
    program: &Program,
    args: &args::Plan,
    script: fn(&Program, &ProgramPhase) -> String,
) -> Result<Exit, CliError> {
    let wanted = |id: &str| args.phase.as_deref().is_none_or(|phase| phase == id);
    let phases = program.phases.iter().enumerate().filter(|(_, phase)| wanted(&phase.id));
    let mut texts: Vec<(usize, &str, String)> =
        phases.map(|(p, phase)| (p + 1, phase.id.as_str(), script(program, phase))).collect();
    if texts.is_empty() {
        return Err(CliError::no_phase(program, args.phase.as_deref().unwrap_or_default(), "--phase", false));
    }
    if args.undo {
        texts.reverse();
    }
    match &args.out_dir {
        Some(folder) => write(context, folder, &texts)?,
        None => context.console.print(&texts.into_iter().map(|(.., text)| text).collect::<Vec<_>>().join("\n"))?,
    }
    Ok(Exit::Done)
}

fn write(context: &Context, folder: &Path, texts: &[(usize, &str, String)]) -> Result<(), CliError> {
    let cannot = |path: &Path, error: std::io::Error| {
        CliError::new(
            Exit::Failed,
            format!("cannot write {}: {error}", path.display()),
            "give another folder with --out-dir",
        )
    };
    std::fs::create_dir_all(folder).map_err(|error| cannot(folder, error))?;
    for (number, phase, text) in texts {
        let path = folder.join(format!("{number}-{phase}.sql"));
        std::fs::write(&path, text).map_err(|error| cannot(&path, error))?;
        context.console.print(&path.display().to_string())?;
    }
    Ok(())
}

/// Shows each unit with its lock, rows, time and way back.
pub async fn show(
    context: &Context,
    file: &PlanFile,
    program: &Program,
    session: &Connection,
) -> Result<Exit, CliError> {
    let known = known(context, session, file).await?;
    if known.is_none() {
        look_ahead(context, file, program, session).await?;
    }
    let (program, run) = known.as_ref().map_or((program, None), |(program, run)| (program, Some(run)));
    let all: BTreeSet<QName> = program.units().flat_map(|(_, unit)| tables(unit)).collect();
    let all: Vec<QName> = all.into_iter().collect();
    let known_rows = session.with(async |client: &Client| rows_of_each(client, &all).await).await?;
    let largest = |unit: &Unit| tables(unit).iter().filter_map(|table| known_rows.get(table)).max().copied();
    let rows: Vec<_> = program.units().map(|(p, unit)| (p, unit, largest(unit).unwrap_or(0))).collect();
    let room = Room::look(session, program, run).await?;
    // What is applied already was bitten or not.
    let survey = match run {
        Some(run) if run.units_done() == rows.len() => None,
        Some(_) | None => Some(driver::hazards(session, program, &file.plan).await?),
    };
    match context.console.format {
        Format::Text => {
            let text = text(program, run, &rows, &room, context.console.width());
            let hazards = survey.as_ref().map_or_else(String::new, hazards::text);
            context.console.show(&format!("{text}{}{hazards}", partitioned(program, session).await?))?;
        }
        Format::Json | Format::Ndjson => {
            let mut value = json(file, program, run, &rows, &room);
            if let Some(survey) = &survey {
                value["hazards"] = hazards::json(survey);
            }
            context.console.print(&value.to_string())?;
        }
    }
    Ok(Exit::Done)
}

/// What building an index means where the table is partitioned, which the program does not know; and which units do not reach
/// below a table, for a query that names a partition is bound by the partition's own row-level security.
async fn partitioned(program: &Program, session: &Connection) -> Result<String, CliError> {
    let mut text = String::new();
    let mut known: BTreeMap<&QName, Option<u64>> = BTreeMap::new();
    for (_, unit) in program.units() {
        let due = match &unit.up {
            Op::Autocommit { due: Some(due), .. } => Some(&due.table),
            Op::Autocommit { due: None, .. }
            | Op::Tx(_)
            | Op::Backfill(_)
            | Op::Assert(_)
            | Op::Watch(_)
            | Op::Keep(_)
            | Op::Restore(_) => None,
        };
        let guarded = unit.lock.on.first().filter(|_| unit.guards_rows);
        for (table, is_guard) in guarded.map(|t| (t, true)).into_iter().chain(due.map(|t| (t, false))) {
            let count = match known.get(table) {
                Some(count) => *count,
                None => {
                    let count = session.with(async |client: &Client| partitions(client, table).await).await;
                    *known.entry(table).or_insert(count.map_err(DriveError::from)?)
                }
            };
            let Some(count) = count else { continue };
            text.push_str(&reach(unit, &quantity::counted(count, "partition", "partitions"), is_guard));
        }
    }
    Ok(text)
}

fn reach(unit: &Unit, of: &str, is_guard: bool) -> String {
    match (is_guard, unit.title.contains(ALL_BELOW)) {
        (true, true) => {
            format!(
                "{}: {of}. ACCESS EXCLUSIVE on the table and each of them, parent first, for a moment.\n",
                unit.title
            )
        }
        (true, false) => format!(
            "{}: {of}, which it does not reach: a query that names one is not bound; partitions = true.\n",
            unit.title
        ),
        (false, _) => format!(
            "{}: {of}. SHARE on the table for a moment, then SHARE UPDATE EXCLUSIVE on one partition after the other while its \
             rows are read; the way back takes ACCESS EXCLUSIVE on the table and every partition, for a moment.\n",
            unit.title
        ),
    }
}

fn tables(unit: &Unit) -> Vec<QName> {
    match &unit.up {
        Op::Backfill(spec) => vec![spec.table.clone()],
        Op::Tx(_) | Op::Autocommit { .. } | Op::Assert(_) | Op::Watch(_) | Op::Keep(_) | Op::Restore(_) => {
            unit.lock.on.clone()
        }
    }
}

/// What the table's rows mean for the time that the unit takes, in seconds; `None`: a moment.
fn seconds(unit: &Unit, rows: u64) -> Option<f64> {
    let rows = f64::from(u32::try_from(rows).unwrap_or(u32::MAX));
    match (&unit.up, unit.lock.hold) {
        (Op::Backfill(_), _) | (_, Hold::Rewrite) => Some(rows / BACKFILL_ROWS_PER_SECOND),
        (Op::Autocommit { .. }, _) => Some(rows / INDEX_ROWS_PER_SECOND),
        (Op::Watch(spec), _) => Some(std::time::Duration::from_millis(spec.length_ms).as_secs_f64()),
        (Op::Tx(_) | Op::Assert(_), Hold::Scan) => Some(rows / SCAN_ROWS_PER_SECOND),
        (Op::Tx(_) | Op::Assert(_), Hold::Moment | Hold::Batch) | (Op::Keep(_) | Op::Restore(_), _) => None,
    }
}

fn time(unit: &Unit, rows: u64) -> String {
    match seconds(unit, rows) {
        None => "a moment".to_owned(),
        Some(s) if s < 1.0 => "~1 s".to_owned(),
        Some(s) => format!("~{}", quantity::duration(std::time::Duration::from_secs_f64(s.ceil()))),
    }
}

fn way_back(unit: &Unit) -> String {
    let loses = unit.loses.as_ref().map_or(String::new(), |what| format!("; loses {what}"));
    match &unit.down {
        Down::Op(_) => format!("undo{loses}"),
        Down::CoveredBy(other) | Down::With { unit: other, .. } => format!("with {other}"),
        Down::Nothing { why } => format!("nothing: {why}"),
        Down::Irreversible { why } => format!("NONE: {why}"),
    }
}

fn lock(unit: &Unit) -> String {
    if unit.lock.level == LockLevel::None {
        return "none".to_owned();
    }
    let hold = match unit.lock.hold {
        Hold::Moment => "a moment",
        Hold::Batch => "per batch, rows only",
        Hold::Scan => "while rows are read",
        Hold::Rewrite => "while rows are rewritten",
    };
    format!("{} ({hold})", unit.lock.level)
}

fn text(
    program: &Program,
    run: Option<&Run>,
    rows: &[(usize, &Unit, u64)],
    room: &Room,
    width: Option<usize>,
) -> String {
    let units = rows.len();
    let mut out = format!(
        "Plan `{}`: {} phases, {units} units. Locks are waited for {} at most, then tried again, {} times; \
         a server that goes away, for {}.\n",
        program.plan,
        program.phases.len(),
        quantity::duration(program.safety.lock_timeout.duration()),
        program.safety.lock_retries,
        quantity::duration(program.safety.reconnect_max.duration())
    );
    if let Some(run) = run {
        out.push_str(&applied(run, units));
    }
    for (p, phase) in program.phases.iter().enumerate() {
        let failure = match phase.on_failure {
            crate::plan::OnFailure::Rollback => "undo this phase",
            crate::plan::OnFailure::RollbackAll => "undo everything",
            crate::plan::OnFailure::Pause => "pause",
        };
        out.push_str(&format!("\nPhase {} of {}: {} (on failure: {failure})\n", p + 1, program.phases.len(), phase.id));
        let of_phase: Vec<_> = rows
            .iter()
            .enumerate()
            .filter(|(_, (phase, ..))| *phase == p)
            .map(|(number, (_, unit, n))| (*unit, *n, room.cell(number)))
            .collect();
        out.push_str(&table(&of_phase, width));
        for gate in &phase.gates {
            out.push_str(&format!("  gate: {}\n", gate.title));
        }
    }
    let total: f64 = rows.iter().filter_map(|(_, unit, n)| seconds(unit, *n)).sum();
    out.push_str(&format!(
        "\nTime in all: about {}, without load and waiting.\n",
        quantity::duration(std::time::Duration::from_secs_f64(total.max(1.0).ceil()))
    ));
    out.push_str(&room.text(&rows.iter().map(|(_, unit, _)| *unit).collect::<Vec<_>>()));
    let fixed: Vec<&str> = rows
        .iter()
        .filter(|(_, unit, _)| matches!(unit.down, Down::Irreversible { .. }))
        .map(|(_, unit, _)| unit.title.as_str())
        .collect();
    if fixed.is_empty() {
        out.push_str("Every unit can be undone: tenantmig rollback --to PHASE\n");
    } else {
        out.push_str(&format!("POINT OF NO RETURN: {}\n", fixed.join("; ")));
    }
    out
}

/// What an apply would find done.
fn applied(run: &Run, units: usize) -> String {
    match run.units_done() {
        done if done == units => {
            "It is applied here already: apply would change nothing. Where it stands: tenantmig status\n".to_owned()
        }
        done => format!(
            "{done} of them are done here already: apply goes on with the rest. Where it stands: tenantmig status\n"
        ),
    }
}

/// The units of a phase as a table; one below the other where the terminal is narrower than that.
fn table(units: &[(&Unit, u64, String)], width: Option<usize>) -> String {
    const HEAD: [&str; 7] = ["", "what", "lock", "rows", "time", "disk", "way back"];
    let cells = |n: usize, unit: &Unit, estimate: u64, disk: &str| {
        let counted = if estimate == 0 { "-".to_owned() } else { format!("~{}", quantity::count(estimate)) };
        [
            (n + 1).to_string(),
            unit.title.clone(),
            lock(unit),
            counted,
            time(unit, estimate),
            disk.to_owned(),
            way_back(unit),
        ]
    };
    let rows: Vec<_> =
        units.iter().enumerate().map(|(n, (unit, estimate, disk))| cells(n, unit, *estimate, disk)).collect();
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(HEAD).add_rows(&rows);
    let text = format!("{table}\n");
    let wide = text.lines().map(console::measure_text_width).max().unwrap_or(0);
    if width.is_none_or(|width| wide <= width) {
        return text;
    }
    let one = |row: &[String; 7]| {
        let head = format!("  {}. {}\n", row[0], row[1]);
        HEAD.iter().zip(row).skip(2).fold(head, |text, (name, cell)| format!("{text}     {name:<9} {cell}\n"))
    };
    rows.iter().map(one).collect()
}

fn json(
    file: &PlanFile,
    program: &Program,
    run: Option<&Run>,
    rows: &[(usize, &Unit, u64)],
    room: &Room,
) -> serde_json::Value {
    let units: Vec<_> = rows
        .iter()
        .enumerate()
        .map(|(number, (p, unit, estimate))| {
            json!({
                "phase": program.phases[*p].id, "unit": unit.id, "title": unit.title, "lock": unit.lock.level.to_string(),
                "tables": tables(unit).iter().map(ToString::to_string).collect::<Vec<_>>(), "rows_estimated": estimate,
                "seconds_estimated": seconds(unit, *estimate), "reversible": !matches!(unit.down, Down::Irreversible { .. }),
                "way_back": way_back(unit), "loses": unit.loses, "done": run.is_some_and(|run| run.unit(number).is_done()),
                "disk_estimated": room.unit_json(number),
            })
        })
        .collect();
    let gates: Vec<_> = program
        .phases
        .iter()
        .flat_map(|phase| {
            phase.gates.iter().map(|gate| json!({ "phase": phase.id, "gate": gate.id, "title": gate.title }))
        })
        .collect();
    json!({ "v": 1, "plan": program.plan, "fingerprint": file.fingerprint, "units": units, "gates": gates, "disk_estimated": room.json() })
}
