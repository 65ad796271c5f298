//! What the holder's sessions are at, as status shows it: statements that run for a while, index builds, and who is in the way.

use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::{
    engine::Blocker,
    ledger::{self, AtWork, Holder, LedgerError},
    pg,
    report::{blocker, one_line, quantity},
};

/// A statement of the holder's, and the sessions that it waits for.
pub(super) struct Doing {
    work: AtWork,
    blockers: Vec<Blocker>,
}

/// Empty where nobody is at work, or between two statements.
pub(super) async fn look(client: &Client, holder: Option<&Holder>) -> Result<Vec<Doing>, LedgerError> {
    let Some(holder) = holder.filter(|holder| holder.alive) else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for work in ledger::at_work(client, holder.id).await? {
        let blockers = if work.waits { pg::blockers(client, work.pid).await? } else { Vec::new() };
        all.push(Doing { work, blockers });
    }
    Ok(all)
}

impl Doing {
    /// `pid 4711, 12 s, building index: scanning table, 34 %: CREATE INDEX …`, then a line for each that is in the way.
    pub fn lines(&self) -> Vec<String> {
        let AtWork { pid, statement, age_ms, waits, build } = &self.work;
        let mut what = format!("pid {pid}, {}", quantity::millis(*age_ms));
        if let Some((phase, done, total)) = build {
            what.push_str(&format!(", {phase}"));
            if let Some(percent) = (done * 100).checked_div(*total) {
                what.push_str(&format!(", {percent} %"));
            }
        }
        if *waits {
            what.push_str(", waits");
        }
        let mut lines = vec![one_line(&format!("{what}: {statement}"))];
        lines.extend(self.blockers.iter().map(|by| format!("blocked by {}", blocker(by))));
        lines
    }

    pub fn json(&self) -> Value {
        let AtWork { pid, statement, age_ms, waits, build } = &self.work;
        let build = build
            .as_ref()
            .map(|(phase, done, total)| json!({ "phase": phase, "blocks_done": done, "blocks_total": total }));
        json!({
            "pid": pid, "statement": statement, "age_ms": age_ms, "waits": waits, "build": build, "blockers": self.blockers,
        })
    }
}
