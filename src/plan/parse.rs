//! Reads a plan: every diagnostic at once, each at its line and column.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    approval::Approvals,
    constants::constants,
    document::{Header, KEYS, first_line, header, is_known},
    expand::{Expansion, PHASES, Settings, expand},
    observed::observed,
    order::{Draft, order},
    probes::{Latency, probes},
    section::{self, Table, places, tables},
    site::{Around, Site},
    types::{OnFailure, Phase, Plan, PlanGate, PlanStep, Tenancy},
    wording::{a, advice, closest, unknown_key},
};
use crate::{
    checks,
    diag::{Diag, Diags},
    steps,
    unit::OnOrphan,
};

/// Reads a file that the plan names, relative to the plan; the error is the reason in words.
pub type ReadFile<'a> = dyn Fn(&str) -> Result<String, String> + 'a;

/// Reads `source`. The plan is there when no finding is an error.
pub fn parse(source: &str, read: &ReadFile<'_>) -> (Option<Plan>, Diags) {
    let mut diags = Diags::default();
    let (doc, syntax) = DeTable::parse_recoverable(source);
    if !syntax.is_empty() {
        not_toml(&syntax, source, &mut diags);
        return (None, diags);
    }
    let mut doc = doc.into_inner();
    if doc.is_empty() {
        diags.push(
            Diag::error("TM0104", first_line(source), "the plan is empty")
                .help("write format = 1, name = \"my-plan\", and [[phase]] with [[phase.step]] below it"),
        );
        return (None, diags);
    }
    if !is_known(&doc, &mut diags) {
        return (None, diags);
    }
    section::spell(&mut doc, KEYS, &mut diags);
    let header = header(&doc, source, &mut diags);
    let default = header.as_ref().map_or(OnFailure::default(), |h| h.safety.on_failure);
    let tenancy = header.as_ref().and_then(|h| h.tenancy.as_ref());
    let told = diags.0.len();
    let probes = probes(&doc, tenancy, &mut diags);
    let around = Around {
        read,
        tenancy,
        tenancy_written: doc.contains_key("tenancy"),
        probes: &probes,
        probes_are_broken: Diags(diags.0[told..].to_vec()).has_errors()
            || (tenancy.is_none() && doc.contains_key("probe")),
        latency: header.as_ref().map_or_else(Latency::default, |h| h.latency),
    };
    let mut drafts: Vec<Draft> =
        tables(&doc, "phase", &mut diags).into_iter().map(|t| phase(t, default, around, &mut diags)).collect();
    let expansion = expand(&doc, &settings(header.as_ref(), tenancy), &mut diags);
    let generated = generated(&expansion, default, around, &mut diags);
    let made = expansion.at..expansion.at + generated.len();
    drafts.splice(expansion.at..expansion.at, generated);
    if drafts.is_empty() && !doc.contains_key("phase") {
        diags.push(
            Diag::error("TM0104", first_line(source), "the plan has no phase")
                .help("write [[table]], or [[phase]] and below it [[phase.step]]"),
        );
    }
    for table in tables(&doc, "gate", &mut diags) {
        free_gate(table, &mut drafts, around, &mut diags);
    }
    header.iter().for_each(|header| header.canary.apply(&mut drafts, &doc, &mut diags));
    duplicates(&drafts, &made, &mut diags);
    let phases = order(drafts, &mut diags);
    across(&phases, &mut diags);
    let Some(header) = header.filter(|_| !diags.has_errors()) else { return (None, diags) };
    let plan = Plan {
        name: header.name,
        description: header.description,
        safety: header.safety,
        tenancy: header.tenancy,
        backfill: header.backfill,
        throttle: header.throttle,
        disk: header.disk,
        capture: header.capture,
        backup: header.backup,
        tables: expansion.tables,
        shared: expansion.shared,
        probes,
        phases,
    };
    (Some(plan), diags)
}

/// What only several steps together tell.
fn across(phases: &[Phase], diags: &mut Diags) {
    constants(phases, diags);
    observed(phases, diags);
}

