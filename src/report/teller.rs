//! The way from the driver to the reporters: a queue that never blocks the teller, and a thread that reads it.
//!
//! A terminal can be stopped (Ctrl-S) and a pipe's reader can sleep; a batch that holds locks must not wait for them. So
//! telling only queues. While the output stands still, progress beyond [`QUEUE_NOTICES_MAX`] is skipped and counted; what
//! happened to a unit or a gate is never skipped, and a program has a bounded number of those.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::JoinHandle,
    time::Duration,
};

use chrono::{DateTime, Utc};

use super::{FanOut, Reporter};
use crate::engine::Notice;

/// Notices that may wait before progress is skipped: at 20 batches a second some three minutes of an output that stands
/// still, and about a megabyte.
const QUEUE_NOTICES_MAX: usize = 4_096;

/// How long the reporters hear nothing before they are asked for a sign of life, in milliseconds.
const IDLE_MS: u64 = 1_000;

/// How long the end of a run waits for an output that takes nothing at all, in milliseconds. A slow reader that goes on
/// reading gets everything; one that sleeps for good does not keep the program from ending.
const STALL_MS_MAX: u64 = 10_000;

/// How often the end looks whether the reporters still get on, in milliseconds.
const LOOK_MS: u64 = 10;

enum Message {
    Tell(DateTime<Utc>, Notice),
    End,
}

/// The driver's end: cheap to clone, never blocks, never fails.
#[derive(Debug, Clone)]
pub struct Teller {
    to: Sender<Message>,
    queue: Arc<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: AtomicUsize,
    skipped: AtomicU64,
    heard: AtomicU64,
}

/// The reporters' end, to be finished after the last notice.
#[derive(Debug)]
pub struct Listener {
    to: Sender<Message>,
    queue: Arc<Queue>,
    thread: JoinHandle<FanOut>,
}

/// How the telling ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Why a reporter went quiet before the end.
    pub broken: Option<String>,
    /// Notices that an output which stood still never took.
    pub untold: usize,
}

/// Starts a thread that feeds `reporters`.
///
/// # Errors
/// The operating system's, when it gives no thread.
pub fn channel(reporters: FanOut) -> std::io::Result<(Teller, Listener)> {
    let (to, from) = mpsc::channel();
    let queue = Arc::new(Queue::default());
    let its = Arc::clone(&queue);
    let thread = std::thread::Builder::new().name("report".to_owned()).spawn(move || listen(&from, &its, reporters))?;
    Ok((Teller { to: to.clone(), queue: Arc::clone(&queue) }, Listener { to, queue, thread }))
}

impl Teller {
    /// Tells the reporters, with the time of now.
    pub fn tell(&self, notice: Notice) {
        self.tell_at(Utc::now(), notice);
    }

