//! The benchmark of the backfill: what it costs beside what people do instead. benches/README.md says how to read it.
//!
//! It measures and reports. Nothing fails for being slow; a run that ends wrong does.

#![allow(clippy::print_stdout, clippy::print_stderr, clippy::wildcard_enum_match_arm)]

mod alembic;
mod band;
mod child;
mod contest;
mod contestant;
mod deed;
mod disk;
mod figures;
mod ground;
mod markdown;
mod options;
mod order;
mod picture;
mod process;
mod psql;
mod report;
mod server;
mod session;
mod svg;
mod target;
mod tenantmig;
mod traffic;
mod words;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;

use contestant::Contestant;
use deed::Kit;
use figures::{Outcome, Run, Session, TrafficRun};
use ground::Ground;
use options::Options;
use server::Server;
use traffic::Order;

fn main() -> ExitCode {
    let options = Options::parse();
    match bench(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// False when a run ended wrong.
fn bench(options: &Options) -> Result<bool> {
    let out = options.out();
    fs::create_dir_all(&out).with_context(|| format!("make {}", out.display()))?;
    let sessions = if options.report.is_empty() {
        let session = measure(options, &out)?;
        keep(&out.join("backfill.json"), &serde_json::to_string_pretty(&session)?)?;
        vec![session]
    } else {
        options.report.iter().map(|path| read(path)).collect::<Result<_>>()?
    };
    let text = report::report(&sessions);
    println!("\n{text}");
    keep(&out.join("backfill.md"), &text)?;
    if let Some(picture) = picture::picture(&sessions) {
        keep(&out.join("backfill.svg"), &picture)?;
    }
    println!("report, raw figures and picture: {}/backfill.{{md,json,svg}}", out.display());
    let wrong = |outcome: &Outcome| matches!(outcome, Outcome::Failed(_));
    let runs =
        sessions.iter().flat_map(|s| s.runs.iter().map(|r| &r.outcome).chain(s.traffic.iter().map(|r| &r.outcome)));
    Ok(!runs.into_iter().any(wrong))
}

fn keep(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

fn read(path: &Path) -> Result<Session> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} holds no raw figures", path.display()))
}

/// All that was asked for. The raw figures are kept after every run, so that a benchmark that is stopped has not been for nothing.
fn measure(options: &Options, out: &Path) -> Result<Session> {
    let server = Server::start(options.bindir.clone())?;
    let head = server.head(options)?;
    let kit = kit(options)?;
    println!("{}, {}; {}; load {}", head.tool, head.server, head.machine, head.load);
    println!("data on {}; seed {}, rounds {}", head.disk, head.seed, head.rounds);
    let mut session = Session { head, runs: Vec::new(), traffic: Vec::new() };
    let draft = out.join("backfill.json");
    for rows in options.sizes() {
        println!("\n{} rows: making the table", words::rows(rows));
        let ground = Ground::lay(&server, rows, options.seed)?;
        for (round, who) in order::turns(&options.only, options.rounds, options.seed) {
            let deadline = Duration::from_secs(options.deadline_seconds(rows));
            let run = contest::contest(who, round, &ground, &kit, deadline)?;
            println!("{}", line(&run, options.rounds));
            session.runs.push(run);
            keep(&draft, &serde_json::to_string_pretty(&session)?)?;
        }
        ground.clear()?;
    }
    if options.traffic_seconds > 0 {
        under_traffic(options, &server, &kit, &mut session.traffic)?;
    }
    Ok(session)
}

fn under_traffic(options: &Options, server: &Server, kit: &Kit, runs: &mut Vec<TrafficRun>) -> Result<()> {
    let rows = options.traffic_rows;
    println!("\nunder traffic, {} rows: making the table", words::rows(rows));
    let ground = Ground::lay(server, rows, options.seed)?;
    let mut who = vec![None];
    who.extend(options.only.iter().copied().filter(|who| who.meets_traffic()).map(Some));
    for (round, contestant) in order::turns(&who, options.rounds, options.seed) {
        let deadline = Duration::from_secs(options.deadline_seconds(rows));
        let order = Order { contestant, round, seconds: options.traffic_seconds, seed: options.seed, deadline };
        let run = traffic::under_traffic(order, &ground, kit)?;
        println!("{}", traffic_line(&run, options.rounds));
        runs.push(run);
    }
    ground.clear()
}

fn kit(options: &Options) -> Result<Kit> {
    let home = tempfile::tempdir().context("make a folder for the contestants")?;
    let alembic = if options.only.contains(&Contestant::Alembic) && !options.sizes().is_empty() {
        alembic::install(&options::target_folder().join("bench"))
    } else {
        Err("not asked for".to_owned())
    };
    Ok(Kit { home, alembic })
}

fn line(run: &Run, rounds: u32) -> String {
    let speed = band::speed(run).map(|speed| format!("  {:>9} rows/s", words::thousands(speed)));
    said(run.contestant.to_string(), (run.round, rounds), (run.seconds, &run.outcome), &speed.unwrap_or_default())
}

fn traffic_line(run: &TrafficRun, rounds: u32) -> String {
    let name = run.contestant.map_or("nobody".to_owned(), |who| who.to_string());
    let waits = run.writes.map(|writes| {
        format!("  writes p99 {:>6} ms, worst {:>6} ms", words::short(writes.p99), words::short(writes.max))
    });
    said(name, (run.round, rounds), (run.seconds, &run.outcome), &waits.unwrap_or_default())
}

/// The line of a run that has ended.
fn said(name: String, (round, rounds): (u32, u32), (seconds, outcome): (f64, &Outcome), figures: &str) -> String {
    let measured = format!("{:>7} s{figures}", words::short(seconds));
    let text = match outcome {
        Outcome::Done => measured,
        Outcome::Cut => format!("{measured}  cut at its deadline"),
        Outcome::Failed(why) => format!("FAILED: {why}"),
        Outcome::Absent(why) => format!("did not run: {}", why.lines().next().unwrap_or_default()),
    };
    format!("  round {round}/{rounds}  {name:<20} {text}").trim_end().to_owned()
}
