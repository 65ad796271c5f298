//! What goes wrong, and how it is done to the message that is held.

use std::time::{Duration, Instant};

use crate::harness::{Fate, Path, Proxy, Running, Signal};

use super::ground::{Ground, run};
use super::point::{Mark, Moment, Point, Subject};
use super::spotter::Found;

/// Length of a short interruption of the whole way.
const HOLE: Duration = Duration::from_secs(3);
/// How long the server may take to finish, or to begin, what is under way.
const SETTLE_MAX: Duration = Duration::from_secs(8);
const BEGUN_MAX: Duration = Duration::from_millis(300);
const POLL: Duration = Duration::from_millis(4);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// SIGKILL for tenantmig.
    Kill,
    /// pg_terminate_backend of the session at the point.
    Terminate,
    /// pg_terminate_backend of all sessions of tenantmig.
    TerminateAll,
    /// The session's connection is reset.
    Reset,
    /// The statement arrives, its answer is lost with the connection.
    LoseAnswer,
    /// Nothing of the session's connection arrives any more, and nobody is told.
    Mute,
    /// As before, and the server never learns that the client gave the session up.
    Abandon,
    /// Nothing arrives on any connection for a while.
    Hole,
    /// kill -9 of the server, which comes back.
    ServerKill,
    /// The server dies, and its replica is promoted.
    FailOver,
}

impl Fault {
    pub const ALL: [Self; 10] = [
        Self::Kill,
        Self::Terminate,
        Self::TerminateAll,
        Self::Reset,
        Self::LoseAnswer,
        Self::Mute,
        Self::Abandon,
        Self::Hole,
        Self::ServerKill,
        Self::FailOver,
    ];

    pub fn words(self) -> &'static str {
        match self {
            Self::Kill => "SIGKILL",
            Self::Terminate => "backend terminated",
            Self::TerminateAll => "all backends terminated",
            Self::Reset => "connection reset",
            Self::LoseAnswer => "answer lost",
            Self::Mute => "session in a black hole",
            Self::Abandon => "black hole, server not told",
            Self::Hole => "all in a black hole, 3 s",
            Self::ServerKill => "server kill -9",
            Self::FailOver => "failover",
        }
    }

    /// Whether it means something at this moment that another moment does not have already.
    pub fn fits(self, moment: Moment) -> bool {
        // The answer of the COMMIT is what the next moment loses, of a statement that was not sent there is none.
        self != Self::LoseAnswer || !matches!(moment, Moment::Uncommitted | Moment::UnderWay | Moment::Unsent)
    }

    /// Whether it can strike twice in a row without a server of its own.
    pub fn is_light(self) -> bool {
        matches!(self, Self::Kill | Self::Terminate | Self::TerminateAll | Self::Reset | Self::LoseAnswer)
    }
}

/// Everything that a fault is done to.
pub struct Scene<'a> {
    pub ground: &'a mut Ground,
    pub database: &'a str,
    pub proxy: &'a Proxy,
    pub run: &'a mut Running,
}

