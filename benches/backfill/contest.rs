//! One run of one contestant, from a fresh copy to its figures.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::contestant::Contestant;
use crate::deed::{Deed, Kit, act, prepare};
use crate::figures::{Outcome, Run, Size, Spread};
use crate::ground::{Copy, Ground};
use crate::process::machine_cpu_seconds;
use crate::session::Session;

/// A session that has ended hands its counts on before it goes, through a collector before 15; longer it does not take.
const COUNTS_WAIT: Duration = Duration::from_secs(3);
const COUNTS_POLL: Duration = Duration::from_millis(100);

/// Runs it.
pub fn contest(contestant: Contestant, round: u32, ground: &Ground<'_>, kit: &Kit, deadline: Duration) -> Result<Run> {
    let copy = ground.copy()?;
    let run = measured(contestant, round, &copy, kit, deadline);
    copy.drop()?;
    run
}

fn measured(contestant: Contestant, round: u32, copy: &Copy<'_>, kit: &Kit, deadline: Duration) -> Result<Run> {
    prepare(contestant, copy)?;
    let observer = copy.server.session("postgres")?;
    let before = size(&copy.session()?, "trades")?;
    let (wal, cpu) = (wal_bytes(&observer)?, copy.server.cpu_seconds());
    let (machine, began) = (machine_cpu_seconds(), Instant::now());
    let deed = act(contestant, copy, kit, deadline);
    let (machine_after, elapsed) = (machine_cpu_seconds(), began.elapsed().as_secs_f64());
    if deed.outcome == Outcome::Cut {
        copy.quiet()?;
    }
    let (wal_after, cpu_after) = (wal_bytes(&observer)?, copy.server.cpu_seconds());
    let began = Instant::now();
    observer.run("CHECKPOINT")?;
    let checkpoint_seconds = began.elapsed().as_secs_f64();
    let session = copy.session()?;
    let table = if contestant == Contestant::Ctas && deed.outcome == Outcome::Done { "trades_new" } else { "trades" };
    let (updates, hot_updates) = counts(copy)?;
    let (outcome, rows_done) = proven(&session, table, &deed)?;
    let server_cpu_seconds = cpu_after.zip(cpu).map(|(after, before)| after - before);
    let busy = machine_after.zip(machine).map(|(after, before)| after - before);
    let ours = server_cpu_seconds.unwrap_or(0.0) + deed.tool.map_or(0.0, |tool| tool.cpu_seconds);
    Ok(Run {
        contestant,
        rows: copy.rows,
        round,
        rows_done,
        seconds: deed.seconds.unwrap_or(deed.wall_seconds),
        wall_seconds: deed.wall_seconds,
        server_cpu_seconds,
        others_cores: busy.filter(|_| elapsed > 0.0).map(|busy| ((busy - ours) / elapsed).max(0.0)),
        wal_bytes: wal_after - wal,
        before,
        after: size(&session, table)?,
        updates,
        hot_updates,
        tool: deed.tool,
        throttled_seconds: deed.throttled_seconds,
        batches: Spread::of(deed.batches_ms),
        checkpoint_seconds,
        outcome,
    })
}

/// Looks at every row: speed does not count where the work was not done.
fn proven(session: &Session, table: &str, deed: &Deed) -> Result<(Outcome, u64)> {
    let began = match &deed.outcome {
        Outcome::Done | Outcome::Cut => has_column(session, table)?,
        Outcome::Failed(_) | Outcome::Absent(_) => false,
    };
    if !began {
        return Ok((deed.outcome.clone(), 0));
    }
    let row = session.row(&format!(
        "SELECT count(t.tenant_id), count(*) FILTER (WHERE t.tenant_id IS DISTINCT FROM u.tenant_id)
           FROM {table} t LEFT JOIN users u ON u.id = t.user_id"
    ))?;
    let (filled, wrong): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    let filled = u64::try_from(filled).unwrap_or_default();
    match deed.outcome {
        Outcome::Done if wrong > 0 => Ok((Outcome::Failed(format!("left {wrong} rows wrong")), filled)),
        _ => Ok((deed.outcome.clone(), filled)),
    }
}

/// One that was cut before its first commit may have none.
fn has_column(session: &Session, table: &str) -> Result<bool> {
    let query = format!(
        "SELECT count(*) FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attname = 'tenant_id' AND NOT attisdropped"
    );
    Ok(session.number(&query)? > 0)
}

fn size(session: &Session, table: &str) -> Result<Size> {
    Ok(Size {
        heap: session.number(&format!("SELECT pg_relation_size('{table}')"))?,
        total: session.number(&format!("SELECT pg_total_relation_size('{table}')"))?,
    })
}

fn wal_bytes(session: &Session) -> Result<u64> {
    session.number("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint")
}

/// Updates of the table, and how many of them were HOT; read until they stand still. A session each time: one of its own sees
/// what it has seen before.
fn counts(copy: &Copy<'_>) -> Result<(u64, u64)> {
    let read = || -> Result<(u64, u64)> {
        let row = copy
            .session()?
            .row("SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relid = 'trades'::regclass")?;
        let (updates, hot): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        Ok((u64::try_from(updates).unwrap_or_default(), u64::try_from(hot).unwrap_or_default()))
    };
    let began = Instant::now();
    let mut last = read()?;
    loop {
        thread::sleep(COUNTS_POLL);
        let now = read()?;
        if (now == last && now.0 > 0) || began.elapsed() > COUNTS_WAIT {
            return Ok(now);
        }
        last = now;
    }
}
