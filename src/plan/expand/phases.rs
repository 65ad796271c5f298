//! The phases that the tables become, in the order in which they run.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    backfill, capture, constrain, contract, enforce,
    entry::{Entry, Orphans},
    fallback, index,
    line::text,
    prepare, shadow, strict,
};
use crate::{
    plan::{
        canary::Canary,
        fallback::Fallback,
        section::Table,
        shadow::Shadow,
        types::{Capture, Tenancy},
    },
    sql::{Ident, QName},
};

/// Their ids, and what a phase of that id is for.
pub const PHASES: [(&str, &str); 10] = [
    ("expand", "The tenant column of each table: a moment of ACCESS EXCLUSIVE each, and no row is written."),
    ("capture", "What the application writes from here on gets its tenant, also where it knows none."),
    ("backfill", "The rows that are there, in batches: parents first."),
    ("index", "What makes a tenant's rows quick to find, CONCURRENTLY."),
    ("constrain", "What makes a wrong tenant impossible. After this phase every row is somebody's."),
    ("shadow", "What row-level security would change is noted, and nothing hidden yet."),
    ("enforce", "Row-level security: from here on a session sees the rows of its own tenant only."),
    ("fallback", "Who still goes on as the tenant of old releases is noted, until it is nobody."),
    ("strict", "A session that says no tenant has none: the context function falls back to nobody any more."),
    ("contract", "What only the old application needed goes."),
];

/// All that the phases are made of.
#[derive(Debug)]
pub struct Whole<'a, 'i> {
    /// Parents first.
    pub tables: &'a [Entry<'i>],
    pub tenancy: &'a Tenancy,
    pub capture: &'a Capture,
    pub shadow: Option<&'a Shadow>,
    pub canary: &'a Canary,
    /// As it is written, with the places of its keys.
    pub canary_text: Option<&'a Spanned<DeValue<'i>>>,
    pub fallback: &'a Fallback,
    /// Where a table says nothing else.
    pub on_orphan: Orphans,
    /// Whether the plan has probes that guard the enforcing.
    pub latency: bool,
}

impl Whole<'_, '_> {
    /// What becomes of the rows of a table for which no tenant is found.
    pub fn orphans(&self, entry: &Entry<'_>) -> Orphans {
        entry.on_orphan.unwrap_or(self.on_orphan)
    }

    /// The column that carries the tenant there.
    pub fn column(&self, entry: &Entry<'_>) -> &Ident {
        if entry.is_registry() { &self.tenancy.registry.key } else { &self.tenancy.column }
    }

    /// The tenant's column of a parent, where it is not called as the table's own.
    pub fn parents_column<'a>(&'a self, table: &QName, column: Option<&'a Ident>) -> Option<&'a Ident> {
        let registry = &self.tenancy.registry;
        column.or((*table == registry.table).then_some(&registry.key)).filter(|column| **column != self.tenancy.column)
    }
}

/// The steps of one phase and its gates.
#[derive(Debug, Default)]
pub struct Made<'i> {
    pub steps: Vec<Table<'i>>,
    pub gates: Vec<Table<'i>>,
}

/// The phases that have a step. A gate of a phase that has none guards the one before.
pub fn phases<'i>(whole: &Whole<'_, 'i>, place: &Range<usize>) -> Vec<Table<'i>> {
    let made: [Made<'i>; 10] = [
        prepare::phase(whole, place),
        capture::phase(whole, place),
        backfill::phase(whole),
        index::phase(whole, place),
        constrain::phase(whole),
        shadow::phase(whole, place),
        enforce::phase(whole, place),
        fallback::phase(whole, place),
        strict::phase(whole, place),
        contract::phase(whole),
    ];
    let mut kept: Vec<(&str, Made<'i>)> = Vec::new();
    for ((id, _), phase) in PHASES.into_iter().zip(made) {
        match kept.last_mut() {
            _ if !phase.steps.is_empty() => kept.push((id, phase)),
            Some((_, before)) => before.gates.extend(phase.gates),
            None => {}
        }
    }
    kept.into_iter().map(|(id, phase)| written(id, phase, place)).collect()
}

/// The phases without anything in them.
pub fn blank<'i>(place: &Range<usize>) -> Vec<Table<'i>> {
    PHASES.into_iter().map(|(id, _)| written(id, Made::default(), place)).collect()
}

fn written<'i>(id: &'static str, made: Made<'i>, place: &Range<usize>) -> Table<'i> {
    let mut table = DeTable::new();
    let mut put = |key: &'static str, value: DeValue<'i>| {
        table.insert(Spanned::new(place.clone(), key.into()), Spanned::new(place.clone(), value));
    };
    let list = |lines: Vec<Table<'i>>| {
        DeValue::Array(
            lines.into_iter().map(|line| Spanned::new(line.span(), DeValue::Table(line.into_inner()))).collect(),
        )
    };
    put("id", text(id, place).into_inner());
    put("step", list(made.steps));
    if !made.gates.is_empty() {
        put("gate", list(made.gates));
    }
    Spanned::new(place.clone(), table)
}