impl Scene<'_> {
    /// Lets the message go as far as the moment says, then does it.
    pub fn strike(&mut self, fault: Fault, point: &Point, found: &Found) {
        let conn = found.connection;
        let loses = fault == Fault::LoseAnswer;
        let mut in_the_way = None;
        let withheld = match point.moment {
            Moment::UnderWay => {
                let lock = match &point.subject {
                    Subject::Statement(mark, _) => makes_wait(*mark),
                    Subject::Event { .. } | Subject::Some(_) => None,
                };
                in_the_way = lock.map(|lock| self.ground.holding(self.database, lock));
                self.proxy.decide(conn, Fate::Withhold);
                let sign = if lock.is_some() { "wait_event_type = 'Lock'" } else { "state = 'active'" };
                self.wait(BEGUN_MAX, &format!("SELECT {sign} FROM ({}) a", of(found)));
                true
            }
            Moment::Unacknowledged | Moment::Unanswered => {
                self.proxy.decide(conn, Fate::Withhold);
                self.settle(found);
                true
            }
            Moment::Unwritten | Moment::Uncommitted | Moment::Acknowledged | Moment::Unsent if loses => {
                self.proxy.decide(conn, Fate::Withhold);
                self.settle(found);
                true
            }
            Moment::Unwritten | Moment::Uncommitted | Moment::Acknowledged | Moment::Unsent => false,
        };
        self.perform(fault, found, withheld);
        drop(in_the_way);
    }

    fn perform(&mut self, fault: Fault, found: &Found, withheld: bool) {
        let conn = found.connection;
        match fault {
            Fault::Kill => {
                // It may have ended by itself at its last message.
                if !self.run.has_ended() {
                    self.run.signal(Signal::KILL);
                }
                self.proxy.decide(conn, Fate::Close);
            }
            Fault::Terminate | Fault::TerminateAll => {
                let all = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tenantmig%'";
                let who = if fault == Fault::Terminate {
                    format!("SELECT pid FROM ({}) a", of(found))
                } else {
                    all.to_owned()
                };
                let _gone_already =
                    run(&self.ground.url(self.database), &format!("SELECT pg_terminate_backend(pid) FROM ({who}) w"));
                self.wait(SETTLE_MAX, &format!("SELECT NOT EXISTS ({})", of(found)));
                // What the server said at the end was for a session whose answers are withheld.
                self.proxy.decide(conn, if withheld { Fate::Close } else { Fate::Go });
            }
            Fault::Reset | Fault::LoseAnswer => self.proxy.decide(conn, Fate::Reset),
            Fault::Mute => self.proxy.decide(conn, Fate::Silence),
            Fault::Abandon => self.proxy.decide(conn, Fate::Abandon),
            Fault::Hole => {
                self.proxy.set(Path::BlackHole);
                self.proxy.decide(conn, Fate::Go);
                std::thread::sleep(HOLE);
                self.proxy.set(Path::Open);
            }
            Fault::ServerKill => {
                self.ground.kill_and_restart(Duration::from_millis(u64::from(found.port) % 1_200));
                self.proxy.decide(conn, Fate::Close);
            }
            Fault::FailOver => {
                self.ground.fail_over(self.proxy);
                self.proxy.decide(conn, Fate::Close);
            }
        }
    }

    /// Until the session at the point has nothing more to do.
    fn settle(&self, found: &Found) {
        std::thread::sleep(POLL * 3);
        self.wait(SETTLE_MAX, &format!("SELECT coalesce((SELECT state <> 'active' FROM ({}) a), true)", of(found)));
    }

    /// Until a query of one boolean says true, at most so long.
    fn wait(&self, bound: Duration, query: &str) {
        let end = Instant::now() + bound;
        while Instant::now() < end && !self.ground.try_one(self.database, query).unwrap_or(false) {
            std::thread::sleep(POLL);
        }
    }
}

/// What an application may hold that a statement of this mark waits for.
fn makes_wait(mark: Mark) -> Option<&'static str> {
    match mark {
        Mark::Build | Mark::Drop => Some("LOCK TABLE app.users, app.trades IN ROW EXCLUSIVE MODE"),
        Mark::Batch => Some(
            "SELECT FROM app.users FOR UPDATE; SELECT FROM app.trades FOR UPDATE; SELECT FROM app.orders FOR UPDATE",
        ),
        Mark::Inside => Some("LOCK TABLE app.users, app.trades, app.orders IN ROW SHARE MODE"),
        Mark::TakeLease | Mark::NewRun | Mark::Claim | Mark::Outside | Mark::Heartbeat | Mark::GiveLease => None,
    }
}

/// The row of the session at the point.
fn of(found: &Found) -> String {
    format!(
        "SELECT pid, state, wait_event_type FROM pg_stat_activity WHERE client_port = {} AND datname = current_database()",
        found.port
    )
}
