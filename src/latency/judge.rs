//! Whether a query became too slow.

use std::collections::BTreeMap;

use super::{
    run::{Baseline, Measurement, Run, quantile, short},
    spec::{Budget, Spec},
};

/// A table counts as read otherwise from this factor on: a plan that varies a little is none that lost its index.
const ROWS_FACTOR: u64 = 10;
/// Why there is no run without policies.
pub const NOBODY: &str = "nobody may read without policies: name a role with BYPASSRLS in [tenancy] bypass, and GRANT it TO the migrating role";
/// An estimate that is off by so much is told.
const SKEW_FACTOR: f64 = 100.0;

/// The tables of which so many more rows are read than in another run of the same query.
pub fn worse(now: &Run, other: &Run, budget: Budget) -> Vec<String> {
    let more = |table: &&String| {
        let (now, other) = (now.shape.rows_of(table), other.shape.rows_of(table));
        now >= budget.rows && now >= other.max(1).saturating_mul(ROWS_FACTOR)
    };
    now.shape.scans.keys().filter(more).cloned().collect()
}

/// Judges. `helps` says by table what would help.
pub fn judge(
    spec: &Spec,
    gate: Budget,
    now: &Run,
    reference: Option<&Run>,
    before: Option<&Baseline>,
    helps: &BTreeMap<String, String>,
) -> Option<Measurement> {
    let budget = spec.budget(gate);
    let base = before.and_then(|before| before.run.as_ref());
    let (mut over, mut notes) = (Vec::new(), Vec::new());
    let case = Case { spec, budget, now, helps };
    if let Some(reference) = reference {
        over.extend(case.by_time(reference, slower(now, reference), "without policies"));
        over.extend(case.by_rows(reference, "without policies"));
    } else {
        notes.push(format!("probe {}: {NOBODY}", spec.name));
        // Hours lie between the two, but it is all that there is.
        over.extend(base.and_then(|base| case.by_time(base, None, "before the run")));
    }
    if let Some(base) = base {
        let told = case.by_rows(base, "before the run");
        // What the reference said already is one finding and not two.
        let said = reference.is_some_and(|reference| !worse(now, reference, budget).is_empty());
        over.extend(told.into_iter().filter(|_| !said));
    }
    notes.extend(case.notes(before));
    let rows = now.shape.scans.iter().map(|(table, scan)| {
        (table.clone(), scan.read, reference.or(base).map_or(0, |other| other.shape.rows_of(table)))
    });
    let tenants = now.samples.iter().map(|sample| sample.tenant).max().map_or(0, |last| last + 1);
    Some(Measurement {
        probe: spec.name.clone(),
        role: spec.role.to_string(),
        budget,
        now: now.times()?,
        reference: reference.and_then(Run::times),
        before: base.and_then(Run::times),
        before_at: before.map(|before| format!("{} by {}", before.at, before.by)),
        slower_ms: reference.and_then(|reference| slower(now, reference)).map(|(ms, _)| ms),
        tenants,
        rows: rows.collect(),
        over,
        notes,
    })
}

/// The median of the pairs' differences and the median that they are to be compared with, of the tenant for whom the first is
/// largest. Each pair was measured at the same moment, so a load that comes and goes is in both.
fn slower(now: &Run, reference: &Run) -> Option<(f64, f64)> {
    let mut by_tenant: BTreeMap<usize, (Vec<f64>, Vec<f64>)> = BTreeMap::new();
    for (a, b) in now.samples.iter().zip(&reference.samples) {
        let (differences, times) = by_tenant.entry(a.tenant).or_default();
        differences.push(a.ms - b.ms);
        times.push(b.ms);
    }
    let medians = by_tenant.into_values().filter_map(|(d, t)| Some((quantile(d, 50)?, quantile(t, 50)?)));
    medians.max_by(|a, b| a.0.total_cmp(&b.0))
}

struct Case<'a> {
    spec: &'a Spec,
    budget: Budget,
    now: &'a Run,
    helps: &'a BTreeMap<String, String>,
}

impl Case<'_> {
    /// Over by time: at the percentile, and in the middle of the pairs, so that one pause of the machine is no finding.
    fn by_time(&self, other: &Run, pairs: Option<(f64, f64)>, word: &str) -> Option<String> {
        let Budget { percent, ms, p, .. } = self.budget;
        let (now, then) = (self.now.at(p)?, other.at(p)?);
        let exceeds = |more: f64, of: f64| more > f64::from(ms) && more * 100.0 > of * f64::from(percent);
        if !exceeds(now - then, then) || pairs.is_some_and(|(more, of)| !exceeds(more, of)) {
            return None;
        }
        let helps: Vec<&str> = self.helps.values().map(String::as_str).collect();
        let helps =
            if helps.is_empty() { "look at the plan: EXPLAIN (ANALYZE, BUFFERS)".to_owned() } else { helps.join("; ") };
        Some(format!(
            "probe {} as {}: p{p} is {} ms, {word} {} ms: {} ms ({}) slower, and the budget is {ms} ms and {percent} %; {helps}",
            self.spec.name,
            self.spec.role,
            short(now),
            short(then),
            short(now - then),
            ratio(now, then),
        ))
    }

    /// Over by the plan: a table of which many more rows are read, and the query is slower by the percentage at least.
    fn by_rows(&self, other: &Run, word: &str) -> Vec<String> {
        let (Some(now), Some(then)) = (self.now.at(50), other.at(50)) else { return Vec::new() };
        if (now - then) * 100.0 <= then * f64::from(self.budget.percent) {
            return Vec::new();
        }
        let told = |table: String| {
            let mine = self.now.shape.scans.get(&table)?.told();
            let theirs = other.shape.scans.get(&table).map_or_else(|| "none".to_owned(), super::Scan::told);
            let helps = self.helps.get(&table).map_or_else(String::new, |helps| format!("; {helps}"));
            Some(format!(
                "probe {} as {} reads {mine} of {table}, {word} {theirs}; the median is {} ms, {word} {} ms{helps}",
                self.spec.name,
                self.spec.role,
                short(now),
                short(then),
            ))
        };
        worse(self.now, other, self.budget).into_iter().filter_map(told).collect()
    }

    /// What holds nothing up.
    fn notes(&self, before: Option<&Baseline>) -> Vec<String> {
        let name = &self.spec.name;
        let mut notes = Vec::new();
        if let Some(skew) = self.now.shape.skew.as_ref().filter(|skew| skew.factor() > SKEW_FACTOR) {
            notes.push(format!(
                "probe {name}: the server expected {:.0} rows of {}, and {:.0} came; ANALYZE {}; or a larger sample: \
                 ALTER TABLE {} ALTER COLUMN {} SET STATISTICS 1000",
                skew.expected, skew.node, skew.came, skew.node, skew.node, self.spec.column
            ));
        }
        if !self.now.shape.once && self.now.shape.scans.values().any(|scan| scan.read >= self.budget.rows) {
            notes.push(format!(
                "probe {name}: nothing in the plan is evaluated once a query, so the tenant is looked up for each row; \
                 write it as a sub-select in the policy: (SELECT …)"
            ));
        }
        if let Some(why) = before.and_then(|before| before.why.as_ref()) {
            notes.push(format!("probe {name}: not measured before the run: {why}"));
        }
        notes
    }
}

