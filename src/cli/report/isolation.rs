//! What the probes gave, as the page shows it: a row for each table, role and command, a column for each context.

use crate::{
    evidence::{Cell, Matrix, MatrixRow, Probed, Tone},
    isolation::{self, Command, Context, Report, Verdict, Way},
};

const CONTEXTS: [Context; 5] = [Context::None, Context::Empty, Context::Garbage, Context::Phantom, Context::Real];

/// Commands, and whether the row is to go to another tenant.
const COMMANDS: [(Command, bool, &str); 5] = [
    (Command::Select, false, "SELECT"),
    (Command::Insert, false, "INSERT"),
    (Command::Update, false, "UPDATE"),
    (Command::Update, true, "UPDATE into another tenant"),
    (Command::Delete, false, "DELETE"),
];

/// All tables as all roles.
pub(super) fn matrix(reports: &[&Report]) -> Matrix {
    let ways: Vec<&str> = [Way::SetRole, Way::Login, Way::Pooler]
        .into_iter()
        .filter(|way| reports.iter().any(|report| report.way == *way))
        .map(|way| match way {
            Way::SetRole => "by SET ROLE",
            Way::Login => "by its own login",
            Way::Pooler => "by its own login, through a pooler",
        })
        .collect();
    Matrix {
        how: format!("Asked as the application, {}, and rolled back each time.", ways.join("; ")),
        contexts: CONTEXTS.iter().map(|context| context.words().to_owned()).collect(),
        rows: reports.iter().filter(|report| !report.is_of_the_pooler()).flat_map(|report| rows(report)).collect(),
        probes: reports.iter().flat_map(|report| probes(report)).collect(),
    }
}

fn rows(report: &Report) -> Vec<MatrixRow> {
    let row = |(command, moves, name): &(Command, bool, &str)| {
        let cells = CONTEXTS.iter().map(|context| {
            let fields = report.matrix.iter();
            let fields = fields.filter(|c| (c.command, c.moves, c.context) == (*command, *moves, *context));
            cell(&fields.collect::<Vec<_>>())
        });
        MatrixRow {
            table: report.table.clone(),
            role: report.role.clone(),
            command: (*name).to_owned(),
            cells: cells.collect(),
        }
    };
    COMMANDS.iter().map(row).collect()
}

/// What was tried on the table and on a copy of it: the worse of the two counts.
fn cell(fields: &[&isolation::Cell]) -> Option<Cell> {
    let verdict = Verdict::worst(fields.iter().map(|field| field.verdict.clone()))?;
    let (tone, result) = told(&verdict);
    Some(Cell { tone, result: result.to_owned(), why: verdict.why().to_owned() })
}

fn probes(report: &Report) -> impl Iterator<Item = Probed> {
    report.probes.iter().map(|asked| {
        let (tone, result) = told(&asked.verdict);
        Probed {
            table: report.table.clone(),
            role: report.role.clone(),
            code: asked.probe.code().to_owned(),
            title: asked.title.to_owned(),
            expected: asked.expected.to_owned(),
            tone,
            result: result.to_owned(),
            why: asked.verdict.why().to_owned(),
        }
    })
}

fn told(verdict: &Verdict) -> (Tone, &'static str) {
    match verdict {
        Verdict::Holds(_) => (Tone::Good, "holds"),
        Verdict::Leak(_) => (Tone::Bad, "LEAK"),
        Verdict::Outage(_) => (Tone::Bad, "outage"),
        Verdict::Weak(_) => (Tone::Caution, "weak"),
        Verdict::Untried(_) => (Tone::Plain, "not tried"),
        Verdict::Unmeasured(_) => (Tone::Caution, "not measured"),
    }
}
