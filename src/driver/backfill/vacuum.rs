//! VACUUM beside a backfill, each time so much of the table was written, where the plan asks for it.

use tokio::task::JoinHandle;

use crate::{
    driver::{error::DriveError, outside, shell::Tell, stop::Stop},
    engine::Notice,
    pg::{
        Bounds,
        connect::{SessionSpec, connect},
        settings::Settings,
    },
    plan::Safety,
    sql,
    sql::QName,
};

/// When the table was vacuumed last, and the one that is under way.
#[derive(Debug, Default)]
pub(super) struct Vacuum {
    at_percent: f64,
    running: Option<JoinHandle<()>>,
}

impl Vacuum {
    /// Begins one when so much was written since the last, and none is under way.
    pub(super) fn when_due(&mut self, percent: f64, every: Option<u32>, with: (&Settings, &Safety, &QName, &Tell)) {
        let Some(every) = every.map(f64::from) else { return };
        let busy = self.running.as_ref().is_some_and(|task| !task.is_finished());
        if busy || percent < self.at_percent + every {
            return;
        }
        self.at_percent = percent;
        let (settings, safety, table, tell) = (with.0.clone(), with.1.clone(), with.2.clone(), with.3.clone());
        self.running = Some(tokio::spawn(async move {
            let text = match vacuum(&settings, &safety, &table).await {
                Ok(()) => format!("{table} is vacuumed at {percent:.0} %"),
                Err(error) => format!("{table} could not be vacuumed: {error}"),
            };
            tell(Notice::Note { text });
        }));
    }
}

impl Drop for Vacuum {
    /// Nobody waits for it at the end of a walk: its session ends, and the server with it.
    fn drop(&mut self) {
        if let Some(task) = &self.running {
            task.abort();
        }
    }
}

/// Takes SHARE UPDATE EXCLUSIVE, as an index build does, and gives way to whoever has it. Without TRUNCATE, which takes ACCESS
/// EXCLUSIVE at the end.
async fn vacuum(settings: &Settings, safety: &Safety, table: &QName) -> Result<(), DriveError> {
    let mut spec = SessionSpec::new("tenantmig vacuum", safety.lock_timeout.duration());
    spec.statement_timeout = Some(safety.statement_deadline.duration());
    let session = connect(settings, &spec).await?;
    let bounds = Bounds { lock: safety.lock_timeout.duration(), statement: safety.statement_deadline.duration() };
    let statement = sql!("VACUUM (TRUNCATE false, SKIP_LOCKED) {}", table);
    outside::run(&session, &Stop::new(), bounds, statement.as_str()).await
}
