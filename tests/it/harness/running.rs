//! A run of the program under way: wait for what it prints, send it signals, wait for its end; all bounded.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, kill_process};

pub use rustix::process::Signal;

use super::output::Output;

/// How often a child is asked whether it has ended.
const POLL_MS: u64 = 5;

/// A running program; dropping it kills it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    command: String,
    bound: Duration,
    stdout: Stream,
    stderr: Stream,
    /// The test's private home and working directory, alive as long as the program.
    _home: Arc<tempfile::TempDir>,
}

impl Running {
    pub(super) fn new(mut child: Child, command: String, bound: Duration, home: Arc<tempfile::TempDir>) -> Self {
        let stdout = Stream::read(child.stdout.take().expect("stdout is a pipe"));
        let stderr = Stream::read(child.stderr.take().expect("stderr is a pipe"));
        Self { child, command, bound, stdout, stderr, _home: home }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal: `Signal::INT`, `Signal::TERM`, `Signal::KILL`, `Signal::STOP`, …
    #[track_caller]
    pub fn signal(&mut self, signal: Signal) -> &mut Self {
        // One that has been collected may have given its process id to another.
        let status = self.child.try_wait().unwrap();
        assert!(status.is_none(), "{} ended ({status:?}) before {signal:?}:\n{}", self.command, self.streams());
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        self
    }

    /// Sends a signal, unless the program has ended by itself meanwhile.
    pub fn signal_if_running(&mut self, signal: Signal) {
        if self.child.try_wait().unwrap().is_none() {
            kill_process(Pid::from_child(&self.child), signal).unwrap();
        }
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until standard output contains `text`.
    #[track_caller]
    pub fn wait_stdout(&mut self, text: &str) -> &mut Self {
        let found = self.stdout.wait_for(text, self.bound);
        assert!(found, "stdout never had {text:?}:\n{}", self.streams());
        self
    }

    /// Waits until standard error contains `text`.
    #[track_caller]
    pub fn wait_stderr(&mut self, text: &str) -> &mut Self {
        let found = self.stderr.wait_for(text, self.bound);
        assert!(found, "stderr never had {text:?}:\n{}", self.streams());
        self
    }

    /// Waits for the end; a run that exceeds its bound is killed and fails the test.
    #[track_caller]
    #[must_use = "a run proves nothing until its exit code is asserted"]
    pub fn wait(mut self) -> Output {
        let deadline = Instant::now() + self.bound;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() >= deadline {
                self.child.kill().unwrap();
                self.child.wait().unwrap();
                panic!("{} had not ended after {:?}:\n{}", self.command, self.bound, self.streams());
            }
            std::thread::sleep(Duration::from_millis(POLL_MS));
        };
        // Only the program itself holds the pipes, so their ends are there now or in a moment.
        let (stdout, stderr) = (self.stdout.rest(self.bound), self.stderr.rest(self.bound));
        Output { command: self.command.clone(), code: code(status), stdout, stderr }
    }

    fn streams(&self) -> String {
        format!("--- stdout\n{}\n--- stderr\n{}", self.stdout.text(), self.stderr.text())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing to do for one that has ended; the test's verdict does not depend on either.
        let _ended_already = self.child.kill();
        let _ended_already = self.child.wait();
    }
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

#[derive(Debug, Default)]
struct Seen {
    bytes: Vec<u8>,
    ended: bool,
}

/// What one pipe has carried so far, read by a thread so that the program never blocks on a full pipe.
#[derive(Debug)]
struct Stream {
    seen: Arc<(Mutex<Seen>, Condvar)>,
    _reader: JoinHandle<()>,
}

impl Stream {
    fn read(mut pipe: impl Read + Send + 'static) -> Self {
        let seen = Arc::new((Mutex::new(Seen::default()), Condvar::new()));
        let shared = Arc::clone(&seen);
        let _reader = std::thread::spawn(move || {
            let (seen, changed) = &*shared;
            let mut chunk = [0; 8192];
            loop {
                let count = pipe.read(&mut chunk).unwrap_or(0);
                let mut seen = seen.lock().unwrap();
                seen.bytes.extend_from_slice(&chunk[..count]);
                seen.ended = count == 0;
                changed.notify_all();
                if count == 0 {
                    return;
                }
            }
        });
        Self { seen, _reader }
    }

    /// False when the stream ended, or the bound passed, without `text`.
    fn wait_for(&self, text: &str, bound: Duration) -> bool {
        let has = |seen: &Seen| String::from_utf8_lossy(&seen.bytes).contains(text);
        has(&self.wait_until(bound, |seen| seen.ended || has(seen)))
    }

    fn rest(&self, bound: Duration) -> String {
        drop(self.wait_until(bound, |seen| seen.ended));
        self.text()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen.0.lock().unwrap().bytes).into_owned()
    }

    fn wait_until(&self, bound: Duration, done: impl Fn(&Seen) -> bool) -> std::sync::MutexGuard<'_, Seen> {
        let (seen, changed) = &*self.seen;
        let guard = seen.lock().unwrap();
        changed.wait_timeout_while(guard, bound, |seen| !done(seen)).unwrap().0
    }
}
