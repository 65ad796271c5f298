//! From the facts to the evidence, with the verdicts that the page begins with.

use sha2::{Digest, Sha256};

use super::{
    actors::{actors, approvals, terms},
    catalogue::{catalogue, hex},
    coverage::walks,
    events::events,
    facts::{Facts, RangeRow},
    model::{Backfill, Chain, Checked, Evidence, Plan, Proof, RangeDone, RunRow, Server, Span, SpanEnd, State, Tone},
    phases::phases,
    spans::{spans, waits},
};
use crate::{
    engine::{Effect, Event, Outcome, UnitState},
    report::quantity,
    unit::{Op, Unit},
};

/// The version of the JSON form.
const VERSION: u32 = 1;

/// Puts the facts together.
pub fn assemble(facts: &Facts) -> Evidence {
    let spans = spans(&facts.log, facts.made_at);
    let taken_back = facts.state.is_untouched();
    let mut evidence = Evidence {
        v: VERSION,
        made_at: facts.made_at,
        made_by: facts.made_by.clone(),
        made_with: facts.tool_version.clone(),
        state: state(facts),
        verdicts: Vec::new(),
        run: RunRow {
            id: facts.run.id.clone(),
            begun_at: facts.run.created_at,
            begun_by: facts.run.created_by.clone(),
            host: facts.run.host.clone(),
            begun_with: facts.run.tool_version.clone(),
            last_event_at: facts.log.last().map(|logged| logged.at),
        },
        plan: plan(facts),
        server: server(facts),
        chain: Chain {
            verifies: facts.head.as_ref().map(|_| facts.damage.is_none()).or(facts.damage.as_ref().map(|_| false)),
            damage: facts.damage.clone(),
            events: facts.log.len(),
            head: facts.head.as_ref().map(|head| head.digest.clone()),
            head_event: facts.head.as_ref().map(|head| head.number),
            base: facts.head.as_ref().map(|head| head.base),
        },
        actors: actors(&facts.log),
        terms: terms(&facts.program, &facts.log),
        requests: facts.requests.clone(),
        approvals: approvals(facts),
        events: events(&facts.program, &facts.log),
        phases: phases(facts, &spans),
        waits: waits(&facts.log),
        backfills: backfills(facts, &spans),
        catalogue: catalogue(facts, taken_back),
        verified: facts.verified.clone(),
        isolation: facts.isolation.clone(),
        audit: facts.audit.clone(),
        latency: facts.latency.clone(),
    };
    evidence.verdicts = super::verdicts::verdicts(&evidence);
    evidence
}

fn state(facts: &Facts) -> State {
    let units = facts.program.units().count();
    let units_done = facts.state.units_done();
    let halted =
        |tone, word: &str, sentence: String| State { tone, word: word.to_owned(), sentence, units, units_done };
    match facts.state.next(&facts.program) {
        Effect::Halt(Outcome::Completed) => {
            halted(Tone::Good, "completed", "Every step was done and every gate passed.".to_owned())
        }
        Effect::Halt(Outcome::RolledBack { keep: 0 }) => {
            halted(Tone::Caution, "rolled back", "Everything that the run did was undone.".to_owned())
        }
        Effect::Halt(Outcome::RolledBack { keep }) => halted(
            Tone::Caution,
            "rolled back in part",
            format!(
                "Phase {} and what came before it stay; everything after was undone.",
                facts.program.keep_name(keep)
            ),
        ),
        Effect::Halt(Outcome::Stuck { .. }) => {
            halted(Tone::Bad, "stuck", "An undo failed; a person has to decide.".to_owned())
        }
        Effect::Halt(Outcome::Paused) => {
            halted(Tone::Caution, "paused", "The run stands still until somebody decides.".to_owned())
        }
        Effect::Do(_) | Effect::Gate(..) => {
            halted(Tone::Caution, "not complete", "Steps of the plan remain to be done.".to_owned())
        }
        Effect::Undo(_) | Effect::Check(..) | Effect::Ask(..) => {
            halted(Tone::Caution, "rolling back", "Steps remain to be undone.".to_owned())
        }
    }
}

fn plan(facts: &Facts) -> Plan {
    let tenancy = facts.program.tenancy.as_ref().map_or_else(Vec::new, |tenancy| {
        let names = |all: &[crate::sql::Ident]| match all {
            [] => "none named".to_owned(),
            all => all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        };
        vec![
            ("Registry of the tenants".to_owned(), format!("{} ({})", tenancy.registry.table, tenancy.registry.key)),
            ("Tenant column".to_owned(), tenancy.column.to_string()),
            ("Session's setting".to_owned(), tenancy.setting.clone()),
            ("Roles of the application".to_owned(), names(&tenancy.roles)),
            ("Roles that see all tenants".to_owned(), names(&tenancy.bypass)),
        ]
    });
    Plan {
        name: facts.program.plan.clone(),
        path: facts.run.plan_path.clone(),
        fingerprint: facts.run.fingerprint.clone(),
        text_sha256: hex(&Sha256::digest(&facts.run.plan_text)),
        text: facts.run.plan_text.clone(),
        tenancy,
    }
}

fn server(facts: &Facts) -> Server {
    let of = &facts.server;
    let same = of.system_identifier.zip(of.ledger_system_identifier).map(|(found, kept)| found == kept);
    Server {
        database: of.database.clone(),
        at: of.at.clone(),
        version: of.version.clone(),
        system_identifier: of.system_identifier,
        timeline: of.timeline,
        same_as_ledger: same,
        ledger_schema: of.ledger_schema.clone(),
        ledger_version: of.ledger_version,
    }
}