/// What the expansion of tables looks at; the defaults where something else is wrong with the plan.
pub(super) fn settings<'a>(header: Option<&'a Header>, tenancy: Option<&'a Tenancy>) -> Settings<'a> {
    Settings {
        tenancy,
        capture: header.map(|h| h.capture.clone()).unwrap_or_default(),
        shadow: header.and_then(|h| h.shadow.clone()),
        canary: header.map(|h| h.canary.clone()).unwrap_or_default(),
        fallback: header.map(|h| h.fallback.clone()).unwrap_or_default(),
        on_orphan: header.map_or(OnOrphan::default(), |h| h.backfill.on_orphan),
    }
}

/// The phases of the tables, read like those that somebody wrote. Several steps come from one value of the plan, and what is
/// wrong with it is told once.
fn generated(expansion: &Expansion<'_>, default: OnFailure, around: Around<'_>, diags: &mut Diags) -> Vec<Draft> {
    let mut own = Diags::default();
    let drafts = expansion.phases.iter().map(|table| phase(table.clone(), default, around, &mut own)).collect();
    for diag in own.0.into_iter().filter(|_| expansion.whole) {
        let same = |told: &Diag| (told.code, &told.message, &told.span) == (diag.code, &diag.message, &diag.span);
        if !diags.0.iter().any(same) {
            diags.push(diag);
        }
    }
    drafts
}

/// The first error of each line: the next ones on it follow from that.
fn not_toml(errors: &[toml::de::Error], source: &str, diags: &mut Diags) {
    // A file that is something else altogether has an error on every line.
    const LINES_MAX: usize = 10;
    let mut seen = BTreeSet::new();
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let line = source.get(..span.start).map_or(0, |before| before.matches('\n').count());
        if seen.len() < LINES_MAX && seen.insert(line) {
            let why = error.message().lines().next().unwrap_or_default();
            diags.push(Diag::error("TM0101", span, format!("not TOML: {why}")));
        }
    }
}

const PHASE_KEYS: &[&str] = &[
    "id",
    "after",
    "on_failure",
    "approve_within",
    "confirm_within",
    "description",
    "step",
    "gate",
    "before_undo",
    "after_undo",
];

fn phase(mut table: Table<'_>, default: OnFailure, around: Around<'_>, diags: &mut Diags) -> Draft {
    section::spell(table.get_mut(), PHASE_KEYS, diags);
    let approvals = Approvals::read(&mut table, diags);
    let id = text(&table, "id", diags);
    if id.is_none() && !table.get_ref().contains_key("id") {
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
    let steps =
        tables(table.get_ref(), "phase.step", diags).into_iter().filter_map(|t| step(t, around, diags)).collect();
    let gates_of = |path: &str, diags: &mut Diags| -> Vec<PlanGate> {
        tables(table.get_ref(), path, diags).into_iter().filter_map(|t| gate(t, around, diags)).collect()
    };
    let gates = gates_of("phase.gate", diags);
    let before_undo = gates_of("phase.before_undo", diags);
    let after_undo = gates_of("phase.after_undo", diags);
    let after = text(&table, "after", diags);
    if table.get_ref().get("step").is_none_or(|s| s.get_ref().as_array().is_some_and(|list| list.is_empty())) {
        diags.push(
            Diag::warning("TM0203", table.span(), "the phase has no step")
                .help("write [[phase.step]] below it, or take the phase out"),
        );
    }
    Draft { id, span: table.span(), after, on_failure, approvals, steps, gates, before_undo, after_undo }
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
                format!("wrong type: `{key}` is a string, not {}", a(value.get_ref())),
            ));
            None
        }
    }
}

fn step(mut table: Table<'_>, around: Around<'_>, diags: &mut Diags) -> Option<PlanStep> {
    let names: Vec<&str> = steps::KINDS.iter().map(|k| k.name).collect();
    let kind = kind(&mut table, &names, "step", diags)?;
    let (keys, span) = (places(&table), table.span());
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
    let names: Vec<&str> = checks::KINDS.iter().map(|k| k.name).collect();
    let kind = kind(&mut table, &names, "gate", diags)?;
    let (keys, span) = (places(&table), table.span());
    let kind = checks::KINDS.iter().find(|k| k.name == kind)?;
    table.get_mut().remove("kind");
    let mut check = section::read(table, diags, |t| kind.parse(t))?;
    check.check(&mut Site::new(diags, span.clone(), &keys, around));
    Some(PlanGate { kind: kind.name, check, span })
}

