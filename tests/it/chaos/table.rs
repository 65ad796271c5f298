//! The report: points by faults, and what did not survive.

use std::collections::BTreeMap;
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
        let mut out = format!(
            "seed {seed}: {} cells, {} faults struck, {} survived ({} went on alone, {} were resumed), {} failed\n\n",
            self.survived as usize + self.failed.len(),
            self.faults,
            self.survived,
            self.alone,
            self.resumed,
            self.failed.len()
        );
        for way in Way::ALL {
            self.part(way, &mut out);
        }
        out
    }

    /// One direction: a row for each moment, a column for each fault.
    fn part(&self, way: Way, out: &mut String) {
        let columns: Vec<&str> = Fault::ALL.iter().map(|fault| fault.words()).collect();
        let _ = writeln!(
            out,
            "| {}, struck at | {} |\n|---|{}",
            way.words(),
            columns.join(" | "),
            "---|".repeat(columns.len())
        );
        for (row, cells) in &self.rows {
            if !cells.keys().any(|(_, of)| *of == way) {
                continue;
            }
            let texts: Vec<String> = Fault::ALL.iter().map(|fault| text(cells.get(&(*fault, way)))).collect();
            let _ = writeln!(out, "| {row} | {} |", texts.join(" | "));
        }
        out.push('\n');
    }
}

fn text(place: Option<&Place>) -> String {
    match place {
        None => String::new(),
        Some((survived, failed)) if failed.is_empty() => survived.to_string(),
        Some((survived, failed)) => {
            let numbers = failed.iter().map(usize::to_string).collect::<Vec<_>>().join(" ");
            format!("{survived}, FAILED {numbers}")
        }
    }
}
