//! The pace of a backfill and operators' words about it, as `status` and `throttle` tell them.

use chrono::{DateTime, Utc};

use crate::{
    engine::InForce,
    ledger::{Pace, PaceState},
    report::{one_line, quantity},
};

/// `2 workers, batches of 50 ms in 8 stripes of 512 blocks; governed by replica lag: 2.1 s of 10 s`, or what it waits for.
pub fn line(pace: &Pace, now: DateTime<Utc>) -> String {
    let text = match pace.state {
        PaceState::Waiting => {
            let signal = pace.signal.as_ref().map_or(String::new(), |signal| quantity::waits_for(signal));
            let why = pace.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
            format!("waits since {}{signal}{why}", clock(pace.since, now))
        }
        PaceState::Going => {
            let workers = quantity::counted(u64::from(pace.workers), "worker", "workers");
            let target = quantity::millis(i64::try_from(pace.target_batch_ms).unwrap_or(i64::MAX));
            let by = pace
                .governing
                .as_ref()
                .map_or(String::new(), |by| format!("; governed by {}: {} of {}", by.signal, by.measured, by.limit));
            format!("{workers}, batches of {target} in {}{by}", pace.mode)
        }
    };
    one_line(&text)
}

/// The time of day, with the day where it is not today.
fn clock(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let form = if at.date_naive() == now.date_naive() { "%H:%M:%S UTC" } else { "%Y-%m-%d %H:%M:%S UTC" };
    at.format(form).to_string()
}

/// `dba on host2 at 2026-03-01 03:00:55 UTC`, of a time as events keep it.
pub fn asked(by: &str, host: &str, at: &str) -> String {
    let at = DateTime::parse_from_rfc3339(at)
        .map_or_else(|_| at.to_owned(), |at| at.with_timezone(&Utc).format("%Y-%m-%d %H:%M:%S UTC").to_string());
    one_line(&format!("{by} on {host} at {at}"))
}

/// One line for each operator's word that is in force.
pub fn words(in_force: &[InForce]) -> Vec<String> {
    let mut out = Vec::new();
    for InForce { by, host, asked_at, tuning } in in_force {
        let who = asked(by, host, asked_at);
        let pace = tuning.without_hold();
        if !pace.is_empty() {
            out.push(format!("retuned by {who}: {pace}"));
        }
        if let Some(Some(why)) = &tuning.hold {
            out.push(format!("held by {who}: {}", one_line(why)));
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kept: &str, expect: &str) {
        let now = DateTime::parse_from_rfc3339("2026-03-01T14:03:00Z").unwrap().with_timezone(&Utc);
        assert_eq!(line(&serde_json::from_str(kept).unwrap(), now), expect);
    }

    #[test]
    fn a_pace_is_one_line() {
        check(
            r#"{"workers": 2, "target_batch_ms": 50, "mode": "8 stripes of 512 blocks", "state": "going", "signal": null, "why": null,
                "since": "2026-03-01T14:00:00Z", "governing": {"signal": "replica lag", "measured": "2.1 s", "limit": "10 s", "percent": 21}}"#,
            "2 workers, batches of 50 ms in 8 stripes of 512 blocks; governed by replica lag: 2.1 s of 10 s",
        );
        check(
            r#"{"workers": 1, "target_batch_ms": 1500, "mode": "plain ranges", "state": "going", "since": "2026-03-01T14:00:00Z"}"#,
            "1 worker, batches of 1.5 s in plain ranges",
        );
    }

    #[test]
    fn a_wait_says_since_when_for_what_and_why() {
        let waiting = |since: &str, rest: &str| {
            format!(
                r#"{{"workers": 2, "target_batch_ms": 50, "mode": "x", "state": "waiting", "since": "{since}", {rest}}}"#
            )
        };
        check(
            &waiting(
                "2026-03-01T14:02:11.5Z",
                r#""signal": "replica lag", "why": "replica app_replica is 12.3 s behind (limit 10 s)""#,
            ),
            "waits since 14:02:11 UTC for replica lag: replica app_replica is 12.3 s behind (limit 10 s)",
        );
        check(
            &waiting(
                "2026-02-28T23:59:59Z",
                r#""signal": "hold", "why": "an operator holds the backfills: the\u001b[2Jreport""#,
            ),
            "waits since 2026-02-28 23:59:59 UTC: an operator holds the backfills: the [2Jreport",
        );
    }
}
