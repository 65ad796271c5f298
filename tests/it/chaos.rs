//! Chaos: every point of a run's journal, by every fault, in both directions; whatever happens, the run comes to the same end.
//!
//! A plan with every kind of step runs on a small database, while an application writes, through a proxy that finds the point
//! in what the program sends. There the fault strikes; then the run goes on by itself or is resumed, and at the end the database
//! is what an undisturbed run makes of it (`chaos/laws.rs`).
//!
//! `make chaos SEED=7 FAULTS=500` runs so many cells in the order of the seed, `make chaos SEED=7 CELL=17` a single one; without
//! them it is a selection. The table is printed and written to target/chaos/table.md, beside what failed cells left.

mod application;
mod cell;
mod choice;
mod fault;
mod ground;
mod laws;
mod point;
mod spotter;
mod table;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use self::cell::Cell;
use self::fault::Fault;
use self::ground::Ground;
use self::laws::{Undisturbed, print};
use self::table::Table;
use crate::harness::{Tool, repo_path};

/// Cells of the selection: each fault in each direction four times, each moment of each kind of event at least once.
const SELECTION: usize = 80;

/// The direction in which the run is struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Way {
    Up,
    Down,
}

impl Way {
    const ALL: [Self; 2] = [Self::Up, Self::Down];

    fn words(self) -> &'static str {
        match self {
            Self::Up => "forward",
            Self::Down => "rollback",
        }
    }
}

#[test]
fn a_run_comes_to_the_same_end_whatever_strikes_it() {
    let seed = variable("CHAOS_SEED").unwrap_or(1);
    let begun = Instant::now();
    let shared = Ground::shared();
    let (undisturbed, events) = undisturbed(&shared);
    let mut all = choice::cells(seed, &events);
    if let Ok(word) = std::env::var("CHAOS_ONLY") {
        // By words of the cell, such as a fault or a direction.
        all.retain(|cell| word.split(',').any(|word| cell.to_string().contains(word)));
    }
    let total = all.len();
    let chosen: Vec<Cell> = match (variable("CHAOS_CELL"), variable("CHAOS_FAULTS")) {
        (Some(number), _) => all.into_iter().filter(|cell| u64::try_from(cell.number) == Ok(number)).collect(),
        (None, faults) => all.into_iter().take(faults.map_or(SELECTION, |f| usize::try_from(f).unwrap())).collect(),
    };
    let dir = repo_path("target/chaos");
    let table = Mutex::new(Table::default());
    work(&chosen, &undisturbed, &dir, &table);
    let table = table.into_inner().unwrap();
    let text = table.text(seed);
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("table.md"), &text).unwrap();
    println!("{text}\n{} of {total} cells in {:.0?}", chosen.len(), begun.elapsed());
    let failed: Vec<String> =
        table.failed.iter().map(|(cell, why)| format!("SEED={seed} CELL={cell}: {why}")).collect();
    assert!(
        failed.is_empty(),
        "{} cells failed; their runs are in target/chaos\n{}",
        failed.len(),
        failed.join("\n\n")
    );
}

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")))
}

/// Several workers take cell after cell, each with a server of its own for what kills servers.
fn work(cells: &[Cell], undisturbed: &Undisturbed, dir: &std::path::Path, table: &Mutex<Table>) {
    let next = AtomicUsize::new(0);
    // Much of a cell is waiting, so there are more than cores.
    let workers = std::thread::available_parallelism().map_or(2, usize::from) * 3 / 2;
    let workers = variable("CHAOS_WORKERS").map_or(workers, |w| usize::try_from(w).unwrap());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let (mut shared, mut own) = (Ground::shared_again(), None);
                while let Some(cell) = cells.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let begun = Instant::now();
                    let place: PathBuf = dir.join(format!("cell-{}", cell.number));
                    let outcome = match cell.fault {
                        Fault::FailOver => cell.run_on(|| Ground::pair(cell.way), undisturbed, &place),
                        Fault::ServerKill => cell.run(own.get_or_insert_with(Ground::own), undisturbed, &place),
                        Fault::Kill
                        | Fault::Terminate
                        | Fault::TerminateAll
                        | Fault::Reset
                        | Fault::LoseAnswer
                        | Fault::Mute
                        | Fault::Abandon
                        | Fault::Hole => cell.run(&mut shared, undisturbed, &place),
                    };
                    if outcome.result.is_err() {
                        // It may be the server that is broken.
                        own = None;
                    }
                    let word =
                        outcome.result.as_ref().map_or_else(|why| format!("FAILED: {why}"), |()| "survived".to_owned());
                    println!("{cell} ({:.1?}, {} resumes): {word}", begun.elapsed(), outcome.resumes);
                    table.lock().unwrap().add(cell, outcome);
                }
            });
        }
    });
}

/// The plan up and back while nobody disturbs it: what the database is then, and every event on the way.
fn undisturbed(ground: &Ground) -> (Undisturbed, HashMap<Way, Vec<(String, String)>>) {
    let start = print(&ground.url(ground.template(Way::Up)));
    let up = print(&ground.url(ground.template(Way::Down)));
    let back = ground.database(Way::Down);
    let ups: i64 = ground.one(&back, "SELECT count(*) FROM tenantmig.events");
    let tool = Tool::without_database().url(&ground.url(&back));
    let _ = tool.args(["rollback", "--to", "start", "--confirm", &back, "--accept-exposure"]).run().expect_code(0);
    let after = print(&ground.url(&back));
    if let Some(diff) = start.diff(&after) {
        panic!("undisturbed, and the rollback leaves a difference:\n{diff}");
    }
    let all: String = ground.one(
        &back,
        "SELECT jsonb_agg(jsonb_build_array(kind, unit, event) ORDER BY number)::text FROM tenantmig.events",
    );
    ground.drop_database(&back);
    let all: Vec<(String, Option<String>, serde_json::Value)> = serde_json::from_str(&all).unwrap();
    let named = |(kind, unit, body): &(String, Option<String>, serde_json::Value)| {
        (kind.clone(), unit.clone().unwrap_or_else(|| spotter::subject(kind, body)))
    };
    let (ups, downs) = all.split_at(usize::try_from(ups).unwrap());
    let events = [(Way::Up, ups.iter().map(named).collect()), (Way::Down, downs.iter().map(named).collect())];
    (Undisturbed { start, up }, events.into_iter().collect())
}
