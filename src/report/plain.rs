//! Lines with the time, for a log, a pipe or a job's output.

use std::io::Write;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use super::{
    Look, Reporter,
    look::Mark,
    outlet::Outlet,
    quantity,
    story::Story,
    words::{self, Stay, Words},
};
use crate::engine::{Event, Notice};

/// The least distance between two lines of progress, or two about waiting.
const PROGRESS_S: i64 = 10;

/// The longest silence while something is under way; some CI services end a job that says nothing for minutes.
const SILENCE_S: i64 = 60;

/// What takes no longer than this has one line, at its end; what takes longer has one at its beginning as well.
const BEGIN_MS: i64 = 1_000;

/// A wait of a backfill that lasts is an event within this, with the same reason: one of the two lines is enough.
const HELD_MS: i64 = 2_000;

/// One line an event, and each detail on a line of its own; every line begins with the time in UTC, so that `sort` and
/// `grep` do no harm.
#[derive(Debug)]
pub struct Plain {
    out: Outlet,
    look: Look,
    story: Story,
    /// The beginning of what is under way, as long as it is not worth a line.
    begun: Option<(DateTime<Utc>, Words)>,
    /// The first word about a wait, until the event that says the same had its time to come.
    held: Option<(DateTime<Utc>, Words)>,
    /// When a line was last written, and when one about progress and one about waiting.
    last: DateTime<Utc>,
    progress: DateTime<Utc>,
    waiting: DateTime<Utc>,
}

impl Plain {
    /// Writes to `out`, usually standard error.
    pub fn new(out: Box<dyn Write + Send>, look: Look) -> Self {
        let never = DateTime::<Utc>::MIN_UTC;
        let out = Outlet::new("plain lines", out);
        Self {
            out,
            look,
            story: Story::default(),
            begun: None,
            held: None,
            last: never,
            progress: never,
            waiting: never,
        }
    }

    /// Whether the words are due, given when the like of them was last said.
    fn is_due(&mut self, at: DateTime<Utc>, stay: Stay) -> bool {
        let last = match stay {
            Stay::Lasting | Stay::LockWait => return true,
            Stay::Begun => {
                // The first line of progress is due a while after the beginning.
                (self.progress, self.waiting) = (at, DateTime::<Utc>::MIN_UTC);
                return true;
            }
            Stay::Progress => &mut self.progress,
            Stay::Waiting => &mut self.waiting,
        };
        let due = at.signed_duration_since(*last) >= TimeDelta::seconds(PROGRESS_S);
        if due {
            *last = at;
        }
        due
    }

    /// Writes the beginning of what is under way, if that has not been done.
    fn write_begun(&mut self) {
        if let Some((at, words)) = self.begun.take() {
            self.write(at, &words);
        }
    }

    /// The same, once it has been under way long enough.
    fn write_long_begun(&mut self, at: DateTime<Utc>) {
        let long = TimeDelta::milliseconds(BEGIN_MS);
        if self.begun.as_ref().is_some_and(|(begun, _)| at.signed_duration_since(*begun) >= long) {
            self.write_begun();
        }
    }

    /// Writes the first word about a wait.
    fn write_held(&mut self) {
        if let Some((at, words)) = self.held.take() {
            self.write_begun();
            self.write(at, &words);
        }
    }

    /// The same, once no event took its place.
    fn write_long_held(&mut self, at: DateTime<Utc>) {
        let long = TimeDelta::milliseconds(HELD_MS);
        if self.held.as_ref().is_some_and(|(held, _)| at.signed_duration_since(*held) >= long) {
            self.write_held();
        }
    }

    fn write(&mut self, at: DateTime<Utc>, words: &Words) {
        let time = at.to_rfc3339_opts(SecondsFormat::Secs, true);
        let mut lines = format!("{time} {} {}\n", self.look.mark(words.mark), words.text);
        for (label, text) in &words.details {
            lines.push_str(&format!("{time}     {label:<10} {text}\n"));
        }
        self.out.write(&lines);
        self.last = at;
    }
}

impl Reporter for Plain {
    fn tell(&mut self, at: DateTime<Utc>, notice: &Notice) {
        self.story.hear(at, notice);
        self.write_long_begun(at);
        if matches!(notice, Notice::Event(Event::Throttled { .. })) {
            // It says what is waited for; the next line that does is due a while later.
            self.waiting = at;
            self.held = None;
        }
        self.write_long_held(at);
        let Some(words) = words::words(&self.story, at, notice).filter(|words| self.is_due(at, words.stay)) else {
            return;
        };
        if words.stay == Stay::Waiting && !self.story.wait.as_ref().is_some_and(|wait| wait.throttled) {
            self.held = Some((at, words));
            return;
        }
        self.write_held();
        match (words.stay, words.mark) {
            (Stay::Begun, _) => {
                self.write_begun();
                self.begun = Some((at, words));
                return;
            }
            // The line of the end names what ended.
            (Stay::Lasting, Mark::Done | Mark::Failed) => self.begun = None,
            (Stay::Lasting | Stay::LockWait | Stay::Progress | Stay::Waiting, _) => self.write_begun(),
        }
        self.write(at, &words);
    }