    fn tell_at(&self, at: DateTime<Utc>, notice: Notice) {
        if is_progress(&notice) && self.queue.waiting.load(Ordering::Relaxed) >= QUEUE_NOTICES_MAX {
            self.queue.skipped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.queue.waiting.fetch_add(1, Ordering::Relaxed);
        // The other end is gone only after `Listener::finish`: what is told later has no reader by design.
        if self.to.send(Message::Tell(at, notice)).is_err() {
            self.queue.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Listener {
    /// Waits until everything told so far is written, then ends the reporters. Clones of the teller may live on; what
    /// they tell after this is dropped.
    ///
    /// Blocks the calling thread: call it last, after the connections are closed.
    pub fn finish(self) -> Ending {
        self.finish_within(STALL_MS_MAX)
    }

    fn finish_within(self, stall_ms_max: u64) -> Ending {
        let _ = self.to.send(Message::End); // refused only when the thread panicked, which the join tells
        let mut heard = self.queue.heard.load(Ordering::Relaxed);
        let mut still_ms = 0;
        while !self.thread.is_finished() && still_ms < stall_ms_max {
            std::thread::sleep(Duration::from_millis(LOOK_MS));
            let now = self.queue.heard.load(Ordering::Relaxed);
            still_ms = if now == heard { still_ms + LOOK_MS } else { 0 };
            heard = now;
        }
        if !self.thread.is_finished() {
            let untold = self.queue.waiting.load(Ordering::Relaxed);
            return Ending { broken: Some("the output takes nothing any more".to_owned()), untold };
        }
        let broken = match self.thread.join() {
            Ok(reporters) => reporters.broken(),
            Err(_) => Some("the reporting thread panicked".to_owned()),
        };
        Ending { broken, untold: self.queue.waiting.load(Ordering::Relaxed) }
    }
}

fn listen(from: &Receiver<Message>, queue: &Queue, mut reporters: FanOut) -> FanOut {
    loop {
        match from.recv_timeout(Duration::from_millis(IDLE_MS)) {
            Ok(Message::Tell(at, notice)) => {
                let skipped = queue.skipped.swap(0, Ordering::Relaxed);
                if skipped > 0 {
                    let text = format!("{skipped} progress notices were skipped while the output stood still");
                    reporters.tell(at, &Notice::Note { text });
                }
                reporters.tell(at, &notice);
                queue.waiting.fetch_sub(1, Ordering::Relaxed);
                queue.heard.fetch_add(1, Ordering::Relaxed);
            }
            Err(RecvTimeoutError::Timeout) => reporters.idle(Utc::now()),
            Ok(Message::End) | Err(RecvTimeoutError::Disconnected) => {
                reporters.finish();
                return reporters;
            }
        }
    }
}

/// Whether the next notice of its kind makes up for this one.
fn is_progress(notice: &Notice) -> bool {
    match notice {
        Notice::Batch { .. } | Notice::LockWait { .. } | Notice::Waiting { .. } => true,
        Notice::Opened { .. }
        | Notice::Phase { .. }
        | Notice::Unit { .. }
        | Notice::Event(_)
        | Notice::Gate { .. }
        | Notice::Note { .. }
        | Notice::Closed { .. } => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{io::Write, sync::Mutex, time::Instant};

    use super::*;
    use crate::{
        engine::Outcome,
        report::{Look, Ndjson, Plain, outlet::sink::Sink, script},
    };

    #[test]
    fn nothing_told_before_the_end_is_lost() {
        let sink = Sink::new();
        let (teller, listener) = channel(FanOut::new(vec![Box::new(Ndjson::new(Box::new(sink.clone())))])).unwrap();
        let told: usize = std::thread::scope(|scope| {
            let tellers = (0..4).map(|_| {
                let teller = teller.clone();
                scope.spawn(move || {
                    let all = [script::backfill(), script::rollback()].concat();
                    let count = all.len();
                    all.into_iter().for_each(|(at, notice)| teller.tell_at(at, notice));
                    count
                })
            });
            tellers.collect::<Vec<_>>().into_iter().map(|t| t.join().unwrap()).sum()
        });
        teller.tell(Notice::Closed { outcome: Outcome::Completed });
        assert_eq!(listener.finish(), Ending { broken: None, untold: 0 });
        teller.tell(Notice::Note { text: "too late".into() });
        let text = sink.text();
        assert_eq!(text.lines().count(), told + 1);
        assert!(text.trim_end().ends_with(r#""kind":"closed","outcome":"completed"}"#));
    }

    /// An output that stands still until the gate opens.
    struct Stopped {
        gate: Arc<Mutex<()>>,
        out: Sink,
    }

    impl Write for Stopped {
        fn write(&mut self, from: &[u8]) -> std::io::Result<usize> {
            let _open = self.gate.lock();
            self.out.write(from)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stopped_output_blocks_no_batch_and_costs_progress_only() {
        let (gate, sink) = (Arc::new(Mutex::new(())), Sink::new());
        let out = Stopped { gate: Arc::clone(&gate), out: sink.clone() };
        let closed = gate.lock().unwrap();
        let (teller, listener) =
            channel(FanOut::new(vec![Box::new(Plain::new(Box::new(out), Look::ascii()))])).unwrap();
        let began = Instant::now();
        teller.tell(Notice::Note { text: "first".into() });
        for n in 0..3 * QUEUE_NOTICES_MAX as u64 {
            teller.tell(script::batch(n, 1.0));
        }
        teller.tell(Notice::Note { text: "last".into() });
        assert!(began.elapsed() < Duration::from_millis(STALL_MS_MAX), "telling waited: {:?}", began.elapsed());
        assert!(teller.queue.waiting.load(Ordering::Relaxed) <= QUEUE_NOTICES_MAX + 2);
        drop(closed);
        assert_eq!(listener.finish(), Ending { broken: None, untold: 0 });
        let text = sink.text();
        assert!(text.contains("note: first") && text.trim_end().ends_with("note: last"), "{text}");
        assert!(text.contains("progress notices were skipped while the output stood still"), "{text}");
    }

    #[test]
    fn an_output_that_stands_still_for_good_does_not_keep_the_program() {
        let gate = Arc::new(Mutex::new(()));
        let out = Stopped { gate: Arc::clone(&gate), out: Sink::new() };
        let _closed = gate.lock().unwrap();
        let (teller, listener) = channel(FanOut::new(vec![Box::new(Ndjson::new(Box::new(out)))])).unwrap();
        teller.tell(Notice::Note { text: "one".into() });
        teller.tell(Notice::Note { text: "two".into() });
        let ending = listener.finish_within(200);
        assert_eq!(ending, Ending { broken: Some("the output takes nothing any more".to_owned()), untold: 2 });
    }
}
