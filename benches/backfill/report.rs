//! The report: circumstances, ratios, targets, the application beside it.

use std::fmt::Write;

use crate::band::{self, Band, band, ratio, runs, sizes};
use crate::contestant::Contestant;
use crate::figures::{Head, Outcome, Run, Session, Spread, TrafficRun};
use crate::markdown::Table;
use crate::target;
use crate::words::{percent, rows as size_name, short, thousands, times};

/// The whole report.
pub fn report(sessions: &[Session]) -> String {
    let mut text = String::from("# Backfill benchmark\n\n");
    for session in sessions {
        text += &circumstances(&session.head);
    }
    let sizes = sizes(sessions);
    for rows in &sizes {
        text += &of_size(sessions, *rows);
    }
    if !sizes.is_empty() {
        text += "## Targets\n\n";
        if sizes.iter().all(|rows| *rows < target::ROWS_MEANT) {
            let _ = write!(text, "They are meant at {} rows and more.\n\n", size_name(target::ROWS_MEANT));
        }
        text += &format!("{}\n", target::targets(sessions));
        text += "Measured with the triggers (`-capture`) where such a run is there. reshape (target: 2.5 × its speed) is not measured here.\n\n";
    }
    text += &across_sizes(sessions);
    text += &traffic(sessions);
    text += &remarks(sessions);
    text
}

fn circumstances(head: &Head) -> String {
    let settings: Vec<String> = head.settings.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    format!(
        "- {}: {}, {}; seed {}, rounds {}\n- {}; load before {}\n- {}\n- {}\n\n",
        head.at,
        head.tool,
        head.server,
        head.seed,
        head.rounds,
        head.machine,
        head.load,
        head.disk,
        settings.join(", ")
    )
}

/// The contestants of one size: what the table costs, then what the client sees.
fn of_size(sessions: &[Session], rows: u64) -> String {
    let (costs, clients) = (costs(sessions, rows), clients(sessions, rows));
    let clients = if clients.is_empty() { String::new() } else { format!("{clients}\n") };
    format!("## {} rows\n\n{costs}\n{clients}{}", size_name(rows), others(sessions, rows))
}

/// The kernel itself, which writes out what the server has left dirty, takes less.
const OTHERS_CORES_MAX: f64 = 0.5;

/// A machine that is busy with something else measures that too.
fn others(sessions: &[Session], rows: u64) -> String {
    let all = sessions.iter().flat_map(|session| &session.runs).filter(|run| run.rows == rows);
    let band = Band::of(all.filter_map(|run| run.others_cores).collect());
    band.map_or(String::new(), |band| {
        let warning =
            if band.max > OTHERS_CORES_MAX { " **Others were at work: do not keep these figures.**" } else { "" };
        let cores = band.show(short);
        format!("Cores kept busy by others on this machine and by its kernel, meanwhile: {cores}.{warning}\n\n")
    })
}

fn costs(sessions: &[Session], rows: u64) -> Table {
    let head = [
        "",
        "speed ÷ big",
        "rows/s",
        "server CPU µs/row",
        "÷ big",
        "WAL B/row",
        "÷ big",
        "size ÷ before",
        "heap",
        "HOT",
    ];
    let mut table = Table::new(head.map(String::from));
    for who in Contestant::ALL {
        let all: Vec<&Run> = runs(sessions, who, rows).map(|(_, run)| run).collect();
        if all.is_empty() {
            if let Some(why) = why_none(sessions, who, rows) {
                table.row([who.to_string(), why.to_owned()]);
            }
            continue;
        }
        let own = |metric, show: fn(f64) -> String| median(band(sessions, who, rows, metric), show);
        let to_big = |metric| ratio(sessions, (who, Contestant::Big), rows, metric);
        let cut = if all.iter().any(|run| run.outcome == Outcome::Cut) { " (cut)" } else { "" };
        table.row([
            format!("{who}{cut}"),
            to_big(band::speed).map_or("–".to_owned(), |band| band.show(times)),
            own(band::speed, thousands),
            own(band::server_micros, short),
            median(to_big(band::server_micros), times),
            own(band::wal, thousands),
            median(to_big(band::wal), times),
            own(band::size, times),
            own(band::heap, times),
            own(band::hot, percent),
        ]);
    }
    table
}

