//! What of the pace an operator can change: the plan's word, what is in force, and who changed it.

use serde_json::{Value, json};

use crate::{
    cli::pace::asked,
    engine::InForce,
    plan::{Bytes, Millis, Pacing, Tuning},
    report::one_line,
};

/// One setting, by the name of its option.
struct Setting {
    name: &'static str,
    /// Whether the operator's word names it.
    named: fn(&Tuning) -> bool,
    /// For people, and for programs.
    value: fn(&Pacing) -> (String, Value),
}

const SETTINGS: &[Setting] = &[
    Setting { name: "target-batch", named: |t| t.target_batch.is_some(), value: |p| time(Some(p.target_batch)) },
    Setting {
        name: "workers",
        named: |t| t.workers.is_some(),
        value: |p| (p.workers.map_or("by the server".to_owned(), |n| n.to_string()), json!(p.workers)),
    },
    Setting {
        name: "max-replica-lag",
        named: |t| t.max_replica_lag.is_some(),
        value: |p| time(p.throttle.max_replica_lag),
    },
    Setting {
        name: "max-replica-lag-bytes",
        named: |t| t.max_replica_lag_bytes.is_some(),
        value: |p| bytes(p.throttle.max_replica_lag_bytes),
    },
    Setting { name: "max-wal-rate", named: |t| t.max_wal_rate.is_some(), value: |p| bytes(p.throttle.max_wal_rate) },
    Setting {
        name: "max-active-sessions",
        named: |t| t.max_active_sessions.is_some(),
        value: |p| {
            let limit = p.throttle.max_active_sessions;
            (limit.map_or_else(none, |n| n.to_string()), json!(limit))
        },
    },
    Setting {
        name: "hold",
        named: |t| t.hold.is_some(),
        value: |p| (p.hold.as_deref().map_or("no".to_owned(), one_line), json!(p.hold)),
    },
];

fn none() -> String {
    "no limit".to_owned()
}

fn time(limit: Option<Millis>) -> (String, Value) {
    (limit.map_or_else(none, |ms| humantime::format_duration(ms.duration()).to_string()), json!(limit))
}

fn bytes(limit: Option<Bytes>) -> (String, Value) {
    (limit.map_or_else(none, |bytes| bytes.to_string()), json!(limit))
}

/// One setting of a run.
struct Line {
    name: &'static str,
    plan: (String, Value),
    now: (String, Value),
    changed: Option<InForce>,
}

fn lines(plan: &Pacing, in_force: &[InForce]) -> Vec<Line> {
    let mut tuning = Tuning::default();
    in_force.iter().for_each(|word| tuning.merge(&word.tuning));
    let now = tuning.over(plan);
    let line = |s: &Setting| Line {
        name: s.name,
        plan: (s.value)(plan),
        now: (s.value)(&now),
        changed: in_force.iter().rfind(|word| (s.named)(&word.tuning)).cloned(),
    };
    SETTINGS.iter().map(line).collect()
}

/// A table for people.
pub fn text(plan: &Pacing, in_force: &[InForce]) -> String {
    let mut rows = vec![["".to_owned(), "in force".to_owned(), "plan".to_owned(), "changed by".to_owned()]];
    rows.extend(lines(plan, in_force).into_iter().map(|line| {
        let changed = line.changed.map_or(String::new(), |by| asked(&by.by, &by.host, &by.asked_at));
        [line.name.to_owned(), line.now.0, line.plan.0, changed]
    }));
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let (name, now, plan) = (width(0), width(1), width(2));
    let mut out = String::new();
    for [a, b, c, d] in &rows {
        out.push_str(format!("{a:<name$}  {b:<now$}  {c:<plan$}  {d}").trim_end());
        out.push('\n');
    }
    out
}

/// The same for programs.
pub fn json(plan: &Pacing, in_force: &[InForce]) -> Value {
    let one = |line: Line| {
        let changed = line.changed.map(|by| json!({ "by": by.by, "from": by.host, "asked_at": by.asked_at }));
        (line.name.replace('-', "_"), json!({ "plan": line.plan.1, "in_force": line.now.1, "changed": changed }))
    };
    Value::Object(lines(plan, in_force).into_iter().map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_has_the_plans_word_what_is_in_force_and_whose_it_is() {
        let word = |by: &str, tuning: Tuning| InForce {
            by: by.to_owned(),
            host: "host2".to_owned(),
            asked_at: "2026-03-01T03:00:55Z".to_owned(),
            tuning,
        };
        let words = [
            word("dba", Tuning { target_batch: Some(Millis(20)), ..Tuning::default() }),
            word("ann", Tuning { hold: Some(Some("the report".to_owned())), workers: Some(3), ..Tuning::default() }),
        ];
        insta::assert_snapshot!(text(&Pacing::default(), &words), @r"
                               in force    plan           changed by
        target-batch           20ms        50ms           dba on host2 at 2026-03-01 03:00:55 UTC
        workers                3           by the server  ann on host2 at 2026-03-01 03:00:55 UTC
        max-replica-lag        10s         10s
        max-replica-lag-bytes  64.0 MiB    64.0 MiB
        max-wal-rate           no limit    no limit
        max-active-sessions    no limit    no limit
        hold                   the report  no             ann on host2 at 2026-03-01 03:00:55 UTC
        ");
        assert_eq!(
            json(&Pacing::default(), &words)["target_batch"],
            json!({ "plan": "50ms", "in_force": "20ms",
                    "changed": { "by": "dba", "from": "host2", "asked_at": "2026-03-01T03:00:55Z" } })
        );
    }
}
