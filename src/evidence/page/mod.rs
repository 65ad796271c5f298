//! The page: one HTML file that needs nothing else. No script, no font, no image; style and charts stand in it, and its own
//! policy forbids a browser to load anything. It is readable on a telephone and on paper, in light and dark.

mod appendix;
mod axis;
mod batches;
mod changes;
mod gantt;
mod head;
mod measured;
mod parts;
mod plot;
mod steps;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use self::parts::section;
use super::{model::Evidence, secrets::page_without_secrets};

const STYLE: &str = include_str!("style.css");
/// Nothing may be loaded and nothing run, whatever a name or a statement in the ledger holds.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// The sections after the summary: id and heading.
const SECTIONS: [(&str, &str); 9] = [
    ("who", "Who did it"),
    ("course", "Course of the run"),
    ("steps", "Phases and steps"),
    ("gates", "Gates, guards and consents"),
    ("batches", "Backfills, batch by batch"),
    ("isolation", "Isolation"),
    ("catalogue", "Catalogue, before and after"),
    ("now", "Measured for this report"),
    ("plan", "The plan, and how to check this page"),
];

/// The whole page.
pub fn html(evidence: &Evidence) -> String {
    let body = |id: &str| -> Markup {
        match id {
            "who" => head::who(evidence),
            "course" => html! { (gantt::gantt(evidence)) (gantt::log(evidence)) },
            "steps" => steps::steps(evidence),
            "gates" => steps::gates(evidence),
            "batches" => batches::batches(evidence),
            "isolation" => measured::isolation(evidence),
            "catalogue" => changes::catalogue(evidence),
            "now" => measured::now(evidence),
            _ => appendix::appendix(evidence),
        }
    };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { "Evidence: " (evidence.plan.name) " on " (evidence.server.database) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    (head::head(evidence))
                    nav aria-label="Contents" { ul { @for (id, heading) in SECTIONS { li { a href={ "#" (id) } { (heading) } } } } }
                }
                main {
                    (section("summary", "Summary", &head::summary(evidence)))
                    @for (id, heading) in SECTIONS { (section(id, heading, &body(id))) }
                }
                footer {
                    p { "Made by tenantmig " (evidence.made_with) " at " (parts::when(evidence.made_at)) " UTC as role " (evidence.made_by)
                        ", from the ledger in schema " (evidence.server.ledger_schema) " of database " (evidence.server.database) "." }
                }
            }
        }
    };
    harmless(&page_without_secrets(&page.into_string()))
}

/// Characters that would turn the direction of the text around them, or that nobody sees, become visible: a name that holds one
/// must not read as another.
fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let unseen =
            matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
        if unseen || (c.is_control() && c != '\n' && c != '\t') {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_turns_the_text_around_is_shown() {
        assert_eq!(harmless("a\u{202e}b\u{7}\n\tz\u{e4}"), "a\\u{202e}b\\u{7}\n\tzä");
    }

    #[test]
    fn the_style_loads_nothing() {
        for word in ["@import", "url(", "http", "</style"] {
            assert!(!STYLE.contains(word), "{word}");
        }
    }
}
