//! This program, as a user calls it.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::child::{command, run};
use crate::deed::{Deed, Kit};
use crate::figures::Outcome;
use crate::ground::Copy;

const PROGRAM: &str = env!("CARGO_BIN_EXE_tenantmig");

pub fn act(workers: u8, copy: &Copy<'_>, kit: &Kit, deadline: Duration) -> Result<Deed> {
    let plan = kit.home.path().join("plan.toml");
    let text = include_str!("plan.toml").replace("{workers}", &workers.to_string());
    fs::write(&plan, text).context("write the plan")?;
    let mut apply = command(PROGRAM, kit.home.path());
    apply.args(["--format", "ndjson", "--yes", "-d"]).arg(copy.url()).arg("apply").arg(plan);
    let ended = run(&mut apply, deadline)?;
    let batches_ms = numbers(&ended.stdout, "batch", "millis");
    // Not `sum`, which makes -0 of nothing.
    let waited_ms = numbers(&ended.stdout, "unthrottled", "waited_ms").into_iter().fold(0.0, |sum, ms| sum + ms);
    let throttled_seconds = Some(waited_ms / 1_000.0);
    let deed = Deed { batches_ms, throttled_seconds, ..Deed::of(&ended) };
    match deed.outcome {
        Outcome::Done => Ok(Deed { seconds: Some(seconds(copy)?), ..deed }),
        Outcome::Cut | Outcome::Failed(_) | Outcome::Absent(_) => Ok(deed),
    }
}

/// One field of all lines of a kind, of what it tells with `--format ndjson`.
fn numbers(lines: &str, kind: &str, field: &str) -> Vec<f64> {
    let number = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        if line.get("kind")? == kind { line.get(field)?.as_f64() } else { None }
    };
    lines.lines().filter_map(number).collect()
}

/// The backfill alone, by the ledger: without the column, the gates and the ledger's own tables.
fn seconds(copy: &Copy<'_>) -> Result<f64> {
    let query = "SELECT extract(epoch FROM finished_at - started_at)::float8 FROM tenantmig.migration_progress
                  WHERE rows_done > 0";
    copy.session()?.row(query)?.try_get(0).context("the ledger has no length of the backfill")
}
