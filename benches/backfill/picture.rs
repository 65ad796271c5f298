//! The picture for the README: a row a contestant, a panel a question.

use crate::band::{self, Band, band, ratio, runs, sizes};
use crate::contestant::Contestant;
use crate::figures::{Outcome, Session};
use crate::report::{latency, traffic_of};
use crate::svg::{Anchor, Drawing, Ink};
use crate::words::{rows as size_name, short, thousands, times};

const LABELS: f64 = 196.0;
const PANEL: f64 = 172.0;
const GAP: f64 = 18.0;
/// Right of the longest bar, for its figure.
const FIGURE: f64 = 52.0;
const TOP: f64 = 104.0;
const ROW: f64 = 30.0;
const BAR: f64 = 16.0;

/// A row: who is drawn, by which runs, and how.
#[derive(Debug)]
struct Row {
    label: String,
    /// In the runs over the table alone.
    who: Contestant,
    /// In the runs beside the application.
    beside: Contestant,
    ink: Ink,
}

/// What is drawn for a row in a panel.
#[derive(Debug)]
enum Cell {
    Figure {
        band: Band,
        text: String,
        target: Option<f64>,
    },
    /// Nothing was measured, for this reason.
    Words(&'static str),
}

#[derive(Debug)]
struct Panel {
    title: &'static str,
    unit: &'static str,
    cells: Vec<Cell>,
    scale: Scale,
}

#[derive(Debug, Clone, Copy)]
enum Scale {
    /// From 0 to this.
    Linear(f64),
    /// From the least to the greatest power of ten.
    Decades(f64, f64),
}

impl Scale {
    /// Where a value lies, from 0 to 1.
    fn place(self, value: f64) -> f64 {
        let place = match self {
            Self::Linear(most) => value / most,
            Self::Decades(least, most) => (value / least).log10() / (most / least).log10(),
        };
        place.clamp(0.01, 1.0)
    }
}

/// The picture of the greatest size that has a big UPDATE to compare with; `None` without one.
pub fn picture(sessions: &[Session]) -> Option<String> {
    let big = |rows: &u64| runs(sessions, Contestant::Big, *rows).next().is_some();
    let size = sizes(sessions).into_iter().rfind(big)?;
    let rows = rows(sessions, size);
    let panels = panels(sessions, size, &rows);
    let mut drawing = Drawing::default();
    let title = format!("Filling a column of {} rows", size_name(size));
    heading(&mut drawing, sessions, &title);
    for (at, row) in rows.iter().enumerate() {
        let y = TOP + ROW * at as f64 + ROW / 2.0 + 4.5;
        let ink = if row.ink == Ink::Ours { Ink::Ours } else { Ink::Text };
        drawing.text((LABELS - 12.0, y), Anchor::End, (13.0, row.ink == Ink::Ours), ink, &row.label);
    }
    for (at, panel) in panels.iter().enumerate() {
        draw(&mut drawing, LABELS + (PANEL + GAP) * at as f64, panel, &rows);
    }
    let bottom = TOP + ROW * rows.len() as f64;
    footing(&mut drawing, bottom + 26.0, &rows);
    let width = LABELS + (PANEL + GAP) * panels.len() as f64;
    Some(drawing.finish((width, bottom + 44.0), &title))
}

fn rows(sessions: &[Session], size: u64) -> Vec<Row> {
    let there = |who: &Contestant| runs(sessions, *who, size).next().is_some();
    let plain = |who: Contestant, ink| Row { label: who.title(), who, beside: who, ink };
    let mut rows: Vec<Row> =
        [Contestant::Big, Contestant::Alembic, Contestant::Psql].map(|who| plain(who, Ink::Others)).into();
    for workers in [1, 2] {
        let beside = Contestant::Tenantmig { workers, capture: false };
        // The triggers are what a live table has.
        let with = Contestant::Tenantmig { workers, capture: true };
        let who = if there(&with) { with } else { beside };
        rows.push(Row { label: beside.title(), who, beside, ink: Ink::Ours });
    }
    rows.push(plain(Contestant::Ctas, Ink::Limit));
    rows.retain(|row| there(&row.who));
    rows
}

fn panels(sessions: &[Session], size: u64, rows: &[Row]) -> Vec<Panel> {
    let to_big = |row: &Row, metric| ratio(sessions, (row.who, Contestant::Big), size, metric);
    let cut = |row: &Row| runs(sessions, row.who, size).any(|(_, run)| run.outcome == Outcome::Cut);
    let figure = |band: Option<Band>, text: &dyn Fn(f64) -> String, target| {
        band.map_or(Cell::Words("not measured"), |band| Cell::Figure { text: text(band.median), band, target })
    };
    let ours = |row: &Row, target| (row.ink == Ink::Ours).then_some(target);
    let speed = |row: &Row| {
        let least = if matches!(row.who, Contestant::Tenantmig { workers: 1, .. }) { 1.0 } else { 1.4 };
        figure(to_big(row, band::speed), &|v| format!("{}×", times(v)), ours(row, least))
    };
    let wal = |row: &Row| {
        let own = band(sessions, row.who, size, band::wal);
        let most = band(sessions, Contestant::Big, size, band::wal).map(|big| 0.6 * big.median);
        figure(own, &thousands, most.and_then(|most| ours(row, most)))
    };
    let growth = |row: &Row| match band(sessions, row.who, size, band::size) {
        None if cut(row) => Cell::Words("cut short"),
        own => figure(own, &|v| format!("{}×", times(v)), ours(row, 1.2)),
    };
    let wait = |row: &Row| {
        if row.who == Contestant::Ctas {
            return Cell::Words("no live writes");
        }
        let runs = traffic_of(sessions, Some(row.beside));
        let p99 = latency(&runs, |run| run.writes).map(|spread| spread.p99);
        figure(p99.and_then(|p99| Band::of(vec![p99])), &short, ours(row, 5.0))
    };
    let all = |cell: &dyn Fn(&Row) -> Cell| rows.iter().map(cell).collect::<Vec<_>>();
    let mut panels = vec![
        panel("Speed", "× the big UPDATE; more is better", all(&speed)),
        panel("WAL", "bytes a row; less is better", all(&wal)),
        panel("Size afterwards", "× before; less is better", all(&growth)),
    ];
    let waits = all(&wait);
    if waits.iter().any(|cell| matches!(cell, Cell::Figure { .. })) {
        let scale = Scale::Decades(1.0, 10_f64.powf(greatest(&waits).log10().ceil().max(1.0)));
        panels
            .push(Panel { title: "Writers’ wait, p99", unit: "ms, by decades; less is better", cells: waits, scale });
    }
    panels
}

fn panel(title: &'static str, unit: &'static str, cells: Vec<Cell>) -> Panel {
    let scale = Scale::Linear(greatest(&cells));
    Panel { title, unit, cells, scale }
}

fn greatest(cells: &[Cell]) -> f64 {
    let values = cells.iter().map(|cell| match cell {
        Cell::Figure { band, target, .. } => band.max.max(target.unwrap_or(0.0)),
        Cell::Words(_) => 0.0,
    });
    values.fold(f64::MIN_POSITIVE, f64::max)
}

fn heading(drawing: &mut Drawing, sessions: &[Session], title: &str) {
    drawing.text((14.0, 26.0), Anchor::Start, (17.0, true), Ink::Text, title);
    if let Some(head) = sessions.first().map(|session| &session.head) {
        let version = head.server.split(['(', ')']).nth(1).unwrap_or(&head.server);
        let cores = head.machine.split(" (").next().unwrap_or_default();
        let line =
            format!("{version}, {cores}; tenant_id of each row from its parent; {} rounds in turns", head.rounds);
        drawing.text((14.0, 46.0), Anchor::Start, (12.0, false), Ink::Faint, &line);
    }
}

fn draw(drawing: &mut Drawing, left: f64, panel: &Panel, rows: &[Row]) {
    drawing.text((left, TOP - 26.0), Anchor::Start, (13.0, true), Ink::Text, panel.title);
    drawing.text((left, TOP - 10.0), Anchor::Start, (11.0, false), Ink::Faint, panel.unit);
    let long = PANEL - FIGURE;
    let bottom = TOP + ROW * rows.len() as f64;
    drawing.upright(left, (TOP, bottom), (1.0, 0.6), Ink::Faint);
    if let Scale::Decades(least, most) = panel.scale {
        let mut mark = least * 10.0;
        while mark <= most {
            drawing.upright(left + long * panel.scale.place(mark), (TOP, bottom), (1.0, 0.25), Ink::Faint);
            mark *= 10.0;
        }
    }
    for (at, (cell, row)) in panel.cells.iter().zip(rows).enumerate() {
        let middle = TOP + ROW * at as f64 + ROW / 2.0;
        match cell {
            Cell::Words(words) => {
                drawing.text((left + 6.0, middle + 4.0), Anchor::Start, (11.0, false), Ink::Faint, words);
            }
            Cell::Figure { band, text, target } => {
                let place = |value| left + long * panel.scale.place(value);
                drawing.bar((left, middle - BAR / 2.0), (place(band.median) - left, BAR), row.ink);
                if band.max > band.min {
                    drawing.level((place(band.min), place(band.max)), middle, (1.5, 0.9), Ink::Text);
                }
                let mut end = place(band.max);
                if let Some(target) = target {
                    let at = place(*target);
                    drawing.upright(at, (middle - BAR / 2.0 - 4.0, middle + BAR / 2.0 + 4.0), (2.5, 1.0), Ink::Target);
                    end = end.max(at);
                }
                let ink = if row.ink == Ink::Ours { Ink::Ours } else { Ink::Text };
                drawing.text((end + 6.0, middle + 4.5), Anchor::Start, (13.0, row.ink == Ink::Ours), ink, text);
            }
        }
    }
}

fn footing(drawing: &mut Drawing, y: f64, rows: &[Row]) {
    drawing.upright(20.0, (y - 11.0, y + 3.0), (2.5, 1.0), Ink::Target);
    let triggers = rows.iter().any(|row| matches!(row.who, Contestant::Tenantmig { capture: true, .. }));
    let with = if triggers { " tenantmig with the triggers that keep live writes in step." } else { "" };
    let line = format!(
        "what tenantmig is meant to reach.{with} Violet: the limit, a rewrite of the table without live writes."
    );
    drawing.text((30.0, y), Anchor::Start, (11.5, false), Ink::Faint, &line);
}
