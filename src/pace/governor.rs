//! Decides whether the next batch may run.
//!
//! | Before | Seen | Then |
//! |---|---|---|
//! | going | every signal within its limit | go |
//! | going | a signal beyond its limit, or unknown for a second | sleep |
//! | sleeping | every signal that made it sleep calm again (see `Latch`) | go |
//! | any | beyond a critical limit, or asleep for longer than `max_wait` | stop |
//! | any | held by an operator | sleep, whatever else is seen |

use std::{collections::BTreeMap, time::Duration};

use super::{
    amount,
    decision::{Decision, Pace, Reading},
    judge::{Judged, Standing, judge},
    observation::Observation,
    signal::Signal,
};
use crate::plan::Pacing;

/// Once beyond its limit, a signal counts as calm below this share of it: the backfill's own load would push one that is only
/// just below over it again.
const CALM_PERCENT_MAX: u32 = 80;
/// For so long it must be calm. Two looks at least: one alone may have met a lull.
const CALM: Duration = Duration::from_secs(1);
/// A signal that stays between its calm share and its limit is let go after this: the server's ordinary load may lie there,
/// and a backfill must not starve at a load that its limits allow.
const WITHIN: Duration = Duration::from_secs(10);
/// A signal that was known is taken for what it was for so long: the lag of a replica that begins to replay after a rest is
/// NULL for a moment. Less than 2 s, within which a replica that is really gone must be noticed.
const UNKNOWN_MAX: Duration = Duration::from_secs(1);
/// How often the server is looked at.
const LOOK_MS: u64 = 500;

/// Remembers what made a backfill sleep. One for each backfill.
#[derive(Debug, Clone, Default)]
pub struct Governor {
    latched: BTreeMap<Signal, Latch>,
    /// When each signal was last known.
    known: BTreeMap<Signal, Duration>,
    sleeping: Option<Duration>,
}

/// A signal that was beyond its limit and has not been calm for long enough since.
#[derive(Debug, Clone, Copy, Default)]
struct Latch {
    /// Since when it has been below CALM_PERCENT_MAX.
    calm: Option<Duration>,
    /// Since when it has been within its limit.
    within: Option<Duration>,
}

impl Latch {
    fn look(&mut self, now: Duration, judged: &Judged) {
        let within = judged.standing == Standing::Within;
        let calm = within && judged.reading.percent < CALM_PERCENT_MAX;
        self.within = within.then(|| self.within.unwrap_or(now));
        self.calm = calm.then(|| self.calm.unwrap_or(now));
    }

    /// How much longer the signal must stay as it is; None while it is beyond.
    fn left(&self, now: Duration) -> Option<Duration> {
        let left = |since: Duration, bound: Duration| bound.saturating_sub(now.saturating_sub(since));
        let within = self.within.map(|since| left(since, WITHIN))?;
        Some(self.calm.map_or(within, |since| left(since, CALM).min(within)))
    }
}

impl Governor {
    /// Awake, with nothing known.
    pub fn new() -> Self {
        Self::default()
    }

    /// What to do now, `now` being the time since the backfill began.
    pub fn decide(&mut self, now: Duration, seen: &Observation, pacing: &Pacing) -> Decision {
        let judged = judge(seen, &pacing.throttle);
        self.look(now, &judged);
        let cause = self.cause(&judged);
        let governing = cause.or_else(|| judged.iter().max_by_key(|j| j.reading.percent)).map(|j| j.reading.clone());
        let pace = match (&pacing.hold, cause) {
            (Some(reason), _) => self.sleep(now, Signal::Hold, hold(reason), LOOK_MS, pacing),
            (None, Some(cause)) if cause.standing == Standing::Critical => {
                self.sleeping.get_or_insert(now);
                Pace::Stop { signal: cause.reading.signal, why: cause.why() }
            }
            (None, Some(cause)) => {
                let signal = cause.reading.signal;
                let left = self.latched.get(&signal).and_then(|latch| latch.left(now));
                let look = left.map_or(LOOK_MS, |left| as_ms(left).clamp(1, LOOK_MS));
                self.sleep(now, signal, sentence(cause), look, pacing)
            }
            (None, None) => {
                self.sleeping = None;
                Pace::Go
            }
        };
        Decision { pace, governing }
    }

