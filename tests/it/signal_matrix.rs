//! A signal at every kind of unit, while it waits and while it works: the end comes within 10 s with the promised code, status
//! names the next command, nothing is held any more, and resume finishes what was begun. One row a moment.

mod moments;
mod others;

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::harness::{Output, Running, Signal, block_on};
use crate::scene::{Scene, plan};

/// What is promised, from the first signal on.
pub const END_MAX: Duration = Duration::from_secs(10);
/// Between two signals: sooner they may be delivered as one.
const BETWEEN: Duration = Duration::from_millis(300);

/// A moment of a run.
pub struct Moment {
    pub name: &'static str,
    pub phases: Vec<String>,
    pub safety: &'static str,
    pub users: u32,
    /// Prepares the database; what it returns holds its locks until the run has ended.
    pub arrange: fn(&Scene) -> Vec<Client>,
    /// Everything is applied first, and the moment is one of its rollback.
    pub back: bool,
    /// Returns when the run is at the moment.
    pub reach: fn(&Scene, &mut Running),
    /// Takes away what kept it there.
    pub free: fn(&Scene),
}

/// What is sent, and the exit code that it leads to.
const SENT: [(&[Signal], i32); 6] = [
    (&[Signal::TERM], 143),
    (&[Signal::INT], 130),
    (&[Signal::HUP], 143),
    (&[Signal::TERM, Signal::TERM], 143),
    (&[Signal::INT, Signal::TERM], 130),
    (&[Signal::HUP, Signal::INT], 143),
];

/// Sends the signals; the end must come in time and with the code of the first.
#[track_caller]
pub fn end(mut run: Running, signals: &[Signal], code: i32) -> Output {
    let begun = Instant::now();
    run.signal(signals[0]);
    for signal in &signals[1..] {
        std::thread::sleep(BETWEEN);
        run.signal_if_running(*signal);
    }
    let out = run.wait().expect_code(code).nowhere_has("panicked");
    assert!(begun.elapsed() < END_MAX, "{signals:?} took {:?}:\n{out}", begun.elapsed());
    out
}

/// No session of the tool is left, and with it no lock.
#[track_caller]
pub fn nobody_left(scene: &Scene) {
    scene.wait_until(
        "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tenantmig%')",
    );
}

impl Moment {
    /// With each signal, at once: most of the time is spent waiting.
    pub fn check(&self) {
        // Each signal once over the table, all of them where what they meet is common.
        let all = ["backfill", "ddl_waits"].contains(&self.name);
        let odd = self.name.len() % 2;
        let chosen = SENT.iter().enumerate().filter(|(n, _)| all || [0, 1 + odd, 3 + 2 * odd].contains(n));
        std::thread::scope(|scope| {
            let runs: Vec<_> =
                chosen.map(|(n, (signals, code))| scope.spawn(move || self.once(n, signals, *code))).collect();
            for run in runs {
                if let Err(panic) = run.join() {
                    std::panic::resume_unwind(panic);
                }
            }
        });
    }

    fn once(&self, number: usize, signals: &[Signal], code: i32) {
        let scene = Scene::new(&format!("{}{number}", self.name), self.users);
        let phases: Vec<&str> = self.phases.iter().map(String::as_str).collect();
        let plan = plan(self.safety, &phases);
        if self.back {
            let _ = scene.apply(&plan).expect_code(0);
        }
        let holders = (self.arrange)(&scene);
        let mut run = if self.back {
            scene.tool().args(["rollback", "--to", "start", "--yes", "--confirm", scene.db.name()]).spawn()
        } else {
            scene.applying(&plan).spawn()
        };
        (self.reach)(&scene, &mut run);
        let _ = end(run, signals, code).stderr_has("everything done so far is kept").stderr_has("tenantmig resume");
        (self.free)(&scene);
        drop(holders);
        nobody_left(&scene);
        scene.stands(if self.back { "stopped while rolling back" } else { "stopped half-way" });
        let _ = scene.run("repair").expect_code(0);
        let _ = scene.run("resume").expect_code(0);
        scene.stands(if self.back { "rolled back" } else { "completed" });
        scene.no_wreck();
        scene.verified();
    }
}

/// Statements on the server's own database: for what cannot be done from within.
pub fn elsewhere(scene: &Scene, sql: &str) {
    let (url, sql) = (scene.db.url().replace(scene.db.name(), "postgres"), sql.to_owned());
    block_on(async move {
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute(&sql).await.unwrap();
    });
}
