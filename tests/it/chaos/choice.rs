//! Which cells there are, and in which order a seed takes them.

use std::collections::HashMap;

use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};

use super::Way;
use super::cell::Cell;
use super::fault::Fault;
use super::point::{Mark, Moment, Point, Subject};

/// Of so many cells one is struck a second time.
const SECOND_EVERY: u32 = 4;
/// The second fault comes within so many events.
const SECOND_WITHIN: u32 = 8;

/// Every cell: points by faults by ways, in the order of the seed. Each beginning of it is spread evenly.
pub fn cells(seed: u64, events: &HashMap<Way, Vec<(String, String)>>) -> Vec<Cell> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut all = Vec::new();
    for way in Way::ALL {
        for point in points(way, &events[&way]) {
            let fitting = Fault::ALL.into_iter().filter(|fault| fault.fits(point.moment));
            all.extend(fitting.map(|fault| (way, point.clone(), fault)));
        }
    }
    all.shuffle(&mut random);
    let ordered = spread(all);
    let cell = |(number, (way, point, fault)): (usize, (Way, Point, Fault))| {
        let second = random.random_ratio(1, SECOND_EVERY).then(|| second(&mut random));
        let (again, back) = (random.random(), random.random());
        Cell { number, way, point, fault, second, again, back }
    };
    ordered.into_iter().enumerate().map(cell).collect()
}

fn second(random: &mut StdRng) -> (Fault, Point) {
    let light: Vec<Fault> = Fault::ALL.into_iter().filter(|fault| fault.is_light()).collect();
    let fault = light[random.random_range(0..light.len())];
    let moments: Vec<Moment> = Moment::OF_EVENTS.into_iter().filter(|moment| fault.fits(*moment)).collect();
    let moment = moments[random.random_range(0..moments.len())];
    (fault, Point { subject: Subject::Some(random.random_range(1..=SECOND_WITHIN)), moment })
}

fn points(way: Way, events: &[(String, String)]) -> Vec<Point> {
    let mut points = Vec::new();
    for (kind, what) in events {
        let subject = Subject::Event { kind: kind.clone(), what: what.clone() };
        points.extend(Moment::OF_EVENTS.map(|moment| Point { subject: subject.clone(), moment }));
    }
    for (mark, numbers) in Mark::all(way) {
        for number in *numbers {
            let subject = Subject::Statement(*mark, *number);
            points.extend(Moment::OF_STATEMENTS.map(|moment| Point { subject: subject.clone(), moment }));
        }
    }
    points
}

type Bare = (Way, Point, Fault);

/// Next is always what was chosen least: by fault and way, then by row of the table, then by the point itself.
fn spread(mut all: Vec<Bare>) -> Vec<Bare> {
    let (mut by_fault, mut by_row, mut by_point) = (HashMap::new(), HashMap::new(), HashMap::new());
    let mut ordered = Vec::with_capacity(all.len());
    while !all.is_empty() {
        let weight = |(way, point, fault): &Bare| {
            let uses = |count: Option<&u32>| count.copied().unwrap_or(0);
            let row = by_row.get(&(*way, point.row()));
            (uses(by_fault.get(&(*way, *fault))), uses(row), uses(by_point.get(&(*way, point.clone()))))
        };
        let best = (0..all.len()).min_by_key(|at| weight(&all[*at])).unwrap_or(0);
        let bare = all.swap_remove(best);
        let (way, point, fault) = &bare;
        *by_fault.entry((*way, *fault)).or_default() += 1;
        *by_row.entry((*way, point.row())).or_default() += 1;
        *by_point.entry((*way, point.clone())).or_default() += 1;
        ordered.push(bare);
    }
    ordered
}
