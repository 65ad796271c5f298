//! Reads a plan: every diagnostic at once, each at its line and column.

use std::{collections::BTreeMap, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    document::header,
    order::{Draft, order},
    section::{self, Table, places},
    site::{Around, Site},
    types::{OnFailure, Plan, PlanGate, PlanStep},
    wording::advice,
};
use crate::{
    checks,
    diag::{Diag, Diags},
    steps,
};

/// Reads a file that the plan names, relative to the plan; the error is the reason in words.
pub type ReadFile<'a> = dyn Fn(&str) -> Result<String, String> + 'a;

/// Reads `source`. The plan is there when no finding is an error.
pub fn parse(source: &str, read: &ReadFile<'_>) -> (Option<Plan>, Diags) {
    let mut diags = Diags::default();
    let (doc, syntax) = DeTable::parse_recoverable(source);
    if !syntax.is_empty() {
        for error in &syntax {
            let span = error.span().unwrap_or(0..0);
            diags.push(Diag::error(
                "TM0101",
                span,
                format!("not TOML: {}", error.message().lines().next().unwrap_or_default()),
            ));
        }
        return (None, diags);
    }
    let doc = doc.into_inner();
    let header = header(&doc, source, &mut diags);
    let default = header.as_ref().map_or(OnFailure::default(), |h| h.safety.on_failure);
    let tenancy = header.as_ref().and_then(|h| h.tenancy.as_ref());
    let around = Around { read, tenancy, tenancy_written: doc.contains_key("tenancy") };
    let mut drafts: Vec<Draft> =
        tables(&doc, "phase", &mut diags).into_iter().map(|t| phase(t, default, around, &mut diags)).collect();
    if drafts.is_empty() && !doc.contains_key("phase") {
        diags.push(
            Diag::error("TM0104", 0..source.len().min(1), "the plan has no phase")
                .help("write [[phase]] and below it [[phase.step]]"),
        );
    }
    for table in tables(&doc, "gate", &mut diags) {
        free_gate(table, &mut drafts, around, &mut diags);
    }
    duplicates(&drafts, &mut diags);
    let phases = order(drafts, &mut diags);
    let Some(header) = header.filter(|_| !diags.has_errors()) else { return (None, diags) };
    let plan = Plan {
        name: header.name,
        description: header.description,
        safety: header.safety,
        tenancy: header.tenancy,
        backfill: header.backfill,
        phases,
    };
    (Some(plan), diags)
}

/// The tables of an array of tables.
fn tables<'i>(parent: &DeTable<'i>, key: &str, diags: &mut Diags) -> Vec<Table<'i>> {
    let Some(value) = parent.get(key) else { return Vec::new() };
    let Some(array) = value.get_ref().as_array() else {
        let message = format!("`{key}` is a list of tables, not {}", value.get_ref().type_str());
        diags.push(Diag::error("TM0103", value.span(), message).help(format!("write [[{key}]] with two brackets")));
        return Vec::new();
    };
    let mut out = Vec::new();
    for item in array.iter() {
        match item.get_ref() {
            DeValue::Table(table) => out.push(Spanned::new(item.span(), table.clone())),
            other @ (DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)) => {
                diags.push(Diag::error(
                    "TM0103",
                    item.span(),
                    format!("a table belongs here, not {}", other.type_str()),
                ));
            }
        }
    }
    out
}

const PHASE_KEYS: &[&str] = &["id", "after", "on_failure", "description", "step", "gate"];

fn phase(table: Table<'_>, default: OnFailure, around: Around<'_>, diags: &mut Diags) -> Draft {
    let keys = places(&table);
    for (key, _) in table.get_ref().iter().filter(|(k, _)| !PHASE_KEYS.contains(&k.get_ref().as_ref())) {
        let word = key.get_ref().as_ref();
        diags.push(Diag::error("TM0102", key.span(), format!("unknown key `{word}`")).help(advice(word, PHASE_KEYS)));
    }
    let id = text(&table, "id", diags);
    if id.is_none() && !keys.contains_key("id") {
        diags.push(
            Diag::error("TM0104", table.span(), "the key `id` is missing")
                .label("every phase has an id")
                .help("rollback --to names a phase by its id"),
        );
    }
    if let Some(bad) = id.as_ref().filter(|id| !valid_id(id.get_ref()) || id.get_ref() == "start") {
        diags.push(
            Diag::error("TM0103", bad.span(), format!("`{}` cannot be the id of a phase", bad.get_ref()))
                .help("ids have letters, digits, `-`, `_`, `.`; `start` means before the first phase"),
        );
    }
    let on_failure = text(&table, "on_failure", diags).and_then(|word| on_failure(&word, diags)).unwrap_or(default);
    let steps = tables(table.get_ref(), "step", diags).into_iter().filter_map(|t| step(t, around, diags)).collect();
    let gates = tables(table.get_ref(), "gate", diags).into_iter().filter_map(|t| gate(t, around, diags)).collect();
    let after = text(&table, "after", diags);
    if !keys.contains_key("step") {
        diags.push(Diag::warning("TM0203", table.span(), "the phase has no step"));
    }
    Draft { id, span: table.span(), after, on_failure, steps, gates }
}

fn valid_id(id: &str) -> bool {
    !id.is_empty() && id.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c))
}

