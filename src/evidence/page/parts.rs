//! The small parts that every section is made of.

use chrono::{DateTime, SecondsFormat, Utc};
use maud::{Markup, html};

use crate::evidence::model::{Section, Tone};

/// The class of a tone.
pub(super) fn class(tone: Tone) -> &'static str {
    match tone {
        Tone::Plain => "plain",
        Tone::Good => "good",
        Tone::Caution => "caution",
        Tone::Bad => "bad",
    }
}

/// A tone that is readable without its colour.
pub(super) fn sign(tone: Tone) -> &'static str {
    match tone {
        Tone::Plain => "–",
        Tone::Good => "✓",
        Tone::Caution => "!",
        Tone::Bad => "✕",
    }
}

/// A word on its colour.
pub(super) fn badge(tone: Tone, text: &str) -> Markup {
    html! { span class={ "badge " (class(tone)) } { span aria-hidden="true" { (sign(tone)) " " } (text) } }
}

/// `2026-11-21 18:04:05.123`, in UTC.
pub(super) fn when(at: DateTime<Utc>) -> Markup {
    html! {
        time datetime=(at.to_rfc3339_opts(SecondsFormat::Micros, true)) { (at.format("%Y-%m-%d %H:%M:%S%.3f")) }
    }
}

/// A wide thing in a box of its own, so that the page itself is never wider than the screen. It can be scrolled by the keyboard.
pub(super) fn scroll(label: &str, inner: &Markup) -> Markup {
    html! { div class="scroll" role="region" tabindex="0" aria-label=(label) { (inner) } }
}

/// A table with its caption; each heading says whether its column has numbers.
pub(super) fn table(caption: &str, headings: &[(&str, bool)], rows: &[Markup]) -> Markup {
    scroll(
        caption,
        &html! {
            table class="wide" {
                caption { (caption) }
                thead { tr { @for (heading, number) in headings { th scope="col" class=[number.then_some("num")] { (heading) } } } }
                tbody { @for row in rows { (row) } }
            }
        },
    )
}

/// The section's body, or why there is none.
pub(super) fn or_why<T>(section: &Section<T>, body: impl FnOnce(&T) -> Markup) -> Markup {
    match section {
        Section::Given(what) => body(what),
        Section::Missing(why) => html! { p { (badge(Tone::Plain, "not measured")) " " (why) } },
    }
}

/// A section with its heading.
pub(super) fn section(id: &str, heading: &str, body: &Markup) -> Markup {
    html! { section id=(id) aria-labelledby={ (id) "-h" } { h2 id={ (id) "-h" } { (heading) } (body) } }
}
