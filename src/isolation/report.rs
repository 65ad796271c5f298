//! What the probes of one table as one role gave: verdicts, and the matrix of commands and contexts that they come from.

use serde::Serialize;

use super::{Answer, Case, Probe, judge};

/// What one probe means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "verdict", content = "why")]
pub enum Verdict {
    /// With what was seen.
    Holds(String),
    /// Rows are reached that must not be.
    Leak(String),
    /// A tenant does not get what is its own.
    Outage(String),
    /// Closed, but something about it is not as it should be.
    Weak(String),
    /// There was nothing to try it on, or it does not apply.
    Untried(String),
    /// It could not be asked.
    Unmeasured(String),
}

impl Verdict {
    /// The worse comes later.
    fn rank(&self) -> u8 {
        match self {
            Self::Untried(_) => 0,
            Self::Holds(_) => 1,
            Self::Weak(_) => 2,
            Self::Unmeasured(_) => 3,
            Self::Outage(_) => 4,
            Self::Leak(_) => 5,
        }
    }

    /// Whether it is a finding that fails.
    pub fn fails(&self) -> bool {
        matches!(self, Self::Leak(_) | Self::Outage(_))
    }

    /// Its reason.
    pub fn why(&self) -> &str {
        match self {
            Self::Holds(why)
            | Self::Leak(why)
            | Self::Outage(why)
            | Self::Weak(why)
            | Self::Untried(why)
            | Self::Unmeasured(why) => why,
        }
    }

    /// The worst of several.
    pub fn worst(all: impl IntoIterator<Item = Self>) -> Option<Self> {
        // Of equals the first is kept.
        all.into_iter().reduce(|a, b| if b.rank() > a.rank() { b } else { a })
    }
}

/// A command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    Select,
    Insert,
    Update,
    Delete,
}

/// What the session says of its tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Context {
    None,
    Empty,
    Garbage,
    Phantom,
    Real,
}

impl Context {
    /// In a sentence.
    pub fn words(self) -> &'static str {
        match self {
            Self::None => "without a tenant",
            Self::Empty => "with '' for a tenant",
            Self::Garbage => "with a value that is no tenant",
            Self::Phantom => "as a tenant that does not exist",
            Self::Real => "as a real tenant",
        }
    }
}

/// What a statement was tried on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum On {
    /// The table itself.
    Table,
    /// An empty temporary table with its columns and its policies, and rows that are made up: nobody's rows, no trigger.
    Copy,
}

/// One field of the matrix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cell {
    pub command: Command,
    pub context: Context,
    pub on: On,
    /// Whether it tries to give the row to another tenant.
    pub moves: bool,
    pub answer: Answer,
    #[serde(flatten)]
    pub verdict: Verdict,
}

impl Cell {
    /// The answer with what it means.
    pub fn new(case: Case, answer: Answer) -> Self {
        let Case { command, context, on, moves, .. } = case;
        Self { command, context, on, moves, verdict: judge(case, &answer), answer }
    }

    /// The probe that it is a part of.
    pub fn probe(&self) -> Probe {
        match (self.command, self.context) {
            (Command::Update, Context::Real) if self.moves => Probe::Move,
            // That a tenant writes what is its own is tried on a copy only, and belongs to what it reads.
            (Command::Select | Command::Insert | Command::Update | Command::Delete, Context::Real) => Probe::RealTenant,
            (Command::Select, Context::None) => Probe::NoContext,
            (Command::Select, Context::Empty) => Probe::EmptyContext,
            (Command::Select, Context::Garbage) => Probe::Garbage,
            (Command::Select, Context::Phantom) => Probe::Phantom,
            (Command::Insert, Context::None | Context::Empty | Context::Garbage | Context::Phantom) => Probe::Plant,
            (
                Command::Update | Command::Delete,
                Context::None | Context::Empty | Context::Garbage | Context::Phantom,
            ) => Probe::BlindWrite,
        }
    }
}

/// One probe's verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Asked {
    pub probe: Probe,
    pub title: &'static str,
    pub expected: &'static str,
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Why it was tried on a copy of the policies only, where it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copy_only: Option<String>,
}

impl Asked {
    /// The probe's words with this verdict.
    pub fn new(probe: Probe, verdict: Verdict) -> Self {
        Self { probe, title: probe.title(), expected: probe.expectation(), verdict, copy_only: None }
    }

