//! The high form of a plan: from each table's way to its tenant, the phases that take it there. They are made as tables of
//! the plan, each value at the place that it comes from, and read like those that somebody wrote.

mod backfill;
mod capture;
mod constrain;
mod contract;
mod enforce;
mod entry;
mod fallback;
mod fits;
mod graph;
mod index;
mod line;
mod phases;
mod prepare;
mod shadow;
mod strict;
mod tenantless;
mod way;

pub use phases::PHASES;
pub use tenantless::Shared;

use std::collections::{BTreeMap, BTreeSet};

use toml::{Spanned, de::DeTable};

use self::{
    entry::{Entry, Orphans},
    phases::Whole,
};
use super::{
    canary::Canary,
    fallback::Fallback,
    probes::gated,
    section::{Table, tables},
    shadow::Shadow,
    types::{Capture, Tenancy},
};
use crate::{
    diag::{Diag, Diags},
    sql::QName,
    unit::OnOrphan,
};

/// What the plan says beside its tables.
#[derive(Debug)]
pub struct Settings<'a> {
    /// `None` where it has an error in it, which is told elsewhere.
    pub tenancy: Option<&'a Tenancy>,
    pub capture: Capture,
    /// `None` where the plan has no [shadow].
    pub shadow: Option<Shadow>,
    pub canary: Canary,
    pub fallback: Fallback,
    pub on_orphan: OnOrphan,
}

/// The tables of a plan, and the phases that they become.
#[derive(Debug, Default)]
pub struct Expansion<'i> {
    pub phases: Vec<Table<'i>>,
    /// How many phases of the plan stand before them.
    pub at: usize,
    /// Whether the phases are complete; else something is wrong with the tables, and only the ids are there, so that what
    /// names them finds them.
    pub whole: bool,
    /// In the order in which they get their tenant.
    pub tables: Vec<QName>,
    pub shared: Vec<Shared>,
}

/// Expands the tables of a plan.
pub fn expand<'i>(doc: &DeTable<'i>, settings: &Settings<'_>, diags: &mut Diags) -> Expansion<'i> {
    let before = diags.0.len();
    let written = tables(doc, "table", diags);
    let shared: Vec<Shared> =
        tables(doc, "shared", diags).into_iter().filter_map(|table| tenantless::shared(table, diags)).collect();
    twice_shared(&shared, diags);
    let Some(first) = written.first().map(Spanned::span) else {
        return Expansion { shared, ..Expansion::default() };
    };
    let phases = doc.get("phase").and_then(|value| value.get_ref().as_array());
    let at = phases.map_or(0, |phases| phases.iter().filter(|phase| phase.span().start < first.start).count());
    let mut entries: Vec<Entry<'i>> = written.iter().filter_map(|table| Entry::read(table, diags)).collect();
    twice(&entries, &shared, diags);
    homonyms(&mut entries);
    if settings.tenancy.is_none() && !doc.contains_key("tenancy") {
        diags.push(Diag::error("TM0389", first.clone(), "a [[table]] has no meaning: the plan has no [tenancy]").help(
            "write [tenancy] with registry = { table = …, key = …, type = … }, column and setting, above the tables",
        ));
    }
    let on_orphan = match settings.on_orphan {
        OnOrphan::Stop => Orphans::Stop,
        OnOrphan::Skip => Orphans::Skip,
        OnOrphan::Quarantine => Orphans::Quarantine,
    };
    let entries = settings.tenancy.map_or_else(Vec::new, |tenancy| {
        entries.iter().for_each(|entry| fits::check(entry, tenancy, on_orphan, diags));
        graph::ordered(entries, &shared, tenancy, diags)
    });
    let told = Diags(diags.0[before..].to_vec()).has_errors();
    let names = entries.iter().map(|entry| entry.name.clone()).collect();
    let (phases, whole) = match settings.tenancy.filter(|_| !told) {
        Some(tenancy) => {
            let whole = Whole {
                tables: &entries,
                tenancy,
                capture: &settings.capture,
                shadow: settings.shadow.as_ref(),
                canary: &settings.canary,
                canary_text: doc.get("canary"),
                fallback: &settings.fallback,
                on_orphan,
                latency: gated(doc),
            };
            (phases::phases(&whole, &first), true)
        }
        None => (phases::blank(&first), false),
    };
    Expansion { phases, at, whole, tables: names, shared }
}

/// A table that is named twice, or for its tenants and as shared.
fn twice(entries: &[Entry<'_>], shared: &[Shared], diags: &mut Diags) {
    let mut seen = BTreeMap::new();
    for entry in entries {
        if let Some(first) = seen.insert(&entry.name, entry.named.clone()) {
            diags.push(
                Diag::error("TM0390", entry.named.clone(), format!("two [[table]] are {}", entry.name))
                    .other(first, "the first one")
                    .help("write one of them with everything that is to become of the table"),
            );
        }
        if let Some(shared) = shared.iter().find(|shared| shared.name == entry.name) {
            diags.push(
                Diag::error("TM0391", entry.named.clone(), format!("{} has tenants, and belongs to none", entry.name))
                    .other(shared.named.clone(), "shared by all tenants")
                    .help("take out either its [[table]] or its [[shared]]"),
            );
        }
    }
}

fn twice_shared(shared: &[Shared], diags: &mut Diags) {
    let mut seen = BTreeMap::new();
    for one in shared {
        if let Some(first) = seen.insert(&one.name, one.named.clone()) {
            diags.push(
                Diag::error("TM0390", one.named.clone(), format!("two [[shared]] are {}", one.name))
                    .other(first, "the first one")
                    .help("take one of them out"),
            );
        }
    }
}

/// Marks tables of the same name in several schemas: the steps' own ids name no schema.
fn homonyms(entries: &mut [Entry<'_>]) {
    let (mut seen, mut again) = (BTreeSet::new(), BTreeSet::new());
    for entry in entries.iter() {
        if !seen.insert(entry.name.name.clone()) {
            again.insert(entry.name.name.clone());
        }
    }
    entries.iter_mut().for_each(|entry| entry.homonym = again.contains(&entry.name.name));
}
