//! What every reporter can do.

use chrono::{DateTime, Utc};

use crate::engine::Notice;

/// A subscriber of a run. It never fails the run: a reporter that cannot write any more goes quiet and says so.
pub trait Reporter: Send {
    /// Takes one notice, told at `at`.
    fn tell(&mut self, at: DateTime<Utc>, notice: &Notice);

    /// Called about every second while nothing is told, for a sign of life during a long statement.
    fn idle(&mut self, _at: DateTime<Utc>) {}

    /// The last call: flushes, and clears what is not to stay on the screen.
    fn finish(&mut self);

    /// Why it went quiet, as a lowercase fragment that names the output; `None` while it works.
    fn broken(&self) -> Option<String> {
        None
    }
}
