//! What measuring gave, as it is kept and shown.

use serde::{Deserialize, Serialize};

use super::{shape::Shape, spec::Budget};

/// One execution: which tenant's, and how long it took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The number of the tenant among those that were asked as; its key is nowhere kept.
    pub tenant: usize,
    pub ms: f64,
}

/// All executions of one side, and the plan that read the most.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub samples: Vec<Sample>,
    pub shape: Shape,
}

/// The percentiles of a run, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Times {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub n: usize,
}

/// How long a query took before the plan touched anything.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// By the server's clock.
    pub at: String,
    pub by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// All that is known of one probe: what the ledger keeps and a report shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    pub probe: String,
    pub role: String,
    pub budget: Budget,
    pub now: Times,
    pub reference: Option<Times>,
    pub before: Option<Times>,
    /// When and by whom.
    pub before_at: Option<String>,
    /// The median of the pairs' differences, of the tenant for whom it is largest.
    pub slower_ms: Option<f64>,
    pub tenants: usize,
    /// Rows read: of which table, now and without policies.
    pub rows: Vec<(String, u64, u64)>,
    pub over: Vec<String>,
    pub notes: Vec<String>,
}

impl Run {
    /// Takes one execution in.
    pub fn add(&mut self, tenant: usize, ms: f64, shape: Shape) {
        self.samples.push(Sample { tenant, ms });
        self.shape.worst(shape);
    }

    /// The percentiles; `None` without a sample.
    pub fn times(&self) -> Option<Times> {
        Some(Times { p50: self.at(50)?, p95: self.at(95)?, p99: self.at(99)?, n: self.samples.len() })
    }

    /// The percentile `p`, by the nearest rank.
    pub fn at(&self, p: u32) -> Option<f64> {
        quantile(self.samples.iter().map(|sample| sample.ms).collect(), p)
    }
}

impl Measurement {
    /// One line.
    pub fn told(&self) -> String {
        let of = |times: &Times| format!("{} ms", short(times.p95));
        let mut line = format!("probe {} as {}: p95 {}", self.probe, self.role, of(&self.now));
        if let Some(reference) = &self.reference {
            line.push_str(&format!(", without policies {}", of(reference)));
        }
        if let Some(before) = &self.before {
            line.push_str(&format!(", before the run {}", of(before)));
        }
        let n = self.now.n;
        let tenants = if self.tenants == 1 { "one tenant".to_owned() } else { format!("{} tenants", self.tenants) };
        format!("{line} ({n} times, {tenants})")
    }
}

/// The value at percentile `p`, by the nearest rank.
pub(super) fn quantile(mut values: Vec<f64>, p: u32) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() * usize::try_from(p).unwrap_or(100)).div_ceil(100);
    values.get(rank.saturating_sub(1)).copied()
}

/// Milliseconds as people read them.
pub(super) fn short(ms: f64) -> String {
    if ms < 10.0 { format!("{ms:.2}") } else { format!("{ms:.0}") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let check = |n: u32, p: u32, expect: Option<f64>| {
            assert_eq!(quantile((1..=n).rev().map(f64::from).collect(), p), expect, "{p} of {n}");
        };
        check(0, 95, None);
        check(1, 95, Some(1.0));
        check(40, 50, Some(20.0));
        check(40, 95, Some(38.0));
        check(100, 99, Some(99.0));
    }
}
