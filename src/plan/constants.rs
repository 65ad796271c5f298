//! Columns that a plan adds and then fills with one value: a default does the same and writes no row.

use std::collections::BTreeSet;

use super::types::Phase;
use crate::{
    diag::{Diag, Diags},
    steps::Object,
};

/// Warns of each backfill that a default of its `add_column` makes needless: PostgreSQL keeps that in the catalogue
/// (`attmissingval`, since 11), whatever the size of the table.
pub(super) fn constants(phases: &[Phase], diags: &mut Diags) {
    let mut added: BTreeSet<Object> = BTreeSet::new();
    for step in phases.iter().flat_map(|phase| &phase.steps) {
        if let Some(Object::Column(table, column)) = step.step.fills_alike().filter(|column| added.contains(column)) {
            let place = step.keys.get("value").unwrap_or(&step.span).clone();
            diags.push(
                Diag::warning("TM0275", place, format!("every row of {table} is written to give it the same {column}"))
                    .help("write default = \"'…'\" in the add_column step instead and leave this step out: that writes no row"),
            );
        }
        let columns = step.step.makes().into_iter().map(|(object, _)| object);
        added.extend(columns.filter(|object| matches!(object, Object::Column(..)) && step.kind == "add_column"));
    }
}
