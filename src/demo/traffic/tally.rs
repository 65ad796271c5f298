//! What one session counts.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Transactions, errors and latencies of one session, or of several together.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    /// Committed.
    pub transactions: u64,
    /// Failed, in whatever way; nothing failed is ever counted as committed.
    pub errors: u64,
    /// What the first failure was.
    pub first_error: Option<String>,
    /// Reads that were made while row-level security was in force.
    pub isolated_reads: u64,
    /// Rows of another tenant that came back in such a read. One is too many.
    pub foreign_rows: u64,
    /// The longest transaction, from BEGIN to the acknowledged COMMIT.
    pub worst: Duration,
    /// Each transaction's time in microseconds.
    latencies: Vec<u32>,
}

impl Tally {
    /// A transaction was acknowledged.
    pub fn committed(&mut self, took: Duration) {
        self.transactions += 1;
        self.worst = self.worst.max(took);
        self.latencies.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
    }

    /// A transaction failed.
    pub fn failed(&mut self, why: String) {
        self.errors += 1;
        self.first_error.get_or_insert(why);
    }

    /// Adds another session's.
    pub fn merge(&mut self, other: Self) {
        self.transactions += other.transactions;
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
        self.isolated_reads += other.isolated_reads;
        self.foreign_rows += other.foreign_rows;
        self.worst = self.worst.max(other.worst);
        self.latencies.extend(other.latencies);
    }

    /// The time within which `permille` of a thousand transactions were done.
    pub fn within(&self, permille: usize) -> Duration {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let at = (sorted.len() * permille / 1000).min(sorted.len().saturating_sub(1));
        Duration::from_micros(sorted.get(at).copied().unwrap_or(0).into())
    }
}

/// What can be seen of a session from outside while it runs.
#[derive(Debug, Default)]
pub struct Live(AtomicU64);

impl Live {
    pub(super) fn one_more(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn transactions(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
