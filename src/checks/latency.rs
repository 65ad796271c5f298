//! The plan's probes stay within their budget of time under the policies, and answer what they are expected to.
//!
//! Each query is asked as the application's role, as several tenants, by turns with the same query without policies, each in a
//! READ ONLY transaction that is rolled back, up to 30 s a probe. Over is what is slower by more than `percent` and more than `ms`
//! at the percentile `p`; and what reads at least `rows` rows of a table and ten times as many as without policies, or as before
//! the run, where it is slower by `percent` too. Wrong estimates are told and hold nothing up. A plan with `[[probe]]`s has this
//! gate in the phase `enforce`, with the values of `[latency]`.

use serde::Deserialize;

use super::{CheckKind, Gate, Measure};
use crate::{
    latency::{Budget, Gauge, Spec},
    plan::{Millis, Site},
    sql,
};

/// A check of the kind `latency`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    /// Their names; all of them where it is left out.
    pub probes: Option<Vec<String>>,
    pub percent: Option<u32>,
    pub ms: Option<u32>,
    pub p: Option<u32>,
    pub rows: Option<u64>,
    /// How long it is measured again before the run pauses.
    pub wait: Option<Millis>,
    #[serde(skip)]
    gauge: Option<Gauge>,
}

pub const EXAMPLE: &str = r#"
[[phase.gate]]
kind    = "latency"
percent = 25

[[probe]]
name    = "a-trade"
as_role = "app_rw"
sql     = "SELECT symbol FROM app.trades WHERE id = $1"
params  = [7]
"#;

/// Percentiles that a few dozen executions can tell.
const PERCENTILES: std::ops::RangeInclusive<u32> = 50..=99;

impl CheckKind for Latency {
    fn check(&mut self, site: &mut Site<'_>) {
        let usual = site.latency();
        let budget = Budget {
            percent: self.percent.unwrap_or(usual.percent),
            ms: self.ms.unwrap_or(usual.ms),
            p: self.p.unwrap_or(usual.p),
            rows: self.rows.unwrap_or(usual.rows),
        };
        self.wait = self.wait.or(usual.wait);
        if !PERCENTILES.contains(&budget.p) {
            site.error("p", "TM0103", "`p` is a percentile from 50 to 99")
                .help("95 is a good value; 40 executions cannot tell more");
        }
        let known: Vec<String> = site.probes().iter().map(|probe| probe.name.clone()).collect();
        for (i, name) in self.probes.iter().flatten().enumerate().filter(|(_, name)| !known.contains(name)) {
            if !site.probes_are_broken() {
                site.error(&format!("probes[{i}]"), "TM0375", format!("no [[probe]] has the name `{name}`"))
                    .help(format!("known are: {}", known.join(", ")));
            }
        }
        if known.is_empty() && !site.probes_are_broken() {
            site.error("kind", "TM0376", "there is nothing to measure: the plan has no [[probe]]")
                .help("write [[probe]] with name and sql for each query that is to stay quick");
        }
        let meant = |probe: &&Spec| self.probes.as_ref().is_none_or(|names| names.contains(&probe.name));
        self.gauge = Some(Gauge { probes: site.probes().iter().filter(meant).cloned().collect(), budget });
    }

    fn lower(&self) -> Gate {
        let gauge = self.gauge.clone().unwrap_or_else(|| Gauge { probes: Vec::new(), budget: Budget::default() });
        let Budget { percent, ms, p, .. } = gauge.budget;
        let names = self.probes.as_ref().map_or_else(String::new, |names| format!(":{}", names.join(",")));
        Gate {
            id: format!("latency{names}"),
            kind: "latency".to_owned(),
            title: format!("no probe is slower at p{p} by more than {percent} % and {ms} ms, or answers otherwise"),
            // The catalogue alone tells nothing of it.
            query: sql!("SELECT NULL::text, 0::bigint, NULL::text WHERE false"),
            baseline: None,
            // Policies hide rows from the application, as which it asks.
            tables: Vec::new(),
            wait: self.wait,
            measure: Measure::Latency(Box::new(gauge)),
        }
    }
}