fn on_failure(word: &Spanned<String>, diags: &mut Diags) -> Option<OnFailure> {
    const WORDS: &[&str] = &["rollback", "rollback_all", "pause"];
    match word.get_ref().as_str() {
        "rollback" => Some(OnFailure::Rollback),
        "rollback_all" => Some(OnFailure::RollbackAll),
        "pause" => Some(OnFailure::Pause),
        other => {
            diags.push(
                Diag::error("TM0103", word.span(), format!("`{other}` is not a value of `on_failure`"))
                    .help(advice(other, WORDS)),
            );
            None
        }
    }
}

/// A text value, with its place; another type is a finding.
fn text(table: &Table<'_>, key: &str, diags: &mut Diags) -> Option<Spanned<String>> {
    let value = table.get_ref().get(key)?;
    match value.get_ref().as_str() {
        Some(text) => Some(Spanned::new(value.span(), text.to_owned())),
        None => {
            diags.push(Diag::error(
                "TM0103",
                value.span(),
                format!("wrong type: `{key}` is a string, not {}", value.get_ref().type_str()),
            ));
            None
        }
    }
}

fn step(mut table: Table<'_>, around: Around<'_>, diags: &mut Diags) -> Option<PlanStep> {
    let (keys, span) = (places(&table), table.span());
    let names: Vec<&str> = steps::KINDS.iter().map(|k| k.name).collect();
    let kind = kind(&table, &names, "step", diags)?;
    let kind = steps::KINDS.iter().find(|k| k.name == kind)?;
    let id = text(&table, "id", diags);
    table.get_mut().remove("kind");
    table.get_mut().remove("id");
    let mut step = section::read(table, diags, |t| kind.parse(t))?;
    step.check(&mut Site::new(diags, span.clone(), &keys, around));
    let id = id.map_or_else(|| step.default_id(), Spanned::into_inner);
    if id.is_empty() || id.contains('/') {
        let place = keys.get("id").unwrap_or(&span).clone();
        diags.push(
            Diag::error("TM0103", place, format!("`{id}` cannot be the id of a step"))
                .help("a step's id is not empty and has no `/`"),
        );
    }
    Some(PlanStep { id, kind: kind.name, step, span, keys })
}

fn gate(mut table: Table<'_>, around: Around<'_>, diags: &mut Diags) -> Option<PlanGate> {
    let (keys, span) = (places(&table), table.span());
    let names: Vec<&str> = checks::KINDS.iter().map(|k| k.name).collect();
    let kind = kind(&table, &names, "gate", diags)?;
    let kind = checks::KINDS.iter().find(|k| k.name == kind)?;
    table.get_mut().remove("kind");
    let mut check = section::read(table, diags, |t| kind.parse(t))?;
    check.check(&mut Site::new(diags, span.clone(), &keys, around));
    Some(PlanGate { kind: kind.name, check, span })
}

fn kind(table: &Table<'_>, known: &[&str], what: &str, diags: &mut Diags) -> Option<String> {
    if !table.get_ref().contains_key("kind") {
        let help = format!("write kind = \"{}\" or another of: {}", known.first()?, known.join(", "));
        diags.push(
            Diag::error("TM0104", table.span(), "the key `kind` is missing")
                .label(format!("every {what} has a kind"))
                .help(help),
        );
        return None;
    }
    let word = text(table, "kind", diags)?;
    if known.contains(&word.get_ref().as_str()) {
        return Some(word.into_inner());
    }
    diags.push(
        Diag::error("TM0105", word.span(), format!("unknown kind of {what} `{}`", word.get_ref()))
            .help(advice(word.get_ref(), known)),
    );
    None
}

/// A `[[gate]]` beside the phases names the phase that it guards.
fn free_gate(mut table: Table<'_>, drafts: &mut [Draft], around: Around<'_>, diags: &mut Diags) {
    let known: Vec<String> = drafts.iter().filter_map(|d| d.id.as_ref()).map(|id| id.get_ref().clone()).collect();
    let Some(phase) = text(&table, "phase", diags) else {
        if !table.get_ref().contains_key("phase") {
            diags.push(
                Diag::error("TM0104", table.span(), "the key `phase` is missing")
                    .label("a gate outside a phase names the phase that it guards"),
            );
        }
        return;
    };
    table.get_mut().remove("phase");
    let gate = gate(table, around, diags);
    let target = drafts.iter_mut().find(|d| d.id.as_ref().is_some_and(|id| id.get_ref() == phase.get_ref()));
    match (target, gate) {
        (Some(draft), gate) => draft.gates.extend(gate),
        (None, _) => {
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            diags.push(
                Diag::error("TM0107", phase.span(), format!("no phase has the id `{}`", phase.get_ref()))
                    .help(advice(phase.get_ref(), &known)),
            );
        }
    }
}

fn duplicates(drafts: &[Draft], diags: &mut Diags) {
    let mut phases: BTreeMap<&str, Range<usize>> = BTreeMap::new();
    for id in drafts.iter().filter_map(|d| d.id.as_ref()) {
        if let Some(first) = phases.insert(id.get_ref(), id.span()) {
            diags.push(
                Diag::error("TM0106", id.span(), format!("two phases have the id `{}`", id.get_ref()))
                    .other(first, "the first one"),
            );
        }
    }
    for draft in drafts {
        let mut steps: BTreeMap<&str, Range<usize>> = BTreeMap::new();
        for step in &draft.steps {
            let place = step.keys.get("id").unwrap_or(&step.span).clone();
            if let Some(first) = steps.insert(&step.id, place.clone()) {
                diags.push(
                    Diag::error("TM0106", place, format!("two steps of the phase have the id `{}`", step.id))
                        .other(first, "the first one")
                        .help("give one of them an `id` of its own"),
                );
            }
        }
    }
}
