//! Whether what is seen after a change is what was seen before it.

use super::{
    Seen,
    seen::{float, per_second, percent},
};
use crate::{sql::QName, unit::Limits};

/// A session hands its counters on after a second, some only when their transaction ends.
const SECONDS_MIN: f64 = 5.0;
/// With fifty expected, ten or fewer come by chance about once in a billion times, if each comes by itself; writes that come in
/// crowds need the user's own limit.
const ROWS_MIN: f64 = 50.0;
/// Below this five points of a hundred are less than ten transactions.
const TRANSACTIONS_MIN: i64 = 200;

/// What a comparison says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Judgement {
    /// What is over its limit, in words.
    pub over: Vec<String>,
    /// What cannot be told, in words: too little happens there.
    pub untold: Vec<String>,
}

/// Compares what is seen now with what was seen before, table by table: `before` has a look for each.
pub fn judge(before: &[(QName, Seen)], now: &Seen, limits: Limits) -> Judgement {
    let mut out = Judgement::default();
    if now.seconds < SECONDS_MIN {
        out.untold
            .push(format!("{:.0} s are too short to compare anything in; {SECONDS_MIN:.0} s are not", now.seconds));
        return out;
    }
    for (table, before) in before {
        writes(table, before, now, limits, &mut out);
    }
    // One look is of all tables, or several are alike in this: the first that there is counts.
    if let Some((_, before)) = before.first() {
        rollbacks(before, now, limits, &mut out);
        denied(before, now, limits, &mut out);
    }
    out
}

fn writes(table: &QName, before: &Seen, now: &Seen, limits: Limits, out: &mut Judgement) {
    let (Some(was), Some(is)) = (before.rows(table), now.rows(table)) else { return };
    let expected = per_second(was, before.seconds) * now.seconds;
    if expected < ROWS_MIN {
        out.untold.push(format!(
            "{table}: {was} rows in {:.0} s before are too few to tell a collapse of writes in {:.0} s",
            before.seconds, now.seconds
        ));
    } else if float(is) * 100.0 < expected * f64::from(limits.writes_percent) {
        out.over.push(format!(
            "writes to {table} fell from {:.1} to {:.1} rows a second, below {} % of what they were",
            per_second(was, before.seconds),
            per_second(is, now.seconds),
            limits.writes_percent
        ));
    }
}

fn rollbacks(before: &Seen, now: &Seen, limits: Limits, out: &mut Judgement) {
    let (was, is) = (before.transactions(), now.transactions());
    if was.min(is) < TRANSACTIONS_MIN {
        let what = format!("{} transactions are too few to tell whether more of them fail", was.min(is));
        out.untold.push(what);
        return;
    }
    let share = |seen: &Seen| 100.0 * float(seen.rollbacks) / float(seen.transactions());
    if share(now) - share(before) > f64::from(limits.rollback_points) {
        out.over.push(format!(
            "{} of the database's transactions are rolled back, {} before: more than {} points of a hundred",
            percent(now.rollbacks, is),
            percent(before.rollbacks, was),
            limits.rollback_points
        ));
    }
}

fn denied(before: &Seen, now: &Seen, limits: Limits, out: &mut Judgement) {
    const MINUTE: f64 = 60.0;
    let Some(is) = now.denied else { return };
    let was = before.denied.unwrap_or(0);
    let expected = per_second(was, before.seconds) * now.seconds;
    // Of a part of a minute the whole minute's number is granted: two refusals at once are no rate.
    let granted = f64::from(limits.denied_per_minute) * (now.seconds / MINUTE).max(1.0);
    if float(is) - expected > granted {
        out.over.push(format!(
            "{is} statements were refused with 42501 in {:.0} s, {was} in {:.0} s before: more than {} a minute",
            now.seconds, before.seconds, limits.denied_per_minute
        ));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::activity::{Counts, Written};

    fn table() -> QName {
        QName::parse("app.trades").unwrap()
    }

    fn seen(seconds: f64, rows: i64, commits: i64, rollbacks: i64) -> Seen {
        Seen { seconds, commits, rollbacks, writes: vec![Written { table: table(), rows }], denied: None }
    }

    #[track_caller]
    fn check(before: Seen, now: Seen, over: &[&str], untold: usize) {
        let judged = judge(&[(table(), before)], &now, Limits::default());
        assert_eq!(judged.over, over);
        assert_eq!(judged.untold.len(), untold, "{:?}", judged.untold);
    }

    #[test]
    fn writes_that_collapse_are_told() {
        let fell = "writes to app.trades fell from 10.0 to 1.0 rows a second, below 20 % of what they were";
        check(seen(30.0, 300, 1000, 0), seen(60.0, 60, 1000, 0), &[fell], 0);
        check(seen(30.0, 300, 1000, 0), seen(60.0, 120, 1000, 0), &[], 0);
        check(seen(30.0, 300, 1000, 0), seen(60.0, 6000, 1000, 0), &[], 0);
    }

    #[test]
    fn what_is_too_little_to_tell_is_said_to_be() {
        check(seen(30.0, 20, 1000, 0), seen(60.0, 0, 1000, 0), &[], 1);
        check(seen(30.0, 300, 1000, 0), seen(4.0, 0, 1000, 900), &[], 1);
        check(seen(30.0, 300, 100, 0), seen(60.0, 300, 100, 90), &[], 1);
        check(seen(30.0, 0, 0, 0), seen(60.0, 0, 0, 0), &[], 2);
    }

    #[test]
    fn transactions_that_fail_are_told_by_their_share() {
        let more =
            "10.0 % of the database's transactions are rolled back, 1.0 % before: more than 5 points of a hundred";
        check(seen(30.0, 300, 990, 10), seen(60.0, 600, 1800, 200), &[more], 0);
        check(seen(30.0, 300, 900, 100), seen(60.0, 600, 1800, 200), &[], 0);
    }

    #[test]
    fn refusals_are_counted_above_those_before() {
        let with = |seen: Seen, denied: i64| Seen { denied: Some(denied), ..seen };
        let (before, now) = (seen(30.0, 300, 1000, 0), seen(120.0, 1200, 4000, 0));
        check(with(before.clone(), 1), with(now.clone(), 24), &[], 0);
        let more = "25 statements were refused with 42501 in 120 s, 1 in 30 s before: more than 10 a minute";
        check(with(before.clone(), 1), with(now.clone(), 25), &[more], 0);
        check(before, Seen { seconds: 10.0, ..with(now, 10) }, &[], 0);
    }

    #[test]
    fn a_counter_that_went_back_tells_nothing() {
        let first = Counts { at: 1.0, commits: 10, rollbacks: 1, writes: vec![5], denied: None };
        let last = Counts { at: 11.0, commits: 20, rollbacks: 3, writes: vec![9], denied: Some(4) };
        let seen = Seen::between(&[table()], &first, &last).unwrap();
        assert_eq!((seen.commits, seen.rollbacks, seen.rows(&table()), seen.denied), (10, 2, Some(4), None));
        assert_eq!(Seen::between(&[table()], &last, &first), None);
    }
}
