//! What can be asked for on the command line.

use std::path::PathBuf;

use clap::Parser;

use crate::contestant::Contestant;

/// Measures the backfill against what people do instead. Read ratios, not times: benches/README.md.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench backfill --", max_term_width = 100)]
pub struct Options {
    /// Rows of the table, one size after another; `none` leaves this part out
    #[arg(long, value_delimiter = ',', default_value = "1M", value_parser = size)]
    pub rows: Vec<u64>,
    /// How often each contestant runs, in turns
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=20))]
    pub rounds: u32,
    /// Decides the data, the order of the runs and the rows that the traffic takes
    #[arg(long, default_value_t = 42)]
    pub seed: u32,
    /// Only these contestants
    #[arg(long, value_delimiter = ',', default_values_t = Contestant::ALL)]
    pub only: Vec<Contestant>,
    /// Where the report, the raw figures and the picture go [default: target/bench]
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// The least time of each run under traffic, in seconds; 0 leaves this part out
    #[arg(long, default_value_t = 20, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=600))]
    pub traffic_seconds: u64,
    /// Rows of the table under traffic
    #[arg(long, default_value = "800k", value_name = "ROWS", value_parser = size)]
    pub traffic_rows: u64,
    /// After this a run is cut short, in seconds [default: 300, and 1 more for every 20,000 rows]
    #[arg(long, value_name = "SECONDS")]
    pub run_seconds: Option<u64>,
    /// The directory of the server's programs [default: the newest that is found]
    #[arg(long, value_name = "FOLDER", env = "TENANTMIG_PG_BINDIR")]
    pub bindir: Option<PathBuf>,
    /// Measure nothing: report on the raw figures of earlier runs on the same machine
    #[arg(long, value_delimiter = ',', value_name = "FILE")]
    pub report: Vec<PathBuf>,
    /// cargo passes it to every benchmark
    #[arg(long, hide = true)]
    pub bench: bool,
}

/// As 200000, 200k or 5M; `none` is kept as no rows at all.
fn size(text: &str) -> Result<u64, String> {
    if text == "none" {
        return Ok(0);
    }
    let (digits, unit) =
        match text.strip_suffix('M').map(|n| (n, 1_000_000)).or(text.strip_suffix('k').map(|n| (n, 1_000))) {
            Some((digits, unit)) => (digits.to_owned(), unit),
            None => (text.replace('_', ""), 1),
        };
    let count = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(unit));
    let rows = count.ok_or("a number of rows such as 200000, 200k or 5M, or `none`")?;
    if rows < ROWS_MIN { Err(format!("at least {ROWS_MIN} rows, or nothing is measured")) } else { Ok(rows) }
}

/// Below this a run takes milliseconds, and the kernel counts processor time in hundredths of a second.
const ROWS_MIN: u64 = 10_000;

impl Options {
    /// The sizes that were asked for.
    pub fn sizes(&self) -> Vec<u64> {
        self.rows.iter().copied().filter(|rows| *rows > 0).collect()
    }

    /// When a run over `rows` rows is cut short, in seconds.
    pub fn deadline_seconds(&self, rows: u64) -> u64 {
        const BASE_SECONDS: u64 = 300;
        /// A fifth of what the big UPDATE does on two cores: slower than that nobody waits for.
        const ROWS_A_SECOND_MIN: u64 = 20_000;
        self.run_seconds.unwrap_or(BASE_SECONDS + rows / ROWS_A_SECOND_MIN)
    }

    /// Where the results go.
    pub fn out(&self) -> PathBuf {
        self.out.clone().unwrap_or_else(|| target_folder().join("bench"))
    }
}

/// The folder that cargo builds into: it names the one for temporary files of benchmarks, which is below it.
pub fn target_folder() -> PathBuf {
    let temporary = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    temporary.parent().map_or(temporary.clone(), PathBuf::from)
}
