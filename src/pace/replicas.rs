//! The replicas beside their limits: how many there are, and how far behind each is.

use super::{
    amount::{bytes, count, time},
    decision::Reading,
    judge::{Judged, Limits, Standing, percent, unknown},
    observation::{Connected, Observation, Replica, Seen},
    signal::Signal,
};
use crate::plan::Throttle;

/// A replica that has nothing more than this left to replay is idle though the server names no lag: after a rest it stays NULL
/// until the second answer, which may take wal_receiver_status_interval (10 s). Two pages of WAL: a batch writes more.
const IDLE_BYTES_MAX: u64 = 16 * 1024;
/// Where no lag is named, and the replica had replayed everything at a look less than this ago, it is only about to: each time
/// that it has caught up the lag is NULL until more is replayed. Two looks.
const FRESH_MS_MAX: u64 = 1_000;
/// A walreceiver confirms within milliseconds what it received; one that has something to confirm and has not answered for so
/// long is stopped or cut off, and what the server shows of it is old.
const SILENT_MS_MIN: u64 = 5_000;

pub(super) fn judge(seen: &Observation, throttle: &Throttle) -> Vec<Judged> {
    let mut out = Vec::new();
    match &seen.replicas {
        Seen::Unseen => {}
        Seen::Unknown(why) => out.push(unknown(Signal::Replicas, why, "all".to_owned())),
        Seen::Known(number) => out.push(connected(*number)),
    }
    let time_limits =
        Limits { max: throttle.max_replica_lag.map(|ms| ms.0), critical: throttle.critical_replica_lag.map(|ms| ms.0) };
    let byte_limits = Limits::max(throttle.max_replica_lag_bytes.map(|bytes| bytes.0));
    if !time_limits.is_set() && !byte_limits.is_set() {
        return out;
    }
    match &seen.replica_lag {
        Seen::Unseen => {}
        Seen::Unknown(why) => out.push(unknown(Signal::ReplicaLag, why, lag_limit(time_limits, byte_limits))),
        Seen::Known(all) => out.extend(all.iter().flat_map(|replica| lag(replica, time_limits, byte_limits))),
    }
    out
}

fn connected(number: Connected) -> Judged {
    let Connected { expected, connected } = number;
    let missing = expected.saturating_sub(connected);
    // With all of them there it is as far from its limit as can be; the first that is missing is beyond.
    let percent = if missing == 0 { 0 } else { 100 + percent(missing.into(), expected.into()) };
    let standing = if missing == 0 { Standing::Within } else { Standing::Beyond };
    let reading =
        Reading { signal: Signal::Replicas, measured: connected.to_string(), limit: expected.to_string(), percent };
    let verb = if connected == 1 { "is" } else { "are" };
    let what = format!("{} {verb} connected", count(connected.into(), "replica"));
    Judged { reading, standing, what, bound: format!("expected {expected}") }
}

fn lag_limit(times: Limits, amounts: Limits) -> String {
    match (times.max.or(times.critical), amounts.max) {
        (Some(ms), _) => time(ms),
        (None, amount) => bytes(amount.unwrap_or_default()),
    }
}

