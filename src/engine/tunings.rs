//! Which operators' words about the pace are in force, and whose they are.

use serde::Serialize;

use super::Event;
use crate::plan::Tuning;

/// What is left in force of one [`Event::Retuned`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InForce {
    pub by: String,
    pub host: String,
    pub asked_at: String,
    pub tuning: Tuning,
}

/// What no later event overrides, oldest first.
pub fn in_force<'a>(events: impl IntoIterator<Item = &'a Event>) -> Vec<InForce> {
    let mut out: Vec<InForce> = Vec::new();
    for event in events {
        if let Event::Retuned { by, host, asked_at, tuning } = event {
            out.iter_mut().for_each(|earlier| earlier.tuning = earlier.tuning.left_by(tuning));
            out.retain(|earlier| !earlier.tuning.is_empty());
            out.push(InForce {
                by: by.clone(),
                host: host.clone(),
                asked_at: asked_at.clone(),
                tuning: tuning.clone(),
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Millis, Pacing};

    #[test]
    fn each_word_is_the_last_ones_and_together_they_are_the_runs_tuning() {
        let asked = |by: &str, tuning: Tuning| Event::Retuned {
            by: by.to_owned(),
            host: "h".to_owned(),
            asked_at: String::new(),
            tuning,
        };
        let (batch, workers) = (Some(Millis(20)), Some(3));
        let events = [
            asked("ann", Tuning { target_batch: batch, workers, ..Tuning::default() }),
            Event::Resumed,
            asked("bob", Tuning { workers: Some(2), hold: Some(Some("x".to_owned())), ..Tuning::default() }),
            asked("ann", Tuning { hold: Some(None), ..Tuning::default() }),
        ];
        let found = in_force(&events);
        let said: Vec<_> = found.iter().map(|f| (f.by.as_str(), f.tuning.to_string())).collect();
        let want = [("ann", "target batch 20ms"), ("bob", "2 workers"), ("ann", "no longer held")];
        assert_eq!(said, want.map(|(by, text)| (by, text.to_owned())));
        let mut merged = Tuning::default();
        found.iter().for_each(|f| merged.merge(&f.tuning));
        let pacing = merged.over(&Pacing::default());
        assert_eq!((pacing.target_batch, pacing.workers, pacing.hold), (Millis(20), Some(2), None));
    }
}
