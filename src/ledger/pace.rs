//! `migration_progress.pace`: how fast a backfill goes now, as the driver writes it for people. Nothing is decided by it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// One backfill's pace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    pub workers: u32,
    pub target_batch_ms: u64,
    /// `8 stripes of 512 blocks`.
    pub mode: String,
    pub state: PaceState,
    /// What it waits for.
    pub signal: Option<String>,
    pub why: Option<String>,
    /// Since when it goes, or waits.
    pub since: DateTime<Utc>,
    pub governing: Option<Governing>,
    /// Of the last half minute; none in a wait, and in the first second.
    pub rows_per_second: Option<f64>,
}

/// Whether batches are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaceState {
    Going,
    Waiting,
}

/// The signal that is nearest to its limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Governing {
    pub signal: String,
    /// With their units: `2.1 s` of `10 s`.
    pub measured: String,
    pub limit: String,
    pub percent: f64,
}