fn lag(replica: &Replica, times: Limits, amounts: Limits) -> Vec<Judged> {
    let Replica { name, replay_ms, behind_ms, receipt_ms, bytes: behind, silent_ms } = replica;
    let mut out = Vec::new();
    let mut lacking = None;
    if times.is_set() {
        // What the server says freezes with a walreceiver that hangs, and what it has not received is not replayed either.
        let ms = replay_ms.unwrap_or(0).max(*receipt_ms);
        out.extend(times.judge(Signal::ReplicaLag, ms, format!("replica {name} is {} behind", time(ms)), time));
        let idle = behind.is_some_and(|behind| behind <= IDLE_BYTES_MAX) || *behind_ms < FRESH_MS_MAX;
        if replay_ms.is_none() && !idle {
            lacking = Some(format!("the server does not say how long replica {name} is behind"));
        }
    }
    if amounts.is_set() {
        match behind {
            Some(behind) => {
                let what = format!("replica {name} is {} of WAL behind", bytes(*behind));
                out.extend(amounts.judge(Signal::ReplicaLag, *behind, what, bytes));
            }
            None => lacking = Some(format!("replica {name} has not said how far it is")),
        }
    }
    if *silent_ms >= SILENT_MS_MIN {
        lacking = Some(format!("replica {name} has not answered for {}", time(*silent_ms)));
    }
    out.extend(lacking.map(|why| unknown(Signal::ReplicaLag, &why, lag_limit(times, amounts))));
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::plan::{Bytes, Millis};

    /// What is said of one replica with limits of 10 s and 60 s, and 64 MiB; `None` where it is well.
    #[track_caller]
    fn check(change: impl Fn(&mut Replica), expect: Option<(Standing, &str)>) {
        let mut replica = Replica {
            name: "east".to_owned(),
            replay_ms: Some(2),
            behind_ms: 0,
            receipt_ms: 0,
            bytes: Some(100_000),
            silent_ms: 0,
        };
        change(&mut replica);
        let throttle = Throttle { critical_replica_lag: Some(Millis(60_000)), ..Throttle::default() };
        let seen = Observation { replica_lag: Seen::Known(vec![replica]), ..Observation::default() };
        let worst = judge(&seen, &throttle).into_iter().max_by_key(|judged| judged.standing).unwrap();
        let said = (worst.standing, worst.why());
        assert_eq!((said.0 != Standing::Within).then_some((said.0, said.1.as_str())), expect);
    }

    #[test]
    fn a_replica_is_judged_by_what_the_server_says_and_by_what_is_known_besides() {
        use Standing::{Beyond, Critical, Unknown};
        check(|_| {}, None);
        check(|r| r.replay_ms = Some(10_000), None);
        check(|r| r.replay_ms = Some(12_300), Some((Beyond, "replica east is 12.3 s behind (limit 10 s)")));
        check(|r| r.replay_ms = Some(90_000), Some((Critical, "replica east is 90 s behind (critical limit 60 s)")));
        check(|r| r.bytes = Some(65 << 20), Some((Beyond, "replica east is 65.0 MiB of WAL behind (limit 64.0 MiB)")));
        // Idle: nothing, or next to nothing, to replay.
        check(|r| (r.replay_ms, r.bytes, r.behind_ms) = (None, Some(0), 0), None);
        check(|r| (r.replay_ms, r.bytes, r.behind_ms) = (None, Some(200), 9_000), None);
        // It had caught up, and more has come only now.
        check(|r| (r.replay_ms, r.bytes, r.behind_ms) = (None, Some(5 << 20), 400), None);
        let silent = "replica lag is unknown: the server does not say how long replica east is behind";
        check(|r| (r.replay_ms, r.bytes, r.behind_ms) = (None, Some(5 << 20), 1_000), Some((Unknown, silent)));
        // Its walreceiver is stopped: the server's figure is as old as that.
        check(|r| r.receipt_ms = 11_000, Some((Beyond, "replica east is 11 s behind (limit 10 s)")));
        check(|r| (r.receipt_ms, r.silent_ms) = (4_900, 4_900), None);
        let mute = "replica lag is unknown: replica east has not answered for 5.5 s";
        check(|r| (r.receipt_ms, r.silent_ms) = (5_500, 5_500), Some((Unknown, mute)));
        // Slow to receive, but it answers.
        check(|r| (r.receipt_ms, r.silent_ms) = (8_000, 100), None);
        let lost = "replica lag is unknown: replica east has not said how far it is";
        check(|r| r.bytes = None, Some((Unknown, lost)));
    }

    #[test]
    fn one_that_is_missing_is_beyond_the_limit() {
        let check = |connected: u32, percent: u32, why: &str| {
            let seen =
                Observation { replicas: Seen::Known(Connected { expected: 2, connected }), ..Observation::default() };
            let judged = judge(&seen, &Throttle::default()).remove(0);
            assert_eq!((judged.reading.percent, judged.why().as_str()), (percent, why));
        };
        check(0, 200, "0 replicas are connected (expected 2)");
        check(1, 150, "1 replica is connected (expected 2)");
        check(2, 0, "2 replicas are connected (expected 2)");
        check(3, 0, "3 replicas are connected (expected 2)");
    }

    #[test]
    fn without_a_limit_nothing_is_looked_at() {
        let none = Throttle { max_replica_lag: None, max_replica_lag_bytes: None, ..Throttle::default() };
        let seen = Observation { replica_lag: Seen::Unknown("gone".to_owned()), ..Observation::default() };
        assert_eq!(judge(&seen, &none).len(), 0);
        let bytes = Throttle { max_replica_lag_bytes: Some(Bytes(1 << 20)), ..none };
        assert_eq!(judge(&seen, &bytes).remove(0).why(), "replica lag is unknown: gone");
    }
}
