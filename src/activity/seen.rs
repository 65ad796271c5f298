//! What the server counted.

use serde::{Deserialize, Serialize};

use crate::sql::QName;

/// The server's counters at one moment. They only grow, but for a reset.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Counts {
    /// By the server's clock, in seconds.
    pub at: f64,
    /// Transactions of the database that ended well, and that were rolled back.
    pub commits: i64,
    pub rollbacks: i64,
    /// Rows that were written to each table with all that is below it, in the order of the tables.
    pub writes: Vec<i64>,
    /// Statements that were refused with 42501, counted from a moment of our own; `None` where the log cannot be read.
    pub denied: Option<i64>,
}

/// What happened between two counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    pub seconds: f64,
    pub commits: i64,
    pub rollbacks: i64,
    pub writes: Vec<Written>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denied: Option<i64>,
}

/// The rows that were written to one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    pub table: QName,
    pub rows: i64,
}

impl Seen {
    /// The difference; `None` where a counter went back: somebody reset the statistics, or the server was restarted after a crash.
    pub fn between(tables: &[QName], first: &Counts, last: &Counts) -> Option<Self> {
        let grown = |first: i64, last: i64| Some(last - first).filter(|more| *more >= 0);
        let seconds = Some(last.at - first.at).filter(|seconds| *seconds >= 0.0)?;
        let mut writes = Vec::with_capacity(tables.len());
        for (table, (first, last)) in tables.iter().zip(first.writes.iter().zip(&last.writes)) {
            writes.push(Written { table: table.clone(), rows: grown(*first, *last)? });
        }
        Some(Self {
            seconds,
            commits: grown(first.commits, last.commits)?,
            rollbacks: grown(first.rollbacks, last.rollbacks)?,
            writes,
            denied: first.denied.zip(last.denied).and_then(|(first, last)| grown(first, last)),
        })
    }

    /// Transactions that ended.
    pub fn transactions(&self) -> i64 {
        self.commits + self.rollbacks
    }

    /// The rows of a table; `None` where nobody looked at it.
    pub fn rows(&self, table: &QName) -> Option<i64> {
        self.writes.iter().find(|written| written.table == *table).map(|written| written.rows)
    }

    /// In one line: what was seen.
    pub fn told(&self) -> String {
        let each = self.writes.iter().map(|written| {
            format!("{}: {:.1} rows a second are written", written.table, per_second(written.rows, self.seconds))
        });
        let ended = format!(
            "{:.1} transactions a second, {} rolled back",
            per_second(self.transactions(), self.seconds),
            percent(self.rollbacks, self.transactions())
        );
        let denied = self.denied.map(|denied| format!("{denied} refused (42501)"));
        each.chain([ended]).chain(denied).collect::<Vec<_>>().join("; ")
    }
}

/// A counter's own size is far below what a float holds exactly.
#[allow(clippy::cast_precision_loss)]
pub(super) fn float(count: i64) -> f64 {
    count as f64
}

pub(super) fn per_second(count: i64, seconds: f64) -> f64 {
    if seconds > 0.0 { float(count) / seconds } else { 0.0 }
}

/// The share as people read it.
pub(super) fn percent(part: i64, of: i64) -> String {
    if of == 0 { "none".to_owned() } else { format!("{:.1} %", 100.0 * float(part) / float(of)) }
}
