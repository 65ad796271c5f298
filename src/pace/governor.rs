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

    /// Since when it has been asleep.
    pub fn sleeping_since(&self) -> Option<Duration> {
        self.sleeping
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
