//! How each contestant fills the column, and what is known of it afterwards.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use tempfile::TempDir;

use crate::child::Ended;
use crate::contestant::Contestant;
use crate::figures::{Outcome, Usage};
use crate::ground::Copy;
use crate::session::{Session, timed_out};
use crate::{alembic, psql, tenantmig};

/// What the contestants need beside a server.
#[derive(Debug)]
pub struct Kit {
    /// A folder for their files, and their home.
    pub home: TempDir,
    /// Alembic's program, or why there is none.
    pub alembic: Result<PathBuf, String>,
}

/// What a contestant did.
#[derive(Debug)]
pub struct Deed {
    pub outcome: Outcome,
    /// The backfill alone; `None`: of the whole command there was nothing else.
    pub seconds: Option<f64>,
    pub wall_seconds: f64,
    pub batches_ms: Vec<f64>,
    pub tool: Option<Usage>,
    /// How long it waited because the server had enough to do; `None` of those who do not look.
    pub throttled_seconds: Option<f64>,
}

impl Deed {
    /// Of a child process that did nothing but fill the column.
    pub fn of(ended: &Ended) -> Self {
        let outcome = match ended.status {
            None => Outcome::Cut,
            Some(status) if status.success() => Outcome::Done,
            Some(_) => Outcome::Failed(ended.complaint()),
        };
        Self { wall_seconds: ended.seconds, tool: ended.usage, ..Self::new(outcome) }
    }

    /// Of somebody who could not begin.
    pub fn absent(why: String) -> Self {
        Self::new(Outcome::Absent(why))
    }

    fn new(outcome: Outcome) -> Self {
        Self { outcome, seconds: None, wall_seconds: 0.0, batches_ms: Vec::new(), tool: None, throttled_seconds: None }
    }
}

/// Makes the copy ready, which is not measured.
pub fn prepare(contestant: Contestant, copy: &Copy<'_>) -> Result<()> {
    let session = copy.session()?;
    match contestant {
        Contestant::Big | Contestant::Psql => session.run(include_str!("sql/column.sql"))?,
        Contestant::Tenantmig { capture: true, .. } => session.run(include_str!("sql/capture.sql"))?,
        Contestant::Ctas | Contestant::Alembic | Contestant::Tenantmig { capture: false, .. } => {}
    }
    session.run("CHECKPOINT")
}

/// Fills the column, or stops at the deadline. What goes wrong is the contestant's failure, not the benchmark's end.
pub fn act(contestant: Contestant, copy: &Copy<'_>, kit: &Kit, deadline: Duration) -> Deed {
    let result = match contestant {
        Contestant::Big => statements(include_str!("sql/big.sql"), copy, deadline),
        Contestant::Ctas => statements(include_str!("sql/ctas.sql"), copy, deadline),
        Contestant::Psql => psql::act(copy, kit, deadline),
        Contestant::Alembic => alembic::act(copy, kit, deadline),
        Contestant::Tenantmig { workers, .. } => tenantmig::act(workers, copy, kit, deadline),
    };
    result.unwrap_or_else(|error| Deed::new(Outcome::Failed(format!("{error:#}"))))
}

/// Statements in a session of the benchmark's own, all in one transaction.
fn statements(text: &str, copy: &Copy<'_>, deadline: Duration) -> Result<Deed> {
    let session = Session::open(&copy.url(), deadline)?;
    let began = Instant::now();
    let result = session.run(text);
    let wall_seconds = began.elapsed().as_secs_f64();
    let outcome = match result {
        Ok(()) => Outcome::Done,
        Err(error) if timed_out(&error) => Outcome::Cut,
        Err(error) => Outcome::Failed(format!("{error:#}")),
    };
    Ok(Deed { wall_seconds, ..Deed::new(outcome) })
}
