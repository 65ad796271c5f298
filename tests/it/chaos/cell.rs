//! One cell: a run, the fault at its point, everything that it takes to come to the end, and what must hold then.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::harness::{Output, Proxy, Running, Tool};

use super::Way;
use super::application::{Application, Receipts};
use super::fault::{Fault, Scene};
use super::ground::{Ground, PLAN};
use super::laws::{Judgement, Undisturbed};
use super::point::{Mark, Moment, Point, Subject};
use super::spotter::{Found, Trace, watch};
use super::table::Outcome;

/// Commands until the end, the first included. Each may find the lease held by what the last one left.
const RUNS_MAX: usize = 12;
/// What a cell may take in all: silence is noticed by deadlines of some seconds, and the lease lasts 30 s.
const CELL_MAX: Duration = Duration::from_secs(240);
const RUN_MAX: Duration = Duration::from_secs(150);
const POLL: Duration = Duration::from_millis(3);
/// Between two commands while the lease is held.
const HELD_PAUSE: Duration = Duration::from_millis(1_500);

/// What is tried.
#[derive(Debug, Clone)]
pub struct Cell {
    /// Its place in the order of the seed.
    pub number: usize,
    pub way: Way,
    pub point: Point,
    pub fault: Fault,
    /// Strikes after the first, at the n-th event from then on.
    pub second: Option<(Fault, Point)>,
    /// The command is given again instead of `resume`.
    pub again: bool,
    /// Then the way back, and the same rollback once more.
    pub back: bool,
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { number, way, point, fault, second, again, back } = self;
        write!(f, "cell {number}, {}: {} at: {point}", way.words(), fault.words())?;
        if let Some((fault, point)) = second {
            write!(f, "; then {} at {point}", fault.words())?;
        }
        write!(f, "; then {}", if *again { "the same command" } else { "resume" })?;
        if *back { f.write_str(", and back") } else { Ok(()) }
    }
}

/// A cell under way.
struct Course<'a> {
    cell: &'a Cell,
    ground: &'a mut Ground,
    database: String,
    trace: Trace,
    outs: Vec<Output>,
    faults: u32,
}

impl Cell {
    /// As [`Cell::run`], on a ground that is made for it; where it cannot be made the cell has failed, and no more.
    pub fn run_on(&self, make: impl FnOnce() -> Ground, undisturbed: &Undisturbed, dir: &Path) -> Outcome {
        match catch_unwind(AssertUnwindSafe(make)) {
            Ok(mut ground) => self.run(&mut ground, undisturbed, dir),
            Err(_) => Outcome { faults: 0, resumes: 0, result: Err("its servers did not start; see above".to_owned()) },
        }
    }

    /// Tries it; what a failure leaves to look at is written into `dir`.
    pub fn run(&self, ground: &mut Ground, undisturbed: &Undisturbed, dir: &Path) -> Outcome {
        let database = ground.database(self.way);
        let trace = Trace::default();
        let mut course = Course { cell: self, ground, database, trace: trace.clone(), outs: Vec::new(), faults: 0 };
        let result = catch_unwind(AssertUnwindSafe(|| course.whole(undisturbed)));
        let result = result.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            Err(text.or_else(|| panic.downcast_ref::<&str>().map(|t| (*t).to_owned())).unwrap_or_default())
        });
        let Course { outs, faults, database, .. } = course;
        // A cell that is run alone is looked at.
        if result.is_err() || std::env::var_os("CHAOS_CELL").is_some_and(|cell| !cell.is_empty()) {
            let why = result.as_ref().map_or_else(String::as_str, |()| "survived");
            std::fs::create_dir_all(dir).unwrap();
            let trace: Vec<String> = trace.lock().unwrap().iter().cloned().collect();
            std::fs::write(dir.join("trace.txt"), trace.join("\n")).unwrap();
            let outs: Vec<String> = outs.iter().map(Output::to_string).collect();
            let events = ground.try_one::<Option<String>>(
                &database,
                "SELECT string_agg(number || ' ' || epoch || ' ' || kind || ' ' || event::text, E'\\n' ORDER BY number) FROM tenantmig.events",
            );
            let text = format!(
                "{self}\n\n{why}\n\n{}\n\nevents:\n{}\n",
                outs.join("\n\n"),
                events.ok().flatten().unwrap_or_default()
            );
            std::fs::write(dir.join("why.txt"), text).unwrap();
        }
        // A server that did not come back takes its database along.
        let _gone = catch_unwind(AssertUnwindSafe(|| ground.drop_database(&database)));
        Outcome { faults, resumes: u32::try_from(outs.len().saturating_sub(1)).unwrap(), result }
    }
}

