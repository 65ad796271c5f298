//! What is measured, as it goes into the file of raw figures.

use serde::{Deserialize, Serialize};

use crate::contestant::Contestant;

/// Everything that one call of the benchmark measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Session {
    pub head: Head,
    pub runs: Vec<Run>,
    pub traffic: Vec<TrafficRun>,
}

/// Under which circumstances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub at: String,
    pub tool: String,
    pub server: String,
    pub machine: String,
    pub disk: String,
    pub load: String,
    pub seed: u32,
    pub rounds: u32,
    /// Name and value, as the server told them.
    pub settings: Vec<(String, String)>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Done,
    /// Stopped at its deadline; the figures are of the rows until then.
    Cut,
    Failed(String),
    /// Something that it needs is not there.
    Absent(String),
}

/// One contestant over one table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    pub contestant: Contestant,
    pub rows: u64,
    pub round: u32,
    pub outcome: Outcome,
    pub rows_done: u64,
    /// The backfill alone.
    pub seconds: f64,
    /// The whole command.
    pub wall_seconds: f64,
    /// User and system time of every process of the server.
    pub server_cpu_seconds: Option<f64>,
    /// How many cores others on this machine, its kernel among them, kept busy meanwhile.
    pub others_cores: Option<f64>,
    pub wal_bytes: u64,
    pub before: Size,
    pub after: Size,
    pub updates: u64,
    pub hot_updates: u64,
    pub tool: Option<Usage>,
    pub batches: Option<Spread>,
    /// How long it waited because the server had enough to do; `None` of those who do not look.
    pub throttled_seconds: Option<f64>,
    /// How long the checkpoint took that wrote out what the run had left dirty.
    pub checkpoint_seconds: f64,
}

/// Bytes of a table on disk.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Size {
    pub heap: u64,
    /// With its indexes.
    pub total: u64,
}

/// What a client process used.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Usage {
    pub cpu_seconds: f64,
    pub peak_rss_bytes: u64,
}

/// Where many lengths of time lie, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    pub count: u64,
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub max: f64,
}

impl Spread {
    /// By nearest rank; `None` of nothing.
    pub fn of(mut millis: Vec<f64>) -> Option<Self> {
        millis.sort_by(f64::total_cmp);
        let rank = |percent: usize| millis.get((millis.len() * percent).div_ceil(100).max(1) - 1).copied();
        Some(Self {
            count: u64::try_from(millis.len()).unwrap_or(u64::MAX),
            p50: rank(50)?,
            p95: rank(95)?,
            p99: rank(99)?,
            max: rank(100)?,
        })
    }
}

/// One contestant, or nobody, beside an application.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TrafficRun {
    /// `None`: the application alone.
    pub contestant: Option<Contestant>,
    pub rows: u64,
    pub round: u32,
    pub outcome: Outcome,
    /// How long the backfill took; of the application alone, how long it was looked at.
    pub seconds: f64,
    pub reads: Option<Spread>,
    pub writes: Option<Spread>,
    pub errors: u64,
}
