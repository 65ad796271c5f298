//! An application beside the backfill: pgbench at a fixed rate, and how long its reads and writes took.
//!
//! Readers and writers are two processes. In one, every client soon waits for a writer's lock behind the big UPDATE, and reads
//! would seem to wait that do not. Latency counts from when a transaction was due, so what queues behind a stall is counted.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};

use crate::child::{Ended, command, run};
use crate::contestant::Contestant;
use crate::deed::{Kit, act, prepare};
use crate::figures::{Outcome, Spread, TrafficRun};
use crate::ground::{Copy, Ground};

/// 300 a second, of which 80 % read.
const READS_A_SECOND: u32 = 240;
const WRITES_A_SECOND: u32 = 60;

/// Enough that a stall of a second does not use them up.
const CLIENTS: u32 = 16;

/// The application runs so long before the backfill begins; connecting and first plans are over by then.
const LEAD: Duration = Duration::from_secs(2);

/// Where the backfill takes longer, the application goes on in legs of this length.
const LEG: Duration = Duration::from_secs(10);

/// pgbench waits at its end for what it has begun, which may be stuck behind the backfill.
const LEG_OVERTIME: Duration = Duration::from_secs(120);

/// What is asked of a run.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    /// `None`: the application alone.
    pub contestant: Option<Contestant>,
    pub round: u32,
    pub seconds: u64,
    pub seed: u32,
    pub deadline: Duration,
}

/// Runs it over a fresh copy.
pub fn under_traffic(order: Order, ground: &Ground<'_>, kit: &Kit) -> Result<TrafficRun> {
    let copy = ground.copy()?;
    let run = measured(order, &copy, kit);
    copy.drop()?;
    run
}

fn measured(order: Order, copy: &Copy<'_>, kit: &Kit) -> Result<TrafficRun> {
    if let Some(contestant) = order.contestant {
        prepare(contestant, copy)?;
    }
    let logs = tempfile::tempdir_in(kit.home.path()).context("make a folder for pgbench's logs")?;
    let over = AtomicBool::new(false);
    let (deed, window, legs) = thread::scope(|scope| {
        let legs = [("read", READS_A_SECOND), ("write", WRITES_A_SECOND)].map(|(what, rate)| {
            scope.spawn({
                let (logs, over) = (logs.path(), &over);
                move || legs(what, rate, order, copy, logs, over)
            })
        });
        thread::sleep(LEAD);
        let began = now_micros();
        let deed = order.contestant.map(|contestant| act(contestant, copy, kit, order.deadline));
        if deed.is_none() {
            thread::sleep(Duration::from_secs(order.seconds));
        }
        let window = (began, now_micros());
        over.store(true, Ordering::Release);
        (deed, window, legs.map(|leg| leg.join()))
    });
    let mut errors = 0;
    for leg in legs {
        errors += leg.map_err(|_| anyhow::anyhow!("a thread that ran pgbench panicked"))??;
    }
    let (reads, failed_reads) = latencies(logs.path(), "read", window)?;
    let (writes, failed_writes) = latencies(logs.path(), "write", window)?;
    Ok(TrafficRun {
        contestant: order.contestant,
        rows: copy.rows,
        round: order.round,
        outcome: deed.map_or(Outcome::Done, |deed| deed.outcome),
        seconds: (window.1 - window.0) as f64 / 1e6,
        reads: Spread::of(reads),
        writes: Spread::of(writes),
        errors: errors + failed_reads + failed_writes,
    })
}

/// Runs pgbench until the backfill is over; returns how many of its clients gave up.
fn legs(what: &str, rate: u32, order: Order, copy: &Copy<'_>, logs: &Path, over: &AtomicBool) -> Result<u64> {
    let began = Instant::now();
    let mut length = LEAD + Duration::from_secs(order.seconds);
    let (mut errors, mut leg) = (0, 0);
    loop {
        let mut pgbench = pgbench(what, rate, order, copy, logs, (leg, length))?;
        let ended = run(&mut pgbench, length + LEG_OVERTIME)?;
        errors += given_up(&ended)?;
        if over.load(Ordering::Acquire) || began.elapsed() > LEAD + order.deadline {
            return Ok(errors);
        }
        (leg, length) = (leg + 1, LEG);
    }
}

fn pgbench(
    what: &str,
    rate: u32,
    order: Order,
    copy: &Copy<'_>,
    logs: &Path,
    (leg, length): (u32, Duration),
) -> Result<Command> {
    let script = logs.join(format!("{what}.sql"));
    let text = match what {
        "read" => include_str!("sql/read.pgbench.sql"),
        _ => include_str!("sql/write.pgbench.sql"),
    };
    fs::write(&script, text).context("write pgbench's script")?;
    let mut command = command(copy.server.program("pgbench"), logs);
    command
        .args(["-n", "-M", "prepared", "-h", "127.0.0.1", "-U", "postgres", "-j", "1", "--log"])
        .arg(format!("--port={}", copy.server.port()))
        .arg(format!("--client={CLIENTS}"))
        .arg(format!("--rate={rate}"))
        .arg(format!("--time={}", length.as_secs()))
        .arg(format!("--define=rows={}", copy.rows))
        .arg(format!("--random-seed={}", order.seed + order.round * 1_000 + leg))
        .arg(format!("--log-prefix={}", logs.join(format!("{what}-{leg}")).display()))
        .arg("-f")
        .arg(&script)
        .arg(&copy.name);
    Ok(command)
}

/// A client whose statement fails leaves with a message; the rest go on.
fn given_up(ended: &Ended) -> Result<u64> {
    let count = ended.stderr.lines().filter(|line| line.contains("aborted")).count();
    ensure!(count > 0 || ended.succeeded(), "pgbench: {}", ended.complaint());
    Ok(u64::try_from(count).unwrap_or(u64::MAX))
}

/// The milliseconds of every transaction that was due or under way while the backfill ran, and how many failed.
///
/// A line of the log: client, number, latency in microseconds (or `failed`), script, seconds and microseconds of its end, lag.
fn latencies(logs: &Path, what: &str, (from, to): (u64, u64)) -> Result<(Vec<f64>, u64)> {
    let (mut millis, mut failed) = (Vec::new(), 0);
    for entry in fs::read_dir(logs).context("list pgbench's logs")?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with(&format!("{what}-")) {
            continue;
        }
        let text = fs::read_to_string(entry.path()).with_context(|| format!("read {name}"))?;
        for line in text.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let number = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok());
            match (number(2), number(4), number(5)) {
                (Some(latency), Some(seconds), Some(micros)) => {
                    let end = seconds * 1_000_000 + micros;
                    if end >= from && end.saturating_sub(latency) <= to {
                        millis.push(latency as f64 / 1_000.0);
                    }
                }
                (_, _, _) => failed += 1,
            }
        }
    }
    Ok((millis, failed))
}

fn now_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
