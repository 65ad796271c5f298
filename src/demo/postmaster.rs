//! The running server process: spawned so that it dies with us, waited for, signalled.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::cluster_error::ClusterError;
use super::process_table;
use super::server_binaries::ServerBinaries;
use super::server_user::ServerUser;

/// A start takes 0.1 s; after a crash under load, recovery replays up to max_wal_size (1 GB) first.
const READY_SECONDS_MAX: u64 = 90;
/// A fast shutdown writes a checkpoint; without fsync that is quick even on a busy machine.
const STOPPED_SECONDS_MAX: u64 = 60;
/// How often the server is looked at while waiting.
const POLL_MS: u64 = 10;
/// As much of the log as an error shows, in lines, from its end.
const LOG_LINES_MAX: usize = 12;

/// A postmaster and where it writes.
#[derive(Debug)]
pub(super) struct Postmaster {
    child: Child,
    pid: Pid,
    data: PathBuf,
    log: PathBuf,
    /// Where in the log this start began, in bytes.
    log_from: usize,
}

impl Postmaster {
    /// Starts the server on `data` with its messages appended to `log`; returns once it accepts connections.
    pub(super) fn start(
        binaries: &ServerBinaries,
        user: ServerUser,
        data: &Path,
        log: &Path,
    ) -> Result<Self, ClusterError> {
        let file = File::options().create(true).append(true).open(log).map_err(ClusterError::io("open", log))?;
        let log_from = file.metadata().map_err(ClusterError::io("look at", log))?.len();
        let program = binaries.program("postgres");
        let mut command = user.command_that_dies_with_us(&program);
        let stderr = file.try_clone().map_err(ClusterError::io("open", log))?;
        command.arg("-D").arg(data).stdout(Stdio::from(file)).stderr(Stdio::from(stderr));
        // A group of its own: the terminal's Ctrl-C is for us, and the server must outlive our clean-up.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = spawn_from_lasting_thread(command).map_err(ClusterError::io("run", &program))?;
        let pid = Pid::from_child(&child);
        let (data, log) = (data.to_owned(), log.to_owned());
        let log_from = usize::try_from(log_from).unwrap_or(usize::MAX);
        let mut server = Self { child, pid, data, log, log_from };
        match server.wait_ready() {
            Ok(()) => Ok(server),
            // Ended and collected: its process id may be another's by now.
            Err(error @ ClusterError::Died { .. }) => Err(error),
            Err(error) => {
                // The first error is the one to tell; a server that cannot be killed is swept later.
                let _swept_later = server.kill_9();
                Err(error)
            }
        }
    }

    /// The postmaster's process id.
    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends `signal` and waits until the server has ended.
    pub(super) fn stop(&mut self, signal: Signal) -> Result<(), ClusterError> {
        process_table::send(self.pid, signal).map_err(ClusterError::io("stop the server on", &self.data))?;
        let deadline = Instant::now() + Duration::from_secs(STOPPED_SECONDS_MAX);
        while self.try_wait()?.is_none() {
            if Instant::now() >= deadline {
                return Err(self.timed_out("stopped", STOPPED_SECONDS_MAX));
            }
            std::thread::sleep(Duration::from_millis(POLL_MS));
        }
        Ok(())
    }

    /// SIGKILL for the postmaster and all its children, as a power cut would; returns when all are gone.
    ///
    /// The postmaster is frozen first: one that sees a child die would start others while we kill.
    pub(super) fn kill_9(&mut self) -> Result<(), ClusterError> {
        let failed = || ClusterError::io("kill the server on", &self.data);
        process_table::send(self.pid, Signal::STOP).map_err(failed())?;
        let children = process_table::children_of(self.pid);
        process_table::send(self.pid, Signal::KILL).map_err(failed())?;
        for child in &children {
            process_table::send(*child, Signal::KILL).map_err(failed())?;
        }
        self.child.wait().map_err(failed())?;
        let deadline = Instant::now() + Duration::from_secs(STOPPED_SECONDS_MAX);
        while !children.iter().all(|child| process_table::is_gone(*child)) {
            if Instant::now() >= deadline {
                return Err(self.timed_out("stopped", STOPPED_SECONDS_MAX));
            }
            std::thread::sleep(Duration::from_millis(POLL_MS));
        }
        Ok(())
    }

    /// pg_ctl's own sign: line 8 of postmaster.pid says `ready`, and line 1 is this process and not a
    /// crashed predecessor.
    fn wait_ready(&mut self) -> Result<(), ClusterError> {
        let path = self.data.join("postmaster.pid");
        let own_pid = self.pid.as_raw_pid().to_string();
        let deadline = Instant::now() + Duration::from_secs(READY_SECONDS_MAX);
        loop {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let mut lines = text.lines().map(str::trim);
            if lines.next() == Some(own_pid.as_str()) && lines.nth(6) == Some("ready") {
                return Ok(());
            }
            if let Some(status) = self.try_wait()? {
                return Err(ClusterError::Died { status: status.to_string(), log: self.log_tail() });
            }
            if Instant::now() >= deadline {
                return Err(self.timed_out("ready", READY_SECONDS_MAX));
            }
            std::thread::sleep(Duration::from_millis(POLL_MS));
        }
    }

    fn try_wait(&mut self) -> Result<Option<ExitStatus>, ClusterError> {
        self.child.try_wait().map_err(ClusterError::io("wait for the server on", &self.data))
    }

    fn timed_out(&self, state: &'static str, seconds: u64) -> ClusterError {
        ClusterError::TimedOut { state, seconds, log: self.log_tail() }
    }

    /// The last lines that this start wrote.
    fn log_tail(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(bytes.get(self.log_from..).unwrap_or_default()).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_MAX)..].join("\n")
    }
}

/// A command to spawn, and where the child goes.
type Order = (Command, mpsc::Sender<io::Result<Child>>);

/// Spawns from a thread that lives as long as the process. The kernel's death signal fires when the thread
/// that forked ends, so a server spawned by a test's own thread would die with that test.
fn spawn_from_lasting_thread(command: Command) -> io::Result<Child> {
    static ORDERS: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let gone = || io::Error::other("the thread that starts servers could not be started");
    let orders = ORDERS.get_or_init(|| {
        let (sender, receiver) = mpsc::channel::<Order>();
        let spawn_each = move || {
            for (mut command, reply) in receiver {
                // The caller waits for the reply; if it is gone all the same, the child is swept later.
                let _swept_later = reply.send(command.spawn());
            }
        };
        // If this fails the receiver is dropped with it, and every order reports so.
        let _reported_by_send = std::thread::Builder::new().name("server-spawner".to_owned()).spawn(spawn_each);
        sender
    });
    let (reply, answer) = mpsc::channel();
    orders.send((command, reply)).map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}
