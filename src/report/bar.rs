//! Progress on a terminal: what is finished goes up the screen, what is under way stays at its foot.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use console::Term;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::{
    Look, Reporter,
    live::live,
    look::{Mark, Tone},
    story::Story,
    words::{self, Stay, Words},
    wrap::wrap,
};
use crate::engine::Notice;

/// How often the foot is drawn while nothing is told, in milliseconds.
const DRAW_MS: u64 = 200;

/// From this width on, in columns, the labels of details stand in a column of their own.
const LABELS_APART_COLUMNS: usize = 60;

type Width = Arc<dyn Fn() -> usize + Send + Sync>;
type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// Draws on a terminal. Off a terminal nothing would be seen: use [`super::Plain`] there.
pub struct Bar {
    foot: ProgressBar,
    story: Arc<Mutex<Story>>,
    look: Look,
    width: Width,
}

impl Bar {
    /// On standard error; `None` when that is no terminal, or one that cannot move its cursor.
    pub fn on_stderr(look: Look) -> Option<Self> {
        let term = Term::stderr();
        let dumb = std::env::var_os("TERM").is_some_and(|name| name == "dumb");
        if !term.is_term() || dumb {
            return None;
        }
        let sized = term.clone();
        let width: Width = Arc::new(move || usize::from(sized.size().1));
        let target = ProgressDrawTarget::term(term, 20);
        let bar = Self::new(target, width, Arc::new(Utc::now), look);
        bar.foot.enable_steady_tick(Duration::from_millis(DRAW_MS));
        Some(bar)
    }

    fn new(target: ProgressDrawTarget, width: Width, clock: Clock, look: Look) -> Self {
        let story = Arc::new(Mutex::new(Story::default()));
        let (its, columns) = (Arc::clone(&story), Arc::clone(&width));
        let draw = move |_: &ProgressState, out: &mut dyn fmt::Write| {
            let story = its.lock().unwrap_or_else(PoisonError::into_inner);
            let lines = live(&story, clock(), columns(), look);
            let _ = out.write_str(&lines.join("\n")); // into a String: cannot fail
        };
        let style = ProgressStyle::default_spinner().template("{foot}");
        // The template is constant; were it ever wrong, the plain spinner still shows that the program lives.
        let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner()).with_key("foot", draw);
        let foot = ProgressBar::with_draw_target(None, target).with_style(style);
        Self { foot, story, look, width }
    }

    fn print(&self, words: &Words) {
        let width = (self.width)();
        let tone = match words.mark {
            Mark::Failed => Some(Tone::Bad),
            Mark::Wait => Some(Tone::Caution),
            Mark::Begin => Some(Tone::Strong),
            Mark::Done | Mark::Blank => None,
        };
        let mut lines = Vec::new();
        for (n, line) in wrap("  ", &words.text, 2, width).into_iter().enumerate() {
            let text = line.get(2..).unwrap_or_default();
            let text = tone.map_or_else(|| text.to_owned(), |tone| self.look.paint(tone, text));
            let mark = if n == 0 { self.look.mark(words.mark) } else { " ".to_owned() };
            lines.push(format!("{mark} {text}"));
        }
        for (label, text) in &words.details {
            if width >= LABELS_APART_COLUMNS {
                lines.extend(wrap(&format!("    {label:<10} "), text, 15, width));
            } else {
                lines.extend(wrap(&format!("  {label}: "), text, 4, width));
            }
        }
        self.foot.println(lines.join("\n"));
    }
}

impl Reporter for Bar {
    fn tell(&mut self, at: DateTime<Utc>, notice: &Notice) {
        // The lock is given back before anything is drawn: drawing takes it too.
        let words = {
            let mut story = self.story.lock().unwrap_or_else(PoisonError::into_inner);
            story.hear(at, notice);
            words::words(&story, at, notice)
        };
        match words.filter(|words| words.stay == Stay::Lasting) {
            Some(words) => self.print(&words),
            None => self.foot.tick(),
        }
    }

    fn finish(&mut self) {
        self.foot.finish_and_clear();
    }
}

