//! What the backfill is meant to reach, beside what it does. A verdict for people: nothing fails by it.

use crate::band::{self, Band, Metric, band, ratio, runs, sizes};
use crate::contestant::Contestant;
use crate::figures::{Session, Spread};
use crate::markdown::Table;
use crate::words::{percent, times};

/// From this size on the targets are meant.
pub const ROWS_MEANT: u64 = 5_000_000;

#[derive(Debug, Clone, Copy)]
enum Limit {
    AtLeast(f64),
    AtMost(f64),
}

/// One target of a size.
#[derive(Debug)]
struct Target {
    text: &'static str,
    workers: u8,
    limit: Limit,
    what: What,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Ratio(Contestant, Metric),
    Own(Metric, fn(f64) -> String),
}

const fn ratio_of(text: &'static str, workers: u8, limit: Limit, to: Contestant, metric: Metric) -> Target {
    Target { text, workers, limit, what: What::Ratio(to, metric) }
}

const fn own(text: &'static str, workers: u8, limit: Limit, metric: Metric, show: fn(f64) -> String) -> Target {
    Target { text, workers, limit, what: What::Own(metric, show) }
}

const TARGETS: &[Target] = &[
    ratio_of("1 worker: speed ≥ 1.0 × big", 1, Limit::AtLeast(1.0), Contestant::Big, band::speed),
    ratio_of("2 workers: speed ≥ 1.4 × big", 2, Limit::AtLeast(1.4), Contestant::Big, band::speed),
    ratio_of("1 worker: speed ≥ 2 × Alembic", 1, Limit::AtLeast(2.0), Contestant::Alembic, band::speed),
    ratio_of("1 worker: WAL ≤ 0.6 × big", 1, Limit::AtMost(0.6), Contestant::Big, band::wal),
    ratio_of("2 workers: WAL ≤ 0.6 × big", 2, Limit::AtMost(0.6), Contestant::Big, band::wal),
    own("1 worker: size after ≤ 1.2 × before", 1, Limit::AtMost(1.2), band::size, times),
    own("2 workers: size after ≤ 1.2 × before", 2, Limit::AtMost(1.2), band::size, times),
    own("1 worker: its own CPU < 3 % of the server's", 1, Limit::AtMost(3.0), band::tool_share, percent),
    own("2 workers: its own CPU < 3 % of the server's", 2, Limit::AtMost(3.0), band::tool_share, percent),
];

/// The targets are meant with the triggers; without such a run, the one without them stands in.
fn ours(sessions: &[Session], workers: u8, rows: u64) -> Contestant {
    let with = Contestant::Tenantmig { workers, capture: true };
    if runs(sessions, with, rows).next().is_some() { with } else { Contestant::Tenantmig { workers, capture: false } }
}

fn verdict(limit: Limit, value: f64) -> &'static str {
    let met = match limit {
        Limit::AtLeast(least) => value >= least,
        Limit::AtMost(most) => value <= most,
    };
    if met { "met" } else { "**missed**" }
}

/// A row a target, a column a size.
pub fn targets(sessions: &[Session]) -> Table {
    let sizes = sizes(sessions);
    let mut table =
        Table::new(["target"].map(String::from).into_iter().chain(sizes.iter().map(|r| crate::words::rows(*r))));
    for target in TARGETS {
        let cell = |rows: u64| {
            let who = ours(sessions, target.workers, rows);
            let (found, show): (Option<Band>, fn(f64) -> String) = match target.what {
                What::Ratio(to, metric) => (ratio(sessions, (who, to), rows, metric), times),
                What::Own(metric, show) => (band(sessions, who, rows, metric), show),
            };
            found.map_or("–".to_owned(), |f| format!("{} {}", f.show(show), verdict(target.limit, f.median)))
        };
        table.row([target.text.to_owned()].into_iter().chain(sizes.iter().map(|rows| cell(*rows))));
    }
    table
}

/// A figure of one worker over the sizes: its greatest as a multiple of its least must stay below `most`.
pub fn flat(sessions: &[Session], metric: Metric, most: f64) -> Option<String> {
    let one = Contestant::Tenantmig { workers: 1, capture: false };
    let medians: Vec<f64> =
        sizes(sessions).iter().filter_map(|rows| band(sessions, one, *rows, metric)).map(|b| b.median).collect();
    let band = Band::of(medians.clone()).filter(|_| medians.len() > 1)?;
    let worst = band.max / band.min;
    Some(format!("{} {}", times(worst), verdict(Limit::AtMost(most), worst)))
}

/// Of writers beside the backfill: 99 in 100 wait 5 ms at most, and nobody 20 ms.
pub fn writers(spread: &Spread) -> String {
    const P99_MS_MAX: f64 = 5.0;
    const WORST_MS_MAX: f64 = 20.0;
    let (p99, worst) = (Limit::AtMost(P99_MS_MAX), Limit::AtMost(WORST_MS_MAX));
    format!("p99 ≤ 5 ms {}, worst ≤ 20 ms {}", verdict(p99, spread.p99), verdict(worst, spread.max))
}
