//! How long each scenario took to recover, beside the bound of its document: a line on stderr, and a table in
//! `target/scenarios.md` of all that one run of the tests measured.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A scenario, and what its document says of the time to recovery.
struct Bound {
    scenario: &'static str,
    document: &'static str,
    at_most: Duration,
}

const fn bound(scenario: &'static str, document: &'static str, seconds: u64) -> Bound {
    Bound { scenario, document, at_most: Duration::from_secs(seconds) }
}

/// In the order of the documents. The levels of the third have no bound there but that no scenario may take longer than five
/// minutes, and that what is degraded is back within a second of itself; the latter is no promise of ours over a network.
const BOUNDS: &[Bound] = &[
    bound("scenario 1, connection terminated", "< 2 min", 120),
    bound("scenario 1, kill -9", "< 2 min", 120),
    bound("scenario 2, black hole", "< 60 s", 60),
    bound("scenario 2, connections reset", "< 60 s", 60),
    bound("scenario 3, application", "< 15 s", 15),
    bound("scenario 3, tenantmig behind the pool", "< 15 s", 15),
    bound("scenario 4", "< 5 min", 300),
    bound("scenario 5", "5 to 30 min", 1800),
    bound("scenario 6", "< 30 s", 30),
    // The document has no number: a statement behind ROLLBACK, on a machine that is busy.
    bound("scenario 8", "immediate", 5),
    bound("scenario 9", "< 10 s", 10),
    bound("scenario 13, at the start", "1 to 2 min", 120),
    bound("scenario 13, during the run", "1 to 2 min", 120),
    bound("scenario 15", "< 1 min", 60),
    bound("scenario 17", "2 to 5 min", 300),
    bound("scenario 18", "5 to 10 min", 600),
    bound("scenario 19", "2 to 3 min", 180),
    bound("scenario 20, before the migration", "30 to 60 min", 3600),
    bound("scenario 20, after the rollback", "30 to 60 min", 3600),
    bound("rollback scenario 1", "45 s", 45),
    bound("rollback scenario 2", "2 min", 120),
    bound("rollback scenario 3, goes on by itself", "< 2 min", 120),
    bound("rollback scenario 3, retried", "< 2 min", 120),
    bound("rollback scenario 3, by hand", "< 2 min", 120),
    bound("level 1, slow network", "5 min", 300),
    bound("level 1, server stalls", "5 min", 300),
    bound("level 2, down at the start", "5 min", 300),
    bound("level 2, down during the run", "5 min", 300),
    bound("level 2, reconnection", "5 min", 300),
    bound("level 2, partial partition", "5 min", 300),
    bound("level 3, progress edited", "5 min", 300),
    bound("level 3, catalogue edited", "5 min", 300),
    bound("level 4, two failures at once", "5 min", 300),
    bound("level 4, failure under load", "5 min", 300),
    bound("level 4, pool exhaustion", "5 min", 300),
];

static MEASURED: Mutex<BTreeMap<usize, Duration>> = Mutex::new(BTreeMap::new());

/// Beside what cargo builds.
fn table_path() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("scenarios.md")
}

/// Records how long a scenario took from the fault's end, or from the command that mends it, until the work went on.
#[track_caller]
pub fn recovered(scenario: &str, took: Duration) {
    let row = BOUNDS.iter().position(|bound| bound.scenario == scenario);
    let row = row.unwrap_or_else(|| panic!("{scenario} is not among the scenarios of recovery.rs"));
    let Bound { document, at_most, .. } = BOUNDS[row];
    eprintln!("{scenario:<40}  time to recovery {:>6.2} s   (document: {document})", took.as_secs_f64());
    let mut measured = MEASURED.lock().unwrap_or_else(PoisonError::into_inner);
    measured.insert(row, took);
    let mut table = String::from("| Scenario | Time to recovery | The document |\n|---|---|---|\n");
    for (row, took) in measured.iter() {
        let Bound { scenario, document, .. } = BOUNDS[*row];
        writeln!(table, "| {scenario} | {:.2} s | {document} |", took.as_secs_f64()).unwrap();
    }
    std::fs::write(table_path(), table).unwrap();
    assert!(took <= at_most, "{scenario}: recovered after {took:?}, the document says {document}");
}

/// The documentation has a time of each, and a test measures each. UPDATE_SCENARIOS=1 puts the last run's times there.
#[test]
fn every_scenario_is_measured_and_documented() {
    let docs = crate::harness::repo_path("docs/scenarios.md");
    let mut text = std::fs::read_to_string(&docs).unwrap();
    let (begin, end) = ("<!-- times: begin -->\n", "<!-- times: end -->");
    let place = text.find(begin).unwrap() + begin.len()..text.find(end).unwrap();
    if std::env::var_os("UPDATE_SCENARIOS").is_some() {
        text.replace_range(place.clone(), &std::fs::read_to_string(table_path()).unwrap());
        std::fs::write(&docs, &text).unwrap();
    }
    let mut tests = String::new();
    for folder in ["tests/it", "tests/it/scenarios", "tests/it/scenarios/chaos_plan", "tests/it/scenarios/chaos_levels"]
    {
        for file in std::fs::read_dir(crate::harness::repo_path(folder)).unwrap().flatten() {
            tests.push_str(&std::fs::read_to_string(file.path()).unwrap_or_default());
        }
    }
    for Bound { scenario, document, .. } in BOUNDS {
        assert!(tests.contains(&format!("recovered(\"{scenario}\", ")), "no test measures {scenario}");
        let row = text.lines().find(|line| line.starts_with(&format!("| {scenario} | ")));
        assert!(
            row.is_some_and(|row| row.ends_with(&format!(" s | {document} |"))),
            "docs/scenarios.md lacks {scenario}"
        );
    }
}
