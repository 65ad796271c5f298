//! The application at work: writers and readers as its role, on connections of their own, before, while and after the plan runs.

mod reader;
mod receipts;
mod session;
mod tally;
mod writer;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::task::JoinHandle;

pub use receipts::{Kept, Receipts};
pub use session::{begin, connect};
pub use tally::Tally;

use super::seed::Scale;

/// How many sessions write.
const WRITERS: u32 = 3;
/// How many sessions read.
const READERS: u32 = 2;

/// Everything that writes and reads; dropping it stops nothing, `stop` does.
#[derive(Debug)]
pub struct Traffic {
    ended: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<(Tally, Receipts)>>,
    live: Vec<Arc<tally::Live>>,
}

/// What the traffic did and saw.
#[derive(Debug, Default)]
pub struct Report {
    pub writers: Tally,
    pub readers: Tally,
    /// Every acknowledged write.
    pub receipts: Receipts,
}

impl Traffic {
    /// Starts on the database at `url`, a URL for the application's role.
    pub fn start(url: &str, scale: Scale) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let (mut tasks, mut live) = (Vec::new(), Vec::new());
        for number in 0..WRITERS + READERS {
            let seen = Arc::new(tally::Live::default());
            live.push(Arc::clone(&seen));
            let (url, ended) = (url.to_owned(), Arc::clone(&ended));
            tasks.push(if number < WRITERS {
                tokio::spawn(writer::run(url, scale, (number, WRITERS), ended, seen))
            } else {
                tokio::spawn(reader::run(url, scale, ended, seen))
            });
        }
        Self { ended, tasks, live }
    }

    /// Transactions so far: written, and read.
    pub fn so_far(&self) -> (u64, u64) {
        let sum = |part: &[Arc<tally::Live>]| part.iter().map(|live| live.transactions()).sum();
        let (writers, readers) = self.live.split_at(self.live.len().min(WRITERS as usize));
        (sum(writers), sum(readers))
    }

    /// Lets every session finish what it does, and collects what they did.
    pub async fn stop(self) -> Report {
        self.ended.store(true, Ordering::Relaxed);
        let mut report = Report::default();
        for (number, task) in self.tasks.into_iter().enumerate() {
            let side = if number < WRITERS as usize { &mut report.writers } else { &mut report.readers };
            match task.await {
                Ok((tally, receipts)) => {
                    side.merge(tally);
                    report.receipts.merge(receipts);
                }
                Err(error) => side.failed(format!("a session ended: {error}")),
            }
        }
        report
    }
}