    fn idle(&mut self, at: DateTime<Utc>) {
        self.write_long_begun(at);
        self.write_long_held(at);
        if at.signed_duration_since(self.last) < TimeDelta::seconds(SILENCE_S) {
            return;
        }
        if let Some(task) = self.story.current() {
            let text = format!("still at it: {} ({})", words::title(task), quantity::millis(task.took_ms(at)));
            let words = Words { stay: Stay::Progress, mark: Mark::Blank, text, details: Vec::new() };
            self.write(at, &words);
        }
    }

    fn finish(&mut self) {
        self.write_begun();
        self.write_held();
    }

    fn broken(&self) -> Option<String> {
        self.out.broken()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{
        outlet::sink::Sink,
        script::{self, at},
    };

    fn told(script: Vec<(DateTime<Utc>, Notice)>, look: Look) -> String {
        let sink = Sink::new();
        let mut plain = Plain::new(Box::new(sink.clone()), look);
        for (at, notice) in &script {
            plain.tell(*at, notice);
        }
        plain.finish();
        sink.text()
    }

    #[test]
    fn a_backfill_has_a_line_every_ten_seconds() {
        insta::assert_snapshot!(told(script::backfill(), Look { color: false, unicode: true }), @r"
        2026-03-01T03:00:00Z → plan alphapulse begins: 4 units, run 0195
        2026-03-01T03:00:00Z → phase 1 of 2: schema
        2026-03-01T03:00:00Z ✓ add column tenant_id to app.users (found in place, left as it is)
        2026-03-01T03:00:00Z   add column tenant_id to app.trades
        2026-03-01T03:00:02Z … no lock at attempt 2 of 20, again in 1.5 s
        2026-03-01T03:00:02Z     why        add column tenant_id to app.trades: canceling statement due to lock timeout
        2026-03-01T03:00:02Z     blocked by pid 4711, app_rw/psql, 4 min 10 s, idle in transaction: UPDATE app.trades SET note = ' [2J' WHERE id = 17 AND tenant_id = '0190' AND...
        2026-03-01T03:00:05Z ✓ add column tenant_id to app.trades (5.3 s)
        2026-03-01T03:00:06Z   fill app.trades.tenant_id from app.users
        2026-03-01T03:00:16Z   fill app.trades.tenant_id from app.users: 10.0 %, 200,000 of about 2,000,000 rows, 20,000 rows/s, about 1 min 30 s left
        2026-03-01T03:00:26Z   fill app.trades.tenant_id from app.users: 20.0 %, 400,000 of about 2,000,000 rows, 20,000 rows/s, about 1 min 20 s left
        ");
    }

    #[test]
    fn a_throttled_backfill_says_why_it_waits_and_who_changed_its_pace() {
        let text = told([script::backfill(), script::throttled()].concat(), Look::ascii());
        let rest = text.split_inclusive('\n').skip_while(|line| !line.contains("waits")).collect::<String>();
        insta::assert_snapshot!(rest, @r"
        2026-03-01T03:00:31Z ~ waits for replica lag: replica app_replica is 12.3 s behind (limit 10 s)
        2026-03-01T03:00:41Z ~ waiting: replica app_replica is 11.8 s behind (limit 10 s), looking again in 2.0 s
        2026-03-01T03:00:51Z ~ waiting: replica app_replica is 11.3 s behind (limit 10 s), looking again in 2.0 s
        2026-03-01T03:00:55Z > goes on after a wait of 24 s
        2026-03-01T03:00:55Z   fill app.trades.tenant_id from app.users: 25.2 %, 505,000 of about 2,000,000 rows, 4,000 rows/s, about 6 min 14 s left
        2026-03-01T03:00:56Z > dba on host2 changed the pace: target batch 20ms, 3 workers, replica lag up to 64.0 MiB
        2026-03-01T03:00:58Z ~ dba on host2 holds the backfills: the nightly report runs
        2026-03-01T03:00:59Z ~ waits: an operator holds the backfills: the nightly report runs
        ");
    }

    #[test]
    fn a_failure_says_what_where_why_and_what_is_undone() {
        let all = [script::backfill(), script::rollback()].concat();
        let text = told(all, Look::ascii());
        assert!(text.is_ascii(), "{text}");
        let rest = text.split_inclusive('\n').skip_while(|line| !line.contains("replica")).collect::<String>();
        insta::assert_snapshot!(rest, @r#"
        2026-03-01T03:00:40Z ~ waiting: a replica is 12 s behind, looking again in 2.0 s
        2026-03-01T03:04:16Z + fill app.trades.tenant_id from app.users (4 min 10 s, 1,999,996 rows)
        2026-03-01T03:04:16Z   gate: no NULL is left in app.trades.tenant_id
        2026-03-01T03:04:17Z + gate passed: no NULL is left in app.trades.tenant_id (1.0 s)
        2026-03-01T03:04:17Z > phase 2 of 2: indexes
        2026-03-01T03:04:17Z   create unique index trades_ref on app.trades
        2026-03-01T03:04:17Z   create unique index trades_ref on app.trades: there in part or in another form, and made anew
        2026-03-01T03:04:30Z x create unique index trades_ref on app.trades failed after 13 s
        2026-03-01T03:04:30Z     where      phase indexes (2 of 2), step trades
        2026-03-01T03:04:30Z     why        could not create unique index "trades_ref": Key (ref)=(A-1) is duplicated. (SQLSTATE 23505)
        2026-03-01T03:04:30Z     statement  CREATE UNIQUE INDEX CONCURRENTLY trades_ref ON app.trades (tenant_id, ref)
        2026-03-01T03:04:30Z     advice     remove the duplicates, then apply again
        2026-03-01T03:04:30Z + undone: create unique index trades_ref on app.trades (45 ms)
        2026-03-01T03:04:30Z x rolled back to the end of phase schema: 1 unit undone in 4 min 30 s
        2026-03-01T03:04:30Z     because    create unique index trades_ref on app.trades: could not create unique index "trades_ref": Key (ref)=(A-1) is duplicated. (SQLSTATE 23505)
        2026-03-01T03:04:30Z     advice     remove the duplicates, then apply again
        2026-03-01T03:05:00Z > goes on
        2026-03-01T03:05:00Z   gate: no NULL is left in app.trades.tenant_id
        2026-03-01T03:05:01Z x gate failed: no NULL is left in app.trades.tenant_id (1.0 s)
        2026-03-01T03:05:01Z     where      phase indexes (2 of 2)
        2026-03-01T03:05:01Z     found      rows of app.trades without a tenant: 3, for example id 17
        2026-03-01T03:05:01Z > rollback requested: everything is to be undone
        2026-03-01T03:05:01Z x schema/trades/column could not be undone
        2026-03-01T03:05:01Z     where      phase schema, step trades
        2026-03-01T03:05:01Z     why        could not create unique index "trades_ref": Key (ref)=(A-1) is duplicated. (SQLSTATE 23505)
        2026-03-01T03:05:01Z     statement  CREATE UNIQUE INDEX CONCURRENTLY trades_ref ON app.trades (tenant_id, ref)
        2026-03-01T03:05:01Z     advice     remove the duplicates, then apply again
        2026-03-01T03:05:02Z x stuck: schema/trades/column could not be undone; 0 units undone before it
        2026-03-01T03:05:02Z     because    schema/trades/column: could not create unique index "trades_ref": Key (ref)=(A-1) is duplicated. (SQLSTATE 23505)
        2026-03-01T03:05:02Z     advice     remove the duplicates, then apply again
        2026-03-01T03:05:03Z   note: the lease was lost and taken again
        2026-03-01T03:05:03Z ~ paused: SIGTERM
        2026-03-01T03:05:03Z x paused: SIGTERM; 0 units done in 2.0 s, what is done stays
        2026-03-01T03:05:03Z     because    schema/trades/column: could not create unique index "trades_ref": Key (ref)=(A-1) is duplicated. (SQLSTATE 23505)
        2026-03-01T03:05:03Z     advice     remove the duplicates, then apply again
        2026-03-01T03:05:03Z + completed: every unit was done before
        "#);
    }

    #[test]
    fn colours_are_written_only_when_asked_for() {
        let colored = told(script::rollback(), Look { color: true, unicode: true });
        assert!(colored.contains("\u{1b}[31m✗\u{1b}[0m"), "{colored}");
        assert!(!told(script::rollback(), Look { color: false, unicode: true }).contains('\u{1b}'));
    }

    #[test]
    fn a_long_statement_shows_a_sign_of_life_every_minute() {
        let sink = Sink::new();
        let mut plain = Plain::new(Box::new(sink.clone()), Look::ascii());
        plain.idle(at(0));
        for (at, notice) in script::rollback().iter().skip(5).take(3) {
            plain.tell(*at, notice);
        }
        let before = sink.text();
        for second in 258..=400 {
            plain.idle(at(second * 1_000));
        }
        insta::assert_snapshot!(sink.text().replace(&before, ""), @r"
        2026-03-01T03:05:17Z   still at it: create unique index trades_ref on app.trades (1 min)
        2026-03-01T03:06:17Z   still at it: create unique index trades_ref on app.trades (2 min)
        ");
    }
}
