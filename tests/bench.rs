//! The arithmetic of the benchmark: percentiles, medians, ratios within a round, whose turn it is. Its runs are not tested here;
//! they measure, and nothing about time is asserted anywhere.

#![allow(clippy::unwrap_used, clippy::expect_used, dead_code)]

#[path = "../benches/backfill/band.rs"]
mod band;
#[path = "../benches/backfill/contestant.rs"]
mod contestant;
#[path = "../benches/backfill/figures.rs"]
mod figures;
#[path = "../benches/backfill/order.rs"]
mod order;
#[path = "../benches/backfill/words.rs"]
mod words;

use band::{Band, ratio, speed, wal};
use contestant::Contestant;
use figures::{Head, Outcome, Run, Session, Size, Spread};

const OURS: Contestant = Contestant::Tenantmig { workers: 1, capture: false };

fn run(contestant: Contestant, round: u32, seconds: f64) -> Run {
    Run {
        contestant,
        rows: 100,
        round,
        outcome: Outcome::Done,
        rows_done: 100,
        seconds,
        wall_seconds: seconds,
        server_cpu_seconds: None,
        others_cores: None,
        wal_bytes: 700,
        before: Size::default(),
        after: Size::default(),
        updates: 0,
        hot_updates: 0,
        tool: None,
        batches: None,
        throttled_seconds: None,
        checkpoint_seconds: 0.0,
    }
}

fn session(runs: Vec<Run>) -> Session {
    let text = String::new;
    let head = Head {
        at: text(),
        tool: text(),
        server: text(),
        machine: text(),
        disk: text(),
        load: text(),
        seed: 0,
        rounds: 0,
        settings: Vec::new(),
    };
    Session { head, runs, traffic: Vec::new() }
}

#[test]
fn percentiles_are_by_nearest_rank() {
    let check = |values: Vec<f64>, expect: Option<(f64, f64, f64, f64)>| {
        assert_eq!(Spread::of(values).map(|s| (s.p50, s.p95, s.p99, s.max)), expect);
    };
    check(vec![], None);
    check(vec![7.0], Some((7.0, 7.0, 7.0, 7.0)));
    check((1..=100).rev().map(f64::from).collect(), Some((50.0, 95.0, 99.0, 100.0)));
    check((1..=1000).map(f64::from).collect(), Some((500.0, 950.0, 990.0, 1000.0)));
}

#[test]
fn a_band_is_a_median_between_its_limits() {
    let check = |values: &[f64], expect: Option<(f64, f64, f64)>| {
        assert_eq!(Band::of(values.to_vec()).map(|b| (b.median, b.min, b.max)), expect);
    };
    check(&[], None);
    check(&[3.0, 1.0, 10.0], Some((3.0, 1.0, 10.0)));
    check(&[1.0, 2.0], Some((1.5, 1.0, 2.0)));
    let show = |values: &[f64]| Band::of(values.to_vec()).unwrap().show(words::times);
    assert_eq!((show(&[1.0]), show(&[1.0, 1.5, 1.1])), ("1.00".to_owned(), "1.10 (1.00–1.50)".to_owned()));
}

#[test]
fn ratios_are_taken_within_a_round_of_a_session() {
    // The machine got twice as slow in the second round, and again in the second session; nobody's ratio changes by that.
    let first = [(Contestant::Big, 1, 10.0), (OURS, 1, 8.0), (OURS, 2, 16.0), (Contestant::Big, 2, 20.0)];
    let second = [(Contestant::Big, 1, 40.0), (OURS, 1, 32.0)];
    let session = |runs: &[(Contestant, u32, f64)]| session(runs.iter().map(|(c, r, s)| run(*c, *r, *s)).collect());
    let mut sessions = [session(&first), session(&second)];
    let all = |sessions: &[Session]| ratio(sessions, (OURS, Contestant::Big), 100, speed).unwrap();
    assert_eq!(all(&sessions), Band { median: 1.25, min: 1.25, max: 1.25 });
    assert_eq!(ratio(&sessions, (OURS, Contestant::Big), 100, wal).unwrap().median, 1.0);
    // A run that failed is neither measured nor compared with.
    sessions[0].runs[0].outcome = Outcome::Failed("x".to_owned());
    sessions[0].runs[2].seconds = 10.0;
    assert_eq!(all(&sessions), Band { median: 1.625, min: 1.25, max: 2.0 });
    assert_eq!(ratio(&sessions, (OURS, Contestant::Psql), 100, speed), None);
}

#[test]
fn each_has_one_turn_a_round_and_begins_another_time() {
    let turns = order::turns(&Contestant::ALL, 3, 42);
    let round = |round: u32| turns.iter().filter(|(r, _)| *r == round).map(|(_, who)| *who).collect::<Vec<_>>();
    let sorted = |mut all: Vec<Contestant>| {
        all.sort();
        all
    };
    for number in 1..=3 {
        assert_eq!(sorted(round(number)), sorted(Contestant::ALL.to_vec()));
    }
    assert_ne!(round(1)[0], round(2)[0]);
    assert_ne!(order::turns(&Contestant::ALL, 1, 1), order::turns(&Contestant::ALL, 1, 2));
    assert_eq!(order::turns(&Contestant::ALL, 3, 42), turns);
}

#[test]
fn names_are_read_as_they_are_written() {
    for who in Contestant::ALL {
        assert_eq!(who.to_string().parse(), Ok(who));
    }
    assert!("tenantmig-3".parse::<Contestant>().unwrap_err().contains("tenantmig-2-capture"));
}

#[test]
fn figures_are_short() {
    let thousands = [7.4, 999.0, 1_000.0, 98_412.3].map(words::thousands);
    assert_eq!(thousands, ["7", "999", "1,000", "98,412"]);
    assert_eq!([0.042, 4.26, 12.64, 318.4, 9_149.0].map(words::short), ["0.04", "4.3", "12.6", "318", "9,149"]);
    assert_eq!([200_000, 1_000_000, 2_500_000, 12_345].map(words::rows), ["200k", "1M", "2.5M", "12345"]);
}
