//! What guards of an undo found, and who went on all the same.

use std::{fmt, ops::Range};

use serde::{Deserialize, Serialize};

use super::{Finding, Program, Run, rollback::nothing_to_run};
use crate::{
    checks::{Consent, Guard},
    unit::{Before, Down},
};

/// A guard that found something.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Found {
    pub phase: String,
    /// What the guard asserts.
    pub title: String,
    pub consent: Option<Consent>,
    pub findings: Vec<Finding>,
}

/// A rollback that would have begun by itself and did not: nobody was there to consent to what its guards found.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Held {
    /// The phase that would have stayed.
    pub keep: String,
    pub found: Vec<Found>,
}

/// Somebody went on in spite of what a guard found.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Given {
    pub consent: Consent,
    pub by: String,
    pub host: String,
    /// What was agreed to, as it was told then.
    pub found: Found,
}

impl Found {
    /// Nobody could look, so that nothing was counted.
    fn is_unmeasured(&self) -> bool {
        self.findings.iter().any(|finding| finding.count == 0)
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "phase `{}`, {}", self.phase, self.title)?;
        for Finding { what, count, example } in &self.findings {
            write!(f, "\n  {what}")?;
            if *count > 0 {
                write!(f, ": {count}")?;
            }
            if let Some(example) = example {
                write!(f, "; e.g. {example}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {} on {}: {}", option(self.consent), self.by, self.host, self.found)
    }
}

/// The option of `rollback` that gives this consent.
pub fn option(consent: Consent) -> &'static str {
    match consent {
        Consent::DataLoss => "--allow-data-loss",
        Consent::Exposure => "--accept-exposure",
    }
}

/// The options that let all of this pass; `None` where one of them can be passed by nobody.
pub fn options<'a>(found: impl IntoIterator<Item = &'a Found>) -> Option<Vec<&'static str>> {
    let mut all = found.into_iter().map(|found| found.consent.map(option)).collect::<Option<Vec<_>>>()?;
    all.sort_unstable();
    all.dedup();
    Some(all)
}

/// The guards that speak when these phases, the last ones, are to be undone, last phase first. A guard of one unit speaks where
/// that unit was touched, one of the plan's own where anything of its phase was.
pub fn guards<'a>(program: &'a Program, run: &Run, phases: Range<usize>) -> Vec<(&'a str, &'a Guard)> {
    let mut all = Vec::new();
    let keep = phases.start;
    for p in phases.rev() {
        let phase = &program.phases[p];
        let first = program.first_unit(p);
        let touched = |number: usize| {
            let ours = run.unit(number).before().is_some_and(|before| !before.is_untouched());
            ours && !stays(program, run, keep, number)
        };
        let speaks = |guard: &&Guard| match &guard.of {
            Some(unit) => program.find(unit).is_some_and(|(number, ..)| touched(number)),
            None => (first..first + phase.units.len()).any(touched),
        };
        all.extend(phase.before_undo.iter().filter(speaks).map(|guard| (phase.id.as_str(), guard)));
    }
    all
}

/// How many phases stay where the guards that nobody could measure can be: a later phase has put row-level security on, which
/// under FORCE hides the rows from the owner too. `None` where it is not that.
pub fn in_sight(program: &Program, run: &Run, found: &[Found]) -> Option<usize> {
    let blind = |p: &usize| found.iter().any(|f| f.is_unmeasured() && f.phase == program.phases[*p].id);
    let last = (0..program.phases.len()).rev().find(blind)?;
    let after = program.first_unit(last) + program.phases[last].units.len();
    let hides = program.units().enumerate().skip(after).any(|(number, (_, unit))| {
        unit.guards_rows && run.unit(number).before().is_some_and(|before| !before.is_untouched())
    });
    hides.then_some(last + 1)
}

/// Whether what the unit wrote outlives this rollback: the column that it filled stays.
fn stays(program: &Program, run: &Run, keep: usize, number: usize) -> bool {
    let Some((_, unit)) = program.unit(number) else { return false };
    match unit.down.in_effect(|by| run.was_there(program, by)) {
        Down::CoveredBy(by) | Down::With { unit: by, .. } => program
            .find(by)
            .is_some_and(|(by, phase, _)| phase < keep || run.unit(by).before().is_some_and(Before::is_untouched)),
        Down::Op(_) | Down::Nothing { .. } | Down::Irreversible { .. } => {
            nothing_to_run(program, run, keep, number).is_some()
        }
    }
}
