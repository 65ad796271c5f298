//! Things of the catalogue that a check expects to be there, or to be gone.

use serde::Deserialize;

use crate::{
    checks::{Gate, Measure},
    plan::Site,
    sql,
    sql::{Ident, List, Literal, QName, Stmt},
};

/// What is looked for.
#[derive(Debug, Default)]
pub struct Objects<'a> {
    pub tables: &'a [QName],
    pub indexes: &'a [QName],
    pub policies: &'a [Policy],
}

/// A policy of a table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    pub table: QName,
    pub name: Ident,
}

impl Objects<'_> {
    pub(in crate::checks) fn check(&self, site: &mut Site<'_>) {
        if self.tables.is_empty() && self.indexes.is_empty() && self.policies.is_empty() {
            site.error("kind", "TM0455", "nothing is named").help("write tables, indexes or policies");
        }
    }

    /// A finding for each that is there though it should not be, or the other way round. An index counts as there only when
    /// it is valid, and as gone only when no wreck of it is left.
    pub(in crate::checks) fn gate(&self, present: bool) -> Gate {
        let mut each = Vec::new();
        let mut names = Vec::new();
        for table in self.tables {
            names.push(format!("table {table}"));
            let rel = Literal::new(table.to_string());
            each.push((format!("table {table}"), sql!("to_regclass({}) IS NOT NULL", rel)));
        }
        for index in self.indexes {
            names.push(format!("index {index}"));
            let rel = Literal::new(index.to_string());
            let valid = if present { " AND i.indisvalid" } else { "" };
            let there = sql!(
                "EXISTS (SELECT FROM pg_index AS i WHERE i.indexrelid = to_regclass({}){})",
                rel,
                Stmt::raw(valid)
            );
            each.push((format!("index {index}"), there));
        }
        for Policy { table, name } in self.policies {
            names.push(format!("policy {name} on {table}"));
            let there = sql!(
                "EXISTS (SELECT FROM pg_policy AS p WHERE p.polrelid = to_regclass({}) AND p.polname = {})",
                Literal::new(table.to_string()),
                Literal::new(name.as_str())
            );
            each.push((format!("policy {name} on {table}"), there));
        }
        let (word, wrong, not) = if present { ("present", "is not there", "NOT ") } else { ("absent", "is there", "") };
        let one = |(what, there): &(String, Stmt)| {
            let what = Literal::new(format!("{what} {wrong}"));
            sql!(
                "SELECT {} AS what, 1::bigint AS found, NULL::text AS example WHERE {}({})",
                what,
                Stmt::raw(not),
                there
            )
        };
        let queries: Vec<Stmt> = each.iter().map(one).collect();
        let all = names.join(", ");
        Gate {
            id: format!("{word}:{all}"),
            kind: word.to_owned(),
            title: if present { format!("there: {all}") } else { format!("gone: {all}") },
            query: sql!("{}", List(&queries, " UNION ALL ")),
            baseline: None,
            // Only the catalogue is read, which no policy hides.
            tables: Vec::new(),
            wait: None,
            measure: Measure::Query,
        }
    }
}