    /// What a probe's cells say together; `None` where it has none.
    pub fn of(probe: Probe, matrix: &[Cell]) -> Option<Self> {
        let cells = || matrix.iter().filter(|cell| cell.probe() == probe);
        let verdict = Verdict::worst(cells().map(|cell| cell.verdict.clone()))?;
        let untried = cells().find_map(|cell| match &cell.verdict {
            Verdict::Untried(why) if cell.on == On::Table => Some(why.clone()),
            Verdict::Untried(_)
            | Verdict::Holds(_)
            | Verdict::Leak(_)
            | Verdict::Outage(_)
            | Verdict::Weak(_)
            | Verdict::Unmeasured(_) => None,
        });
        let written = matches!(probe, Probe::Plant | Probe::Move | Probe::BlindWrite);
        let absent = || written && !cells().any(|cell| cell.on == On::Table);
        let nothing = || "there is no row of a real tenant to try it on".to_owned();
        let copied = cells().any(|cell| cell.on == On::Copy && !matches!(cell.verdict, Verdict::Untried(_)));
        let copy_only = untried.or_else(|| absent().then(nothing)).filter(|_| copied);
        Some(Self { copy_only, ..Self::new(probe, verdict) })
    }
}

/// How the application's role was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// In a session of the migrating role's: no login, so defaults of the role's do not apply.
    SetRole,
    /// By the application's own connection string.
    Login,
    /// The same, through a pooler.
    Pooler,
}

/// All probes of one table as one role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    pub table: String,
    pub role: String,
    pub way: Way,
    pub probes: Vec<Asked>,
    pub matrix: Vec<Cell>,
}

impl Report {
    /// Whether only the pooler was asked: no table was.
    pub fn is_of_the_pooler(&self) -> bool {
        self.way == Way::Pooler && self.matrix.is_empty() && !self.probes.iter().any(|asked| asked.probe == Probe::Role)
    }

    /// Adds to a probe that does not fail that something is not as it should be. `false`: it fails already, or was not asked.
    pub fn weaken(&mut self, probe: Probe, why: &str) -> bool {
        let Some(asked) = self.probes.iter_mut().find(|asked| asked.probe == probe) else { return false };
        asked.verdict = match &asked.verdict {
            Verdict::Holds(_) | Verdict::Untried(_) => Verdict::Weak(why.to_owned()),
            Verdict::Weak(known) => Verdict::Weak(format!("{known}; {why}")),
            Verdict::Leak(_) | Verdict::Outage(_) | Verdict::Unmeasured(_) => return false,
        };
        true
    }

    /// Everything that fails, in words.
    pub fn failures(&self) -> impl Iterator<Item = &Asked> {
        self.probes.iter().filter(|asked| asked.verdict.fails())
    }

    /// What could not be asked.
    pub fn unmeasured(&self) -> impl Iterator<Item = &Asked> {
        self.probes.iter().filter(|asked| matches!(asked.verdict, Verdict::Unmeasured(_)))
    }

    /// What neither fails nor is silent: what is weak, and what was not tried, or not on the table itself; one line for each reason.
    pub fn asides(&self) -> Vec<String> {
        let mut out = Vec::new();
        let mut grouped: Vec<(&str, &str, Vec<&str>)> = Vec::new();
        let mut group = |how, why, code| match grouped.iter_mut().find(|(h, w, _)| (*h, *w) == (how, why)) {
            Some((_, _, codes)) => codes.push(code),
            None => grouped.push((how, why, vec![code])),
        };
        for Asked { probe, title, verdict, copy_only, .. } in &self.probes {
            match verdict {
                Verdict::Weak(why) => out.push(format!("{} {title}: {why}", probe.code())),
                Verdict::Untried(why) => group("not tried", why, probe.code()),
                Verdict::Holds(_) | Verdict::Leak(_) | Verdict::Outage(_) | Verdict::Unmeasured(_) => {}
            }
            if let Some(why) = copy_only {
                group("tried on a copy of the policies only", why, probe.code());
            }
        }
        out.extend(grouped.into_iter().map(|(how, why, codes)| format!("{how}: {}: {why}", codes.join(", "))));
        out
    }
}
