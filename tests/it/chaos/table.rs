//! The report: points by faults, and what did not survive.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::Way;
use super::cell::Cell;
use super::fault::Fault;

/// How the cells of one place in the table went: how many survived, and the numbers of those that failed.
type Place = (u32, Vec<usize>);

/// How cells went.
#[derive(Debug, Default)]
pub struct Table {
    rows: BTreeMap<String, BTreeMap<(Fault, Way), Place>>,
    pub survived: u32,
    pub failed: Vec<(usize, String)>,
    /// Faults that struck, second ones included.
    pub faults: u32,
    /// Runs that went on by themselves, and those that somebody had to resume.
    pub alone: u32,
    pub resumed: u32,
}

/// How one cell went.
#[derive(Debug)]
pub struct Outcome {
    pub faults: u32,
    /// Commands that had to be given after the first.
    pub resumes: u32,
    pub result: Result<(), String>,
}

impl Table {
    pub fn add(&mut self, cell: &Cell, outcome: Outcome) {
        let place = self.rows.entry(cell.point.row()).or_default().entry((cell.fault, cell.way)).or_default();
        self.faults += outcome.faults;
        match outcome.result {
            Ok(()) => {
                place.0 += 1;
                self.survived += 1;
                if outcome.resumes == 0 { self.alone += 1 } else { self.resumed += 1 }
            }
            Err(why) => {
                place.1.push(cell.number);
                self.failed.push((cell.number, why));
            }
        }
    }

    /// As Markdown.
    pub fn text(&self, seed: u64) -> String {
        let ways: BTreeSet<(Fault, Way)> = Fault::ALL.iter().flat_map(|f| [(*f, Way::Up), (*f, Way::Down)]).collect();
        let mut out = format!(
            "seed {seed}: {} cells, {} faults struck, {} survived ({} went on alone, {} were resumed), {} failed\n\n",
            self.survived as usize + self.failed.len(),
            self.faults,
            self.survived,
            self.alone,
            self.resumed,
            self.failed.len()
        );
        out.push_str("| struck at |");
        for (fault, way) in &ways {
            let _ = write!(out, " {}, {} |", fault.words(), way.words());
        }
        let _ = writeln!(out, "\n|---|{}", "---|".repeat(ways.len()));
        for (row, cells) in &self.rows {
            let _ = write!(out, "| {row} |");
            for key in &ways {
                let text = match cells.get(key) {
                    None => String::new(),
                    Some((survived, failed)) if failed.is_empty() => survived.to_string(),
                    Some((survived, failed)) => {
                        let numbers = failed.iter().map(usize::to_string).collect::<Vec<_>>().join(" ");
                        format!("{survived}, FAILED {numbers}")
                    }
                };
                let _ = write!(out, " {text} |");
            }
            out.push('\n');
        }
        out
    }
}