    fn look(&mut self, now: Duration, judged: &[Judged]) {
        let still = |signal: Signal| judged.iter().any(|j| j.reading.signal == signal);
        // A signal whose limit was taken away holds nobody up.
        self.latched.retain(|signal, _| still(*signal));
        for one in judged {
            let signal = one.reading.signal;
            let latches = match one.standing {
                Standing::Within => {
                    self.known.insert(signal, now);
                    false
                }
                Standing::Unknown => self.known.get(&signal).is_none_or(|at| now.saturating_sub(*at) >= UNKNOWN_MAX),
                Standing::Beyond | Standing::Critical => {
                    self.known.insert(signal, now);
                    true
                }
            };
            if latches {
                self.latched.entry(signal).or_default();
            }
            if let Some(latch) = self.latched.get_mut(&signal) {
                latch.look(now, one);
                if latch.left(now).is_some_and(|left| left.is_zero()) {
                    self.latched.remove(&signal);
                }
            }
        }
    }

    /// The worst of the signals that hold the backfill up.
    fn cause<'j>(&self, judged: &'j [Judged]) -> Option<&'j Judged> {
        let held = judged.iter().filter(|j| self.latched.contains_key(&j.reading.signal));
        held.max_by_key(|j| (j.standing, j.reading.percent))
    }

    fn sleep(&mut self, now: Duration, signal: Signal, why: String, look_again_ms: u64, pacing: &Pacing) -> Pace {
        let since = *self.sleeping.get_or_insert(now);
        let waited = now.saturating_sub(since);
        if waited <= pacing.throttle.max_wait.duration() {
            return Pace::Sleep { signal, why, look_again_ms };
        }
        let why = format!("waited for {} without a break: {why}", amount::time(as_ms(waited)));
        Pace::Stop { signal, why }
    }
}

fn hold(reason: &str) -> String {
    match reason.trim() {
        "" => "an operator holds the backfills".to_owned(),
        reason => format!("an operator holds the backfills: {reason}"),
    }
}

/// Why it sleeps, also where the signal is within its limit again.
fn sentence(cause: &Judged) -> String {
    let Reading { limit, .. } = &cause.reading;
    match cause.standing {
        Standing::Within => {
            format!("{}, within its limit of {limit} again; it has to stay so for a moment", cause.what)
        }
        Standing::Unknown | Standing::Beyond | Standing::Critical => cause.why(),
    }
}

