//! This program, as a user calls it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::child::{command, run};
use crate::deed::{Deed, Kit};
use crate::figures::Outcome;
use crate::ground::Copy;

const PROGRAM: &str = env!("CARGO_BIN_EXE_tenantmig");

/// The line of the plan that an older build does not know.
const WORKERS: &str = "workers = {workers}\n";

/// Only reads a file.
const VALIDATE: Duration = Duration::from_secs(30);

/// Whether plans have `workers`.
pub fn knows_workers(home: &Path) -> Result<bool> {
    let plan = write_plan(home, 1, true)?;
    Ok(run(command(PROGRAM, home).arg("validate").arg(plan), VALIDATE)?.succeeded())
}

fn write_plan(home: &Path, workers: u8, known: bool) -> Result<PathBuf> {
    let template = include_str!("plan.toml");
    let line = if known { WORKERS.replace("{workers}", &workers.to_string()) } else { String::new() };
    let path = home.join("plan.toml");
    fs::write(&path, template.replace(WORKERS, &line)).context("write the plan")?;
    Ok(path)
}

pub fn act(workers: u8, copy: &Copy<'_>, kit: &Kit, deadline: Duration) -> Result<Deed> {
    if workers > 1 && !kit.workers {
        return Ok(Deed::absent("this build has no `workers` in its plans".to_owned()));
    }
    let plan = write_plan(kit.home.path(), workers, kit.workers)?;
    let mut apply = command(PROGRAM, kit.home.path());
    apply.args(["--format", "ndjson", "--yes", "-d"]).arg(copy.url()).arg("apply").arg(plan);
    let ended = run(&mut apply, deadline)?;
    let deed = Deed { batches_ms: batches(&ended.stdout), ..Deed::of(&ended) };
    match deed.outcome {
        Outcome::Done => Ok(Deed { seconds: Some(seconds(copy)?), ..deed }),
        Outcome::Cut | Outcome::Failed(_) | Outcome::Absent(_) => Ok(deed),
    }
}

/// How long its batches took, as it tells them.
fn batches(lines: &str) -> Vec<f64> {
    let batch = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        if line.get("kind")? == "batch" { line.get("millis")?.as_f64() } else { None }
    };
    lines.lines().filter_map(batch).collect()
}

/// The backfill alone, by the ledger: without the column, the gates and the ledger's own tables.
fn seconds(copy: &Copy<'_>) -> Result<f64> {
    let query = "SELECT extract(epoch FROM finished_at - started_at)::float8 FROM tenantmig.migration_progress
                  WHERE rows_done > 0";
    copy.session()?.row(query)?.try_get(0).context("the ledger has no length of the backfill")
}
