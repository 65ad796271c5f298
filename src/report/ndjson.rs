//! One JSON object a line, for programs.

use std::io::Write;

use chrono::{DateTime, Utc};

use super::{Reporter, ndjson_line, outlet::Outlet};
use crate::engine::Notice;

/// Writes every notice, none held back, in the shape that [`super::ndjson_line`] documents.
#[derive(Debug)]
pub struct Ndjson {
    out: Outlet,
}

impl Ndjson {
    /// Writes to `out`, usually standard output.
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self { out: Outlet::new("JSON lines", out) }
    }
}

impl Reporter for Ndjson {
    fn tell(&mut self, at: DateTime<Utc>, notice: &Notice) {
        self.out.write(&ndjson_line::line(at, notice));
    }

    fn finish(&mut self) {}

    fn broken(&self) -> Option<String> {
        self.out.broken()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::report::{FanOut, Look, Plain, outlet::sink::Sink, script};

    #[test]
    fn every_kind_has_its_stable_shape() {
        let sink = Sink::new();
        let mut ndjson = Ndjson::new(Box::new(sink.clone()));
        let all = [script::backfill(), script::throttled(), script::rollback()].concat();
        for (at, notice) in &all {
            ndjson.tell(*at, notice);
        }
        ndjson.finish();
        let text = sink.text();
        assert_eq!(text.lines().count(), all.len());
        let mut seen = BTreeSet::new();
        let mut first_of_kind = String::new();
        for line in text.lines() {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(value["v"], 1);
            let kind = (value["kind"].to_string(), value["outcome"].to_string());
            if seen.insert(kind) {
                first_of_kind.push_str(line);
                first_of_kind.push('\n');
            }
        }
        insta::assert_snapshot!(first_of_kind, @r#"
        {"v":1,"at":"2026-03-01T03:00:00.000Z","kind":"opened","plan":"alphapulse","resumed":false,"run":"0195","units":4,"units_done":0}
        {"v":1,"at":"2026-03-01T03:00:00.000Z","kind":"phase","number":1,"of":2,"phase":"schema"}
        {"v":1,"at":"2026-03-01T03:00:00.010Z","kind":"unit","title":"add column tenant_id to app.users","undo":false}
        {"v":1,"at":"2026-03-01T03:00:00.010Z","kind":"started","found":null,"presence":"present","unit":"schema/users/column"}
        {"v":1,"at":"2026-03-01T03:00:00.020Z","kind":"succeeded","rows":null,"unit":"schema/users/column"}
        {"v":1,"at":"2026-03-01T03:00:02.020Z","kind":"lock_wait","again_in_ms":1500,"attempt":2,"attempts":20,"blockers":[{"application":"psql","pid":4711,"query":"UPDATE app.trades\n   SET note = '\u001b[2J' WHERE id = 17 AND tenant_id = '0190' AND symbol = 'BTC-USD'","state":"idle in transaction","transaction_age_ms":250000,"user":"app_rw"}],"statement":"add column tenant_id to app.trades: canceling statement due to lock timeout"}
        {"v":1,"at":"2026-03-01T03:00:06.250Z","kind":"batch","millis":250,"rows":5000,"rows_done":5000,"rows_estimated":2000000,"unit":"schema/fill/fill","walked_percent":0.25}
        {"v":1,"at":"2026-03-01T03:00:31.000Z","kind":"throttled","signal":"replica lag","unit":"schema/fill/fill","why":"replica app_replica is 12.3 s behind (limit 10 s)"}
        {"v":1,"at":"2026-03-01T03:00:33.000Z","kind":"waiting","again_in_ms":2000,"why":"replica app_replica is 12.2 s behind (limit 10 s)"}
        {"v":1,"at":"2026-03-01T03:00:55.000Z","kind":"unthrottled","unit":"schema/fill/fill","waited_ms":24000}
        {"v":1,"at":"2026-03-01T03:00:56.000Z","kind":"retuned","asked_at":"2026-03-01T03:00:55Z","by":"dba","from":"host2","tuning":{"max_replica_lag_bytes":"67108864B","target_batch":"20ms","workers":3}}
        {"v":1,"at":"2026-03-01T03:04:16.000Z","kind":"gate","phase":"schema","title":"no NULL is left in app.trades.tenant_id"}
        {"v":1,"at":"2026-03-01T03:04:17.000Z","kind":"gate_passed","gate":"nulls/trades","phase":"schema"}
        {"v":1,"at":"2026-03-01T03:04:30.000Z","kind":"failed","failure":{"advice":"remove the duplicates, then apply again","message":"could not create unique index \"trades_ref\":\nKey (ref)=(A-1) is duplicated.","sqlstate":"23505","statement":"CREATE UNIQUE INDEX CONCURRENTLY trades_ref ON app.trades (tenant_id, ref)"},"unit":"indexes/trades/index"}
        {"v":1,"at":"2026-03-01T03:04:30.000Z","kind":"undo_started","unit":"indexes/trades/index"}
        {"v":1,"at":"2026-03-01T03:04:30.045Z","kind":"undone","unit":"indexes/trades/index"}
        {"v":1,"at":"2026-03-01T03:04:30.100Z","kind":"closed","keep":1,"outcome":"rolled_back"}
        {"v":1,"at":"2026-03-01T03:05:00.000Z","kind":"resumed"}
        {"v":1,"at":"2026-03-01T03:05:01.000Z","kind":"gate_failed","findings":[{"count":3,"example":"id 17","what":"rows of app.trades without a tenant"}],"gate":"nulls/trades","phase":"indexes"}
        {"v":1,"at":"2026-03-01T03:05:01.000Z","kind":"rollback_requested","keep":"start"}
        {"v":1,"at":"2026-03-01T03:05:01.900Z","kind":"undo_failed","failure":{"advice":"remove the duplicates, then apply again","message":"could not create unique index \"trades_ref\":\nKey (ref)=(A-1) is duplicated.","sqlstate":"23505","statement":"CREATE UNIQUE INDEX CONCURRENTLY trades_ref ON app.trades (tenant_id, ref)"},"unit":"schema/trades/column"}
        {"v":1,"at":"2026-03-01T03:05:02.000Z","kind":"closed","outcome":"stuck","stuck_unit":1}
        {"v":1,"at":"2026-03-01T03:05:03.000Z","kind":"note","text":"the lease was lost and taken again"}
        {"v":1,"at":"2026-03-01T03:05:03.000Z","kind":"paused","why":"SIGTERM"}
        {"v":1,"at":"2026-03-01T03:05:03.000Z","kind":"closed","outcome":"paused"}
        {"v":1,"at":"2026-03-01T03:05:03.000Z","kind":"closed","outcome":"completed"}
        "#);
    }

    #[test]
    fn a_closed_pipe_ends_the_lines_and_not_the_run() {
        let (pipe, log) = (Sink::that_takes(300), Sink::new());
        let mut all = FanOut::new(vec![
            Box::new(Ndjson::new(Box::new(pipe.clone()))),
            Box::new(Plain::new(Box::new(log.clone()), Look::ascii())),
        ]);
        for (at, notice) in script::backfill() {
            all.tell(at, &notice);
        }
        all.finish();
        assert_eq!(pipe.text().len(), 300);
        assert_eq!(all.broken().unwrap(), "JSON lines stopped: broken pipe");
        let log = log.text();
        assert_eq!(
            log.matches("note: JSON lines stopped: broken pipe; the run goes on without it").count(),
            1,
            "{log}"
        );
        assert!(log.contains("25.0 %") || log.contains("20.0 %"), "the others go on: {log}");
    }
}
