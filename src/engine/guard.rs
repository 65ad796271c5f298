//! What guards of an undo found, and who went on all the same.

use std::{fmt, ops::Range};

use serde::{Deserialize, Serialize};

use super::{Finding, Program, Run, UnitState, away::put_aside, rollback::nothing_to_run};
use crate::{
    checks::{Consent, Guard},
    sql::QName,
    unit::{Before, Down, Unit},
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

/// A guard that cannot see what it asks for until the rollback itself has taken row-level security off, or brought it back.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PutOff {
    pub phase: String,
    pub gate: String,
    /// What the guard asserts.
    pub title: String,
    /// What somebody could agree to beforehand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<Consent>,
    /// The tables whose rows it cannot see yet.
    pub hidden: Vec<QName>,
    /// A later step has put them aside, or a column of theirs; otherwise row-level security hides them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub aside: bool,
}

/// Somebody agrees to whatever a guard that is put off will find.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Agreed {
    pub consent: Consent,
    pub by: String,
    pub host: String,
}

impl fmt::Display for PutOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { phase, title, hidden, aside, .. } = self;
        let (tables, why) =
            (named(hidden), if *aside { "what was put aside is back of" } else { "row-level security is off" });
        write!(f, "phase `{phase}`, {title}: asked on the way, once {why} {tables}")
    }
}

impl fmt::Display for Agreed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {} on {}", option(self.consent), self.by, self.host)
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

impl Found {
    /// Nobody could look, so that nothing was counted.
    pub fn is_unmeasured(&self) -> bool {
        self.findings.iter().any(|finding| finding.count == 0)
    }
}

/// A list for a line of text.
pub fn named(tables: &[QName]) -> String {
    const NAMED_MAX: usize = 5; // tables; a plan may have hundreds
    let names: Vec<String> = tables.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    let more = tables.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", names.join(", "))
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
/// that unit was touched, one of the plan's own where anything of its phase was. That rows become visible speaks against undoing
/// a phase that is over: before, nobody was promised that they are hidden.
pub fn guards<'a>(program: &'a Program, run: &Run, phases: Range<usize>) -> Vec<(usize, &'a Guard)> {
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
            _ if guard.consent == Some(Consent::Exposure) && !run.is_over(program, p) => false,
            Some(unit) => program.find(unit).is_some_and(|(number, ..)| touched(number)),
            None => (first..first + phase.units.len()).any(touched),
        };
        all.extend(phase.before_undo.iter().filter(speaks).map(|guard| (p, guard)));
    }
    all
}

/// Whether the rollback takes row-level security off all of `hidden`, the tables that the guard reads and cannot see whole,
/// before it comes to what the guard guards. What others put there, and what stays, it does not.
pub fn is_lifted(program: &Program, run: &Run, p: usize, guard: &Guard, hidden: &[QName]) -> bool {
    let Some(first) = first_guarded(program, run, p, guard) else { return false };
    let undone_earlier = |(number, _): &(usize, (usize, &Unit))| {
        let state = run.unit(*number);
        *number > first && state.is_done() && state.before().is_some_and(|before| !before.is_untouched())
    };
    let lifting: Vec<&Unit> = program
        .units()
        .enumerate()
        .filter(undone_earlier)
        .map(|(_, (_, unit))| unit)
        .filter(|u| u.guards_rows)
        .collect();
    !hidden.is_empty() && hidden.iter().all(|table| lifting.iter().any(|unit| unit.lock.on.contains(table)))
}

/// The tables that the guard reads and of which a later step has put something aside, each with whether the whole of it is: the rollback
/// brings that back before it comes to what the guard guards.
pub fn not_there(program: &Program, run: &Run, p: usize, guard: &Guard) -> Vec<(QName, bool)> {
    let Some(first) = first_guarded(program, run, p, guard) else { return Vec::new() };
    let away = put_aside(program, run, first);
    away.into_iter().filter(|(table, _)| guard.gate.tables.contains(table)).collect()
}

/// The first unit to be undone that the guard guards.
fn first_guarded(program: &Program, run: &Run, p: usize, guard: &Guard) -> Option<usize> {
    let mut ours = (program.first_unit(p)..program.first_unit(p + 1)).rev();
    match &guard.of {
        Some(unit) => program.find(unit).map(|(number, ..)| number),
        None => ours.find(|number| !matches!(run.unit(*number), UnitState::Pending)),
    }
}

/// The tables whose row-level security the program puts on, and does not at present.
pub fn unenforced(program: &Program, run: &Run) -> Vec<QName> {
    let off = |(number, (_, unit)): &(usize, (usize, &Unit))| {
        unit.guards_rows && matches!(run.unit(*number), UnitState::Pending)
    };
    let mut all: Vec<QName> =
        program.units().enumerate().filter(off).flat_map(|(_, (_, unit))| unit.lock.on.iter().cloned()).collect();
    all.sort();
    all.dedup();
    all
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
