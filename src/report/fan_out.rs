//! Several reporters as one.

use std::fmt;

use chrono::{DateTime, Utc};

use super::Reporter;
use crate::engine::Notice;

/// Tells every reporter the same. When one goes quiet, the others are told why, once.
#[derive(Default)]
pub struct FanOut {
    reporters: Vec<Member>,
}

struct Member {
    reporter: Box<dyn Reporter>,
    /// Its silence was announced.
    announced: bool,
}

impl FanOut {
    /// The reporters, in the order in which they are told.
    pub fn new(reporters: Vec<Box<dyn Reporter>>) -> Self {
        let reporters = reporters.into_iter().map(|reporter| Member { reporter, announced: false }).collect();
        Self { reporters }
    }

    fn announce_silence(&mut self, at: DateTime<Utc>) {
        // A note may itself find the next closed output; each round silences one more, so this ends.
        while let Some(quiet) = self.reporters.iter().position(|m| !m.announced && m.reporter.broken().is_some()) {
            self.reporters[quiet].announced = true;
            let why = self.reporters[quiet].reporter.broken().unwrap_or_default();
            let note = Notice::Note { text: format!("{why}; the run goes on without it") };
            for member in self.reporters.iter_mut().filter(|m| m.reporter.broken().is_none()) {
                member.reporter.tell(at, &note);
            }
        }
    }
}

impl Reporter for FanOut {
    fn tell(&mut self, at: DateTime<Utc>, notice: &Notice) {
        for member in &mut self.reporters {
            member.reporter.tell(at, notice);
        }
        self.announce_silence(at);
    }

    fn idle(&mut self, at: DateTime<Utc>) {
        for member in &mut self.reporters {
            member.reporter.idle(at);
        }
        self.announce_silence(at);
    }

    fn finish(&mut self) {
        for member in &mut self.reporters {
            member.reporter.finish();
        }
    }

    fn broken(&self) -> Option<String> {
        let why: Vec<String> = self.reporters.iter().filter_map(|m| m.reporter.broken()).collect();
        (!why.is_empty()).then(|| why.join("; "))
    }
}

impl fmt::Debug for FanOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FanOut").field("reporters", &self.reporters.len()).finish()
    }
}
