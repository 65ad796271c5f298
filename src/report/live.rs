//! The lines at the foot of a terminal that are drawn again and again: what is done now, how far it is, what it waits for.
//!
//! Every line is laid out for the width at hand, since a line that the terminal wraps cannot be drawn over.

use std::time::Duration;

use chrono::{DateTime, Utc};
use console::{measure_text_width, truncate_str};

use super::{
    Look,
    look::Tone,
    quantity,
    speed::Speed,
    story::{Story, Wait, Walk},
    words,
};

/// Sessions in the way that are named; the width decides how much of each is seen.
const BLOCKERS_SHOWN_MAX: usize = 2;

/// The narrowest and the widest bar, in columns between the brackets.
const BAR_COLUMNS: (usize, usize) = (8, 40);

/// Where a title would get fewer columns, the time it has taken is left out.
const TITLE_COLUMNS_MIN: usize = 12;

/// The narrowest width that is laid out, in columns.
const WIDTH_MIN: usize = 10;

/// How long each picture of the spinner stays, in milliseconds.
const SPIN_MS: i64 = 200;

/// The lines for a terminal of `width` columns. There is always one, also before the run opens and after it closes: what
/// is cleared at last is then a line of its own, and the next output begins at its first column.
pub(super) fn live(story: &Story, now: DateTime<Utc>, width: usize, look: Look) -> Vec<String> {
    // One column stays free: some terminals wrap as soon as the last one is written.
    let width = width.max(WIDTH_MIN) - 1;
    let mut lines = vec![head(story, now, width, look)];
    if let Some(walk) = story.current().and_then(|task| task.walk.as_ref()) {
        let still = story.wait.as_ref().is_some_and(|wait| wait.throttled);
        lines.push(walked(walk, still, width, look));
    }
    if let Some(wait) = &story.wait {
        lines.push(look.paint(Tone::Caution, &fit(&format!("  {}", waiting(wait, now)), width, look)));
        for (_, blocker) in words::blocked_by(&wait.blockers, BLOCKERS_SHOWN_MAX) {
            lines.push(look.paint(Tone::Faint, &fit(&format!("  by {blocker}"), width, look)));
        }
    }
    lines
}

/// The spinner, the phase, the title and the time it has taken.
fn head(story: &Story, now: DateTime<Utc>, width: usize, look: Look) -> String {
    let spinner = spinner(now, look);
    let Some(task) = story.current() else {
        let text = match &story.phase {
            _ if story.closed => "ending".to_owned(),
            Some(phase) => format!("phase {} of {}: {}", phase.number, phase.of, phase.id),
            None => "starting".to_owned(),
        };
        return fit(&format!("{spinner} {text}"), width, look);
    };
    let took = quantity::seconds(task.took_ms(now));
    let title = words::title(task);
    let room = width.saturating_sub(measure_text_width(&took) + 2);
    let (took, room) = if room < TITLE_COLUMNS_MIN { (String::new(), width) } else { (took, room) };
    let (long, short) = match &story.phase {
        Some(p) => (
            format!("{spinner} phase {} of {}, {}: {title}", p.number, p.of, p.id),
            format!("{spinner} {}/{} {title}", p.number, p.of),
        ),
        None => (format!("{spinner} {title}"), format!("{spinner} {title}")),
    };
    let text = if measure_text_width(&long) <= room { long } else { fit(&short, room, look) };
    if took.is_empty() { text } else { format!("{text}  {}", look.paint(Tone::Faint, &took)) }
}

/// The bar, the share, the rows, the rate and the time left; the narrower, the fewer of them. While it stands still there is
/// no rate, and how long that lasts nobody knows.
fn walked(walk: &Walk, still: bool, width: usize, look: Look) -> String {
    let percent = quantity::percent(walk.percent);
    let speed = (!still).then_some(&walk.speed);
    let rate = speed.and_then(Speed::rows_per_second).map(quantity::rows_per_second);
    let left = speed.and_then(Speed::remaining).map(|left| format!("{} left", quantity::seconds(whole_ms(left))));
    let (rows, short_rows) = (words::rows_of(walk), quantity::rows(walk.rows_done));
    // What is said, and whether the bar is to stand beside it: a shorter text is preferred to no bar, and rows to a bar.
    let choices = [
        (vec![Some(percent.clone()), Some(rows), rate.clone(), left.clone()], true),
        (vec![Some(percent.clone()), Some(short_rows.clone()), rate.clone(), left.clone()], true),
        (vec![Some(percent.clone()), Some(short_rows.clone()), rate, left.clone()], false),
        (vec![Some(percent.clone()), Some(short_rows), left.clone()], false),
        (vec![Some(percent.clone()), left], false),
    ];
    let (bar_min, bar_max) = BAR_COLUMNS;
    let edges = "  [] ".len();
    let lines =
        choices.into_iter().map(|(parts, bar)| (parts.into_iter().flatten().collect::<Vec<_>>().join("  "), bar));
    let mut fitting = lines.filter(|(text, bar)| {
        let beside = if *bar { edges + bar_min } else { 2 };
        measure_text_width(text) + beside <= width
    });
    let text = fitting.next().map_or(percent, |(text, _)| text);
    let room = width.saturating_sub(measure_text_width(&text) + edges);
    if room < bar_min {
        return fit(&format!("  {text}"), width, look);
    }
    format!("  [{}] {text}", bar(walk.percent, room.min(bar_max), look))
}

fn whole_ms(of: Duration) -> i64 {
    i64::try_from(of.as_millis()).unwrap_or(i64::MAX)
}

fn bar(percent: f64, columns: usize, look: Look) -> String {
    let share = if percent.is_finite() { percent.clamp(0.0, 100.0) / 100.0 } else { 0.0 };
    let full = (share * columns as f64).floor() as usize;
    let (done, rest) = if look.unicode { ("█", "░") } else { ("#", "-") };
    format!("{}{}", look.paint(Tone::Good, &done.repeat(full)), look.paint(Tone::Faint, &rest.repeat(columns - full)))
}

fn waiting(wait: &Wait, now: DateTime<Utc>) -> String {
    let ms = (wait.until - now).num_milliseconds();
    let again = quantity::seconds(ms.saturating_add(999));
    match wait.attempt {
        Some((n, of)) if ms > 0 => format!("no lock at attempt {n} of {of}, again in {again}"),
        Some((n, of)) => format!("trying again, attempt {} of {of}", (n + 1).min(of)),
        None if ms > 0 => super::one_line(&format!("waiting: {}, looking again in {again}", wait.why)),
        None => super::one_line(&format!("waiting: {}", wait.why)),
    }
}

fn spinner(now: DateTime<Utc>, look: Look) -> char {
    let pictures: &[char] =
        if look.unicode { &['⠋', '⠙', '⠸', '⠴', '⠦', '⠇'] } else { &['|', '/', '-', '\\'] };
    let turn = (now.timestamp_millis() / SPIN_MS).rem_euclid(pictures.len() as i64);
    usize::try_from(turn).ok().and_then(|turn| pictures.get(turn)).copied().unwrap_or(' ')
}

fn fit(text: &str, width: usize, look: Look) -> String {
    let tail = if width < TITLE_COLUMNS_MIN { "" } else { look.ellipsis() };
    truncate_str(text, width, tail).into_owned()
}
