//! What is looked for in the database beside the ways: the hazards of the tables that the draft is about.

use crate::{
    cli::failure::CliError,
    hazards::{Scope, Way},
    infer::{self, Draft},
    pg::{self, connect::Connection},
    plan::Deals,
    sql::{QName, TypeName},
};

/// The hazards as lines of comment.
pub(super) async fn lines(session: &Connection, draft: &Draft, deals: Vec<Deals>) -> Result<Vec<String>, CliError> {
    let scope = Scope { deals, ..scope(draft) };
    Ok(pg::survey(session, &scope).await?.lines())
}

/// As the plan's own scope will be: what [tenancy] says, and the tables.
fn scope(draft: &Draft) -> Scope {
    let is_root = |table: &QName| *table == draft.root.table;
    let tables: Vec<QName> = draft.entries.iter().map(|entry| entry.table.clone()).filter(|t| !is_root(t)).collect();
    let way = |entry: &infer::Entry| match &entry.way {
        infer::Way::Parent { columns, .. } => {
            let columns = columns.iter().map(|(child, _)| child.clone()).collect();
            Some(Way { table: entry.table.clone(), columns })
        }
        infer::Way::Registry | infer::Way::Sql { .. } | infer::Way::Value(_) | infer::Way::Question(_) => None,
    };
    let known = std::iter::once(draft.root.table.clone()).chain(draft.shared.iter().map(|one| one.table.clone()));
    Scope {
        written: tables.clone(),
        tables,
        known: known.collect(),
        roles: draft.roles.clone(),
        column: Some(draft.column.clone()),
        column_type: TypeName::parse(&draft.root.r#type).ok(),
        setting: Some(draft.setting.clone()),
        ways: draft.entries.iter().filter_map(way).collect(),
        ..Scope::default()
    }
}
