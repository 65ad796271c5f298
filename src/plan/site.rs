//! Where in the plan a step or gate stands: a check says what is wrong by key, the site knows the place.

use std::{collections::BTreeMap, fmt, ops::Range};

use crate::diag::{Diag, Diags};

use super::{parse::ReadFile, probes::Latency, types::Tenancy};
use crate::latency::Spec;

/// What the rest of the plan lends to every step and gate.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    pub read: &'a ReadFile<'a>,
    pub tenancy: Option<&'a Tenancy>,
    /// Whether the plan writes [tenancy] at all; one with an error in it is written, but not there.
    pub tenancy_written: bool,
    /// Every `[[probe]]` without an error in it.
    pub probes: &'a [Spec],
    /// Whether one has an error in it.
    pub probes_are_broken: bool,
    pub latency: Latency,
}

/// One table of the plan, with the places of its keys.
pub struct Site<'a> {
    diags: &'a mut Diags,
    span: Range<usize>,
    keys: &'a BTreeMap<String, Range<usize>>,
    around: Around<'a>,
}

impl fmt::Debug for Site<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site").field("span", &self.span).field("keys", &self.keys).finish_non_exhaustive()
    }
}

/// A finding that can still be given advice.
#[derive(Debug)]
pub struct Finding<'a>(Option<&'a mut Diag>);

impl Finding<'_> {
    /// What to do about it.
    pub fn help(self, help: impl Into<String>) {
        if let Some(diag) = self.0 {
            diag.help = Some(help.into());
        }
    }
}

impl<'a> Site<'a> {
    pub(super) fn new(
        diags: &'a mut Diags,
        span: Range<usize>,
        keys: &'a BTreeMap<String, Range<usize>>,
        around: Around<'a>,
    ) -> Self {
        Self { diags, span, keys, around }
    }

    /// An error at the value of `key`, or at the table's header when the key is not written. `key` may be a path into the
    /// value: `seed[2].name`.
    pub fn error(&mut self, key: &str, code: &'static str, message: impl Into<String>) -> Finding<'_> {
        self.push(Diag::error(code, self.place(key), message))
    }

    /// A warning at the value of `key`.
    pub fn warning(&mut self, key: &str, code: &'static str, message: impl Into<String>) -> Finding<'_> {
        self.push(Diag::warning(code, self.place(key), message))
    }

    /// Whether the plan writes `key`.
    pub fn has(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }

    /// The text of a file named by `key`, relative to the plan; a missing one is a finding.
    pub fn read(&mut self, key: &str, path: &str) -> Option<String> {
        match (self.around.read)(path) {
            Ok(text) => Some(text),
            Err(why) => {
                self.error(key, "TM0109", format!("cannot read `{path}`: {why}"))
                    .help("the path is taken from the folder of the plan");
                None
            }
        }
    }

    /// The plan's [tenancy].
    pub fn tenancy(&self) -> Option<&'a Tenancy> {
        self.around.tenancy
    }

    /// Whether the plan writes no [tenancy]. One with an error in it has its own finding, and needs no second one here.
    pub fn lacks_tenancy(&self) -> bool {
        !self.around.tenancy_written
    }

    /// The plan's probes.
    pub fn probes(&self) -> &'a [Spec] {
        self.around.probes
    }

    /// Whether a probe has an error in it, which has its own finding.
    pub fn probes_are_broken(&self) -> bool {
        self.around.probes_are_broken
    }

    /// The plan's [latency].
    pub fn latency(&self) -> Latency {
        self.around.latency
    }

    /// The place of `seed[2].name`, or the nearest one around it that is written.
    fn place(&self, key: &str) -> Range<usize> {
        let mut path = key;
        loop {
            match (self.keys.get(path), path.rfind(['.', '['])) {
                (Some(place), _) => return place.clone(),
                (None, Some(end)) => path = &path[..end],
                (None, None) => return self.span.clone(),
            }
        }
    }

    fn push(&mut self, diag: Diag) -> Finding<'_> {
        self.diags.push(diag);
        Finding(self.diags.0.last_mut())
    }
}