fn clients(sessions: &[Session], rows: u64) -> Table {
    let head =
        ["", "batches", "batch ms p50 / p99 / max", "own CPU ÷ server's", "own memory", "throttled", "whole command"];
    let mut table = Table::new(head.map(String::from));
    for who in Contestant::ALL {
        let all: Vec<&Run> = runs(sessions, who, rows).map(|(_, run)| run).filter(|run| run.tool.is_some()).collect();
        if all.is_empty() {
            continue;
        }
        let own = |metric, show: fn(f64) -> String| median(band(sessions, who, rows, metric), show);
        let counts = all.iter().filter_map(|run| run.batches.as_ref()).map(|spread| spread.count as f64);
        table.row([
            who.to_string(),
            median(Band::of(counts.collect()), thousands),
            batches(&all),
            own(band::tool_share, percent),
            own(band::memory, |megabytes| format!("{megabytes:.0} MB")),
            own(|run| run.throttled_seconds, |seconds| format!("{} s", short(seconds))),
            own(|run| Some(run.wall_seconds), |seconds| format!("{} s", short(seconds))),
        ]);
    }
    table
}

fn median(band: Option<Band>, show: fn(f64) -> String) -> String {
    band.map_or("–".to_owned(), |band| show(band.median))
}

/// Medians of the rounds, but the worst of all.
fn batches(runs: &[&Run]) -> String {
    let spreads: Vec<&Spread> = runs.iter().filter_map(|run| run.batches.as_ref()).collect();
    let middle = |pick: fn(&Spread) -> f64| Band::of(spreads.iter().map(|s| pick(s)).collect()).map(|band| band.median);
    let worst = spreads.iter().map(|s| s.max).fold(0.0, f64::max);
    match (middle(|s| s.p50), middle(|s| s.p99)) {
        (Some(p50), Some(p99)) => format!("{} / {} / {}", short(p50), short(p99), short(worst)),
        (_, _) => "–".to_owned(),
    }
}

fn why_none(sessions: &[Session], who: Contestant, rows: u64) -> Option<&'static str> {
    let run = sessions.iter().flat_map(|s| &s.runs).find(|run| run.contestant == who && run.rows == rows)?;
    Some(match run.outcome {
        Outcome::Done => "no rows",
        Outcome::Cut => "cut, nothing done",
        Outcome::Failed(_) => "**failed**",
        Outcome::Absent(_) => "not there",
    })
}

/// Whether cost and memory stay the same.
fn across_sizes(sessions: &[Session]) -> String {
    let sizes = sizes(sessions);
    let one = Contestant::Tenantmig { workers: 1, capture: false };
    let mut table = Table::new(
        ["tenantmig-1".to_owned()]
            .into_iter()
            .chain(sizes.iter().map(|r| size_name(*r)))
            .chain(["greatest ÷ least".to_owned()]),
    );
    let mut add = |name: &str, metric: band::Metric, show: fn(f64) -> String, most: f64| {
        let Some(verdict) = target::flat(sessions, metric, most) else { return };
        let cells = sizes.iter().map(|rows| median(band(sessions, one, *rows, metric), show));
        table.row([name.to_owned()].into_iter().chain(cells).chain([verdict]));
    };
    add("server CPU µs/row (flat: ≤ 1.15)", band::server_micros, short, 1.15);
    add("time µs/row (flat: ≤ 1.15)", band::micros, short, 1.15);
    add("WAL B/row (flat: ≤ 1.15)", band::wal, thousands, 1.15);
    add("its own memory, MB (constant: ≤ 1.10)", band::memory, short, 1.10);
    if table.is_empty() { String::new() } else { format!("## Across sizes\n\n{table}\n") }
}