impl fmt::Debug for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bar").field("look", &self.look).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use console::measure_text_width;
    use indicatif::{InMemoryTerm, TermLike};

    use super::*;
    use crate::report::script::{self, at, blocker, lock_wait};

    /// A terminal of so many columns after the script, drawn at its last notice and so many milliseconds.
    fn screen(columns: u16, script: Vec<(DateTime<Utc>, Notice)>, later_ms: i64, look: Look) -> (InMemoryTerm, Bar) {
        let term = InMemoryTerm::new(40, columns);
        let now = Arc::new(Mutex::new(at(0)));
        let (sized, clock) = (term.clone(), Arc::clone(&now));
        let set = |to| *now.lock().unwrap_or_else(PoisonError::into_inner) = to;
        let mut bar = Bar::new(
            ProgressDrawTarget::term_like(Box::new(term.clone())),
            Arc::new(move || usize::from(sized.width())),
            Arc::new(move || *clock.lock().unwrap_or_else(PoisonError::into_inner)),
            look,
        );
        let last = script.last().map_or(at(0), |(at, _)| *at);
        for (at, notice) in script {
            set(at);
            bar.tell(at, &notice);
        }
        set(last + chrono::TimeDelta::milliseconds(later_ms));
        bar.foot.force_draw();
        (term, bar)
    }

    const UNICODE: Look = Look { color: false, unicode: true };

    #[test]
    fn a_backfill_at_100_columns() {
        insta::assert_snapshot!(screen(100, script::backfill(), 0, UNICODE).0.contents(), @r"
        → plan alphapulse begins: 4 units, run 0195
        → phase 1 of 2: schema
        ✓ add column tenant_id to app.users (found in place, left as it is)
        ✓ add column tenant_id to app.trades (5.3 s)
        ⠇ phase 1 of 2, schema: fill app.trades.tenant_id from app.users  25 s
          [█████░░░░░░░░░░░░░░░░░░] 25.0 %  500,000 of about 2,000,000 rows  20,000 rows/s  1 min 15 s left
        ");
    }

    #[test]
    fn a_backfill_at_80_columns() {
        insta::assert_snapshot!(screen(80, script::backfill(), 0, UNICODE).0.contents(), @r"
        → plan alphapulse begins: 4 units, run 0195
        → phase 1 of 2: schema
        ✓ add column tenant_id to app.users (found in place, left as it is)
        ✓ add column tenant_id to app.trades (5.3 s)
        ⠇ phase 1 of 2, schema: fill app.trades.tenant_id from app.users  25 s
          [█████░░░░░░░░░░░░░░░░░] 25.0 %  500,000 rows  20,000 rows/s  1 min 15 s left
        ");
    }

    #[test]
    fn a_backfill_at_40_columns_in_ascii() {
        insta::assert_snapshot!(screen(40, script::backfill(), 0, Look::ascii()).0.contents(), @r"
        > plan alphapulse begins: 4 units, run
          0195
        > phase 1 of 2: schema
        + add column tenant_id to app.users
          (found in place, left as it is)
        + add column tenant_id to app.trades
          (5.3 s)
        \ 1/2 fill app.trades.tenant_i...  25 s
          25.0 %  500,000 rows  1 min 15 s left
        ");
    }

    #[test]
    fn a_lock_wait_names_who_is_in_the_way() {
        let wait = |columns, later_ms, look| {
            let mut script: Vec<_> = script::backfill().into_iter().take(7).collect();
            script.push((at(2_020), lock_wait(vec![blocker(4711), blocker(4712), blocker(4713)])));
            screen(columns, script, later_ms, look).0.contents()
        };
        insta::assert_snapshot!(wait(100, 0, UNICODE), @r"
        → plan alphapulse begins: 4 units, run 0195
        → phase 1 of 2: schema
        ✓ add column tenant_id to app.users (found in place, left as it is)
        ⠦ phase 1 of 2, schema: add column tenant_id to app.trades  2 s
          no lock at attempt 2 of 20, again in 2 s
          by pid 4711, app_rw/psql, 4 min 10 s, idle in transaction: UPDATE app.trades SET note = ' [2J' W…
          by pid 4712, app_rw/psql, 4 min 10 s, idle in transaction: UPDATE app.trades SET note = ' [2J' W…
          by 1 more session
        ");
        insta::assert_snapshot!(wait(40, 2_000, Look::ascii()), @r"
        > plan alphapulse begins: 4 units, run
          0195
        > phase 1 of 2: schema
        + add column tenant_id to app.users
          (found in place, left as it is)
        | 1/2 add column tenant_id to a...  4 s
          trying again, attempt 3 of 20
          by pid 4711, app_rw/psql, 4 min 10...
          by pid 4712, app_rw/psql, 4 min 10...
          by 1 more session
        ");
    }

    #[test]
    fn a_throttled_backfill_shows_at_its_foot_what_it_waits_for() {
        let waits = |columns, notices, later_ms, look| {
            let all: Vec<_> = script::backfill().into_iter().skip(9).collect();
            let told = [all, script::throttled().into_iter().take(notices).collect()].concat();
            screen(columns, told, later_ms, look).0.contents()
        };
        insta::assert_snapshot!(waits(100, 1, 500, UNICODE), @r"
        … waits for replica lag: replica app_replica is 12.3 s behind (limit 10 s)
        ⠙ fill app.trades.tenant_id from app.users  25 s
          [██████████░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░] 25.0 %  500,000 of about 2,000,000 rows
          waiting: replica app_replica is 12.3 s behind (limit 10 s)
        ");
        insta::assert_snapshot!(waits(100, 9, 0, UNICODE), @r"
        … waits for replica lag: replica app_replica is 12.3 s behind (limit 10 s)
        ⠙ fill app.trades.tenant_id from app.users  41 s
          [██████████░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░] 25.0 %  500,000 of about 2,000,000 rows
          waiting: replica app_replica is 11.5 s behind (limit 10 s), looking again in 2 s
        ");
        insta::assert_snapshot!(waits(80, 99, 0, UNICODE), @r"
        … waits for replica lag: replica app_replica is 12.3 s behind (limit 10 s)
        → goes on after a wait of 24 s
        → dba on host2 changed the pace: target batch 20ms, 3 workers, replica lag up to
          64.0 MiB
        … dba on host2 holds the backfills: the nightly report runs
        … waits: an operator holds the backfills: the nightly report runs
        ⠴ fill app.trades.tenant_id from app.users  53 s
          [████████░░░░░░░░░░░░░░░░░░░░░░░░░░░] 25.5 %  510,000 of about 2,000,000 rows
          waiting: an operator holds the backfills: the nightly report runs, looking a…
        ");
        insta::assert_snapshot!(waits(40, 99, 0, Look::ascii()), @r"
        ~ waits for replica lag: replica
          app_replica is 12.3 s behind (limit 10
          s)
        > goes on after a wait of 24 s
        > dba on host2 changed the pace: target
          batch 20ms, 3 workers, replica lag up
          to 64.0 MiB
        ~ dba on host2 holds the backfills: the
          nightly report runs
        ~ waits: an operator holds the
          backfills: the nightly report runs
        / fill app.trades.tenant_id fr...  53 s
          [###-----------] 25.5 %  510,000 rows
          waiting: an operator holds the bac...
        ");
    }

    #[test]
    fn a_failure_goes_up_the_screen_and_nothing_stays_at_its_foot() {
        let (term, mut bar) = screen(60, script::rollback().into_iter().skip(2).take(11).collect(), 0, UNICODE);
        bar.finish();
        insta::assert_snapshot!(term.contents(), @r#"
        ✓ schema/fill/fill (0 ms, 1,999,996 rows)
        ✓ gate passed: no NULL is left in app.trades.tenant_id (1.0
          s)
        → phase 2 of 2: indexes
          create unique index trades_ref on app.trades: there in
          part or in another form, and made anew
        ✗ create unique index trades_ref on app.trades failed after
          13 s
            where      phase indexes (2 of 2), step trades
            why        could not create unique index "trades_ref":
                       Key (ref)=(A-1) is duplicated. (SQLSTATE
                       23505)
            statement  CREATE UNIQUE INDEX CONCURRENTLY trades_ref
                       ON app.trades (tenant_id, ref)
            advice     remove the duplicates, then apply again
        ✓ undone: create unique index trades_ref on app.trades (45
          ms)
        ✗ rolled back to the end of the first phase: 1 unit undone
          in 14 s
            because    create unique index trades_ref on app.trades:
                       could not create unique index "trades_ref":
                       Key (ref)=(A-1) is duplicated. (SQLSTATE
                       23505)
            advice     remove the duplicates, then apply again
        "#);
    }

    #[test]
    fn no_line_is_wider_than_its_terminal_and_no_foot_is_drawn_twice() {
        for columns in [1, 10, 23, 40, 41, 59, 60, 80, 100, 237] {
            for look in [Look::ascii(), UNICODE, Look { color: true, unicode: true }] {
                let mut story = Story::default();
                for (at, notice) in [script::backfill(), script::throttled(), script::rollback()].concat() {
                    story.hear(at, &notice);
                    for line in live(&story, at, columns, look) {
                        let width = measure_text_width(&line);
                        assert!(width < columns.max(10), "{width} of {columns} columns: {line}");
                    }
                }
            }
        }
        for columns in [40, 80, 100] {
            let text = screen(columns, script::backfill(), 0, UNICODE).0.contents();
            assert_eq!(text.matches("500,000").count(), 1, "{text}");
            assert_eq!(text.matches("fill").count(), 1, "{text}");
        }
    }
}