impl Course<'_> {
    fn whole(&mut self, undisturbed: &Undisturbed) -> Result<(), String> {
        let receipts = {
            let application = Application::start(self.ground, &self.database);
            let proxy = Proxy::to(self.ground.port.load(std::sync::atomic::Ordering::SeqCst));
            self.end(&proxy, undisturbed)?;
            application.end()
        };
        let faults_seen = self.faults;
        if faults_seen == 0 {
            return Err("the point never came".to_owned());
        }
        self.judge(undisturbed, self.cell.way, &receipts)?;
        if !self.cell.back {
            return Ok(());
        }
        if self.cell.way == Way::Up {
            let out = self.command(Way::Down, true, None).spawn().wait();
            if out.code != 0 {
                return Err(format!("the way back:\n{out}"));
            }
            self.judge(undisturbed, Way::Down, &Receipts::default())?;
        }
        let out = self.command(Way::Down, true, None).spawn().wait();
        if out.code != 0 || !out.stdout.contains("nothing to undo") {
            return Err(format!("the same rollback once more:\n{out}"));
        }
        self.judge(undisturbed, Way::Down, &Receipts::default())
    }

    fn judge(&self, undisturbed: &Undisturbed, way: Way, receipts: &Receipts) -> Result<(), String> {
        Judgement { ground: self.ground, database: &self.database, undisturbed }.holds(way, receipts)
    }

    /// Command after command until one says that it is done, with the faults on the way.
    fn end(&mut self, proxy: &Proxy, undisturbed: &Undisturbed) -> Result<(), String> {
        let cell = self.cell;
        let begun = Instant::now();
        let mut faults: VecDeque<(Fault, Point)> = [(cell.fault, cell.point.clone())].into();
        faults.extend(cell.second.clone());
        let mut told = watch(proxy, &cell.point, &self.trace);
        // A run is over before its first heartbeat: here it has to wait for a lock until then.
        let mut lock = match cell.point.subject {
            Subject::Statement(Mark::Heartbeat, _) => {
                self.ground.holding(&self.database, "LOCK TABLE app.users, app.trades IN SHARE MODE")
            }
            Subject::Statement(..) | Subject::Event { .. } | Subject::Some(_) => None,
        };
        for number in 0..RUNS_MAX {
            let mut run = self.command(cell.way, number == 0 || self.repeats(), Some(proxy)).spawn();
            let started = Instant::now();
            loop {
                let ended = run.has_ended();
                if let Ok(found) = told.try_recv() {
                    let (fault, point) = faults.pop_front().expect("a fault for each point");
                    self.strike(proxy, &mut run, fault, &point, &found);
                    lock = None;
                    let next = faults.front().map_or(NOWHERE, |(_, point)| point.clone());
                    told = watch(proxy, &next, &self.trace);
                }
                if ended {
                    break;
                }
                if started.elapsed() > RUN_MAX || begun.elapsed() > CELL_MAX {
                    run.signal(crate::harness::Signal::KILL);
                    self.outs.push(run.wait());
                    return Err("it does not come to an end".to_owned());
                }
                std::thread::sleep(POLL);
            }
            let out = run.wait();
            self.outs.push(out.clone());
            if self.is_done(&out)? {
                drop(lock);
                return Ok(());
            }
            self.half_way(undisturbed)?;
            if out.code == 75 {
                std::thread::sleep(HELD_PAUSE);
            }
        }
        Err(format!("not done after {RUNS_MAX} commands"))
    }

    fn strike(&mut self, proxy: &Proxy, run: &mut Running, fault: Fault, point: &Point, found: &Found) {
        let text = format!("--- {} at {} of {}: {}", fault.words(), point, found.application, found.at);
        self.trace.lock().unwrap().push_back(text);
        self.faults += 1;
        Scene { ground: self.ground, database: &self.database, proxy, run }.strike(fault, point, found);
        self.trace.lock().unwrap().push_back("--- done".to_owned());
    }

    /// Where a process was killed, nobody is at work until the next command. (A session that was cut off otherwise may be.)
    fn half_way(&self, undisturbed: &Undisturbed) -> Result<(), String> {
        match (self.cell.fault, self.cell.way) {
            (Fault::Kill, Way::Up) => {
                let judgement = Judgement { ground: self.ground, database: &self.database, undisturbed };
                judgement.holds_half_way().map_err(|why| format!("half-way: {why}"))
            }
            (_, Way::Up | Way::Down) => Ok(()),
        }
    }

    /// Whether the command met its request. An interruption may end it, nothing else.
    fn is_done(&self, out: &Output) -> Result<bool, String> {
        if out.stderr.contains("panicked") || out.stdout.contains("panicked") {
            return Err(format!("it panicked:\n{out}"));
        }
        match out.code {
            // `resume` of a run for whose rollback nobody has asked yet is done at once.
            0 => Ok(self.cell.way == Way::Up || self.rollback_is_asked_for()),
            69 | 75 | 137 => Ok(false),
            code => Err(format!("an interruption ended it with {code}:\n{out}")),
        }
    }

    fn rollback_is_asked_for(&self) -> bool {
        self.asks("SELECT EXISTS (SELECT FROM tenantmig.events WHERE kind = 'rollback_requested')")
    }

    /// Whether the command has to be given again, because the ledger does not have it yet, or because the cell says so.
    fn repeats(&self) -> bool {
        let known = match self.cell.way {
            Way::Up => self.asks("SELECT count(*) > 0 FROM tenantmig.runs"),
            Way::Down => self.rollback_is_asked_for(),
        };
        self.cell.again || !known
    }

    fn asks(&self, query: &str) -> bool {
        self.ground.try_one(&self.database, query).unwrap_or(false)
    }

    /// The command of this way itself, or `resume`; through the proxy where there is one.
    fn command(&self, way: Way, itself: bool, proxy: Option<&Proxy>) -> Tool {
        let url = proxy.map_or_else(|| self.ground.url(&self.database), |proxy| proxy.url(&self.database));
        let tool = Tool::without_database().url(&format!("{url}?connect_timeout=2")).timeout(RUN_MAX);
        match (way, itself) {
            (_, false) => tool.args(["resume"]),
            (Way::Up, true) => {
                tool.file("plan.toml", PLAN);
                tool.args(["apply", "plan.toml", "--yes"])
            }
            (Way::Down, true) => {
                tool.args(["rollback", "--to", "start", "--yes", "--confirm", &self.database, "--accept-exposure"])
            }
        }
    }
}

/// Nothing strikes any more; what passes is still kept.
const NOWHERE: Point = Point { subject: Subject::Some(u32::MAX), moment: Moment::Unwritten };