/// What the rounds under traffic say of one contestant.
pub fn traffic_of(sessions: &[Session], who: Option<Contestant>) -> Vec<&TrafficRun> {
    let all = sessions.iter().flat_map(|session| &session.traffic);
    all.filter(|run| run.contestant == who && matches!(run.outcome, Outcome::Done | Outcome::Cut)).collect()
}

/// Percentiles are medians of the rounds, the worst is the worst of all.
pub fn latency(runs: &[&TrafficRun], pick: fn(&TrafficRun) -> Option<Spread>) -> Option<Spread> {
    let spreads: Vec<Spread> = runs.iter().filter_map(|run| pick(run)).collect();
    let middle = |of: fn(&Spread) -> f64| Band::of(spreads.iter().map(of).collect()).map(|band| band.median);
    Some(Spread {
        count: spreads.iter().map(|s| s.count).sum(),
        p50: middle(|s| s.p50)?,
        p95: middle(|s| s.p95)?,
        p99: middle(|s| s.p99)?,
        max: spreads.iter().map(|s| s.max).fold(0.0, f64::max),
    })
}

fn traffic(sessions: &[Session]) -> String {
    let head = [
        "",
        "seconds",
        "reads ms p50 / p95 / p99 / max",
        "writes ms p50 / p95 / p99 / max",
        "writes",
        "errors",
        "target",
    ];
    let mut table = Table::new(head.map(String::from));
    let rows = sessions.iter().flat_map(|s| &s.traffic).map(|run| run.rows).max().unwrap_or(0);
    for who in [None].into_iter().chain(Contestant::ALL.map(Some)) {
        let runs = traffic_of(sessions, who);
        if runs.is_empty() {
            continue;
        }
        let show = |s: &Spread| format!("{} / {} / {} / {}", short(s.p50), short(s.p95), short(s.p99), short(s.max));
        let (reads, writes) = (latency(&runs, |run| run.reads), latency(&runs, |run| run.writes));
        let ours = matches!(who, Some(Contestant::Tenantmig { .. }));
        table.row([
            who.map_or("the application alone".to_owned(), |who| who.to_string()),
            median(Band::of(runs.iter().map(|run| run.seconds).collect()), short),
            reads.as_ref().map_or("–".to_owned(), show),
            writes.as_ref().map_or("–".to_owned(), show),
            writes.map_or("–".to_owned(), |s| thousands(s.count as f64)),
            runs.iter().map(|run| run.errors).sum::<u64>().to_string(),
            writes.filter(|_| ours).map_or("–".to_owned(), |s| target::writers(&s)),
        ]);
    }
    if table.is_empty() {
        return String::new();
    }
    format!(
        "## Under traffic\n\npgbench at 240 reads and 60 writes a second by key, over {} rows; what was due or under way while the backfill ran.\n\n{table}\n",
        size_name(rows)
    )
}

fn remarks(sessions: &[Session]) -> String {
    let mut lines: Vec<String> = Vec::new();
    for (run, what) in sessions.iter().flat_map(|s| {
        let speed = s.runs.iter().map(|r| (&r.outcome, format!("{} at {} rows", r.contestant, size_name(r.rows))));
        let who = |r: &TrafficRun| r.contestant.map_or("nobody".to_owned(), |c| c.to_string());
        speed
            .chain(s.traffic.iter().map(move |r| (&r.outcome, format!("{} under traffic", who(r)))))
            .collect::<Vec<_>>()
    }) {
        lines.extend(match run {
            Outcome::Done => None,
            Outcome::Cut => Some(format!("{what}: cut at its deadline; its figures are of the rows until then")),
            Outcome::Failed(why) => Some(format!("{what}: failed: {why}")),
            Outcome::Absent(why) => Some(format!("{what}: did not run: {why}")),
        });
    }
    let mut told = Vec::new();
    lines.retain(|line| {
        !told.contains(line) && {
            told.push(line.clone());
            true
        }
    });
    if lines.is_empty() { String::new() } else { format!("## Remarks\n\n- {}\n", lines.join("\n- ")) }
}
