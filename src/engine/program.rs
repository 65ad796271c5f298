//! The program: a plan lowered to units. The ledger keeps it, so that an undo never depends on a file or on this version.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    checks::{Gate, Guard},
    latency,
    plan::{Backup, Disk, Lowering, OnFailure, Pacing, Plan, PlanGate, Safety, ServerFacts, Tenancy},
    sql::QName,
    unit::{BackfillValue, Op, Unit, UnitId},
};

/// Everything a run does, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    pub plan: String,
    pub server: ServerFacts,
    pub safety: Safety,
    #[serde(default)]
    pub pacing: Pacing,
    #[serde(default)]
    pub disk: Disk,
    #[serde(default)]
    pub backup: Backup,
    pub tenancy: Option<Tenancy>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<latency::Spec>,
    pub phases: Vec<ProgramPhase>,
}

/// The units and gates of one phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramPhase {
    pub id: String,
    pub on_failure: OnFailure,
    pub units: Vec<Unit>,
    pub gates: Vec<Gate>,
    /// What must not be found when the phase is about to be undone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before_undo: Vec<Guard>,
    /// What must hold when the phase is undone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after_undo: Vec<Gate>,
}

impl Program {
    /// All units with the number of their phase, in the order of doing.
    pub fn units(&self) -> impl DoubleEndedIterator<Item = (usize, &Unit)> {
        self.phases.iter().enumerate().flat_map(|(p, phase)| phase.units.iter().map(move |unit| (p, unit)))
    }

    /// The unit with this number, and the number of its phase.
    pub fn unit(&self, number: usize) -> Option<(usize, &Unit)> {
        let mut before = 0;
        for (p, phase) in self.phases.iter().enumerate() {
            if let Some(unit) = phase.units.get(number - before) {
                return Some((p, unit));
            }
            before += phase.units.len();
        }
        None
    }

    /// The number of the unit `id`, its phase's number, and the unit.
    pub fn find(&self, id: &UnitId) -> Option<(usize, usize, &Unit)> {
        self.units().enumerate().find(|(_, (_, unit))| &unit.id == id).map(|(i, (p, unit))| (i, p, unit))
    }

    /// The number of the first unit of phase `p`; for the number of phases, the number of units.
    pub fn first_unit(&self, p: usize) -> usize {
        self.phases.iter().take(p).map(|phase| phase.units.len()).sum()
    }

    /// The tables that it touches: those that units lock or fill, those that gates measure, and the registry.
    pub fn touches(&self) -> Vec<QName> {
        let mut tables: BTreeSet<QName> = self.tenancy.iter().map(|tenancy| tenancy.registry.table.clone()).collect();
        for (_, unit) in self.units() {
            tables.extend(unit.lock.on.iter().cloned());
            if let Op::Backfill(spec) = &unit.up {
                tables.insert(spec.table.clone());
                if let BackfillValue::Parent { table, .. } = &spec.value {
                    tables.insert(table.clone());
                }
            }
        }
        tables.extend(self.phases.iter().flat_map(|phase| &phase.gates).flat_map(|gate| gate.tables.iter().cloned()));
        tables.into_iter().collect()
    }

    /// How many phases stay when everything after `phase` is undone; `start` keeps none.
    pub fn keep(&self, phase: &str) -> Option<usize> {
        if phase == "start" {
            return Some(0);
        }
        self.phases.iter().position(|p| p.id == phase).map(|p| p + 1)
    }

    /// The name of what stays: the inverse of [`Program::keep`].
    pub fn keep_name(&self, keep: usize) -> &str {
        keep.checked_sub(1).and_then(|p| self.phases.get(p)).map_or("start", |phase| phase.id.as_str())
    }
}

/// Lowers a plan. Gates that steps bring along come before the plan's own; of two with the same id the first stays.
pub fn lower(plan: &Plan, server: ServerFacts) -> Program {
    let mut made = BTreeMap::new();
    let mut filled = BTreeMap::new();
    for (column, fill) in plan.phases.iter().flat_map(|phase| &phase.steps).filter_map(|item| item.step.fills()) {
        filled.entry(column).or_insert(fill);
    }
    let mut phases = Vec::new();
    for phase in &plan.phases {
        let mut units: Vec<Unit> = Vec::new();
        let mut gates: Vec<Gate> = Vec::new();
        let mut before_undo: Vec<Guard> = Vec::new();
        for item in &phase.steps {
            let cx = Lowering {
                phase: &phase.id,
                step: &item.id,
                server,
                tenancy: plan.tenancy.as_ref(),
                backfill: &plan.backfill,
                made: &made,
                filled: &filled,
            };
            units.extend(item.step.lower(&cx));
            gates.extend(item.step.gates(&cx));
            before_undo.extend(item.step.guards(&cx));
            let new: Vec<_> = item.step.makes().into_iter().map(|(object, part)| (object, cx.unit(part))).collect();
            made.extend(new);
        }
        gates.extend(phase.gates.iter().map(|gate| gate.check.lower()));
        let own = |gate: &PlanGate| Guard { gate: gate.check.lower(), of: None, consent: None };
        before_undo.extend(phase.before_undo.iter().map(own));
        let (before, after) = super::approval::gates(phase);
        gates.splice(0..0, before);
        gates.extend(after);
        once(&mut gates, |gate| &gate.id);
        once(&mut before_undo, |guard| &guard.gate.id);
        phases.push(ProgramPhase {
            id: phase.id.clone(),
            on_failure: phase.on_failure,
            units,
            gates,
            before_undo,
            after_undo: phase.after_undo.iter().map(|gate| gate.check.lower()).collect(),
        });
    }
    Program {
        plan: plan.name.clone(),
        server,
        safety: plan.safety.clone(),
        pacing: plan.pacing(),
        disk: plan.disk.clone(),
        backup: plan.backup.clone(),
        tenancy: plan.tenancy.clone(),
        probes: plan.probes.clone(),
        phases,
    }
}

/// Of those with the same id the first stays.
fn once<T>(list: &mut Vec<T>, id: impl Fn(&T) -> &String) {
    let mut seen = BTreeSet::new();
    list.retain(|item| seen.insert(id(item).clone()));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{checks, plan::parse, steps};

    /// What the ledger keeps is what is carried out later, by another process.
    #[test]
    fn a_program_is_read_back_from_the_ledger_as_it_was_written() {
        let examples = steps::KINDS.iter().map(|k| k.example).chain(checks::KINDS.iter().map(|k| k.example));
        for example in examples {
            let text = format!(
                "format = 1\nname = 'p'\n[safety]\nlock_timeout = '1500ms'\n[tenancy]\ncolumn = 'tenant_id'\n\
                 setting = 'app.tenant_id'\nregistry = {{ table = 'app.tenants', key = 'id', type = 'uuid' }}\n\
                 roles = ['app_rw']\n[[phase]]\nid = 'one'\n{example}"
            );
            let plan = parse(&text, &|_| Err(String::new())).0.unwrap();
            let program = lower(&plan, ServerFacts::default());
            let kept = serde_json::to_value(&program).unwrap();
            assert_eq!(serde_json::from_value::<Program>(kept).unwrap(), program, "{example}");
        }
    }
}