fn backfills(facts: &Facts, spans: &std::collections::BTreeMap<crate::unit::UnitId, Vec<Span>>) -> Vec<Backfill> {
    let units = facts.program.units().enumerate();
    let of_backfill = |(number, (p, unit)): (usize, (usize, &Unit))| {
        let Op::Backfill(spec) = &unit.up else { return None };
        let state = facts.state.unit(number);
        let was_undone = spans.get(&unit.id).and_then(|spans| spans.last()).is_some_and(|span| span.undo);
        let rows: Vec<&RangeRow> = facts.ranges.iter().filter(|row| row.unit == unit.id).collect();
        let last = facts.progress.iter().find(|progress| progress.unit == unit.id).and_then(|row| row.walk.as_ref());
        let walks = walks(&rows, last);
        let total: u64 = rows.iter().map(|row| row.rows).sum();
        let proof = proof(facts, unit, total);
        let mut backfill = Backfill {
            unit: unit.id.0.clone(),
            title: unit.title.clone(),
            phase: facts.program.phases[p].id.clone(),
            table: spec.table.to_string(),
            state: state.word().to_owned(),
            rows: total,
            rows_hot: rows.iter().map(|row| row.rows_hot).sum(),
            tone: Tone::Plain,
            verdict: String::new(),
            walks,
            proof,
            ranges: rows.iter().map(|row| done(row)).collect(),
        };
        (backfill.tone, backfill.verdict) = verdict(&backfill, state, was_undone);
        Some(backfill)
    };
    units.filter_map(of_backfill).collect()
}

/// The event behind the closing count of the deed that stands.
fn proof(facts: &Facts, unit: &Unit, total: u64) -> Option<Proof> {
    let last = facts.log.iter().rev().find(|logged| logged.event.unit() == Some(&unit.id))?;
    let Event::Succeeded { rows, .. } = &last.event else { return None };
    Some(Proof { event: last.number, at: last.at, rows: *rows, adds_up: rows.is_none_or(|rows| rows == total) })
}

fn done(row: &RangeRow) -> RangeDone {
    let range = &row.range;
    RangeDone {
        sweep: range.sweep,
        number: range.number,
        heap: range.heap.clone(),
        lo: range.lo,
        hi: range.hi,
        batches: range.stripes,
        batches_done: range.stripes_done,
        rows: row.rows,
        rows_hot: row.rows_hot,
        claimed_at: row.claimed_at,
        updated_at: row.updated_at,
    }
}

fn verdict(of: &Backfill, state: &UnitState, was_undone: bool) -> (Tone, String) {
    let broken = of.walks.iter().any(|walk| !walk.numbered || walk.heaps.iter().any(|heap| !heap.overlaps.is_empty()));
    let covered = of.walks.iter().all(super::model::Walk::holds);
    match state {
        UnitState::Pending if was_undone => (Tone::Plain, "taken back; its ranges went with it".to_owned()),
        UnitState::Pending => (Tone::Plain, "not begun".to_owned()),
        UnitState::Done { .. } if of.walks.iter().all(|walk| walk.heaps.is_empty()) => match of.rows {
            0 => (Tone::Good, "the table had no rows to walk over".to_owned()),
            _ => (Tone::Bad, "rows were written and no range says where".to_owned()),
        },
        UnitState::Done { .. } if !covered => (Tone::Bad, "the ranges do not cover the table once".to_owned()),
        UnitState::Done { .. } if of.proof.as_ref().is_none_or(|proof| !proof.adds_up) => {
            (Tone::Bad, "the ranges do not add up to the rows that the log says".to_owned())
        }
        UnitState::Done { .. } => (Tone::Good, "no gap, no overlap, and the rows add up".to_owned()),
        UnitState::Started { .. }
        | UnitState::Failed { .. }
        | UnitState::Undoing { .. }
        | UnitState::UndoFailed { .. }
            if broken =>
        {
            (Tone::Bad, "what was walked over so far overlaps, or a range is missing".to_owned())
        }
        UnitState::Started { .. }
        | UnitState::Failed { .. }
        | UnitState::Undoing { .. }
        | UnitState::UndoFailed { .. } => (Tone::Caution, "not complete: what is below is how far it came".to_owned()),
    }
}

impl Checked {
    /// Whether it says that something is wrong.
    pub fn fails(&self) -> bool {
        self.tone == Tone::Bad
    }
}

impl Evidence {
    /// What the evidence contradicts, in words: with one of these the command does not leave with 0.
    pub fn contradictions(&self) -> Vec<String> {
        let bad = self.verdicts.iter().filter(|verdict| verdict.tone == Tone::Bad);
        bad.map(|verdict| format!("{}: {}", verdict.claim, verdict.because)).collect()
    }
}

impl Span {
    /// Its length.
    pub fn ms(&self) -> i64 {
        (self.to - self.from).num_milliseconds()
    }

    /// In words.
    pub fn told(&self) -> String {
        let deed = if self.undo { "undo" } else { "deed" };
        let end = match self.end {
            SpanEnd::Done => "done",
            SpanEnd::Failed => "failed",
            SpanEnd::Stopped => "stopped half-way",
            SpanEnd::Open => "under way",
        };
        format!("{deed}, {end}, {}", quantity::millis(self.ms()))
    }
}
