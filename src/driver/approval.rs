//! A phase that waits for a person. What counts is in the ledger and by the server's clock: a process that comes later, on
//! another host, finds the same answer, and takes back at once what nobody confirmed in time.

use std::time::Duration;

use tokio_postgres::Client;

use super::{
    error::DriveError,
    gate::{LOOK_EVERY, LOOKS},
    shell::{Shell, millis},
};
use crate::{
    checks::{Gate, Stage},
    engine::{Approved, Event, Finding, Notice},
    ledger::{self, Approval, Counts},
    plan::Millis,
    unit::UnitId,
};

impl Shell {
    /// Looks whether somebody approved phase `p`, and records that, or that its time is over; while it waits nothing is recorded.
    pub(super) async fn await_approval(&mut self, p: usize, gate: &Gate, stage: Stage) -> Result<(), DriveError> {
        let phase = &self.journal.record.program.phases[p];
        let (id, within) = (phase.id.clone(), gate.wait.map_or(Duration::ZERO, Millis::duration));
        let units: Vec<UnitId> = phase.units.iter().map(|unit| unit.id.clone()).collect();
        let place = &self.journal.place;
        let counts = counts(stage, &units, within);
        let ask = async |client: &Client| ledger::approval(client, &place.schema, (place.run, &id), counts).await;
        let Approval { given, waited } = self.work.with(ask).await?;
        let event = match given {
            Some(approved) => {
                let Approved { by, host, reason, .. } = &approved;
                let why = reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
                self.say(Notice::Note { text: format!("phase `{id}` is approved by {by} on {host}{why}") });
                // Others had the time to change what the phase builds on.
                self.drift.doubt();
                Event::GatePassed { phase: id, gate: gate.id.clone(), approved: Some(approved) }
            }
            None => {
                let waited = match stage {
                    Stage::Begin => self.awaited.map_or(Duration::ZERO, |awaited| awaited.since.elapsed()),
                    Stage::Confirm => waited,
                };
                if let Some(left) = within.checked_sub(waited).filter(|left| !left.is_zero()) {
                    return self.wait_for_approval(&id, stage, within, left).await;
                }
                Event::GateFailed {
                    phase: id.clone(),
                    gate: gate.id.clone(),
                    findings: vec![over(&id, within)],
                    held: None,
                }
            }
        };
        self.awaited = None;
        let event = self.unless_held(event).await?;
        self.record(event).await
    }

    async fn wait_for_approval(
        &self,
        phase: &str,
        stage: Stage,
        within: Duration,
        left: Duration,
    ) -> Result<(), DriveError> {
        let then = match stage {
            Stage::Begin => "the run pauses",
            Stage::Confirm => "it is a failure",
        };
        let why = format!("for: tenantmig approve {phase}; in {} {then}", length(left));
        let pause = (within / LOOKS).clamp(*LOOK_EVERY.start(), *LOOK_EVERY.end()).min(left);
        self.say(Notice::Waiting { why, again_in_ms: millis(pause) });
        self.rest(pause).await
    }
}

/// Which approvals count for this.
pub fn counts(stage: Stage, units: &[UnitId], within: Duration) -> Counts<'_> {
    match stage {
        Stage::Begin => Counts::SinceUndone,
        Stage::Confirm => Counts::Within { units, within },
    }
}

fn over(phase: &str, within: Duration) -> Finding {
    let what =
        format!("approvals of phase `{phase}` that did not come within {} (tenantmig approve {phase})", length(within));
    Finding { what, count: 1, example: None }
}

/// To the second, but for the last one.
fn length(time: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(time.as_secs().max(1)))
}