fn as_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        pace::{Named, Seen},
        plan::{Bytes, Millis, Throttle},
    };

    const MAX: u64 = 10_000;
    const CRITICAL: u64 = 50_000;
    const WAIT: u64 = 30_000;

    /// The signal of a query has both limits, and no rules of its own.
    fn pacing() -> Pacing {
        let throttle = Throttle { max_wait: Millis(WAIT), ..Throttle::default() };
        Pacing {
            throttle: Throttle {
                query: Some(crate::plan::UserSignal {
                    sql: crate::sql::Expr::parse("1").unwrap(),
                    max: i64::try_from(MAX).unwrap(),
                    critical: Some(i64::try_from(CRITICAL).unwrap()),
                }),
                ..throttle
            },
            ..Pacing::default()
        }
    }

    fn seen(value: Option<u64>) -> Observation {
        let query = value.map_or_else(
            || Seen::Unknown("nobody answers".to_owned()),
            |value| Seen::Known(f64::from(u32::try_from(value).unwrap())),
        );
        Observation { query, ..Observation::default() }
    }

    fn word(pace: &Pace) -> &'static str {
        match pace {
            Pace::Go => "go",
            Pace::Sleep { .. } => "sleep",
            Pace::Stop { .. } => "stop",
        }
    }

    /// The milliseconds, what is seen then (None: unknown), and the pace that follows.
    #[track_caller]
    fn check(steps: &[(u64, Option<u64>, &str)]) {
        let (mut governor, pacing) = (Governor::new(), pacing());
        for (ms, value, expect) in steps {
            let decision = governor.decide(Duration::from_millis(*ms), &seen(*value), &pacing);
            assert_eq!(word(&decision.pace), *expect, "at {ms}: {decision:?}");
            assert_eq!(governor.sleeping.is_none(), *expect == "go", "at {ms}");
        }
    }

    #[test]
    fn it_sleeps_beyond_the_limit_and_goes_on_when_it_is_calm() {
        check(&[(0, Some(MAX), "go"), (500, Some(MAX + 1), "sleep"), (1_000, Some(7_000), "sleep")]);
        // Calm from 1000 on; a single peak makes it begin again.
        check(&[(500, Some(20_000), "sleep"), (1_000, Some(7_000), "sleep"), (2_000, Some(7_999), "go")]);
        check(&[
            (500, Some(20_000), "sleep"),
            (1_000, Some(7_000), "sleep"),
            (1_500, Some(9_000), "sleep"),
            (2_000, Some(7_000), "sleep"),
            (2_500, Some(7_000), "sleep"),
            (3_000, Some(7_000), "go"),
        ]);
        // Not calm, but within the limit for ten seconds.
        check(&[(0, Some(20_000), "sleep"), (500, Some(9_500), "sleep"), (10_400, Some(9_500), "sleep")]);
        check(&[(0, Some(20_000), "sleep"), (500, Some(9_500), "sleep"), (10_500, Some(9_500), "go")]);
    }

    #[test]
    fn what_is_unknown_is_waited_for() {
        check(&[(0, None, "sleep"), (500, Some(1), "sleep"), (1_500, Some(1), "go")]);
        // Known a moment ago.
        check(&[(0, Some(1), "go"), (500, None, "go"), (999, None, "go"), (1_000, None, "sleep")]);
    }

    #[test]
    fn it_stops_beyond_a_critical_limit_and_when_it_waited_for_too_long() {
        check(&[(0, Some(1), "go"), (500, Some(CRITICAL), "sleep"), (1_000, Some(CRITICAL + 1), "stop")]);
        check(&[(0, Some(20_000), "sleep"), (WAIT, Some(20_000), "sleep"), (WAIT + 1, Some(20_000), "stop")]);
        check(&[(0, None, "sleep"), (WAIT + 1, None, "stop")]);
        let (mut governor, pacing) = (Governor::new(), pacing());
        governor.decide(Duration::ZERO, &seen(Some(20_000)), &pacing);
        let why = "waited for 30 s without a break: the plan's query gives 20000 (limit 10000)".to_owned();
        let decision = governor.decide(Duration::from_millis(WAIT + 1), &seen(Some(20_000)), &pacing);
        assert_eq!(decision.pace, Pace::Stop { signal: Signal::Query, why: why.replace("30 s", "30.1 s") });
    }

    #[test]
    fn a_hold_is_obeyed_at_once_and_ends_at_once() {
        let (mut governor, mut pacing) = (Governor::new(), pacing());
        pacing.hold = Some("lunch".to_owned());
        let why = "an operator holds the backfills: lunch".to_owned();
        let held = Pace::Sleep { signal: Signal::Hold, why, look_again_ms: LOOK_MS };
        assert_eq!(governor.decide(Duration::ZERO, &seen(Some(CRITICAL + 1)), &pacing).pace, held);
        assert_eq!(governor.decide(Duration::from_millis(500), &seen(Some(1)), &pacing).pace, held);
        assert_eq!(governor.decide(Duration::from_millis(1_500), &seen(Some(1)), &pacing).pace, held);
        pacing.hold = None;
        assert_eq!(governor.decide(Duration::from_millis(1_501), &seen(Some(1)), &pacing).pace, Pace::Go);
    }

    #[test]
    fn the_governing_signal_is_the_one_that_is_nearest_or_the_one_that_is_waited_for() {
        let (mut governor, mut pacing) = (Governor::new(), pacing());
        pacing.throttle.max_slot_retained = Some(Bytes(1_000));
        let retained = |value| Seen::Known(Named { name: "s".to_owned(), value });
        let mut governing = |ms: u64, value: u64, slot: u64| {
            let seen = Observation { slot_retained: retained(slot), ..seen(Some(value)) };
            let reading = governor.decide(Duration::from_millis(ms), &seen, &pacing).governing.unwrap();
            (reading.signal, reading.percent)
        };
        assert_eq!(governing(0, 4_000, 500), (Signal::SlotRetained, 50));
        assert_eq!(governing(500, 10_001, 1_500), (Signal::SlotRetained, 150));
        assert_eq!(governing(1_000, 30_000, 1_500), (Signal::Query, 300));
        assert_eq!(governing(1_500, 5_000, 900), (Signal::SlotRetained, 90));
        // The limit is taken away, and with it what holds the backfill up.
        pacing.throttle.max_slot_retained = None;
        let decision = governor.decide(Duration::from_millis(2_500), &seen(Some(5_000)), &pacing);
        assert_eq!((decision.pace, decision.governing.unwrap().percent), (Pace::Go, 50));
    }

    /// Looks at uneven intervals, and what each sees.
    fn script() -> impl Strategy<Value = Vec<(u64, Option<u64>)>> {
        let value = prop_oneof![
            3 => (0..MAX * 8 / 10).prop_map(Some),
            2 => (MAX * 8 / 10..=MAX).prop_map(Some),
            2 => (MAX + 1..=CRITICAL).prop_map(Some),
            1 => Just(None),
        ];
        // A value stays for a few looks, so that there are calm times.
        let stretch = (value, prop::collection::vec(100..900_u64, 1..25));
        prop::collection::vec(stretch, 1..20).prop_map(|stretches| {
            let each = |(value, steps): (Option<u64>, Vec<u64>)| steps.into_iter().map(move |step| (step, value));
            stretches.into_iter().flat_map(each).collect()
        })
    }

    fn ago(history: &[(u64, Option<u64>)], now: u64, ms: u64) -> impl Iterator<Item = Option<u64>> {
        history.iter().rev().take_while(move |(at, _)| now - at < ms).map(|(_, value)| *value)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_neither_flaps_nor_starves_nor_stops_for_nothing(script in script()) {
            let (mut governor, pacing) = (Governor::new(), pacing());
            let (mut now, mut asleep, mut history) = (0, None, Vec::new());
            for (step, value) in script {
                now += step;
                history.push((now, value));
                let decision = governor.decide(Duration::from_millis(now), &seen(value), &pacing);
                let beyond = |value: Option<u64>| value.is_some_and(|value| value > MAX);
                match &decision.pace {
                    Pace::Go => {
                        asleep = None;
                        prop_assert!(!ago(&history, now, 1_000).any(beyond), "gone within a second of a peak");
                        prop_assert!(ago(&history, now, 1_000).any(|value| value.is_some()), "gone blindly");
                    }
                    Pace::Sleep { look_again_ms, .. } => {
                        let since = *asleep.get_or_insert(now);
                        prop_assert!(now - since <= WAIT && (1..=LOOK_MS).contains(look_again_ms));
                        // Ten seconds within the limit are enough, and so is one that is calm, and a look at either end.
                        let within = |value: Option<u64>| value.is_some_and(|value| value <= MAX);
                        let calm = |value: Option<u64>| value.is_some_and(|value| value < MAX * 8 / 10);
                        prop_assert!(now < 12_000 || !ago(&history, now, 12_000).all(within), "starved");
                        prop_assert!(now < 3_000 || !ago(&history, now, 3_000).all(calm), "starved though calm");
                    }
                    Pace::Stop { .. } => {
                        prop_assert!(now - asleep.unwrap_or(now) > WAIT, "stopped after {asleep:?}");
                        return Ok(());
                    }
                }
            }
        }

        #[test]
        fn what_is_worse_is_never_treated_better(
            script in script(), low in 0..CRITICAL * 2, more in 0..CRITICAL, step in 1..2_000_u64,
        ) {
            let (mut governor, pacing, mut now) = (Governor::new(), pacing(), 0);
            for (step, value) in script {
                now += step;
                governor.decide(Duration::from_millis(now), &seen(value), &pacing);
            }
            let after = |value: u64| {
                let decision = governor.clone().decide(Duration::from_millis(now + step), &seen(Some(value)), &pacing);
                ["go", "sleep", "stop"].into_iter().position(|pace| pace == word(&decision.pace))
            };
            prop_assert!(after(low) <= after(low + more));
            prop_assert_eq!(after(CRITICAL + 1 + more), Some(2));
        }
    }
}
