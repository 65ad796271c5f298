//! The picture for the README: a row a contestant, a panel a question.

use crate::band::{self, Band, band, ratio, runs, sizes};
use crate::contestant::Contestant;
use crate::figures::{Outcome, Session};
use crate::report::{latency, traffic_of};
use crate::svg::{Anchor, Drawing, Ink};
use crate::words::{rows as size_name, short, thousands, times};

const LABELS: f64 = 190.0;
const PANEL: f64 = 172.0;
const GAP: f64 = 18.0;
/// Right of the longest bar, for its figure.
const FIGURE: f64 = 54.0;
/// Where a bar that does not fit is broken, in pixels: what is left of it at the end, and the gap before.
const BROKEN: (f64, f64) = (10.0, 4.0);
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
    unit: String,
    cells: Vec<Cell>,
    scale: Scale,
    /// A value to compare by, as a faint line.
    guide: Option<f64>,
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
        place.max(0.01)
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
        panel("Speed", "× big UPDATE; more is better", all(&speed), rows, Some(1.0)),
        panel("WAL", "bytes a row; less is better", all(&wal), rows, None),
        panel("Size afterwards", "× before; less is better", all(&growth), rows, Some(1.0)),
    ];
    let alone = latency(&traffic_of(sessions, None), |run| run.writes).map(|spread| spread.p99);
    panels.extend(waits(all(&wait), alone));
    panels
}

/// The panel of waits is by decades: they lie between a millisecond and many seconds.
fn waits(cells: Vec<Cell>, alone: Option<f64>) -> Option<Panel> {
    let values = || cells.iter().filter_map(value).chain(alone);
    cells.iter().find_map(value)?;
    let least = values().fold(1.0, f64::min).log10().floor();
    let most = values().fold(0.0, f64::max).log10().ceil().max(least + 1.0);
    let unit = alone.map_or("ms, by decades".to_owned(), |ms| format!("ms, by decades; {} alone", short(ms)));
    let scale = Scale::Decades(10_f64.powf(least), 10_f64.powf(most));
    Some(Panel { title: "Writers’ wait, p99", unit, cells, scale, guide: None })
}

/// The scale is for those who do the same: the limit's bar is broken where it does not fit.
fn panel(title: &'static str, unit: &str, cells: Vec<Cell>, rows: &[Row], guide: Option<f64>) -> Panel {
    let same = cells.iter().zip(rows).filter(|(_, row)| row.ink != Ink::Limit);
    let most = same.filter_map(|(cell, _)| value(cell)).fold(f64::MIN_POSITIVE, f64::max);
    Panel { title, unit: unit.to_owned(), cells, scale: Scale::Linear(most), guide }
}

/// The greatest value that is drawn.
fn value(cell: &Cell) -> Option<f64> {
    match cell {
        Cell::Figure { band, target, .. } => Some(band.max.max(target.unwrap_or(0.0))),
        Cell::Words(_) => None,
    }
}

fn heading(drawing: &mut Drawing, sessions: &[Session], title: &str) {
    drawing.text((14.0, 26.0), Anchor::Start, (17.0, true), Ink::Text, title);
    if let Some(head) = sessions.first().map(|session| &session.head) {
        // As in `postgres (PostgreSQL) 15.8 (Debian …)`.
        let version = head.server.split(") ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
        let cores = head.machine.split(" (").next().unwrap_or_default();
        let rounds = if head.rounds == 1 { "1 round".to_owned() } else { format!("{} rounds in turns", head.rounds) };
        let line = format!("tenant_id of each row from its user; PostgreSQL {version}, {cores}, {rounds}");
        drawing.text((14.0, 46.0), Anchor::Start, (12.0, false), Ink::Faint, &line);
    }
}

fn draw(drawing: &mut Drawing, left: f64, panel: &Panel, rows: &[Row]) {
    drawing.text((left, TOP - 26.0), Anchor::Start, (13.0, true), Ink::Text, panel.title);
    drawing.text((left, TOP - 10.0), Anchor::Start, (11.0, false), Ink::Faint, &panel.unit);
    let bottom = TOP + ROW * rows.len() as f64;
    drawing.upright(left, (TOP, bottom), (1.0, 0.6), Ink::Faint);
    let mut guides: Vec<f64> = panel.guide.into_iter().collect();
    if let Scale::Decades(least, most) = panel.scale {
        let mut mark = least * 10.0;
        while mark <= most {
            guides.push(mark);
            mark *= 10.0;
        }
    }
    for guide in guides {
        drawing.upright(left + (PANEL - FIGURE) * panel.scale.place(guide), (TOP, bottom), (1.0, 0.4), Ink::Faint);
    }
    for (at, (cell, row)) in panel.cells.iter().zip(rows).enumerate() {
        let middle = TOP + ROW * at as f64 + ROW / 2.0;
        match cell {
            Cell::Words(words) => {
                drawing.text((left + 6.0, middle + 4.0), Anchor::Start, (11.0, false), Ink::Faint, words);
            }
            Cell::Figure { band, text, target } => {
                let end = bar(drawing, (left, middle), panel.scale, (band, *target), row.ink);
                let ink = if row.ink == Ink::Ours { Ink::Ours } else { Ink::Text };
                drawing.text((end + 8.0, middle + 4.5), Anchor::Start, (13.0, row.ink == Ink::Ours), ink, text);
            }
        }
    }
}

/// A bar, with its rounds and its target; returns where it ends.
fn bar(
    drawing: &mut Drawing,
    (left, middle): (f64, f64),
    scale: Scale,
    (band, target): (&Band, Option<f64>),
    ink: Ink,
) -> f64 {
    let long = PANEL - FIGURE;
    let place = |value| left + long * scale.place(value);
    let (top, end) = (middle - BAR / 2.0, left + long);
    if place(band.median) > end + 0.5 {
        let (rest, gap) = BROKEN;
        drawing.bar((left, top), (long - rest - gap, BAR), ink);
        drawing.bar((end - rest, top), (rest, BAR), ink);
        return end;
    }
    drawing.bar((left, top), (place(band.median) - left, BAR), ink);
    if band.max > band.min {
        drawing.level((place(band.min), place(band.max)), middle, (1.5, 0.9), Ink::Text);
    }
    let Some(target) = target else { return place(band.max) };
    drawing.upright(place(target), (top - 4.0, top + BAR + 4.0), (2.5, 1.0), Ink::Target);
    place(band.max).max(place(target))
}

fn footing(drawing: &mut Drawing, y: f64, rows: &[Row]) {
    drawing.upright(20.0, (y - 11.0, y + 3.0), (2.5, 1.0), Ink::Target);
    let triggers = rows.iter().any(|row| matches!(row.who, Contestant::Tenantmig { capture: true, .. }));
    let with = if triggers { " tenantmig has the triggers on that keep live writes in step." } else { "" };
    let line = format!("target.{with} CREATE TABLE AS is the limit of a rewrite, and admits no live writes.");
    drawing.text((30.0, y), Anchor::Start, (11.5, false), Ink::Faint, &line);
}