/// A ratio of a few, or of many.
fn ratio(now: f64, then: f64) -> String {
    let percent = (now - then) / then.max(f64::MIN_POSITIVE) * 100.0;
    if percent < 1_000.0 {
        format!("{percent:.0} %")
    } else {
        format!("{:.0} times", now / then.max(f64::MIN_POSITIVE))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{
        latency::{Sample, Scan},
        sql,
        sql::{Ident, QName},
    };

    fn spec() -> Spec {
        let name = |text: &str| Ident::parse(text).unwrap();
        Spec {
            name: "list".to_owned(),
            sql: sql!("SELECT 1"),
            params: Vec::new(),
            role: name("app"),
            tenant: None,
            expect: None,
            timed: true,
            repeat: 10,
            percent: None,
            ms: None,
            setting: "app.org".to_owned(),
            column: name("org_id"),
            registry: (QName::parse("app.orgs").unwrap(), name("id")),
            bypass: Vec::new(),
        }
    }

    /// A run of two tenants by turns, that reads so many rows.
    fn run(times: &[f64], rows: u64) -> Run {
        let samples = times.iter().enumerate().map(|(i, ms)| Sample { tenant: i % 2, ms: *ms }).collect();
        let mut run = Run { samples, ..Run::default() };
        run.shape.once = true;
        run.shape.scans.insert("app.t".to_owned(), Scan { read: rows, sequential: true, ..Scan::default() });
        run
    }

    #[track_caller]
    fn check(now: &[f64], then: &[f64], rows: (u64, u64), over: usize) {
        let measured =
            judge(&spec(), Budget::default(), &run(now, rows.0), Some(&run(then, rows.1)), None, &BTreeMap::new());
        let measured = measured.unwrap();
        assert_eq!(measured.over.len(), over, "{measured:?}");
    }

    #[test]
    fn over_is_what_exceeds_both_limits() {
        check(&[100.0; 10], &[80.0; 10], (1, 1), 0); // 20 ms, and exactly 25 %
        check(&[101.0; 10], &[80.0; 10], (1, 1), 1);
        check(&[10.0; 10], &[0.1; 10], (1, 1), 0); // a hundred times, and less than 10 ms
        check(&[10.2; 10], &[0.1; 10], (1, 1), 1);
        check(&[5.0; 10], &[500.0; 10], (1, 1), 0);
    }

    #[test]
    fn a_pause_of_the_machine_is_no_finding() {
        let mut now = [5.0; 10];
        (now[8], now[9]) = (900.0, 900.0);
        check(&now, &[5.0; 10], (1, 1), 0);
        // What is slow for one tenant only is.
        let now: Vec<f64> = (0..10).map(|i| if i % 2 == 0 { 5.0 } else { 900.0 }).collect();
        check(&now, &[5.0; 10], (1, 1), 1);
    }

    #[test]
    fn rows_that_are_read_count_on_large_tables() {
        check(&[2.0; 10], &[0.1; 10], (9_999, 1), 0);
        check(&[2.0; 10], &[0.1; 10], (10_000, 1), 1);
        check(&[2.0; 10], &[0.1; 10], (10_000, 1_001), 0);
        check(&[0.1; 10], &[0.1; 10], (10_000, 1), 0);
    }

    #[test]
    fn before_the_run_counts_by_rows_and_not_by_time() {
        let verdict = |rows: u64, reference: Option<&Run>| {
            let before = Baseline { run: Some(run(&[1.0; 10], rows)), ..Baseline::default() };
            judge(&spec(), Budget::default(), &run(&[100.0; 10], 50_000), reference, Some(&before), &BTreeMap::new())
                .unwrap()
        };
        let drifted = run(&[99.0; 10], 50_000);
        assert!(verdict(50_000, Some(&drifted)).over.is_empty(), "a slower machine is no finding");
        let lost = verdict(1, Some(&drifted)).over;
        assert!(lost.len() == 1 && lost[0].contains("before the run 1 rows"), "{lost:?}");
        assert_eq!(verdict(50_000, None).over.len(), 1, "without a reference its time is all that there is");
    }
}
