//! Whether an operator's pause is in force, and whose it is.

use super::{Event, event::Asker};

/// The operator's pause behind which nothing happened but words about the pace, or a repair. One that a limit or a failure caused is none.
pub fn operators_pause<'a>(events: impl DoubleEndedIterator<Item = &'a Event>) -> Option<(&'a str, &'a Asker)> {
    match events.rev().find(|event| !matches!(event, Event::Retuned { .. } | Event::Repaired { .. })) {
        Some(Event::Paused { why, asked: Some(asked) }) => Some((why, asked)),
        Some(_) | None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Tuning;

    #[test]
    fn only_an_operators_pause_that_nothing_followed_is_in_force() {
        let asker = Asker { by: "dba".to_owned(), host: "host2".to_owned(), at: "2026-03-01T03:00:55Z".to_owned() };
        let pause = |asked: Option<&Asker>| Event::Paused { why: "lunch".to_owned(), asked: asked.cloned() };
        let retuned = Event::Retuned {
            by: "dba".to_owned(),
            host: "host2".to_owned(),
            asked_at: asker.at.clone(),
            tuning: Tuning::default(),
        };
        let check = |events: &[Event], found: bool| {
            let expect = found.then_some(("lunch", &asker));
            assert_eq!(operators_pause(events.iter()), expect, "{events:?}");
        };
        check(&[], false);
        check(&[pause(None)], false);
        check(&[pause(Some(&asker))], true);
        check(&[pause(Some(&asker)), retuned.clone()], true);
        check(&[retuned.clone(), pause(Some(&asker)), Event::Resumed], false);
        check(&[pause(Some(&asker)), Event::Resumed, pause(None)], false);
    }
}