fn kind(table: &mut Table<'_>, known: &[&str], what: &str, diags: &mut Diags) -> Option<String> {
    if !table.get_ref().contains_key("kind") {
        let Some(key) = mistyped_kind(table, known) else {
            diags.push(
                Diag::error("TM0104", table.span(), "the key `kind` is missing")
                    .label(format!("every {what} has a kind"))
                    .help(format!("write kind = \"…\" with one of: {}", known.join(", "))),
            );
            return None;
        };
        diags.push(unknown_key(key.get_ref(), key.span(), &["kind"]).help("did you mean `kind`?"));
        let value = table.get_mut().remove(key.get_ref().as_str())?;
        table.get_mut().insert(Spanned::new(key.span(), "kind".into()), value);
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

/// The key that was meant to be `kind`, by its spelling or because a kind is its value.
fn mistyped_kind(table: &Table<'_>, known: &[&str]) -> Option<Spanned<String>> {
    const SPELT_MIN: usize = 3; // of the four letters of `kind`; `id` and `min` mean something else
    let meant = |key: &str, value: &DeValue<'_>| {
        let letters = key.chars().filter(|c| "kind".contains(*c)).count();
        let spelt = letters >= SPELT_MIN && closest(key, ["kind"]).is_some();
        spelt || value.as_str().is_some_and(|word| known.contains(&word))
    };
    let hit = table.get_ref().iter().find(|(key, value)| meant(key.get_ref(), value.get_ref()));
    hit.map(|(key, _)| Spanned::new(key.span(), key.get_ref().to_string()))
}

/// A `[[gate]]` beside the phases names the phase that it guards.
fn free_gate(mut table: Table<'_>, drafts: &mut [Draft], around: Around<'_>, diags: &mut Diags) {
    let phase = text(&table, "phase", diags);
    if !table.get_ref().contains_key("phase") {
        diags.push(
            Diag::error("TM0104", table.span(), "the key `phase` is missing")
                .label("a gate outside a phase names the phase that it guards")
                .help("write phase = \"…\" with the id of one, or [[phase.gate]] below it"),
        );
    }
    table.get_mut().remove("phase");
    let gate = gate(table, around, diags);
    let Some(phase) = phase else { return };
    let is_it = |draft: &&mut Draft| draft.id.as_ref().is_some_and(|id| id.get_ref() == phase.get_ref());
    if let Some(draft) = drafts.iter_mut().find(is_it) {
        draft.gates.extend(gate);
        return;
    }
    let known: Vec<&str> = drafts.iter().filter_map(|d| d.id.as_ref()).map(|id| id.get_ref().as_str()).collect();
    diags.push(
        Diag::error("TM0107", phase.span(), format!("no phase has the id `{}`", phase.get_ref()))
            .help(advice(phase.get_ref(), &known)),
    );
}

/// Phases and steps that have one id. `made` are the numbers of the phases that no one wrote.
fn duplicates(drafts: &[Draft], made: &Range<usize>, diags: &mut Diags) {
    let tables: BTreeMap<&str, Range<usize>> = drafts[made.clone()]
        .iter()
        .filter_map(|d| d.id.as_ref())
        .map(|id| (id.get_ref().as_str(), id.span()))
        .collect();
    let mut phases: BTreeMap<&str, Range<usize>> = BTreeMap::new();
    let written = drafts.iter().enumerate().filter(|(i, _)| !made.contains(i));
    for id in written.filter_map(|(_, draft)| draft.id.as_ref()) {
        if let Some(table) = tables.get(id.get_ref().as_str()) {
            let ids: Vec<&str> = PHASES.iter().map(|(id, _)| *id).collect();
            diags.push(
                Diag::error("TM0106", id.span(), format!("two phases have the id `{}`", id.get_ref()))
                    .other(table.clone(), "the tables become the other one")
                    .help(format!("give yours another id; those of the tables are {}", ids.join(", "))),
            );
        } else if let Some(first) = phases.insert(id.get_ref(), id.span()) {
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
