//! The gates by which a phase waits for a person, and a program without them.

use super::Program;
use crate::{
    checks::{Gate, Measure, Stage},
    plan::{Millis, Phase},
    sql::Stmt,
    unit::Op,
};

/// What the phase waits for before it begins, and after it is done.
pub(super) fn gates(phase: &Phase) -> (Option<Gate>, Option<Gate>) {
    let id = &phase.id;
    let gate = |stage: Stage, within: Millis| {
        let time = humantime::format_duration(within.duration());
        let (name, title) = match stage {
            Stage::Begin => ("approved", format!("somebody lets it begin, within {time}: tenantmig approve {id}")),
            Stage::Confirm => ("confirmed", format!("somebody confirms it within {time}: tenantmig approve {id}")),
        };
        Gate {
            id: format!("{name}:{id}"),
            kind: name.to_owned(),
            title,
            query: Stmt::raw(""),
            baseline: None,
            tables: Vec::new(),
            wait: Some(within),
            measure: Measure::Approval(stage),
        }
    };
    let approvals = phase.approvals;
    let confirm = approvals.confirm_within.filter(|_| !phase.steps.is_empty());
    (
        approvals.approve_within.map(|within| gate(Stage::Begin, within)),
        confirm.map(|within| gate(Stage::Confirm, within)),
    )
}

impl Program {
    /// Without the gates that wait for a person, and looking at the activity of tables for no time: where a program is only tried,
    /// nobody is there.
    pub fn unattended(mut self) -> Self {
        for phase in &mut self.phases {
            phase.gates.retain(|gate| !matches!(gate.measure, Measure::Approval(_)));
            for unit in &mut phase.units {
                if let Op::Watch(spec) = &mut unit.up {
                    spec.length_ms = 0;
                }
            }
        }
        self
    }
}
