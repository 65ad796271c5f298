//! Whether the keys of a `[[table]]` fit its way to the tenant.

use super::{
    entry::{Entry, Orphans, WritePath},
    way::Way,
};
use crate::{
    diag::{Diag, Diags},
    plan::types::Tenancy,
};

/// Tells the keys that contradict each other, or the way.
pub fn check(entry: &Entry<'_>, tenancy: &Tenancy, default: Orphans, diags: &mut Diags) {
    let name = &entry.name;
    let registry = &tenancy.registry;
    match &entry.way {
        Some(Way::Registry { place }) if *name != registry.table => {
            let message = format!("{name} is not the registry, so it needs a way to it");
            diags.push(Diag::error("TM0392", place.clone(), message).help(format!(
                "[tenancy] names {}; write tenant = {{ from = \"{}\", match = {{ … = \"{}\" }} }}",
                registry.table, registry.table, registry.key
            )));
        }
        Some(Way::Registry { .. }) => {
            let keys =
                ["unique", "composite", "write_path", "on_orphan", "keep", "foreign_key", "on_delete", "not_null"];
            meaningless(entry, &keys, "the registry, which gets no column", diags);
        }
        Some(Way::Value { .. } | Way::Parent { .. } | Way::Sql { .. }) if *name == registry.table => {
            let message = format!("{name} is the registry: its key {} is the tenant", registry.key);
            let help = "write tenant = \"self\" to have it enforced, or take the [[table]] out";
            diags.push(Diag::error("TM0392", entry.at("tenant").clone(), message).help(help));
        }
        Some(Way::Value { .. }) => {
            meaningless(entry, &["on_orphan", "keep"], "a table that has one tenant for every row", diags);
            if entry.write_path == WritePath::Trigger {
                meaningless(entry, &["write_path"], "a value, which the column's default gives to new rows too", diags);
            }
        }
        Some(Way::Parent { .. } | Way::Sql { .. }) => skipped(entry, default, diags),
        None => {}
    }
    if !entry.foreign_key {
        meaningless(entry, &["on_delete"], "a table without a foreign key to the registry", diags);
    }
    if !entry.enforce {
        meaningless(entry, &["extra"], "a table that is not enforced", diags);
    }
}

/// Keys that say nothing for what the table is.
fn meaningless(entry: &Entry<'_>, keys: &[&str], what: &str, diags: &mut Diags) {
    for key in keys {
        if let Some(place) = entry.keys.get(*key) {
            diags.push(
                Diag::error("TM0393", place.clone(), format!("`{key}` has no meaning for {what}")).help("take it out"),
            );
        }
    }
}

/// Rows that stay without a tenant are refused by NOT NULL.
fn skipped(entry: &Entry<'_>, default: Orphans, diags: &mut Diags) {
    if entry.on_orphan.unwrap_or(default) == Orphans::Skip && entry.not_null {
        let said = if entry.keys.contains_key("not_null") { "not_null" } else { "on_orphan" };
        let message = format!("rows of {} that are skipped have no tenant, and NOT NULL refuses them", entry.name);
        diags.push(
            Diag::error("TM0395", entry.at(said).clone(), message)
                .help("write not_null = false as well, or on_orphan = \"quarantine\", which keeps them beside"),
        );
    }
}
