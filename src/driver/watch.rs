//! Looks how busy tables are, for a time: before a change, to keep it, and after it, to compare. What is over its limit at two looks
//! in a row fails the unit, and with it the phase, before the time is over.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::{
    error::DriveError,
    shell::{Shell, millis},
};
use crate::{
    activity::{Counts, Judgement, Seen, judge},
    engine::{Event, Notice},
    ledger,
    pg::{
        Class, Fault,
        activity::{RefusalLog, counts},
    },
    sql,
    sql::QName,
    unit::{Unit, WatchSpec},
};

/// About twenty looks tell a collapse while most of its time is left; more often than once a second the counters do not move.
const LOOKS: u32 = 20;
const LOOK_EVERY: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(15);
/// One look may fall into a moment in which nobody wrote, or between two reports of the sessions' counters.
const OVER_IN_A_ROW: u32 = 2;

/// Where a look stands.
struct Look {
    begun: Instant,
    first: Counts,
    log: Option<RefusalLog>,
}

impl Shell {
    /// Looks for so long, and keeps what it saw; where it compares, fails when that is not what was before.
    pub(super) async fn watch(&mut self, unit: &Unit, spec: &WatchSpec) -> Result<(), DriveError> {
        let before = self.seen_before(spec).await?;
        let mut look = self.begin_look(spec).await?;
        let length = Duration::from_millis(spec.length_ms);
        let mut in_a_row = 0;
        let (seen, judged) = loop {
            let left = length.saturating_sub(look.begun.elapsed());
            let pause = (length / LOOKS).clamp(*LOOK_EVERY.start(), *LOOK_EVERY.end()).min(left);
            if !pause.is_zero() {
                let why = format!("{}, {} s left", unit.title, left.as_secs().max(1));
                self.say(Notice::Waiting { why, again_in_ms: millis(pause) });
                self.rest(pause).await?;
            }
            if let Some(query) = &spec.query {
                self.answers_true(unit, query).await?;
            }
            let Some(seen) = self.look_again(spec, &mut look).await? else { continue };
            let judged = if before.is_empty() { Judgement::default() } else { judge(&before, &seen, spec.limits) };
            in_a_row = if judged.over.is_empty() { 0 } else { in_a_row + 1 };
            if in_a_row >= OVER_IN_A_ROW || look.begun.elapsed() >= length {
                break (seen, judged);
            }
        };
        self.conclude_watch(unit, spec, &seen, &judged).await
    }

    async fn conclude_watch(
        &mut self,
        unit: &Unit,
        spec: &WatchSpec,
        seen: &Seen,
        judged: &Judgement,
    ) -> Result<(), DriveError> {
        // A time of nothing is a trial's, in which nobody is there to be looked at.
        if spec.length_ms > 0 {
            self.say(Notice::Note { text: seen.told() });
            for text in &judged.untold {
                self.say(Notice::Note { text: format!("not compared: {text}") });
            }
        }
        let over = !judged.over.is_empty();
        let phase = self.journal.record.program.find(&unit.id).map_or(0, |(_, p, _)| p);
        let phase = self.journal.record.program.phases[phase].id.clone();
        let (bounds, place, id) = (self.bounds(), self.journal.place.clone(), unit.id.clone());
        let keep = async |client: &Client| Ok(ledger::keep_activity(client, &place, (&phase, &id), seen, over).await?);
        if over {
            self.fenced(bounds, keep).await?;
            let mut fault = Fault::new(Class::Fatal, judged.over.join("; "));
            fault.hint = Some(
                "look what the application logs since; limits that are too narrow are set in the step (writes_percent, \
                 rollback_points, denied_per_minute)"
                    .to_owned(),
            );
            return Err(fault.into());
        }
        let done = Event::Succeeded { unit: unit.id.clone(), rows: None };
        self.record_with(bounds, async |client: &Client| {
            keep(client).await?;
            Ok(((), done))
        })
        .await
    }

    /// What was seen of each table before.
    async fn seen_before(&self, spec: &WatchSpec) -> Result<Vec<(QName, Seen)>, DriveError> {
        let place = &self.journal.place;
        let mut all = Vec::new();
        for (table, unit) in spec.tables.iter().zip(&spec.against) {
            let kept = self.patiently(async |client: &Client| Ok(ledger::activity(client, place, unit).await?)).await?;
            match kept {
                Some(seen) => all.push((table.clone(), seen)),
                None => {
                    let what = format!("what {unit} saw of {table} is not in the ledger any more");
                    return Err(Fault::new(Class::Fatal, what).into());
                }
            }
        }
        Ok(all)
    }

    async fn begin_look(&self, spec: &WatchSpec) -> Result<Look, DriveError> {
        let opened = self.patiently(async |client: &Client| Ok(RefusalLog::open(client).await?)).await?;
        let mut log = match opened {
            Ok(log) => Some(log),
            Err(why) => {
                // Once is enough: before the change.
                if spec.length_ms > 0 && spec.against.is_empty() {
                    self.say(Notice::Note { text: format!("refused statements (42501) are not counted: {why}") });
                }
                None
            }
        };
        let first = self.count(spec, &mut log).await?;
        Ok(Look { begun: Instant::now(), first, log })
    }

    /// What happened since the look began. Where a counter went back it begins anew, within its time.
    async fn look_again(&self, spec: &WatchSpec, look: &mut Look) -> Result<Option<Seen>, DriveError> {
        let now = self.count(spec, &mut look.log).await?;
        let seen = Seen::between(&spec.tables, &look.first, &now);
        if seen.is_none() {
            let text = "the server's counters were set back; what is compared begins anew".to_owned();
            self.say(Notice::Note { text });
            look.first = now.clone();
            if look.begun.elapsed() >= Duration::from_millis(spec.length_ms) {
                return Ok(Seen::between(&spec.tables, &now, &now));
            }
        }
        Ok(seen)
    }

    async fn count(&self, spec: &WatchSpec, log: &mut Option<RefusalLog>) -> Result<Counts, DriveError> {
        // A copy, so that a look that is tried again counts no line twice.
        let (counted, read) = self
            .patiently(async |client: &Client| {
                let mut copy = log.clone();
                let counted = counts(client, &spec.tables, copy.as_mut()).await?;
                Ok((counted, copy))
            })
            .await?;
        *log = read;
        Ok(counted)
    }

    async fn answers_true(&self, unit: &Unit, query: &sql::Stmt) -> Result<(), DriveError> {
        let title = unit.title.clone();
        self.patiently(async |client: &Client| Ok(super::perform::is_true(client, &title, query).await?)).await
    }
}
