//! The phases of the program with what became of their units, gates and guards.

use std::collections::BTreeMap;

use super::{
    events::{approval, finding},
    facts::{Facts, Logged},
    model::{Gate, Guard, Look, Phase, Span, SpanEnd, Tone, Unit},
};
use crate::{
    checks,
    engine::{Event, UnitState, option},
    plan::OnFailure,
    unit::{self, Down, Hold, LockLevel, Op, UnitId},
};

/// All phases, in their order.
pub(super) fn phases(facts: &Facts, spans: &BTreeMap<UnitId, Vec<Span>>) -> Vec<Phase> {
    let mut number = 0;
    let mut out = Vec::new();
    for (p, phase) in facts.program.phases.iter().enumerate() {
        let mut units = Vec::new();
        for of in &phase.units {
            units.push(unit(facts, number, of, spans.get(&of.id).cloned().unwrap_or_default()));
            number += 1;
        }
        let gates = phase.gates.iter().enumerate();
        let passed = gates.map(|(g, of)| gate(facts, &phase.id, of, facts.state.gate_passed(p, g))).collect();
        let after = phase.after_undo.iter().map(|of| {
            let holds = looks(&facts.log, &phase.id, &of.id).last().is_some_and(|look| look.passed);
            gate(facts, &phase.id, of, holds)
        });
        out.push(Phase {
            id: phase.id.clone(),
            on_failure: match phase.on_failure {
                OnFailure::Rollback => "this phase is undone",
                OnFailure::RollbackAll => "everything is undone",
                OnFailure::Pause => "everything stays until somebody decides",
            }
            .to_owned(),
            units,
            gates: passed,
            after_undo: after.collect(),
            guards: phase.before_undo.iter().map(guard).collect(),
        });
    }
    out
}

fn unit(facts: &Facts, number: usize, of: &unit::Unit, spans: Vec<Span>) -> Unit {
    let state = facts.state.unit(number);
    let before = state.before();
    let adopted = before.is_some_and(|before| before.hands_off().is_some());
    let tone = match state {
        UnitState::Done { .. } => Tone::Good,
        UnitState::Failed { .. } | UnitState::UndoFailed { .. } => Tone::Bad,
        UnitState::Started { .. } | UnitState::Undoing { .. } => Tone::Caution,
        UnitState::Pending => Tone::Plain,
    };
    let was_undone = spans.last().is_some_and(|span| span.undo && span.end == SpanEnd::Done);
    let word = match state {
        UnitState::Done { .. } if adopted => "found in place",
        UnitState::Pending if was_undone => "undone",
        UnitState::Pending
        | UnitState::Started { .. }
        | UnitState::Done { .. }
        | UnitState::Failed { .. }
        | UnitState::Undoing { .. }
        | UnitState::UndoFailed { .. } => state.word(),
    };
    let last: Vec<&Span> = spans.iter().rev().take_while(|span| !span.undo).collect();
    Unit {
        id: of.id.0.clone(),
        step: of.id.0.split('/').nth(1).unwrap_or_default().to_owned(),
        title: of.title.clone(),
        state: word.to_owned(),
        tone,
        lock: of.lock.level.to_string(),
        tables: of.lock.on.iter().map(ToString::to_string).collect(),
        hold: hold(&of.lock).to_owned(),
        attempts: spans.iter().filter(|span| !span.undo).count(),
        rows: rows(&facts.log, &of.id).filter(|_| state.is_done()),
        took_ms: (!last.is_empty()).then(|| last.iter().map(|span| (span.to - span.from).num_milliseconds()).sum()),
        found: before.and_then(|before| before.found.clone()),
        restores: before.map_or_else(Vec::new, |before| before.restore.iter().map(ToString::to_string).collect()),
        loses: of.loses.clone(),
        sql: deed(&of.up),
        undo: undo(&of.down),
        spans,
    }
}

/// What the last event about the unit says it wrote.
fn rows(log: &[Logged], id: &UnitId) -> Option<u64> {
    let last = log.iter().rev().find(|logged| logged.event.unit() == Some(id))?;
    if let Event::Succeeded { rows, .. } = &last.event { *rows } else { None }
}

fn hold(lock: &unit::Lock) -> &'static str {
    match (lock.level, lock.hold) {
        (LockLevel::None, _) => "",
        (_, Hold::Moment) => "for a moment",
        (_, Hold::Batch) => "for one batch",
        (_, Hold::Scan) => "while every row is read",
        (_, Hold::Rewrite) => "while every row is written",
    }
}

fn deed(up: &Op) -> Vec<String> {
    match up {
        Op::Tx(all) => all.iter().map(ToString::to_string).collect(),
        Op::Autocommit { stmt, .. } | Op::Assert(stmt) => vec![stmt.to_string()],
        Op::Watch(spec) => spec.query.iter().map(ToString::to_string).collect(),
        Op::Backfill(_) | Op::Keep(_) | Op::Restore(_) => Vec::new(),
    }
}

fn undo(down: &Down) -> Vec<String> {
    match down {
        Down::Op(op) => deed(op),
        Down::CoveredBy(by) => vec![format!("-- undone together with {by}")],
        Down::With { unit, alone } => {
            let mut all = vec![format!("-- undone together with {unit}, where that made what this is in; otherwise:")];
            all.extend(undo(alone));
            all
        }
        Down::Nothing { why } => vec![format!("-- nothing to undo: {why}")],
        Down::Irreversible { why } => vec![format!("-- cannot be undone: {why}")],
    }
}

fn gate(facts: &Facts, phase: &str, of: &checks::Gate, passes: bool) -> Gate {
    Gate {
        id: of.id.clone(),
        title: of.title.clone(),
        query: of.query.to_string(),
        passes,
        baseline: facts.run.baselines.get(&of.id).copied(),
        looks: looks(&facts.log, phase, &of.id),
    }
}

fn looks(log: &[Logged], of_phase: &str, of_gate: &str) -> Vec<Look> {
    let look = |logged: &Logged| {
        let mut who = None;
        let (phase, gate, passed, findings) = if let Event::GatePassed { phase, gate, approved } = &logged.event {
            who = approved.as_ref().map(approval);
            (phase, gate, true, &[][..])
        } else if let Event::GateFailed { phase, gate, findings, .. } = &logged.event {
            (phase, gate, false, findings.as_slice())
        } else if let Event::UndoChecked { phase, gate, findings } = &logged.event {
            (phase, gate, findings.is_empty(), findings.as_slice())
        } else {
            return None;
        };
        let found = findings.iter().map(finding).collect();
        let (event, at) = (logged.number, logged.at);
        (phase == of_phase && gate == of_gate).then_some(Look { event, at, passed, approved: who, found })
    };
    log.iter().filter_map(look).collect()
}

fn guard(of: &checks::Guard) -> Guard {
    Guard {
        title: of.gate.title.clone(),
        of: of.of.as_ref().map(ToString::to_string),
        consent: of.consent.map(|consent| option(consent).to_owned()),
    }
}
