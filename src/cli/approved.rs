//! Who approved what of a run, as `status` tells it: what let a phase begin or stay, and what is not taken yet.

use std::time::Duration;

use serde_json::{Value, json};
use tokio_postgres::Client;

use super::{failure::CliError, pace};
use crate::{
    checks::{Gate, Measure, Stage},
    driver,
    engine::{Approved, Event},
    ledger::{self, Kept},
    plan::Millis,
    report::one_line,
    sql::Ident,
    unit::UnitId,
};

/// An approval that counts.
pub struct Given {
    phase: String,
    stage: Stage,
    approved: Approved,
    /// Whether the log has it: whoever works on the run saw it.
    taken: bool,
}

/// Those of all phases. What was undone since is approved anew, and so is not among them.
pub async fn look(client: &Client, schema: &Ident, kept: &Kept) -> Result<Vec<Given>, CliError> {
    let mut all = Vec::new();
    for (p, phase) in kept.record.program.phases.iter().enumerate() {
        let units: Vec<UnitId> = phase.units.iter().map(|unit| unit.id.clone()).collect();
        for (g, gate) in phase.gates.iter().enumerate() {
            let Measure::Approval(stage) = gate.measure else { continue };
            let taken = kept.run.gate_passed(p, g);
            let approved = if taken {
                logged(kept, &phase.id, gate)
            } else {
                let within = gate.wait.map_or(Duration::ZERO, Millis::duration);
                let counts = driver::counts(stage, &units, within);
                ledger::approval(client, schema, (kept.record.id, &phase.id), counts).await?.given
            };
            all.extend(approved.map(|approved| Given { phase: phase.id.clone(), stage, approved, taken }));
        }
    }
    Ok(all)
}

/// As the event says; one of an earlier version does not.
fn logged(kept: &Kept, of_phase: &str, of_gate: &Gate) -> Option<Approved> {
    let approved = |event: &Event| {
        let Event::GatePassed { phase, gate, approved } = event else { return None };
        (phase == of_phase && *gate == of_gate.id).then(|| approved.clone())
    };
    kept.events.iter().rev().find_map(|recorded| approved(&recorded.event)).flatten()
}

impl Given {
    /// `phase mark may begin: dba on host2 at 2026-03-01 03:00:55 UTC: looked`.
    pub fn line(&self) -> String {
        let Approved { by, host, at, reason, number: _ } = &self.approved;
        let what = match self.stage {
            Stage::Begin => "may begin",
            Stage::Confirm => "is confirmed",
        };
        let why = reason.as_ref().map_or_else(String::new, |reason| format!(": {}", one_line(reason)));
        let taken = if self.taken { "" } else { ", not taken yet" };
        format!("phase {} {what}, says {}{taken}{why}", self.phase, pace::asked(by, host, at))
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let Approved { number, by, host, at, reason } = &self.approved;
        let stage = match self.stage {
            Stage::Begin => "begin",
            Stage::Confirm => "confirm",
        };
        json!({
            "approval": number, "phase": self.phase, "stage": stage, "by": by, "from": host, "at": at, "reason": reason,
            "taken": self.taken,
        })
    }
}
