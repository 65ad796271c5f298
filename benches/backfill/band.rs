//! Figures of several rounds, and ratios within a round.

use crate::contestant::Contestant;
use crate::figures::{Outcome, Run, Session};

/// The median of some rounds, between their least and greatest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Band {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Band {
    /// `None` of nothing.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let (low, high) = (values.get((values.len() - 1) / 2)?, values.get(values.len() / 2)?);
        Some(Self { median: (low + high) / 2.0, min, max })
    }

    /// The median, and the limits where there are several rounds.
    pub fn show(&self, figure: impl Fn(f64) -> String) -> String {
        let (median, min, max) = (figure(self.median), figure(self.min), figure(self.max));
        if min == max { median } else { format!("{median} ({min}–{max})") }
    }
}

/// Something that a run tells; `None` where it does not.
pub type Metric = fn(&Run) -> Option<f64>;

/// Rows a second.
pub fn speed(run: &Run) -> Option<f64> {
    a_row(run, run.seconds).map(|seconds| 1.0 / seconds)
}

/// The server's processor time for a row, in microseconds.
pub fn server_micros(run: &Run) -> Option<f64> {
    a_row(run, run.server_cpu_seconds?).map(|seconds| seconds * 1e6)
}

/// Time for a row, in microseconds.
pub fn micros(run: &Run) -> Option<f64> {
    a_row(run, run.seconds).map(|seconds| seconds * 1e6)
}

/// Bytes of WAL for a row.
pub fn wal(run: &Run) -> Option<f64> {
    a_row(run, run.wal_bytes as f64)
}

/// The table with its indexes, after as a multiple of before.
pub fn size(run: &Run) -> Option<f64> {
    (run.outcome == Outcome::Done).then(|| run.after.total as f64 / run.before.total as f64)
}

/// The heap alone, likewise.
pub fn heap(run: &Run) -> Option<f64> {
    (run.outcome == Outcome::Done).then(|| run.after.heap as f64 / run.before.heap as f64)
}

/// The share of HOT updates, in percent.
pub fn hot(run: &Run) -> Option<f64> {
    (run.updates > 0).then(|| 100.0 * run.hot_updates as f64 / run.updates as f64)
}

/// The tool's processor time as a share of the server's, in percent.
pub fn tool_share(run: &Run) -> Option<f64> {
    let server = run.server_cpu_seconds.filter(|seconds| *seconds > 0.0)?;
    Some(100.0 * run.tool?.cpu_seconds / server)
}

/// The tool's peak of memory, in megabytes.
pub fn memory(run: &Run) -> Option<f64> {
    Some(run.tool?.peak_rss_bytes as f64 / f64::from(1 << 20))
}

fn a_row(run: &Run, amount: f64) -> Option<f64> {
    (run.rows_done > 0 && amount > 0.0).then(|| amount / run.rows_done as f64)
}

/// The runs of a contestant that count.
pub fn runs(sessions: &[Session], contestant: Contestant, rows: u64) -> impl Iterator<Item = (usize, &Run)> {
    sessions.iter().enumerate().flat_map(move |(at, session)| {
        let fits = move |run: &&Run| run.contestant == contestant && run.rows == rows && counts(run);
        session.runs.iter().filter(fits).map(move |run| (at, run))
    })
}

fn counts(run: &Run) -> bool {
    match run.outcome {
        Outcome::Done | Outcome::Cut => run.rows_done > 0,
        Outcome::Failed(_) | Outcome::Absent(_) => false,
    }
}

/// A figure over all rounds.
pub fn band(sessions: &[Session], contestant: Contestant, rows: u64, metric: Metric) -> Option<Band> {
    Band::of(runs(sessions, contestant, rows).filter_map(|(_, run)| metric(run)).collect())
}

/// A figure as a multiple of another contestant's in the same round.
pub fn ratio(sessions: &[Session], (of, to): (Contestant, Contestant), rows: u64, metric: Metric) -> Option<Band> {
    let base = |at: usize, round: u32| {
        runs(sessions, to, rows)
            .find(|(there, run)| *there == at && run.round == round)
            .and_then(|(_, run)| metric(run))
    };
    let values = runs(sessions, of, rows).filter_map(|(at, run)| Some(metric(run)? / base(at, run.round)?));
    Band::of(values.collect())
}

/// The sizes that were measured, least first.
pub fn sizes(sessions: &[Session]) -> Vec<u64> {
    let mut sizes: Vec<u64> = sessions.iter().flat_map(|session| &session.runs).map(|run| run.rows).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}
